// Between the C handles and MLX's C++ values.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <optional>
#include <vector>

#include "CMLX.h"
#include "mlx/mlx.h"

namespace cmlx {

namespace mx = mlx::core;

using Function = std::function<std::vector<mx::array>(const std::vector<mx::array>&)>;

inline mx::array& value(CMLXArray handle) {
  return *reinterpret_cast<mx::array*>(handle);
}

inline CMLXArray box(mx::array array) {
  return reinterpret_cast<CMLXArray>(new mx::array(std::move(array)));
}

inline std::optional<mx::array> optional(CMLXArray handle) {
  return handle ? std::optional<mx::array>(value(handle)) : std::nullopt;
}

inline std::vector<mx::array> values(const CMLXArray* handles, size_t count) {
  std::vector<mx::array> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(value(handles[i]));
  return result;
}

CMLXArrays box(const std::vector<mx::array>& arrays);

inline std::vector<int> ints(const int32_t* items, size_t count) {
  return std::vector<int>(items, items + count);
}

inline mx::Shape shape(const int32_t* items, size_t count) {
  return mx::Shape(items, items + count);
}

mx::Dtype dtype(CMLXType type);
CMLXType type(mx::Dtype dtype);

/// A C++ function around a closure of the caller's, which is released with its last copy.
Function wrap(CMLXClosure closure);

/// Runs the body; an exception becomes a message for the caller to free.
template <typename Body>
char* attempt(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("[MLX] an exception of unknown type was thrown");
  }
}

template <typename Body>
char* returning(CMLXArray* out, Body body) {
  return attempt([&] { *out = box(body()); });
}

}  // namespace cmlx
