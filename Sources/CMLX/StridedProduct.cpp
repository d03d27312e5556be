// Batches of matrix products whose operands and results lie anywhere in their arrays, by cuBLASLt:
// MLX's own matmul copies what is not contiguous.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "CommandEncoder.h"
#include "mlx/primitives.h"

using namespace cmlx;

namespace {

// Constants of cublasLt.h and library_types.h.
constexpr int desc_transpose_a = 3, desc_transpose_b = 4;
constexpr int layout_batch_count = 5, layout_batch_stride = 6;
constexpr int pref_workspace = 1, pref_alignment_a = 5;
constexpr int compute_32f = 68, compute_32f_fast_tf32 = 77;
constexpr int type_32f = 0, type_16f = 2, type_16bf = 14;

struct Algorithm {
  uint64_t data[8];
};

struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

struct Library {
  int (*create)(void**);
  int (*desc_create)(void**, int, int);
  int (*desc_set)(void*, int, const void*, size_t);
  int (*layout_create)(void**, int, uint64_t, uint64_t, int64_t);
  int (*layout_set)(void*, int, const void*, size_t);
  int (*pref_create)(void**);
  int (*pref_set)(void*, int, const void*, size_t);
  int (*pref_destroy)(void*);
  int (*heuristic)(void*, void*, void*, void*, void*, void*, void*, int, Heuristic*, int*);
  int (*matmul)(
      void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*,
      void*, void*, void*, const Algorithm*, void*, size_t, void*);

  static const Library& current() {
    static const Library library;
    return library;
  }

 private:
  Library() {
    void* library = open_library({"libcublasLt.so.13"});
    find(create, library, "cublasLtCreate");
    find(desc_create, library, "cublasLtMatmulDescCreate");
    find(desc_set, library, "cublasLtMatmulDescSetAttribute");
    find(layout_create, library, "cublasLtMatrixLayoutCreate");
    find(layout_set, library, "cublasLtMatrixLayoutSetAttribute");
    find(pref_create, library, "cublasLtMatmulPreferenceCreate");
    find(pref_set, library, "cublasLtMatmulPreferenceSetAttribute");
    find(pref_destroy, library, "cublasLtMatmulPreferenceDestroy");
    find(heuristic, library, "cublasLtMatmulAlgoGetHeuristic");
    find(matmul, library, "cublasLtMatmul");
  }
};

void require(int status, const char* what) {
  if (status != 0) {
    throw std::runtime_error(
        std::string("[strided product] ") + what + " of cuBLASLt failed with "
        + std::to_string(status) + ".");
  }
}

/// What cuBLASLt wants to know of a product, and what it has chosen for it.
struct Recipe {
  void *description, *a, *b, *out;
  Heuristic heuristic;
};

/// The bytes that all products' pointers are multiples of, at most 256.
uint32_t alignment(const char* pointer, int64_t outer_stride_bytes) {
  const auto bits = reinterpret_cast<uintptr_t>(pointer) | uintptr_t(outer_stride_bytes) | 256;
  return uint32_t(bits & (~bits + 1));
}

void* layout(
    const Library& library, int type, int64_t rows, int64_t columns, const CMLXStrided& place,
    int64_t batch) {
  void* result = nullptr;
  require(
      library.layout_create(&result, type, uint64_t(rows), uint64_t(columns), place.leading),
      "MatrixLayoutCreate");
  const auto count = int32_t(batch);
  require(library.layout_set(result, layout_batch_count, &count, sizeof count), "a batch count");
  require(
      library.layout_set(
          result, layout_batch_stride, &place.batch_stride, sizeof place.batch_stride),
      "a batch stride");
  return result;
}

/// cuBLASLt counts columns first, so it computes the transposed product: outᵀ = bᵀ aᵀ.
Recipe make_recipe(
    const Library& library, void* handle, const CMLXStridedProduct& p, int type,
    const std::array<uint32_t, 3>& alignments) {
  Recipe recipe{};
  const int compute = type == type_32f && p.allows_tf32 ? compute_32f_fast_tf32 : compute_32f;
  require(library.desc_create(&recipe.description, compute, type_32f), "MatmulDescCreate");
  const int32_t first = p.b.transposed, second = p.a.transposed;
  require(
      library.desc_set(recipe.description, desc_transpose_a, &first, sizeof first), "transposition");
  require(
      library.desc_set(recipe.description, desc_transpose_b, &second, sizeof second),
      "transposition");
  recipe.a = layout(
      library, type, first ? p.inner : p.columns, first ? p.columns : p.inner, p.b, p.batch);
  recipe.b =
      layout(library, type, second ? p.rows : p.inner, second ? p.inner : p.rows, p.a, p.batch);
  recipe.out = layout(library, type, p.columns, p.rows, p.out, p.batch);
  void* preference = nullptr;
  require(library.pref_create(&preference), "MatmulPreferenceCreate");
  std::unique_ptr<void, int (*)(void*)> owner(preference, library.pref_destroy);
  const auto workspace = uint64_t(p.workspace);
  require(library.pref_set(preference, pref_workspace, &workspace, sizeof workspace), "workspace");
  for (int i = 0; i < 3; ++i) {
    require(
        library.pref_set(preference, pref_alignment_a + i, &alignments[i], sizeof alignments[i]),
        "alignment");
  }
  const uint32_t last = alignments[2];
  require(library.pref_set(preference, pref_alignment_a + 3, &last, sizeof last), "alignment");
  int found = 0;
  require(
      library.heuristic(
          handle, recipe.description, recipe.a, recipe.b, recipe.out, recipe.out, preference, 1,
          &recipe.heuristic, &found),
      "the search for an algorithm");
  if (found == 0) {
    throw std::runtime_error("[strided product] expected an algorithm of cuBLASLt, got none.");
  }
  return recipe;
}

/// The recipe of a product, made once; they live as long as the process.
const Recipe& recipe(
    void* handle, const CMLXStridedProduct& p, int type,
    const std::array<uint32_t, 3>& alignments) {
  using Key = std::array<int64_t, 19>;
  static std::mutex mutex;
  static std::map<Key, Recipe> known;
  const Key key{
      p.rows, p.columns, p.inner, p.batch, p.allows_tf32, p.workspace, p.a.leading,
      p.a.batch_stride, p.a.transposed, p.b.leading, p.b.batch_stride, p.b.transposed,
      p.out.leading, p.out.batch_stride, type, alignments[0], alignments[1], alignments[2], 0};
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  return known.emplace(key, make_recipe(Library::current(), handle, p, type, alignments))
      .first->second;
}

class StridedProduct : public mx::Primitive {
 public:
  StridedProduct(mx::Stream stream, const CMLXStridedProduct& product)
      : Primitive(stream), product_(product) {}

  void eval_cpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("[strided product] expected a GPU stream, got the CPU's.");
  }

  void eval_gpu(
      const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    const auto& library = Library::current();
    const CommandEncoder encoder(stream());
    const auto first = encoder.contiguous(inputs[0]), second = encoder.contiguous(inputs[1]);
    auto& output = outputs[0];
    encoder.allocate(output);
    thread_local void* handle = nullptr;
    if (!handle) require(library.create(&handle), "Create");
    const auto size = int64_t(output.itemsize());
    const int type = output.dtype() == mx::float32   ? type_32f
                     : output.dtype() == mx::float16 ? type_16f
                                                     : type_16bf;
    const auto& p = product_;
    const char* a = device_pointer(first) + p.a.offset * size;
    const char* b = device_pointer(second) + p.b.offset * size;
    char* out = device_pointer(output) + p.out.offset * size;
    const auto& chosen = recipe(
        handle, p, type,
        {alignment(b, p.b.outer_stride * size), alignment(a, p.a.outer_stride * size),
         alignment(out, p.out.outer_stride * size)});
    const auto bytes = chosen.heuristic.workspace;
    char* workspace = bytes > 0 ? device_pointer(encoder.scratch(bytes)) : nullptr;
    const float one = 1, zero = 0;
    encoder.record({first, second}, output, [&](void* queue) {
      for (int64_t index = 0; index < p.outer; ++index) {
        char* target = out + index * p.out.outer_stride * size;
        require(
            library.matmul(
                handle, chosen.description, &one, b + index * p.b.outer_stride * size, chosen.a,
                a + index * p.a.outer_stride * size, chosen.b, &zero, target, chosen.out, target,
                chosen.out, &chosen.heuristic.algorithm, workspace, bytes, queue),
            "Matmul");
      }
    });
  }

  const char* name() const override { return "StridedProduct"; }

 private:
  CMLXStridedProduct product_;
};

}  // namespace

char* cmlx_strided_product_check(void) {
  return attempt([&] {
    CommandEncoder::check();
    Library::current();
  });
}

char* cmlx_strided_product(
    CMLXArray* out, const CMLXStridedProduct* product, CMLXArray a, CMLXArray b,
    CMLXArrayDescription result) {
  return returning(out, [&] {
    return mx::array(
        shape(result.shape, result.rank), dtype(result.type),
        std::make_shared<StridedProduct>(mx::default_stream(mx::Device::gpu), *product),
        {value(a), value(b)});
  });
}
