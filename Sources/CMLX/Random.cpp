#include "Bridge.h"

using namespace cmlx;

char* cmlx_random_key(CMLXArray* out, uint64_t seed) {
  return returning(out, [&] { return mx::random::key(seed); });
}

char* cmlx_random_seed(uint64_t seed) {
  return attempt([&] { mx::random::seed(seed); });
}

char* cmlx_random_split(CMLXArray* out, CMLXArray key, int32_t count) {
  return returning(out, [&] { return mx::random::split(value(key), count); });
}

char* cmlx_random_uniform(
    CMLXArray* out, CMLXArray low, CMLXArray high, const int32_t* dimensions, size_t rank,
    CMLXType type, CMLXArray key) {
  return returning(out, [&] {
    return mx::random::uniform(
        value(low), value(high), shape(dimensions, rank), dtype(type), optional(key));
  });
}

char* cmlx_random_normal(
    CMLXArray* out, const int32_t* dimensions, size_t rank, CMLXType type, float mean,
    float deviation, CMLXArray key) {
  return returning(out, [&] {
    return mx::random::normal(
        shape(dimensions, rank), dtype(type), mean, deviation, optional(key));
  });
}

char* cmlx_random_integers(
    CMLXArray* out, CMLXArray low, CMLXArray high, const int32_t* dimensions, size_t rank,
    CMLXType type, CMLXArray key) {
  return returning(out, [&] {
    return mx::random::randint(
        value(low), value(high), shape(dimensions, rank), dtype(type), optional(key));
  });
}

char* cmlx_random_bernoulli(
    CMLXArray* out, CMLXArray probability, const int32_t* dimensions, size_t rank, CMLXArray key) {
  return returning(out, [&] {
    return mx::random::bernoulli(value(probability), shape(dimensions, rank), optional(key));
  });
}

char* cmlx_random_categorical(CMLXArray* out, CMLXArray logits, int32_t axis, CMLXArray key) {
  return returning(out, [&] { return mx::random::categorical(value(logits), axis, optional(key)); });
}

char* cmlx_random_permutation(CMLXArray* out, int32_t count, CMLXArray key) {
  return returning(out, [&] { return mx::random::permutation(count, optional(key)); });
}
