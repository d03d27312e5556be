#include <mutex>

#include "Bridge.h"

using namespace cmlx;

struct CMLXGroupBox {
  mx::distributed::Group group;
};

bool cmlx_distributed_available(const char* backend) {
  try {
    return backend ? mx::distributed::is_available(backend) : mx::distributed::is_available();
  } catch (...) {
    return false;
  }
}

char* cmlx_distributed_init(CMLXGroup* out, bool strict, const char* backend) {
  return attempt([&] {
    // MPI ends a process that initialises it twice; MLX remembers that it did, but not thread by thread.
    static std::mutex once;
    std::lock_guard lock(once);
    *out = new CMLXGroupBox{mx::distributed::init(strict, backend ? backend : "any")};
  });
}

int32_t cmlx_group_rank(CMLXGroup group) { return group->group.rank(); }
int32_t cmlx_group_size(CMLXGroup group) { return group->group.size(); }
void cmlx_group_free(CMLXGroup group) { delete group; }

char* cmlx_all_sum(CMLXArray* out, CMLXArray a, CMLXGroup group) {
  return returning(out, [&] { return mx::distributed::all_sum(value(a), group->group); });
}

char* cmlx_all_gather(CMLXArray* out, CMLXArray a, CMLXGroup group) {
  return returning(out, [&] { return mx::distributed::all_gather(value(a), group->group); });
}

char* cmlx_sum_scatter(CMLXArray* out, CMLXArray a, CMLXGroup group) {
  return returning(out, [&] { return mx::distributed::sum_scatter(value(a), group->group); });
}
