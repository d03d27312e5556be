// Calls of NVIDIA's libraries as nodes of MLX's CUDA graph.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "Bridge.h"

namespace cmlx {

/// The functions of MLX's CUDA backend and of the driver that such a node takes.
///
/// They are looked up while the program runs: a CPU build of MLX has none of them. Of MLX only functions
/// of its library are called, so nothing depends on how its classes are laid out.
class Capture {
 public:
  /// Throws a sentence where there is no CUDA build of MLX.
  static const Capture& current();

  /// Records what `body` queues on the stream it is given, and adds it to the graph of `stream` behind
  /// what makes the inputs.
  void record(
      mx::Stream stream, const std::vector<mx::array>& inputs, const mx::array& output,
      const std::function<void(void* queue)>& body) const;

  /// Adds a node that does nothing to the graph of `stream`, with a name by which MLX tells graphs apart.
  void mark(mx::Stream stream, const std::string& name) const;

 private:
  Capture();

  void* (*encoder_)(mx::Stream);
  void (*set_input_)(void*, const mx::array&);
  void (*set_output_)(void*, const mx::array&);
  void (*add_graph_)(void*, void*);
  void (*add_named_graph_)(void*, void*, const std::string&, bool);
  int (*stream_create_)(void**, unsigned);
  int (*capture_begin_)(void*, int);
  int (*capture_end_)(void*, void**);
  int (*graph_destroy_)(void*);
  void* nothing_ = nullptr;
};

/// Where an evaluated array begins in device memory.
char* device_pointer(const mx::array& array);

/// The first library of the names that the loader finds; throws a sentence where there is none.
void* open_library(const std::vector<std::string>& names);

/// A function of a library; throws a sentence where it lacks it.
template <typename F>
void find(F& function, void* library, const char* name);

void* find_symbol(void* library, const char* name);

template <typename F>
void find(F& function, void* library, const char* name) {
  function = reinterpret_cast<F>(find_symbol(library, name));
}

}  // namespace cmlx
