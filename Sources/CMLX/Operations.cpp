#include "Bridge.h"

using namespace cmlx;

#define UNARY(name) \
  char* cmlx_##name(CMLXArray* out, CMLXArray a) { \
    return returning(out, [&] { return mx::name(value(a)); }); \
  }
#define BINARY(name) \
  char* cmlx_##name(CMLXArray* out, CMLXArray a, CMLXArray b) { \
    return returning(out, [&] { return mx::name(value(a), value(b)); }); \
  }
#define REDUCTION(name) \
  char* cmlx_##name( \
      CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count, bool keep_dims) { \
    return returning(out, [&] { return mx::name(value(a), ints(axes, count), keep_dims); }); \
  }
CMLX_UNARY_OPERATIONS(UNARY)
CMLX_BINARY_OPERATIONS(BINARY)
CMLX_REDUCTIONS(REDUCTION)

char* cmlx_variance(
    CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count, bool keep_dims, int32_t ddof) {
  return returning(out, [&] { return mx::var(value(a), ints(axes, count), keep_dims, ddof); });
}

char* cmlx_argmax(CMLXArray* out, CMLXArray a, int32_t axis, bool keep_dims) {
  return returning(out, [&] { return mx::argmax(value(a), axis, keep_dims); });
}

char* cmlx_argmin(CMLXArray* out, CMLXArray a, int32_t axis, bool keep_dims) {
  return returning(out, [&] { return mx::argmin(value(a), axis, keep_dims); });
}

char* cmlx_where(CMLXArray* out, CMLXArray condition, CMLXArray x, CMLXArray y) {
  return returning(out, [&] { return mx::where(value(condition), value(x), value(y)); });
}

char* cmlx_clip(CMLXArray* out, CMLXArray a, CMLXArray min, CMLXArray max) {
  return returning(out, [&] { return mx::clip(value(a), optional(min), optional(max)); });
}

char* cmlx_round(CMLXArray* out, CMLXArray a, int32_t decimals) {
  return returning(out, [&] { return mx::round(value(a), decimals); });
}

char* cmlx_astype(CMLXArray* out, CMLXArray a, CMLXType type) {
  return returning(out, [&] { return mx::astype(value(a), dtype(type)); });
}

char* cmlx_view(CMLXArray* out, CMLXArray a, CMLXType type) {
  return returning(out, [&] { return mx::view(value(a), dtype(type)); });
}

char* cmlx_softmax(CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count, bool precise) {
  return returning(out, [&] { return mx::softmax(value(a), ints(axes, count), precise); });
}

char* cmlx_array_equal(CMLXArray* out, CMLXArray a, CMLXArray b, bool equal_nan) {
  return returning(out, [&] { return mx::array_equal(value(a), value(b), equal_nan); });
}

char* cmlx_addmm(CMLXArray* out, CMLXArray c, CMLXArray a, CMLXArray b, float alpha, float beta) {
  return returning(out, [&] { return mx::addmm(value(c), value(a), value(b), alpha, beta); });
}

char* cmlx_einsum(CMLXArray* out, const char* subscripts, const CMLXArray* operands, size_t count) {
  return returning(out, [&] { return mx::einsum(subscripts, values(operands, count)); });
}

char* cmlx_cumsum(CMLXArray* out, CMLXArray a, int32_t axis, bool reverse, bool inclusive) {
  return returning(out, [&] { return mx::cumsum(value(a), axis, reverse, inclusive, std::nullopt); });
}

char* cmlx_hadamard_transform(CMLXArray* out, CMLXArray a, float scale) {
  return returning(out, [&] { return mx::hadamard_transform(value(a), scale); });
}

char* cmlx_full(
    CMLXArray* out, const int32_t* dimensions, size_t rank, CMLXArray fill, CMLXType type) {
  return returning(out, [&] { return mx::full(shape(dimensions, rank), value(fill), dtype(type)); });
}

char* cmlx_arange(CMLXArray* out, double start, double stop, double step, CMLXType type) {
  return returning(out, [&] { return mx::arange(start, stop, step, dtype(type)); });
}

char* cmlx_linspace(CMLXArray* out, double start, double stop, int32_t count, CMLXType type) {
  return returning(out, [&] { return mx::linspace(start, stop, count, dtype(type)); });
}

char* cmlx_eye(CMLXArray* out, int32_t rows, int32_t columns, int32_t diagonal, CMLXType type) {
  return returning(out, [&] { return mx::eye(rows, columns, diagonal, dtype(type)); });
}

char* cmlx_tri(CMLXArray* out, int32_t rows, int32_t columns, int32_t diagonal, CMLXType type) {
  return returning(out, [&] { return mx::tri(rows, columns, diagonal, dtype(type)); });
}

char* cmlx_take(CMLXArray* out, CMLXArray a, CMLXArray indices, int32_t axis) {
  return returning(out, [&] { return mx::take(value(a), value(indices), axis); });
}

char* cmlx_take_along_axis(CMLXArray* out, CMLXArray a, CMLXArray indices, int32_t axis) {
  return returning(out, [&] { return mx::take_along_axis(value(a), value(indices), axis); });
}

char* cmlx_put_along_axis(
    CMLXArray* out, CMLXArray a, CMLXArray indices, CMLXArray updates, int32_t axis) {
  return returning(out, [&] {
    return mx::put_along_axis(value(a), value(indices), value(updates), axis);
  });
}

char* cmlx_scatter_add_axis(
    CMLXArray* out, CMLXArray a, CMLXArray indices, CMLXArray updates, int32_t axis) {
  return returning(out, [&] {
    return mx::scatter_add_axis(value(a), value(indices), value(updates), axis);
  });
}

char* cmlx_sort(CMLXArray* out, CMLXArray a, int32_t axis) {
  return returning(out, [&] { return mx::sort(value(a), axis); });
}

char* cmlx_argsort(CMLXArray* out, CMLXArray a, int32_t axis) {
  return returning(out, [&] { return mx::argsort(value(a), axis); });
}

char* cmlx_argpartition(CMLXArray* out, CMLXArray a, int32_t kth, int32_t axis) {
  return returning(out, [&] { return mx::argpartition(value(a), kth, axis); });
}
