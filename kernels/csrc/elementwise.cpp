#include "elementwise.h"

#include <cmath>
#include <cstring>

#include "export.h"
#include "simd.h"
#include "team.h"

namespace espalier {
namespace {

// body(index, count): whole vectors, then the rest; `count` is LANES or less.
template <class Body>
inline void each_vector(int64_t size, Body body) {
  int64_t i = 0;
  for (; i + LANES <= size; i += LANES) body(i, LANES);
  if (i < size) body(i, size - i);
}

inline vf load_some(const float* p, int64_t count) { return count == LANES ? load(p) : load_first(p, count); }

inline void store_some(float* p, vf x, int64_t count) {
  if (count == LANES) store(p, x);
  else store_first(p, x, count);
}

}  // namespace

void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* out) {
  vf squares = zero();
  each_vector(size, [&](int64_t i, int64_t count) {
    const vf v = load_some(x + i, count);
    squares = fma(v, v, squares);
  });
  const vf scale = splat(1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(size) + eps));
  each_vector(size, [&](int64_t i, int64_t count) {
    store_some(out + i, mul(mul(load_some(x + i, count), scale), load_some(weight + i, count)), count);
  });
}

void rotate(float* head, const float* cos_sin, int64_t size) {
  const int64_t half = size / 2;
  each_vector(half, [&](int64_t i, int64_t count) {
    const vf left = load_some(head + i, count), right = load_some(head + half + i, count);
    const vf cosine = load_some(cos_sin + i, count), sine = load_some(cos_sin + half + i, count);
    store_some(head + i, sub(mul(left, cosine), mul(right, sine)), count);
    store_some(head + half + i, add(mul(right, cosine), mul(left, sine)), count);
  });
}

void silu_mul(const float* gate, const float* up, int64_t size, float* out) {
  each_vector(size, [&](int64_t i, int64_t count) {
    const vf g = load_some(gate + i, count);
    const vf shrink = add(splat(1.0f), exp(sub(zero(), g)));
    store_some(out + i, mul(div(g, shrink), load_some(up + i, count)), count);
  });
}

void read_row(const void* table, int32_t type, int64_t index, int64_t size, float* out) {
  if (type == ROW_FLOAT32) {
    std::memcpy(out, static_cast<const float*>(table) + index * size, sizeof(float) * static_cast<size_t>(size));
    return;
  }
  const auto* row = static_cast<const uint16_t*>(table) + index * size;
  each_vector(size, [&](int64_t i, int64_t count) {
    uint16_t padded[LANES] = {};
    std::memcpy(padded, row + i, sizeof(uint16_t) * static_cast<size_t>(count));
    store_some(out + i, type == ROW_FLOAT16 ? load_float16(padded) : load_bfloat16(padded), count);
  });
}

void write_row(const float* x, int64_t size, void* pool, int32_t type, int64_t offset) {
  if (type == ROW_FLOAT32) {
    std::memcpy(static_cast<float*>(pool) + offset, x, sizeof(float) * static_cast<size_t>(size));
    return;
  }
  auto* row = static_cast<uint16_t*>(pool) + offset;
  each_vector(size, [&](int64_t i, int64_t count) {
    uint16_t narrow[LANES];
    const vf v = load_some(x + i, count);
    type == ROW_FLOAT16 ? store_float16(narrow, v) : store_bfloat16(narrow, v);
    std::memcpy(row + i, narrow, sizeof(uint16_t) * static_cast<size_t>(count));
  });
}

}  // namespace espalier

using namespace espalier;

EXPORT void espalier_rms_norm(const float* x, const float* weight, int64_t rows, int64_t size, float eps, float* out,
                              int32_t threads) {
  parallel(threads, [&](Team& team, int) {
    team.share_ranges(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) rms_norm(x + row * size, weight, size, eps, out + row * size);
    });
  });
}

EXPORT void espalier_silu_mul(const float* gate_up, int64_t rows, int64_t size, float* out, int32_t threads) {
  parallel(threads, [&](Team& team, int) {
    team.share_ranges(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* gate = gate_up + row * 2 * size;
        silu_mul(gate, gate + size, size, out + row * size);
      }
    });
  });
}

// x [T, N, D] rotated in place to its positions.
EXPORT void espalier_rotary(float* x, const float* cos_sin, const int64_t* positions, int64_t rows, int64_t heads,
                            int64_t size, int32_t threads) {
  parallel(threads, [&](Team& team, int) {
    team.share_ranges(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t head = 0; head < heads; ++head)
          rotate(x + (row * heads + head) * size, cos_sin + positions[row] * size, size);
    });
  });
}
