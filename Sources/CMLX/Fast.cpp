#include "Bridge.h"

using namespace cmlx;

char* cmlx_layer_norm(CMLXArray* out, CMLXArray x, CMLXArray weight, CMLXArray bias, float eps) {
  return returning(out, [&] {
    return mx::fast::layer_norm(value(x), optional(weight), optional(bias), eps);
  });
}

char* cmlx_rms_norm(CMLXArray* out, CMLXArray x, CMLXArray weight, float eps) {
  return returning(out, [&] { return mx::fast::rms_norm(value(x), optional(weight), eps); });
}

char* cmlx_rope(
    CMLXArray* out, CMLXArray x, int32_t dimensions, bool traditional, float base, float scale,
    int32_t offset, CMLXArray periods) {
  return returning(out, [&] {
    return mx::fast::rope(
        value(x), dimensions, traditional, periods ? std::nullopt : std::optional(base), scale,
        offset, optional(periods));
  });
}

char* cmlx_attention(
    CMLXArray* out, CMLXArray queries, CMLXArray keys, CMLXArray values, float scale, bool causal,
    CMLXArray mask) {
  return returning(out, [&] {
    return mx::fast::scaled_dot_product_attention(
        value(queries), value(keys), value(values), scale, causal ? "causal" : mask ? "array" : "",
        optional(mask));
  });
}
