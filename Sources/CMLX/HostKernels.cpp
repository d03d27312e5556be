#include <memory>
#include <stdexcept>
#include <string>

#include "Bridge.h"
#include "mlx/allocator.h"
#include "mlx/primitives.h"
#include "mlx/scheduler.h"

using namespace cmlx;

namespace {

/// The caller's description of a job, freed with its last user.
using Problem = std::shared_ptr<const void>;

/// A function of the caller's as an operation of the graph.
class HostKernel : public mx::Primitive {
 public:
  HostKernel(
      mx::Stream stream, std::string name, CMLXHostFunction run, Problem problem, size_t scratch)
      : Primitive(stream), name_(std::move(name)), run_(run), problem_(std::move(problem)),
        scratch_(scratch) {}

  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    std::vector<const void*> in;
    std::vector<void*> out;
    for (const auto& input : inputs) in.push_back(input.data<char>());
    for (auto& output : outputs) {
      output.set_data(mx::allocator::malloc(output.nbytes()));
      out.push_back(output.data<char>());
    }
    // MLX keeps the arrays alive until what is dispatched here has run.
    mx::scheduler::enqueue(
        stream(), [run = run_, problem = problem_, in, out, scratch = scratch_] {
          auto memory = mx::allocator::malloc(scratch);
          run(problem.get(), in.data(), out.data(), memory.buffer().raw_ptr());
        });
  }

  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[" + name_ + "] expected the CPU, got a GPU stream.");
  }

  const char* name() const override { return name_.c_str(); }

 private:
  std::string name_;
  CMLXHostFunction run_;
  Problem problem_;
  size_t scratch_;
};

}  // namespace

char* cmlx_host_launch(
    CMLXArrays* out, const char* name, CMLXHostFunction run, const void* problem,
    size_t problem_size, size_t scratch, const CMLXArray* inputs, size_t input_count,
    const CMLXArrayDescription* outputs, size_t output_count) {
  return attempt([&] {
    auto stream = mx::default_stream(mx::Device::cpu);
    std::vector<mx::array> arguments;
    for (size_t i = 0; i < input_count; ++i) {
      arguments.push_back(mx::contiguous(value(inputs[i]), false, stream));
    }
    std::vector<mx::Shape> shapes;
    std::vector<mx::Dtype> types;
    for (size_t i = 0; i < output_count; ++i) {
      shapes.push_back(shape(outputs[i].shape, outputs[i].rank));
      types.push_back(dtype(outputs[i].type));
    }
    void* copy = std::malloc(problem_size);
    if (!copy) throw std::bad_alloc();
    std::memcpy(copy, problem, problem_size);
    auto primitive = std::make_shared<HostKernel>(
        stream, name, run, Problem(copy, [](const void* p) { std::free(const_cast<void*>(p)); }),
        scratch);
    *out = box(mx::array::make_arrays(shapes, types, primitive, arguments));
  });
}
