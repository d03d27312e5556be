#include "Bridge.h"

using namespace cmlx;

namespace {
const auto cpu = mx::Device(mx::Device::cpu);
}

char* cmlx_svd(CMLXArrays* out, CMLXArray a) {
  return attempt([&] { *out = box(mx::linalg::svd(value(a), true, cpu)); });
}

char* cmlx_qr(CMLXArrays* out, CMLXArray a) {
  return attempt([&] {
    auto [q, r] = mx::linalg::qr(value(a), cpu);
    *out = box({q, r});
  });
}

char* cmlx_eigh(CMLXArrays* out, CMLXArray a) {
  return attempt([&] {
    auto [eigenvalues, eigenvectors] = mx::linalg::eigh(value(a), "L", cpu);
    *out = box({eigenvalues, eigenvectors});
  });
}

char* cmlx_cholesky(CMLXArray* out, CMLXArray a, bool upper) {
  return returning(out, [&] { return mx::linalg::cholesky(value(a), upper, cpu); });
}

char* cmlx_inverse(CMLXArray* out, CMLXArray a) {
  return returning(out, [&] { return mx::linalg::inv(value(a), cpu); });
}

char* cmlx_pseudo_inverse(CMLXArray* out, CMLXArray a) {
  return returning(out, [&] { return mx::linalg::pinv(value(a), cpu); });
}

char* cmlx_solve(CMLXArray* out, CMLXArray a, CMLXArray b) {
  return returning(out, [&] { return mx::linalg::solve(value(a), value(b), cpu); });
}

char* cmlx_solve_triangular(CMLXArray* out, CMLXArray a, CMLXArray b, bool upper) {
  return returning(
      out, [&] { return mx::linalg::solve_triangular(value(a), value(b), upper, cpu); });
}
