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
  /// Every run starts on a multiple of its own length in bytes (16 at most).
  bool aligned;

  /// Writes those of `length` outputs from `column` of `row` that lie before `end`.
  template <int length>
  __device__ __forceinline__ void store(i64 row, int column, int end, float (&v)[length]) const {
    const i64 offset = row * pitch + column;
    if (bias != nullptr || gate != nullptr || residual != nullptr || TESSERA_ACTIVATION != 0) {
#pragma unroll
      for (int i = 0; i < length; ++i)
        if (column + i < end) {
          if (bias != nullptr) v[i] += storageValue(bias[column + i]);
          v[i] = activation(v[i]);
          if (gate != nullptr) v[i] *= storageValue(gate[offset + i]);
          if (residual != nullptr) v[i] += storageValue(residual[offset + i]);
        }
    }
    if (length * Element::bytes >= 4 && aligned && column + length <= end) {
      storeRun(y + offset, v);
    } else {
#pragma unroll
      for (int i = 0; i < length; ++i)
        if (column + i < end) y[offset + i] = storageBits(v[i]);
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
    if constexpr (words >= 4) {
#pragma unroll
      for (int i = 0; i < words; i += 4)
        store16((u8*)target + 4 * i, make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]));
    } else if constexpr (words == 2) {
      *(uint2*)target = make_uint2(word[0], word[1]);
    } else if constexpr (words == 1) {
      *(u32*)target = word[0];
    }
  }
};

/// The parameters of a kernel with an epilogue, and the epilogue made of them.
#define EPILOGUE_PARAMETERS                                                                                      \
  Storage *__restrict__ y, const Storage *__restrict__ bias, const Storage *__restrict__ gate,                   \
      const Storage *__restrict__ residual, int pitchY, bool aligned
#define EPILOGUE_ARGUMENT                                                                                        \
  Epilogue { y, bias, gate, residual, pitchY, aligned }
