#include "Bridge.h"

using namespace cmlx;

struct CMLXFunctionBox {
  Function function;
};

namespace cmlx {

Function wrap(CMLXClosure closure) {
  auto payload = std::shared_ptr<void>(closure.payload, closure.release);
  return [payload, call = closure.call](const std::vector<mx::array>& arguments) {
    auto handles = box(arguments);
    CMLXArrays result{nullptr, 0};
    auto message = call(payload.get(), handles.items, handles.count, &result);
    cmlx_arrays_free(handles);
    if (message) {
      std::string text(message);
      free(message);
      throw std::runtime_error(text);
    }
    auto arrays = values(result.items, result.count);
    cmlx_arrays_free(result);
    return arrays;
  };
}

}  // namespace cmlx

namespace {

char* keep(CMLXFunction* out, std::function<Function()> make) {
  return attempt([&] { *out = new CMLXFunctionBox{make()}; });
}

}  // namespace

char* cmlx_value_and_gradient(
    CMLXArrays* values_out, CMLXArrays* gradients, CMLXClosure closure, const CMLXArray* arguments,
    size_t count, const int32_t* argument_numbers, size_t number_count) {
  auto function = wrap(closure);
  return attempt([&] {
    auto both = mx::value_and_grad(function, ints(argument_numbers, number_count));
    auto [results, derivatives] = both(values(arguments, count));
    *values_out = box(results);
    *gradients = box(derivatives);
  });
}

char* cmlx_vjp(
    CMLXArrays* values_out, CMLXArrays* gradients, CMLXClosure closure, const CMLXArray* primals,
    size_t primal_count, const CMLXArray* cotangents, size_t cotangent_count) {
  auto function = wrap(closure);
  return attempt([&] {
    auto [results, derivatives] =
        mx::vjp(function, values(primals, primal_count), values(cotangents, cotangent_count));
    *values_out = box(results);
    *gradients = box(derivatives);
  });
}

char* cmlx_jvp(
    CMLXArrays* values_out, CMLXArrays* tangents_out, CMLXClosure closure, const CMLXArray* primals,
    size_t primal_count, const CMLXArray* tangents, size_t tangent_count) {
  auto function = wrap(closure);
  return attempt([&] {
    auto [results, derivatives] =
        mx::jvp(function, values(primals, primal_count), values(tangents, tangent_count));
    *values_out = box(results);
    *tangents_out = box(derivatives);
  });
}

char* cmlx_compile(CMLXFunction* out, CMLXClosure closure, bool shapeless) {
  auto function = wrap(closure);
  return keep(out, [&] { return mx::compile(function, shapeless); });
}

char* cmlx_checkpoint(CMLXFunction* out, CMLXClosure closure) {
  auto function = wrap(closure);
  return keep(out, [&] { return mx::checkpoint(function); });
}

char* cmlx_custom_gradient(CMLXFunction* out, CMLXClosure forward, CMLXClosure backward) {
  auto function = wrap(forward);
  auto gradient = wrap(backward);
  return keep(out, [&] {
    return mx::custom_vjp(
        function,
        [gradient](
            const std::vector<mx::array>& primals, const std::vector<mx::array>& cotangents,
            const std::vector<mx::array>& outputs) {
          auto all = primals;
          all.insert(all.end(), cotangents.begin(), cotangents.end());
          all.insert(all.end(), outputs.begin(), outputs.end());
          return gradient(all);
        });
  });
}

char* cmlx_call(CMLXArrays* out, CMLXFunction function, const CMLXArray* arguments, size_t count) {
  return attempt([&] { *out = box(function->function(values(arguments, count))); });
}

void cmlx_function_free(CMLXFunction function) { delete function; }
