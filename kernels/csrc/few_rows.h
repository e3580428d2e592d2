// Attention of a few rows to a block of keys, read where they lie: decoding is bound by memory, and turning the keys
// around as attention.cpp does for many rows would take longer than reading them.
//
// A row's sums are in another order than there, so this is not for exact results. Legend: D head size, a multiple of
// LANES; a row is one query of one head.
#pragma once

#include <algorithm>
#include <cstdint>

#include "simd.h"

namespace espalier {

constexpr int64_t FEW_ROWS = 8;

// Elements of a 16-bit pool, told apart by type.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline vf read(const float* p) { return load(p); }
inline vf read(const Float16* p) { return load_float16(&p->bits); }
inline vf read(const BFloat16* p) { return load_bfloat16(&p->bits); }

// score[r][i] = query[r] * key i, of `count` keys, R rows. Scores are written to whole vectors: what lies beyond `count`
// is some number. `V` is size / LANES where it is known, so that the loop over it disappears; else 0.
template <int R, int V, class T>
void score_keys(const float* query, int64_t query_stride, const T* keys, int64_t slot_stride, const int32_t* slots,
                int64_t count, int64_t size, float* score, int64_t score_stride) {
  const int64_t depth = V ? V * LANES : size;
  for (int64_t begin = 0; begin < count; begin += LANES) {
    vf quad[R][LANES / 4];
#pragma GCC unroll 4
    for (int q = 0; q < LANES / 4; ++q) {
      // Four keys at a time: their sums stay in registers.
      vf sum[4][R];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const T* key = keys + slots[std::min(begin + 4 * q + i, count - 1)] * slot_stride;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[i][r] = zero();
#pragma GCC unroll 8
        for (int64_t d = 0; d < depth; d += LANES) {
          const vf x = read(key + d);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) sum[i][r] = fma(load(query + r * query_stride + d), x, sum[i][r]);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) quad[r][q] = sum_quad(sum[0][r], sum[1][r], sum[2][r], sum[3][r]);
    }
    for (int r = 0; r < R; ++r) store(score + r * score_stride + begin, sum_each(quad[r]));
  }
}

template <int R, class T>
void score_rows(const float* query, int64_t query_stride, const T* keys, int64_t slot_stride, const int32_t* slots,
                int64_t count, int64_t size, float* score, int64_t score_stride) {
  const auto run = size == 2 * LANES   ? score_keys<R, 2, T>
                   : size == 4 * LANES ? score_keys<R, 4, T>
                   : size == 8 * LANES ? score_keys<R, 8, T>
                                       : score_keys<R, 0, T>;
  run(query, query_stride, keys, slot_stride, slots, count, size, score, score_stride);
}

// mixed[r] += sum over i of weight[r][i] * value i, for features [d, d + C * LANES).
template <int R, int C, class T>
void mix_columns(const float* weight, int64_t weight_stride, const T* values, int64_t slot_stride, const int32_t* slots,
                 int64_t count, float* mixed, int64_t mixed_stride) {
  vf sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = load(mixed + r * mixed_stride + c * LANES);
  for (int64_t i = 0; i < count; ++i) {
    const T* value = values + slots[i] * slot_stride;
    vf x[C];
    for (int c = 0; c < C; ++c) x[c] = read(value + c * LANES);
    for (int r = 0; r < R; ++r) {
      const vf w = splat(weight[r * weight_stride + i]);
      for (int c = 0; c < C; ++c) sum[r][c] = fma(w, x[c], sum[r][c]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) store(mixed + r * mixed_stride + c * LANES, sum[r][c]);
}

template <int R, class T>
void mix_rows(const float* weight, int64_t weight_stride, const T* values, int64_t slot_stride, const int32_t* slots,
              int64_t count, int64_t size, float* mixed, int64_t mixed_stride) {
  int64_t d = 0;
  // As many columns as the registers hold.
  constexpr int C = R <= 4 && LANES == 16 ? 4 : 2;
  for (; d + C * LANES <= size; d += C * LANES)
    mix_columns<R, C>(weight, weight_stride, values + d, slot_stride, slots, count, mixed + d, mixed_stride);
  for (; d < size; d += LANES)
    mix_columns<R, 1>(weight, weight_stride, values + d, slot_stride, slots, count, mixed + d, mixed_stride);
}

// Call work with `rows`, 1 to FEW_ROWS, as a constant: work(std::integral_constant).
template <int R = 1, class Work>
void with_rows(int64_t rows, Work work) {
  if constexpr (R < FEW_ROWS) {
    if (rows > R) return with_rows<R + 1>(rows, work);
  }
  work(std::integral_constant<int, R>());
}

}  // namespace espalier
