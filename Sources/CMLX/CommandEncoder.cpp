#include "CommandEncoder.h"

#include <dlfcn.h>

#include <algorithm>
#include <stdexcept>

#include "mlx/primitives.h"

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

/// CUDA's, which is passed like it.
struct dim3 {
  unsigned x, y, z;
};

/// Functions of MLX's CUDA backend and of the driver.
struct Functions {
  void* (*encoder)(mx::Stream);
  void (*set_input)(void*, const mx::array&);
  void (*set_output)(void*, const mx::array&);
  void (*add_kernel)(void*, void*, dim3, dim3, dim3, unsigned, void**);
  void (*add_graph)(void*, void*);
  void (*add_named_graph)(void*, void*, const std::string&, bool);
  void (*add_handler)(void*, std::function<void()>);
  int (*stream_create)(void**, unsigned);
  int (*capture_begin)(void*, int);
  int (*capture_end)(void*, void**);
  int (*graph_destroy)(void*);
  /// A graph without nodes.
  void* nothing = nullptr;

  static const Functions& current() {
    static const Functions functions;
    return functions;
  }

 private:
  Functions() {
    if (!mx::is_available(mx::Device::gpu)) {
      throw std::runtime_error("[kernels] expected a GPU that MLX can use, found none.");
    }
    find(encoder, RTLD_DEFAULT, "_ZN3mlx4core2cu19get_command_encoderENS0_6StreamE");
    const auto method = [](auto& function, const std::string& name) {
      find(function, RTLD_DEFAULT, ("_ZN3mlx4core2cu14CommandEncoder" + name).c_str());
    };
    method(set_input, "15set_input_arrayERKNS0_5arrayE");
    method(set_output, "16set_output_arrayERKNS0_5arrayE");
    method(add_kernel, "19add_kernel_node_rawEP9CUfunc_st4dim3S5_S5_jPPv");
    method(add_graph, "14add_graph_nodeEP10CUgraph_st");
    method(
        add_named_graph,
        "14add_graph_nodeEP10CUgraph_stRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEb");
    method(add_handler, "21add_completed_handlerESt8functionIFvvEE");
    void* driver = open_library({"libcuda.so.1"});
    find(stream_create, driver, "cuStreamCreate");
    find(capture_begin, driver, "cuStreamBeginCapture_v2");
    find(capture_end, driver, "cuStreamEndCapture");
    find(graph_destroy, driver, "cuGraphDestroy");
    int (*create)(void**, unsigned);
    find(create, driver, "cuGraphCreate");
    require(create(&nothing, 0), "cuGraphCreate");
  }
};

/// No numbers, which do not lie side by side.
mx::array no_numbers() {
  mx::array empty({0}, mx::float32, nullptr, {});
  mx::array::Flags flags{};
  empty.set_data(mx::allocator::Data(mx::allocator::Buffer(nullptr), nullptr), 0, {1}, flags);
  return empty;
}

/// An operation that of no numbers makes memory for its result, and queues nothing: MLX does not export its
/// allocator of device memory.
const std::shared_ptr<mx::Primitive>& allocation(mx::Stream stream) {
  thread_local std::shared_ptr<mx::Primitive> known;
  if (!known || known->stream() != stream) {
    known = mx::negative(mx::array({0}, mx::float32, nullptr, {}), stream).primitive_ptr();
  }
  return known;
}

}  // namespace

void CommandEncoder::check() { Functions::current(); }

CommandEncoder::CommandEncoder(mx::Stream stream)
    : stream_(stream), encoder_(Functions::current().encoder(stream)) {}

void CommandEncoder::allocate(mx::array& result) const {
  static const std::vector<mx::array> inputs{no_numbers()};
  std::vector<mx::array> results{result};
  allocation(stream_)->eval_gpu(inputs, results);
  if (!result.data_shared_ptr() || result.data_size() != result.size()) {
    throw std::runtime_error(
        "[kernels] expected memory for " + std::to_string(result.size()) + " numbers, got room for "
        + std::to_string(result.data_size()) + "; run `tessera doctor`.");
  }
}

mx::array CommandEncoder::scratch(size_t bytes) const {
  // MLX takes a few bytes from elsewhere, where nothing is aligned.
  mx::array result({int(std::max<size_t>(bytes, 256))}, mx::uint8, allocation(stream_), {});
  allocate(result);
  keep(result);
  return result;
}

mx::array CommandEncoder::contiguous(const mx::array& array) const {
  if (array.flags().row_contiguous) return array;
  auto copy = mx::contiguous(array, false, stream_);
  std::vector<mx::array> copies{copy};
  copy.primitive().eval_gpu({array}, copies);
  keep(copy);
  return copy;
}

void CommandEncoder::keep(const mx::array& array) const {
  Functions::current().add_handler(encoder_, [data = array.data_shared_ptr()] {});
}

void CommandEncoder::depend(
    const std::vector<mx::array>& inputs, const std::vector<mx::array>& outputs) const {
  for (const auto& input : inputs) Functions::current().set_input(encoder_, input);
  for (const auto& output : outputs) Functions::current().set_output(encoder_, output);
}

void CommandEncoder::launch(
    void* function, const std::vector<mx::array>& inputs, const std::vector<mx::array>& outputs,
    CMLXExtent grid, CMLXExtent block, int shared_memory, std::vector<void*> parameters) const {
  depend(inputs, outputs);
  const auto size = [](CMLXExtent e) { return dim3{unsigned(e.x), unsigned(e.y), unsigned(e.z)}; };
  Functions::current().add_kernel(
      encoder_, function, size(grid), size(block), dim3{}, unsigned(shared_memory),
      parameters.data());
}

void CommandEncoder::record(
    const std::vector<mx::array>& inputs, const mx::array& output,
    const std::function<void(void* queue)>& body) const {
  const auto& functions = Functions::current();
  // A queue of this thread's, on which nothing ever runs: only captured.
  thread_local void* queue = nullptr;
  constexpr unsigned non_blocking = 1;
  constexpr int thread_local_mode = 1;
  if (!queue) require(functions.stream_create(&queue, non_blocking), "cuStreamCreate");
  void* graph = nullptr;
  require(functions.capture_begin(queue, thread_local_mode), "cuStreamBeginCapture");
  try {
    body(queue);
  } catch (...) {
    functions.capture_end(queue, &graph);
    if (graph) functions.graph_destroy(graph);
    throw;
  }
  require(functions.capture_end(queue, &graph), "cuStreamEndCapture");
  depend(inputs, {output});
  functions.add_graph(encoder_, graph);
  functions.graph_destroy(graph);
}

void CommandEncoder::mark(const std::string& name) const {
  const auto& functions = Functions::current();
  functions.add_named_graph(encoder_, functions.nothing, name, true);
}

char* device_pointer(const mx::array& array) {
  // MLX's buffer on CUDA is a record that begins with the address.
  auto* buffer = static_cast<void* const*>(const_cast<mx::array&>(array).buffer().ptr());
  return static_cast<char*>(*buffer) + array.offset();
}

}  // namespace cmlx
