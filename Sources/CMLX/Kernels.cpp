#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "CommandEncoder.h"
#include "mlx/primitives.h"

using namespace cmlx;

namespace {

/// Machine code, loaded when it first runs and never unloaded: MLX keeps graphs that name it.
class Kernel {
 public:
  const std::string name;
  const int shared_memory, cluster;

  Kernel(std::string name, std::string binary, int shared_memory, int cluster)
      : name(std::move(name)), shared_memory(shared_memory), cluster(cluster),
        binary_(std::move(binary)) {}

  /// Throws a sentence where the driver does not take the code.
  void* function() {
    const std::lock_guard lock(mutex_);
    if (!function_) load();
    return function_;
  }

 private:
  void load() {
    void* driver = open_library({"libcuda.so.1"});
    int (*load_data)(void**, const void*);
    int (*get_function)(void**, void*, const char*);
    int (*set_attribute)(void*, int, int);
    find(load_data, driver, "cuModuleLoadData");
    find(get_function, driver, "cuModuleGetFunction");
    find(set_attribute, driver, "cuFuncSetAttribute");
    constexpr int max_dynamic_shared_memory = 8;
    void *module = nullptr, *function = nullptr;
    require(load_data(&module, binary_.data()), "cuModuleLoadData");
    require(get_function(&function, module, name.c_str()), "cuModuleGetFunction");
    require(
        set_attribute(function, max_dynamic_shared_memory, shared_memory), "cuFuncSetAttribute");
    function_ = function;
  }

  void require(int status, const char* what) const {
    if (status != 0) {
      throw std::runtime_error(
          "[" + name + "] " + what + " failed with CUDA error " + std::to_string(status) + ".");
    }
  }

  std::string binary_;
  std::mutex mutex_;
  void* function_ = nullptr;
};

/// A launch as an operation of the graph.
///
/// MLX's own, `precompiled_cuda_kernel`, hashes the code at each launch, 13 µs for 65 KiB, and copies it
/// into each operation.
class KernelLaunch : public mx::Primitive {
 public:
  KernelLaunch(
      mx::Stream stream, std::shared_ptr<Kernel> kernel, std::vector<CMLXScalar> scalars,
      CMLXExtent grid, CMLXExtent block)
      : Primitive(stream), kernel_(std::move(kernel)), scalars_(std::move(scalars)), grid_(grid),
        block_(block) {}

  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[" + kernel_->name + "] expected a GPU stream, got the CPU's.");
  }

  void eval_gpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const CommandEncoder encoder(stream());
    std::vector<mx::array> operands;
    for (const auto& input : inputs) operands.push_back(encoder.contiguous(input));
    std::vector<char*> pointers;
    for (const auto& operand : operands) pointers.push_back(device_pointer(operand));
    for (auto& output : outputs) {
      encoder.allocate(output);
      pointers.push_back(device_pointer(output));
    }
    std::vector<void*> parameters;
    for (auto& pointer : pointers) parameters.push_back(&pointer);
    for (auto& scalar : scalars_) {
      parameters.push_back(
          scalar.kind == CMLX_SCALAR_FLOAT ? static_cast<void*>(&scalar.number) : &scalar.integer);
    }
    encoder.launch(
        kernel_->function(), operands, outputs, grid_, block_, kernel_->shared_memory, parameters);
    // MLX keeps the graphs that it has run, and updates one to run another of the same key. The driver
    // does not update the clusters of a kernel, and MLX's key does not have them: another kernel would run
    // with these clusters, or this one without. The mark makes the keys differ.
    if (kernel_->cluster > 0) encoder.mark("cluster" + std::to_string(kernel_->cluster));
  }

  const char* name() const override { return kernel_->name.c_str(); }

 private:
  std::shared_ptr<Kernel> kernel_;
  std::vector<CMLXScalar> scalars_;
  CMLXExtent grid_, block_;
};

}  // namespace

struct CMLXKernelBox {
  std::shared_ptr<Kernel> kernel;
};

char* cmlx_kernel_make(
    CMLXKernel* out, const char* name, const void* binary, size_t count, int32_t shared_memory,
    int32_t cluster) {
  return attempt([&] {
    *out = new CMLXKernelBox{std::make_shared<Kernel>(
        name, std::string(static_cast<const char*>(binary), count), shared_memory, cluster)};
  });
}

void cmlx_kernel_free(CMLXKernel kernel) { delete kernel; }

char* cmlx_kernel_launch(
    CMLXArrays* out, CMLXKernel kernel, const CMLXArray* inputs, size_t input_count,
    const CMLXArrayDescription* outputs, size_t output_count, const CMLXScalar* scalars,
    size_t scalar_count, CMLXExtent grid, CMLXExtent block) {
  return attempt([&] {
    std::vector<mx::Shape> shapes;
    std::vector<mx::Dtype> types;
    for (size_t i = 0; i < output_count; ++i) {
      shapes.push_back(shape(outputs[i].shape, outputs[i].rank));
      types.push_back(dtype(outputs[i].type));
    }
    auto launch = std::make_shared<KernelLaunch>(
        mx::default_stream(mx::default_device()), kernel->kernel,
        std::vector<CMLXScalar>(scalars, scalars + scalar_count), grid, block);
    *out = box(mx::array::make_arrays(shapes, types, launch, values(inputs, input_count)));
  });
}
