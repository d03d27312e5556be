#include <map>

#include "Bridge.h"

using namespace cmlx;

namespace {

char** strings(const std::vector<std::string>& items) {
  auto result = static_cast<char**>(malloc(sizeof(char*) * std::max<size_t>(1, items.size())));
  for (size_t i = 0; i < items.size(); ++i) result[i] = strdup(items[i].c_str());
  return result;
}

}  // namespace

char* cmlx_load_safetensors(
    CMLXArrays* out, char*** names, char*** metadata, size_t* metadata_count, const char* path) {
  return attempt([&] {
    auto [arrays, information] = mx::load_safetensors(path);
    // By name, so that the order never depends on a hash.
    std::map<std::string, mx::array> sorted(arrays.begin(), arrays.end());
    std::vector<std::string> keys, pairs;
    std::vector<mx::array> items;
    for (auto& [name, array] : sorted) {
      keys.push_back(name);
      items.push_back(array);
    }
    for (auto& [key, text] : information) {
      pairs.push_back(key);
      pairs.push_back(text);
    }
    *out = box(items);
    *names = strings(keys);
    *metadata = strings(pairs);
    *metadata_count = pairs.size();
  });
}

void cmlx_strings_free(char** items, size_t count) {
  for (size_t i = 0; i < count; ++i) free(items[i]);
  free(items);
}

char* cmlx_save_safetensors(
    const char* path, const char* const* names, const CMLXArray* arrays, size_t count,
    const char* const* metadata, size_t metadata_count) {
  return attempt([&] {
    std::unordered_map<std::string, mx::array> items;
    for (size_t i = 0; i < count; ++i) items.insert({names[i], value(arrays[i])});
    std::unordered_map<std::string, std::string> information;
    for (size_t i = 0; i + 1 < metadata_count; i += 2) {
      information.insert({metadata[i], metadata[i + 1]});
    }
    mx::save_safetensors(std::string(path), items, information);
  });
}
