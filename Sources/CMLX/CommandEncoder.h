// Kernels and calls of NVIDIA's libraries as nodes of MLX's CUDA graph.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "Bridge.h"

namespace cmlx {

/// What MLX queues work of one stream with, seen through the functions that its library exports.
///
/// They are looked up while the program runs: a CPU build of MLX has none of them. Of MLX only functions
/// of its library are called, so nothing depends on how its classes are laid out.
class CommandEncoder {
 public:
  /// Throws a sentence where there is no CUDA build of MLX.
  static void check();

  explicit CommandEncoder(mx::Stream stream);

  /// Gives an operation's result device memory, not initialised.
  void allocate(mx::array& result) const;

  /// Device memory until the graph has run, not initialised.
  mx::array scratch(size_t bytes) const;

  /// The array, or a copy of it where its rows do not follow each other.
  mx::array contiguous(const mx::array& array) const;

  /// Adds a kernel behind what makes the inputs; the parameters are copied now.
  void launch(
      void* function, const std::vector<mx::array>& inputs, const std::vector<mx::array>& outputs,
      CMLXExtent grid, CMLXExtent block, int shared_memory, std::vector<void*> parameters) const;

  /// Records what `body` queues on the stream it is given, and adds it behind what makes the inputs.
  void record(
      const std::vector<mx::array>& inputs, const mx::array& output,
      const std::function<void(void* queue)>& body) const;

  /// Adds a node that does nothing, with a name by which MLX tells graphs apart.
  void mark(const std::string& name) const;

 private:
  void depend(
      const std::vector<mx::array>& inputs, const std::vector<mx::array>& outputs) const;
  void keep(const mx::array& array) const;

  mx::Stream stream_;
  void* encoder_;
};

/// Where an evaluated array begins in device memory.
char* device_pointer(const mx::array& array);

/// The first library of the names that the loader finds; throws a sentence where there is none.
void* open_library(const std::vector<std::string>& names);

void* find_symbol(void* library, const char* name);

/// A function of a library; throws a sentence where it lacks it.
template <typename F>
void find(F& function, void* library, const char* name) {
  function = reinterpret_cast<F>(find_symbol(library, name));
}

}  // namespace cmlx
