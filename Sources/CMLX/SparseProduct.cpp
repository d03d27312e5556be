// Products with a weight of which two of every four numbers along a row are zero, on sparse tensor cores, by cuSPARSELt.
#include <array>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "CommandEncoder.h"
#include "mlx/primitives.h"

using namespace cmlx;

namespace {

// Constants of cusparseLt.h and library_types.h.
constexpr int type_16f = 2, type_16bf = 14;
constexpr int order_column = 1, order_row = 2, not_transposed = 0, transposed = 1;
constexpr int compute_32f = 2, half_sparsity = 0, default_algorithm = 0;
constexpr uint32_t alignment = 16;

/// cuSPARSELt's records, which are 512 bytes each and stay where they were made.
struct alignas(16) Record {
  uint8_t data[1024];
};

struct Library {
  int (*init)(Record*);
  int (*dense)(const Record*, Record*, int64_t, int64_t, int64_t, uint32_t, int, int);
  int (*structured)(const Record*, Record*, int64_t, int64_t, int64_t, uint32_t, int, int, int);
  int (*product)(
      const Record*, Record*, int, int, const Record*, const Record*, const Record*, const Record*,
      int);
  int (*selection)(const Record*, Record*, const Record*, int);
  int (*plan)(const Record*, Record*, const Record*, const Record*);
  int (*workspace)(const Record*, const Record*, size_t*);
  int (*compressed_size)(const Record*, const Record*, size_t*, size_t*);
  int (*compress)(const Record*, const Record*, const void*, void*, void*, void*);
  int (*search)(
      const Record*, Record*, const void*, const void*, const void*, const void*, const void*,
      void*, void*, void**, int32_t);
  int (*matmul)(
      const Record*, const Record*, const void*, const void*, const void*, const void*,
      const void*, void*, void*, void**, int32_t);
  int (*synchronize)(void*);

  static const Library& current() {
    static const Library library;
    return library;
  }

 private:
  Library() {
    void* library = open_library({"libcusparseLt.so.0"});
    find(init, library, "cusparseLtInit");
    find(dense, library, "cusparseLtDenseDescriptorInit");
    find(structured, library, "cusparseLtStructuredDescriptorInit");
    find(product, library, "cusparseLtMatmulDescriptorInit");
    find(selection, library, "cusparseLtMatmulAlgSelectionInit");
    find(plan, library, "cusparseLtMatmulPlanInit");
    find(workspace, library, "cusparseLtMatmulGetWorkspace");
    find(compressed_size, library, "cusparseLtSpMMACompressedSize");
    find(compress, library, "cusparseLtSpMMACompress");
    find(search, library, "cusparseLtMatmulSearch");
    find(matmul, library, "cusparseLtMatmul");
    find(synchronize, open_library({"libcuda.so.1"}), "cuStreamSynchronize");
  }
};

void require(int status, const char* what) {
  if (status != 0) {
    throw std::runtime_error(
        std::string("[sparse product] ") + what + " of cuSPARSELt failed with "
        + std::to_string(status) + ".");
  }
}

/// What cuSPARSELt knows of y [rows, outputs] = x [rows, inputs] wᵀ: it computes yᵀ, of which columns follow
/// each other. Its records point at each other, so a recipe never moves.
struct Recipe {
  Record weight, input, result, product, selection, plan;
  size_t workspace = 0;
};

/// The recipe of a product, made once, by the library's own choice of an algorithm; a search changes it for its number of
/// rows alone. With other rows the algorithm of a search has ended in illegal instructions (log-gpu-factors.md).
class Recipes {
 public:
  static Recipes& shared() {
    static Recipes recipes;
    return recipes;
  }

  Record handle;

  Recipe& named(const CMLXSparseProduct& p, mx::Dtype dtype) {
    const std::lock_guard lock(mutex_);
    const auto& library = Library::current();
    const int type = dtype == mx::float16 ? type_16f : type_16bf;
    const std::array<int64_t, 4> key{p.rows, p.outputs, p.inputs, type};
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    Recipe& r = known_[key];
    try {
      require(
          library.structured(
              &handle, &r.weight, p.outputs, p.inputs, p.inputs, alignment, type, order_row,
              half_sparsity),
          "StructuredDescriptorInit");
      require(
          library.dense(
              &handle, &r.input, p.rows, p.inputs, p.inputs, alignment, type, order_row),
          "DenseDescriptorInit");
      require(
          library.dense(
              &handle, &r.result, p.outputs, p.rows, p.outputs, alignment, type, order_column),
          "DenseDescriptorInit");
      require(
          library.product(
              &handle, &r.product, not_transposed, transposed, &r.weight, &r.input, &r.result,
              &r.result, compute_32f),
          "MatmulDescriptorInit");
      require(
          library.selection(&handle, &r.selection, &r.product, default_algorithm),
          "MatmulAlgSelectionInit");
      require(library.plan(&handle, &r.plan, &r.product, &r.selection), "MatmulPlanInit");
      require(library.workspace(&handle, &r.plan, &r.workspace), "MatmulGetWorkspace");
    } catch (...) {
      known_.erase(key);
      throw;
    }
    return r;
  }

 private:
  Recipes() { require(Library::current().init(&handle), "Init"); }

  std::mutex mutex_;
  std::map<std::array<int64_t, 4>, Recipe> known_;
};

class SparseProduct : public mx::Primitive {
 public:
  SparseProduct(mx::Stream stream, const CMLXSparseProduct& product)
      : Primitive(stream), product_(product) {}

  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[sparse product] expected a GPU stream, got the CPU's.");
  }

  /// Inputs x and the compressed weight.
  void eval_gpu(
      const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto& library = Library::current();
    auto& recipes = Recipes::shared();
    const CommandEncoder encoder(stream());
    const auto x = encoder.contiguous(inputs[0]);
    auto& output = outputs[0];
    encoder.allocate(output);
    const auto& recipe = recipes.named(product_, output.dtype());
    char* target = device_pointer(output);
    char* workspace =
        recipe.workspace > 0 ? device_pointer(encoder.scratch(recipe.workspace)) : nullptr;
    const float one = 1, zero = 0;
    encoder.record({x, inputs[1]}, output, [&](void* queue) {
      require(
          library.matmul(
              &recipes.handle, &recipe.plan, &one, device_pointer(inputs[1]), device_pointer(x),
              &zero, target, target, workspace, &queue, 1),
          "Matmul");
    });
  }

  const char* name() const override { return "SparseProduct"; }

 private:
  CMLXSparseProduct product_;
};

}  // namespace

char* cmlx_sparse_product_check(void) {
  return attempt([&] {
    CommandEncoder::check();
    Recipes::shared();
  });
}

char* cmlx_sparse_product_sizes(
    const CMLXSparseProduct* product, CMLXArray like, size_t* compressed, size_t* buffer) {
  return attempt([&] {
    auto& recipes = Recipes::shared();
    const auto& recipe = recipes.named(*product, value(like).dtype());
    require(
        Library::current().compressed_size(&recipes.handle, &recipe.plan, compressed, buffer),
        "SpMMACompressedSize");
  });
}

char* cmlx_sparse_product_compress(
    const CMLXSparseProduct* product, CMLXArray weight, CMLXArray x, CMLXArray compressed,
    CMLXArray buffer, CMLXArray room, CMLXArray workspace) {
  return attempt([&] {
    const auto& library = Library::current();
    auto& recipes = Recipes::shared();
    auto& recipe = recipes.named(*product, value(weight).dtype());
    void* queue = nullptr;
    require(
        library.compress(
            &recipes.handle, &recipe.plan, device_pointer(value(weight)),
            device_pointer(value(compressed)), device_pointer(value(buffer)), queue),
        "SpMMACompress");
    const float one = 1, zero = 0;
    char* target = device_pointer(value(room));
    require(
        library.search(
            &recipes.handle, &recipe.plan, &one, device_pointer(value(compressed)),
            device_pointer(value(x)), &zero, target, target, device_pointer(value(workspace)),
            &queue, 1),
        "MatmulSearch");
    require(library.synchronize(queue), "synchronisation");
    require(
        library.workspace(&recipes.handle, &recipe.plan, &recipe.workspace),
        "MatmulGetWorkspace");
  });
}

char* cmlx_sparse_product(
    CMLXArray* out, const CMLXSparseProduct* product, CMLXArray x, CMLXArray compressed,
    CMLXArrayDescription result) {
  return returning(out, [&] {
    return mx::array(
        shape(result.shape, result.rank), dtype(result.type),
        std::make_shared<SparseProduct>(mx::default_stream(mx::Device::gpu), *product),
        {value(x), value(compressed)});
  });
}
