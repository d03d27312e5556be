// What happens to a run of outputs between the accumulators and device memory:
//
//     y = activation(v + bias) * gate + residual
//
// each part only where its pointer is not null. `gate` and `residual` are [rows, columns] with the row pitch of y.
#pragma once
#include "Activation.cuh"
#include "Element.cuh"

struct Epilogue {
  Storage* y;
  const Storage *bias, *gate, *residual;
  i64 pitch;
  /// Every run starts on a multiple of 16 bytes, or of the largest power of two that divides its length if that is less.
  bool aligned;

  /// Bias, activation, gate and residual of those of `length` outputs from `column` of `row` that lie before `end`.
  template <int length>
  __device__ __forceinline__ void apply(i64 row, int column, int end, float (&v)[length]) const {
    if (bias == nullptr && gate == nullptr && residual == nullptr && TESSERA_ACTIVATION == 0) return;
#pragma unroll
    for (int i = 0; i < length; ++i)
      if (column + i < end) {
        if (bias != nullptr) v[i] += storageValue(bias[column + i]);
        v[i] = activation(v[i]);
        if (gate != nullptr) v[i] *= storageValue(gate[row * pitch + column + i]);
        if (residual != nullptr) v[i] += storageValue(residual[row * pitch + column + i]);
      }
  }

  /// Writes those of `length` outputs from `column` of `row` that lie before `end`.
  template <int length>
  __device__ __forceinline__ void store(i64 row, int column, int end, float (&v)[length]) const {
    apply(row, column, end, v);
    if (length * Element::bytes >= 4 && aligned && column + length <= end) {
      storeRun(y + row * pitch + column, v);
    } else {
      storeEach(row, column, end, v);
    }
  }

  /// As store, by the whole warp: where a run is a multiple of 32 bytes, lanes 2 n and 2 n + 1 swap halves, so that a store
  /// instruction fills whole sectors of 32 bytes. Half-filled ones cost the L2 cache as much as whole ones.
  template <int length>
  __device__ __forceinline__ void storeTogether(bool present, i64 row, int column, int end, float (&v)[length]) const {
    if constexpr (length * Element::bytes % 32 != 0) {
      if (present) store(row, column, end, v);
    } else {
      constexpr int half = vectorLength;
      const bool fast = present && aligned && column + length <= end, odd = threadIdx.x & 1;
      if (present) apply(row, column, end, v);
      const i64 mine = row * pitch + column, other = __shfl_xor_sync(0xFFFFFFFFu, mine, 1);
      const bool otherFast = __shfl_xor_sync(0xFFFFFFFFu, (int)fast, 1);
#pragma unroll
      for (int i = 0; i < length; i += 2 * half) {
        u32 low[4], high[4], swapped[4];
        pack(low, v, i);
        pack(high, v, i + half);
#pragma unroll
        for (int w = 0; w < 4; ++w) swapped[w] = __shfl_xor_sync(0xFFFFFFFFu, odd ? low[w] : high[w], 1);
        // The even lane's run, then the odd lane's.
        const uint4 kept = odd ? make_uint4(high[0], high[1], high[2], high[3]) : make_uint4(low[0], low[1], low[2], low[3]);
        const uint4 given = make_uint4(swapped[0], swapped[1], swapped[2], swapped[3]);
        const int place = i + (odd ? half : 0);
        if (odd ? otherFast : fast) store16(y + (odd ? other : mine) + place, odd ? given : kept);
        if (odd ? fast : otherFast) store16(y + (odd ? mine : other) + place, odd ? kept : given);
      }
      if (present && !fast) storeEach(row, column, end, v);
    }
  }

  /// Writes 16 bytes of elements that are ready.
  __device__ __forceinline__ void storeWords(i64 row, int column, const u32 (&words)[4]) const {
    Storage* target = y + row * pitch + column;
    if (aligned) {
      store16(target, make_uint4(words[0], words[1], words[2], words[3]));
    } else {
#pragma unroll
      for (int i = 0; i < vectorLength; ++i) target[i] = (Storage)(words[i * Element::bytes / 4] >> i * Element::bytes % 4 * 8);
    }
  }

  template <int length>
  __device__ __forceinline__ void storeEach(i64 row, int column, int end, const float (&v)[length]) const {
#pragma unroll
    for (int i = 0; i < length; ++i)
      if (column + i < end) y[row * pitch + column + i] = storageBits(v[i]);
  }

  /// The elements `from ...` that `words` take.
  template <int words, int length>
  static __device__ __forceinline__ void pack(u32 (&word)[words], const float (&v)[length], int from) {
#pragma unroll
    for (int w = 0; w < words; ++w) {
#if TESSERA_ELEMENT == 2
      word[w] = __float_as_uint(v[from + w]);
#else
      word[w] = Element::pack(v[from + 2 * w], v[from + 2 * w + 1]);
#endif
    }
  }

  /// Writes consecutive elements in pieces of at most 16 bytes.
  template <int length>
  static __device__ __forceinline__ void storeRun(Storage* target, const float (&v)[length]) {
    constexpr int words = length * Element::bytes / 4;
    u32 word[words > 0 ? words : 1];
#pragma unroll
    for (int i = 0; i < words; ++i) {
#if TESSERA_ELEMENT == 2
      word[i] = __float_as_uint(v[i]);
#else
      word[i] = Element::pack(v[2 * i], v[2 * i + 1]);
#endif
    }
    if constexpr (words % 4 == 0) {
#pragma unroll
      for (int i = 0; i < words; i += 4)
        store16((u8*)target + 4 * i, make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]));
    } else if constexpr (words % 2 == 0) {
#pragma unroll
      for (int i = 0; i < words; i += 2) *(uint2*)((u8*)target + 4 * i) = make_uint2(word[i], word[i + 1]);
    } else {
#pragma unroll
      for (int i = 0; i < words; ++i) *(u32*)((u8*)target + 4 * i) = word[i];
    }
  }
};

/// The parameters of a kernel with an epilogue, in the order inputs, outputs, scalars. Bit 0 of `epilogueParts` says that there is a
/// bias, bit 1 a gate, bit 2 a residual; what is not there may be any pointer.
#define EPILOGUE_INPUTS \
  const Storage *__restrict__ bias, const Storage *__restrict__ gate, const Storage *__restrict__ residual
#define EPILOGUE_SCALARS int pitchY, bool aligned, int epilogueParts
#define EPILOGUE_OF(y)                                                                        \
  Epilogue {                                                                                  \
    y, epilogueParts & 1 ? bias : nullptr, epilogueParts & 2 ? gate : nullptr,                \
        epilogueParts & 4 ? residual : nullptr, pitchY, aligned                               \
  }
