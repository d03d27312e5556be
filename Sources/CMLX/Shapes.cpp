#include "Bridge.h"

using namespace cmlx;

char* cmlx_reshape(CMLXArray* out, CMLXArray a, const int32_t* dimensions, size_t rank) {
  return returning(out, [&] { return mx::reshape(value(a), shape(dimensions, rank)); });
}

char* cmlx_transpose(CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count) {
  return returning(out, [&] { return mx::transpose(value(a), ints(axes, count)); });
}

char* cmlx_swapaxes(CMLXArray* out, CMLXArray a, int32_t axis1, int32_t axis2) {
  return returning(out, [&] { return mx::swapaxes(value(a), axis1, axis2); });
}

char* cmlx_moveaxis(CMLXArray* out, CMLXArray a, int32_t source, int32_t destination) {
  return returning(out, [&] { return mx::moveaxis(value(a), source, destination); });
}

char* cmlx_expand_dims(CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count) {
  return returning(out, [&] { return mx::expand_dims(value(a), ints(axes, count)); });
}

char* cmlx_squeeze(CMLXArray* out, CMLXArray a, const int32_t* axes, size_t count) {
  return returning(out, [&] { return mx::squeeze(value(a), ints(axes, count)); });
}

char* cmlx_broadcast_to(CMLXArray* out, CMLXArray a, const int32_t* dimensions, size_t rank) {
  return returning(out, [&] { return mx::broadcast_to(value(a), shape(dimensions, rank)); });
}

char* cmlx_concatenate(CMLXArray* out, const CMLXArray* arrays, size_t count, int32_t axis) {
  return returning(out, [&] { return mx::concatenate(values(arrays, count), axis); });
}

char* cmlx_stack(CMLXArray* out, const CMLXArray* arrays, size_t count, int32_t axis) {
  return returning(out, [&] { return mx::stack(values(arrays, count), axis); });
}

char* cmlx_split_at(
    CMLXArrays* out, CMLXArray a, const int32_t* indices, size_t count, int32_t axis) {
  return attempt([&] { *out = box(mx::split(value(a), shape(indices, count), axis)); });
}

char* cmlx_split_into(CMLXArrays* out, CMLXArray a, int32_t parts, int32_t axis) {
  return attempt([&] { *out = box(mx::split(value(a), parts, axis)); });
}

char* cmlx_repeat(CMLXArray* out, CMLXArray a, int32_t count, int32_t axis) {
  return returning(out, [&] { return mx::repeat(value(a), count, axis); });
}

char* cmlx_tile(CMLXArray* out, CMLXArray a, const int32_t* counts, size_t rank) {
  return returning(out, [&] { return mx::tile(value(a), ints(counts, rank)); });
}

char* cmlx_pad(
    CMLXArray* out, CMLXArray a, const int32_t* low, const int32_t* high, size_t rank,
    CMLXArray fill) {
  return returning(out, [&] {
    std::vector<int> axes(rank);
    for (size_t i = 0; i < rank; ++i) axes[i] = static_cast<int>(i);
    return mx::pad(value(a), axes, shape(low, rank), shape(high, rank), value(fill));
  });
}

char* cmlx_contiguous(CMLXArray* out, CMLXArray a) {
  return returning(out, [&] { return mx::contiguous(value(a)); });
}

char* cmlx_as_strided(
    CMLXArray* out, CMLXArray a, const int32_t* dimensions, const int64_t* strides, size_t rank,
    size_t offset) {
  return returning(out, [&] {
    return mx::as_strided(
        value(a), shape(dimensions, rank), mx::Strides(strides, strides + rank), offset);
  });
}

char* cmlx_diag(CMLXArray* out, CMLXArray a, int32_t k) {
  return returning(out, [&] { return mx::diag(value(a), k); });
}

char* cmlx_diagonal(CMLXArray* out, CMLXArray a, int32_t offset, int32_t axis1, int32_t axis2) {
  return returning(out, [&] { return mx::diagonal(value(a), offset, axis1, axis2); });
}

char* cmlx_slice(
    CMLXArray* out, CMLXArray a, const int32_t* start, const int32_t* stop, const int32_t* strides,
    size_t rank) {
  return returning(out, [&] {
    return mx::slice(value(a), shape(start, rank), shape(stop, rank), shape(strides, rank));
  });
}

char* cmlx_slice_update(
    CMLXArray* out, CMLXArray a, CMLXArray update, const int32_t* start, const int32_t* stop,
    const int32_t* strides, size_t rank) {
  return returning(out, [&] {
    return mx::slice_update(
        value(a), value(update), shape(start, rank), shape(stop, rank), shape(strides, rank));
  });
}
