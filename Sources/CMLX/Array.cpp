#include <sstream>
#include <unordered_set>

#include "Bridge.h"

using namespace cmlx;

namespace cmlx {

CMLXArrays box(const std::vector<mx::array>& arrays) {
  auto items = static_cast<CMLXArray*>(malloc(sizeof(CMLXArray) * std::max<size_t>(1, arrays.size())));
  for (size_t i = 0; i < arrays.size(); ++i) items[i] = box(arrays[i]);
  return CMLXArrays{items, arrays.size()};
}

mx::Dtype dtype(CMLXType type) {
  switch (type) {
    case CMLX_BOOL: return mx::bool_;
    case CMLX_UINT8: return mx::uint8;
    case CMLX_UINT16: return mx::uint16;
    case CMLX_UINT32: return mx::uint32;
    case CMLX_UINT64: return mx::uint64;
    case CMLX_INT8: return mx::int8;
    case CMLX_INT16: return mx::int16;
    case CMLX_INT32: return mx::int32;
    case CMLX_INT64: return mx::int64;
    case CMLX_FLOAT16: return mx::float16;
    case CMLX_FLOAT32: return mx::float32;
    case CMLX_FLOAT64: return mx::float64;
    case CMLX_BFLOAT16: return mx::bfloat16;
    case CMLX_COMPLEX64: return mx::complex64;
  }
  throw std::invalid_argument("[dtype] not an element type of MLX");
}

CMLXType type(mx::Dtype dtype) {
  switch (dtype.val()) {
    case mx::Dtype::Val::bool_: return CMLX_BOOL;
    case mx::Dtype::Val::uint8: return CMLX_UINT8;
    case mx::Dtype::Val::uint16: return CMLX_UINT16;
    case mx::Dtype::Val::uint32: return CMLX_UINT32;
    case mx::Dtype::Val::uint64: return CMLX_UINT64;
    case mx::Dtype::Val::int8: return CMLX_INT8;
    case mx::Dtype::Val::int16: return CMLX_INT16;
    case mx::Dtype::Val::int32: return CMLX_INT32;
    case mx::Dtype::Val::int64: return CMLX_INT64;
    case mx::Dtype::Val::float16: return CMLX_FLOAT16;
    case mx::Dtype::Val::float32: return CMLX_FLOAT32;
    case mx::Dtype::Val::float64: return CMLX_FLOAT64;
    case mx::Dtype::Val::bfloat16: return CMLX_BFLOAT16;
    case mx::Dtype::Val::complex64: return CMLX_COMPLEX64;
  }
  return CMLX_FLOAT32;
}

}  // namespace cmlx

CMLXArray cmlx_array_copy(CMLXArray array) { return box(value(array)); }

bool cmlx_array_is_same(CMLXArray a, CMLXArray b) { return value(a).id() == value(b).id(); }

void cmlx_array_free(CMLXArray array) { delete reinterpret_cast<mx::array*>(array); }

void cmlx_arrays_free(CMLXArrays arrays) {
  for (size_t i = 0; i < arrays.count; ++i) cmlx_array_free(arrays.items[i]);
  free(arrays.items);
}

CMLXArrays cmlx_arrays_make(const CMLXArray* items, size_t count) {
  auto copy = static_cast<CMLXArray*>(malloc(sizeof(CMLXArray) * std::max<size_t>(1, count)));
  std::copy(items, items + count, copy);
  return CMLXArrays{copy, count};
}

char* cmlx_array_from_bytes(
    CMLXArray* out, const void* bytes, const int32_t* dimensions, size_t rank, CMLXType type) {
  return returning(out, [&] {
    auto make = [&](auto sample) {
      return mx::array(
          static_cast<const decltype(sample)*>(bytes), shape(dimensions, rank), dtype(type));
    };
    switch (type) {
      case CMLX_BOOL: return make(bool{});
      case CMLX_UINT8: return make(uint8_t{});
      case CMLX_UINT16: return make(uint16_t{});
      case CMLX_UINT32: return make(uint32_t{});
      case CMLX_UINT64: return make(uint64_t{});
      case CMLX_INT8: return make(int8_t{});
      case CMLX_INT16: return make(int16_t{});
      case CMLX_INT32: return make(int32_t{});
      case CMLX_INT64: return make(int64_t{});
      case CMLX_FLOAT16: return make(mx::float16_t{});
      case CMLX_FLOAT32: return make(float{});
      case CMLX_FLOAT64: return make(double{});
      case CMLX_BFLOAT16: return make(mx::bfloat16_t{});
      case CMLX_COMPLEX64: return make(mx::complex64_t{});
    }
    throw std::invalid_argument("[array] not an element type of MLX");
  });
}

namespace {

/// Throws if an array that has to be computed is larger than the machine's memory: MLX writes to
/// memory on the CPU without checking whether it got it.
void check_memory(const std::vector<mx::array>& outputs) {
  static const double most = static_cast<double>(cmlx_machine_memory());
  std::unordered_set<std::uintptr_t> seen;
  std::vector<const mx::array*> pending;
  for (auto& output : outputs) pending.push_back(&output);
  while (!pending.empty()) {
    auto& array = *pending.back();
    pending.pop_back();
    if (array.status() != mx::array::Status::unscheduled || !seen.insert(array.id()).second) {
      continue;
    }
    double bytes = array.itemsize();
    for (auto dimension : array.shape()) bytes *= dimension;
    if (bytes > most) {
      std::ostringstream text;
      text << "[memory] expected arrays of at most " << most
           << " bytes, this machine's memory, got shape " << array.shape() << " with " << bytes
           << " bytes; work in smaller parts.";
      throw std::runtime_error(text.str());
    }
    for (auto& input : array.inputs()) pending.push_back(&input);
    for (auto& sibling : array.siblings()) pending.push_back(&sibling);
  }
}

}  // namespace

size_t cmlx_array_rank(CMLXArray array) { return value(array).ndim(); }
int32_t cmlx_array_dim(CMLXArray array, size_t axis) { return value(array).shape()[axis]; }
size_t cmlx_array_size(CMLXArray array) { return value(array).size(); }
size_t cmlx_array_byte_count(CMLXArray array) { return value(array).nbytes(); }
CMLXType cmlx_array_type(CMLXArray array) { return type(value(array).dtype()); }

char* cmlx_array_read(CMLXArray array, void* bytes, size_t count) {
  return attempt([&] {
    if (count != value(array).nbytes()) {
      throw std::invalid_argument("[read] the buffer does not have the array's size");
    }
    auto rows = value(array);
    check_memory({rows});
    // Waits for this array alone: an operation on it would come after all that is under way.
    rows.eval();
    if (!rows.flags().row_contiguous) {
      rows = mx::contiguous(rows);
      rows.eval();
    }
    if (count > 0) std::memcpy(bytes, rows.data<char>(), count);
  });
}

char* cmlx_array_describe(char** out, CMLXArray array) {
  return attempt([&] {
    check_memory({value(array)});
    std::ostringstream text;
    text << value(array);
    *out = strdup(text.str().c_str());
  });
}

char* cmlx_eval(const CMLXArray* arrays, size_t count) {
  return attempt([&] {
    auto outputs = values(arrays, count);
    check_memory(outputs);
    std::vector<mx::array> fresh;
    for (auto& output : outputs) {
      if (output.status() == mx::array::Status::unscheduled) fresh.push_back(output);
    }
    if (!fresh.empty()) mx::eval(fresh);
    // mx::eval would wait for what was started after them, too.
    for (auto& output : outputs) output.eval();
  });
}

char* cmlx_async_eval(const CMLXArray* arrays, size_t count) {
  return attempt([&] {
    auto outputs = values(arrays, count);
    check_memory(outputs);
    mx::async_eval(outputs);
  });
}
