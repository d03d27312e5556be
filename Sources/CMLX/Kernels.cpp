#include <memory>
#include <string>

#include "Capture.h"
#include "mlx/primitives.h"

using namespace cmlx;

struct CMLXKernelBox {
  std::string name;
  std::string binary;
  int shared_memory;
  int cluster;
};

namespace {

mx::fast::ScalarArg scalar(const CMLXScalar& item) {
  switch (item.kind) {
    case CMLX_SCALAR_BOOL: return item.integer != 0;
    case CMLX_SCALAR_FLOAT: return item.number;
    default: return int(item.integer);
  }
}

/// A launch of a kernel whose code fixes the size of its clusters.
///
/// MLX keeps the CUDA graphs that it has run, and updates one to run another of the same key. The driver
/// does not update the clusters of a kernel, and MLX's key does not have them where the code and not the
/// launch sets them: another kernel would run with these clusters, or this one without. The mark makes
/// the keys differ.
class ClusterLaunch : public mx::Primitive {
 public:
  ClusterLaunch(mx::Stream stream, std::shared_ptr<mx::Primitive> launch, int cluster)
      : Primitive(stream), launch_(std::move(launch)), key_("cluster" + std::to_string(cluster)) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    launch_->eval_cpu(inputs, outputs);
  }

  void eval_gpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    launch_->eval_gpu(inputs, outputs);
    Capture::current().mark(stream(), key_);
  }

  const char* name() const override { return launch_->name(); }

 private:
  std::shared_ptr<mx::Primitive> launch_;
  std::string key_;
};

}  // namespace

char* cmlx_kernel_make(
    CMLXKernel* out, const char* name, const void* binary, size_t count, int32_t shared_memory,
    int32_t cluster) {
  return attempt([&] {
    *out = new CMLXKernelBox{
        name, std::string(static_cast<const char*>(binary), count), shared_memory, cluster};
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
    std::vector<mx::fast::ScalarArg> arguments;
    for (size_t i = 0; i < scalar_count; ++i) arguments.push_back(scalar(scalars[i]));
    // MLX counts the grid in threads. It copies the code when a launch enters the graph and hashes it
    // when it runs (a few microseconds for 15 KiB; nothing of it under `compile` but the hash): a
    // primitive of our own would need its allocator of device memory, which the library does not export.
    auto results = mx::fast::precompiled_cuda_kernel(
        kernel->name, kernel->binary, values(inputs, input_count), shapes, types, arguments,
        {grid.x * block.x, grid.y * block.y, grid.z * block.z}, {block.x, block.y, block.z},
        kernel->shared_memory, std::nullopt, true);
    if (kernel->cluster > 0 && !results.empty()) {
      const auto launch = results[0].primitive_ptr();
      results = mx::array::make_arrays(
          shapes, types,
          std::make_shared<ClusterLaunch>(launch->stream(), launch, kernel->cluster),
          results[0].inputs());
    }
    *out = box(results);
  });
}
