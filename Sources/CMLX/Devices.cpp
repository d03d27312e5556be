#include <dlfcn.h>
#include <malloc.h>
#include <sys/sysinfo.h>

#include <sstream>

#include "Bridge.h"

using namespace cmlx;

// Naming OpenBLAS here keeps it on the list of needed libraries, before libmlx, whatever the
// linker thinks of unused libraries: that order is what gives MLX the fast BLAS.
extern "C" int openblas_get_num_threads(void);
extern "C" void openblas_set_num_threads(int count);
extern "C" char* openblas_get_corename(void);

namespace {

mx::Device device(bool gpu) { return gpu ? mx::Device::gpu : mx::Device::cpu; }

mx::Stream stream(CMLXStream handle) { return mx::Stream(handle.index, device(handle.gpu)); }

CMLXStream handle(mx::Stream stream) {
  return CMLXStream{stream.index, stream.device == mx::Device::gpu};
}

}  // namespace

bool cmlx_gpu_available(void) {
  try {
    return mx::is_available(mx::Device::gpu);
  } catch (...) {
    return false;
  }
}

int32_t cmlx_gpu_count(void) {
  try {
    return mx::is_available(mx::Device::gpu) ? mx::device_count(mx::Device::gpu) : 0;
  } catch (...) {
    return 0;
  }
}

bool cmlx_default_device_is_gpu(void) { return mx::default_device() == mx::Device::gpu; }

char* cmlx_set_default_device(bool gpu) {
  return attempt([&] { mx::set_default_device(device(gpu)); });
}

char* cmlx_device_information(char** out, bool gpu) {
  return attempt([&] {
    std::ostringstream text;
    for (auto& [key, item] : mx::device_info(device(gpu))) {
      text << key << ": ";
      std::visit([&](auto& content) { text << content; }, item);
      text << "\n";
    }
    *out = strdup(text.str().c_str());
  });
}

char* cmlx_default_stream(CMLXStream* out, bool gpu) {
  return attempt([&] { *out = handle(mx::default_stream(device(gpu))); });
}

char* cmlx_new_stream(CMLXStream* out, bool gpu) {
  return attempt([&] { *out = handle(mx::new_stream(device(gpu))); });
}

char* cmlx_set_default_stream(CMLXStream item) {
  return attempt([&] { mx::set_default_stream(stream(item)); });
}

char* cmlx_synchronize(CMLXStream item) {
  return attempt([&] { mx::synchronize(stream(item)); });
}

const char* cmlx_version(void) { return mx::version(); }

uint64_t cmlx_machine_memory(void) {
  struct sysinfo information;
  if (sysinfo(&information) != 0) return UINT64_MAX;
  return (uint64_t(information.totalram) + information.totalswap) * information.mem_unit;
}

size_t cmlx_active_memory(void) { return mx::get_active_memory(); }
size_t cmlx_peak_memory(void) { return mx::get_peak_memory(); }
size_t cmlx_cache_memory(void) { return mx::get_cache_memory(); }
void cmlx_keep_freed(int32_t kept, int32_t largest) {
  mallopt(M_TRIM_THRESHOLD, kept);
  mallopt(M_MMAP_THRESHOLD, largest);
}
void cmlx_reset_peak_memory(void) { mx::reset_peak_memory(); }
size_t cmlx_set_memory_limit(size_t bytes) { return mx::set_memory_limit(bytes); }
size_t cmlx_set_cache_limit(size_t bytes) { return mx::set_cache_limit(bytes); }
void cmlx_clear_cache(void) { mx::clear_cache(); }

char* cmlx_symbol_origin(const char* symbol) {
  Dl_info information;
  void* address = dlsym(RTLD_DEFAULT, symbol);
  if (!address || !dladdr(address, &information) || !information.dli_fname) return nullptr;
  return strdup(information.dli_fname);
}

int32_t cmlx_blas_threads(void) { return openblas_get_num_threads(); }
void cmlx_set_blas_threads(int32_t count) { openblas_set_num_threads(count); }
const char* cmlx_blas_core(void) { return openblas_get_corename(); }
