import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// A program that runs beside this one, in a process group of its own: Ctrl-C is this program's to
/// see and to pass on.
struct ChildProcess {
  /// How it ended.
  enum Ending: Equatable {
    case exit(Int32)
    case signal(Int32)
  }

  private let id: pid_t

  /// Starts a program with nothing to read, its output and errors in files.
  ///
  /// Signals are as in a shell, whatever this thread blocks. Throws the system's reason.
  init(
    _ program: URL, _ arguments: [String], environment: [String: String], output: URL, errors: URL
  ) throws {
    var files = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&files)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&files)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    for (descriptor, file) in [(STDOUT_FILENO, output), (STDERR_FILENO, errors)] {
      posix_spawn_file_actions_addopen(
        &files, descriptor, file.path(percentEncoded: false), O_WRONLY | O_CREAT | O_TRUNC, 0o666)
    }
    var (none, ordinary) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigemptyset(&ordinary)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] { sigaddset(&ordinary, signal) }
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &ordinary)
    posix_spawnattr_setflags(
      &attributes,
      Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    let path = program.path(percentEncoded: false)
    var words = ([path] + arguments).map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in words + variables { free(word) } }
    var id: pid_t = 0
    let code = posix_spawn(&id, path, &files, &attributes, &words, &variables)
    guard code == 0 else {
      throw TrainingError("[study] cannot start \(path): \(String(cString: strerror(code))).")
    }
    self.id = id
  }

  /// How it ended, or `nil` while it runs.
  ///
  /// To be asked until it has ended, and not again.
  func poll() -> Ending? {
    var status: Int32 = 0
    let result = waitpid(id, &status, WNOHANG)
    if result == 0 || (result < 0 && errno == EINTR) { return nil }
    guard result > 0 else { return .exit(-1) }
    // The macros WIFEXITED, WEXITSTATUS and WTERMSIG, which Swift does not import.
    return status & 0x7f == 0 ? .exit((status >> 8) & 0xff) : .signal(status & 0x7f)
  }

  /// Asks it to stop.
  func interrupt() { kill(id, SIGINT) }
}
