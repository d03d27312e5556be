#include <string>

#include "Bridge.h"

using namespace cmlx;

struct CMLXKernelBox {
  std::string name;
  std::string binary;
  int shared_memory;
};

namespace {

mx::fast::ScalarArg scalar(const CMLXScalar& item) {
  switch (item.kind) {
    case CMLX_SCALAR_BOOL: return item.integer != 0;
    case CMLX_SCALAR_FLOAT: return item.number;
    default: return int(item.integer);
  }
}

}  // namespace

char* cmlx_kernel_make(
    CMLXKernel* out, const char* name, const void* binary, size_t count, int32_t shared_memory) {
  return attempt([&] {
    *out = new CMLXKernelBox{
        name, std::string(static_cast<const char*>(binary), count), shared_memory};
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
    *out = box(mx::fast::precompiled_cuda_kernel(
        kernel->name, kernel->binary, values(inputs, input_count), shapes, types, arguments,
        {grid.x * block.x, grid.y * block.y, grid.z * block.z}, {block.x, block.y, block.z},
        kernel->shared_memory, std::nullopt, true));
  });
}
