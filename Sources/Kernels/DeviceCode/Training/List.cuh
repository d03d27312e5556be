// Parameters of a kernel that treats TESSERA_COUNT arrays, of up to 8, in one launch: LIST(M) is M(0), M(1), ...
#pragma once

#ifndef TESSERA_COUNT
#define TESSERA_COUNT 1
#endif

#define LIST_1(M) M(0)
#define LIST_2(M) LIST_1(M), M(1)
#define LIST_3(M) LIST_2(M), M(2)
#define LIST_4(M) LIST_3(M), M(3)
#define LIST_5(M) LIST_4(M), M(4)
#define LIST_6(M) LIST_5(M), M(5)
#define LIST_7(M) LIST_6(M), M(6)
#define LIST_8(M) LIST_7(M), M(7)
#define LIST_OF(COUNT, M) LIST_##COUNT(M)
#define LIST_EXPANDED(COUNT, M) LIST_OF(COUNT, M)
#define LIST(M) LIST_EXPANDED(TESSERA_COUNT, M)

constexpr int arrays = TESSERA_COUNT;

/// The value of the array that a block works on, chosen without an index into memory.
template <typename T>
__device__ __forceinline__ T chosen(const T (&values)[arrays], int which) {
  T value = values[0];
#pragma unroll
  for (int i = 1; i < arrays; ++i)
    if (which == i) value = values[i];
  return value;
}
