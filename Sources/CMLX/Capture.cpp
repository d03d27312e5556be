#include "Capture.h"

#include <dlfcn.h>

#include <stdexcept>

namespace cmlx {

void* open_library(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw std::runtime_error(
      "[kernels] expected " + names.front() + ", found none; see that the loader finds it.");
}

void* find_symbol(void* library, const char* name) {
  if (void* symbol = dlsym(library, name)) return symbol;
  throw std::runtime_error(
      std::string("[kernels] expected a library with ") + name
      + ", found it without; run `tessera doctor`.");
}

namespace {

void require(int status, const char* what) {
  if (status != 0) {
    throw std::runtime_error(
        std::string("[kernels] ") + what + " failed with CUDA error " + std::to_string(status)
        + ".");
  }
}

}  // namespace

const Capture& Capture::current() {
  static const Capture capture;
  return capture;
}

Capture::Capture() {
  if (!mx::is_available(mx::Device::gpu)) {
    throw std::runtime_error("[kernels] expected a GPU that MLX can use, found none.");
  }
  find(encoder_, RTLD_DEFAULT, "_ZN3mlx4core2cu19get_command_encoderENS0_6StreamE");
  find(
      set_input_, RTLD_DEFAULT,
      "_ZN3mlx4core2cu14CommandEncoder15set_input_arrayERKNS0_5arrayE");
  find(
      set_output_, RTLD_DEFAULT,
      "_ZN3mlx4core2cu14CommandEncoder16set_output_arrayERKNS0_5arrayE");
  find(
      add_graph_, RTLD_DEFAULT,
      "_ZN3mlx4core2cu14CommandEncoder14add_graph_nodeEP10CUgraph_st");
  find(
      add_named_graph_, RTLD_DEFAULT,
      "_ZN3mlx4core2cu14CommandEncoder14add_graph_nodeEP10CUgraph_stRKNSt7__cxx1112basic_stringIcSt"
      "11char_traitsIcESaIcEEEb");
  void* driver = open_library({"libcuda.so.1"});
  find(stream_create_, driver, "cuStreamCreate");
  find(capture_begin_, driver, "cuStreamBeginCapture_v2");
  find(capture_end_, driver, "cuStreamEndCapture");
  find(graph_destroy_, driver, "cuGraphDestroy");
  int (*create)(void**, unsigned);
  find(create, driver, "cuGraphCreate");
  require(create(&nothing_, 0), "cuGraphCreate");
}

void Capture::record(
    mx::Stream stream, const std::vector<mx::array>& inputs, const mx::array& output,
    const std::function<void(void* queue)>& body) const {
  // A queue of this thread's, on which nothing ever runs: only captured.
  thread_local void* queue = nullptr;
  constexpr unsigned non_blocking = 1;
  constexpr int thread_local_mode = 1;
  if (!queue) require(stream_create_(&queue, non_blocking), "cuStreamCreate");
  void* graph = nullptr;
  require(capture_begin_(queue, thread_local_mode), "cuStreamBeginCapture");
  try {
    body(queue);
  } catch (...) {
    capture_end_(queue, &graph);
    if (graph) graph_destroy_(graph);
    throw;
  }
  require(capture_end_(queue, &graph), "cuStreamEndCapture");
  void* encoder = encoder_(stream);
  for (const auto& input : inputs) set_input_(encoder, input);
  set_output_(encoder, output);
  add_graph_(encoder, graph);
  graph_destroy_(graph);
}

void Capture::mark(mx::Stream stream, const std::string& name) const {
  add_named_graph_(encoder_(stream), nothing_, name, true);
}

char* device_pointer(const mx::array& array) {
  // MLX's buffer on CUDA is a record that begins with the address.
  auto* buffer = static_cast<void* const*>(const_cast<mx::array&>(array).buffer().ptr());
  return static_cast<char*>(*buffer) + array.offset();
}

}  // namespace cmlx
