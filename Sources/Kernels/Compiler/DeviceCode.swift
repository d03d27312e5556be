import CDeviceCode

/// The sources of `DeviceCode/`, carried by this program.
public enum DeviceCode {
  /// The text of each file by name.
  public static let files: [String: String] = {
    let named = (0..<tessera_device_file_count()).map { index in
      (
        String(cString: tessera_device_file_name(index)),
        String(cString: tessera_device_file_text(index))
      )
    }
    return Dictionary(uniqueKeysWithValues: named)
  }()

  /// The names of a file and of all that it includes, in order.
  ///
  /// `nil` if one of them is not there: the sources are closed under `#include`.
  public static func closure(of file: String) -> [String]? {
    var found: Set<String> = []
    var open = [file]
    while let name = open.popLast() {
      guard found.insert(name).inserted else { continue }
      guard let text = files[name] else { return nil }
      open += includes(in: text)
    }
    return found.sorted()
  }

  private static func includes(in text: String) -> [String] {
    text.split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "\"")
      return line.hasPrefix("#include \"") && parts.count >= 2 ? String(parts[1]) : nil
    }
  }
}
