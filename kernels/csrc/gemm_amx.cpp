// int8 weights by AMX, which multiplies whole tiles: 16 rows by 64 inputs with 64 inputs by 16 outputs.
//
// Rows are rounded to 15 bits, one scale a row, and split into a high and a low byte: a product each, so that rounding
// rows costs next to nothing. The integer sums are exact in any order.
#include "linear.h"

#ifdef ESPALIER_AMX

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tile.h"

namespace espalier::amx {
namespace {

// Rows are rounded to [-LIMIT, LIMIT]: high * 256 + low, both of them signed bytes.
constexpr float LIMIT = 127 * 256;
constexpr int64_t PLANE_WIDTH = GROUP;

// What _tile_loadconfig reads.
struct Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // Tiles 0 to 3 are sums (high left, high right, low left, low right), 4 and 5 rows (high, low), 6 and 7 weights.
  explicit Config(int64_t height) {
    for (int tile = 0; tile < 8; ++tile) {
      row_bytes[tile] = 64;
      rows[tile] = static_cast<uint8_t>(tile < 6 ? height : GROUP / DEPTH);
    }
  }
};

void load_config(int64_t height) {
  const Config config(height);
  // GCC 12 believes that the instruction reads 8 bytes, and would drop the stores to the rest.
  __asm__ volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

int64_t padded(int64_t inputs) { return round_up(inputs, GROUP); }

// Prepared rows: int8 [strips][K / GROUP][high, low][H][GROUP], then a float scale for each row.
struct Rows {
  int8_t* values;
  float* scales;
  int64_t strip_bytes;

  Rows(const void* prepared, int64_t rows, int64_t inputs) {
    const int64_t height = strip_height(rows, MAX_HEIGHT);
    strip_bytes = 2 * height * padded(inputs);
    values = static_cast<int8_t*>(const_cast<void*>(prepared));
    scales = reinterpret_cast<float*>(values + ceil_div(rows, height) * strip_bytes);
  }
};

// Sums of one strip with one panel, as the tiles leave them.
struct Sums {
  alignas(64) int32_t high[2][MAX_HEIGHT][16];
  alignas(64) int32_t low[2][MAX_HEIGHT][16];
};

void add_up(const int8_t* rows, int64_t height, const int8_t* panel, int64_t groups, Sums& sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const int64_t plane = height * PLANE_WIDTH, next = GROUP * PANEL;
  for (int64_t g = 0; g < groups; ++g, rows += 2 * plane, panel += next) {
    _tile_loadd(4, rows, PLANE_WIDTH);
    _tile_loadd(6, panel, PANEL * DEPTH);
    _tile_loadd(7, panel + PANEL * DEPTH / 2, PANEL * DEPTH);
    _tile_loadd(5, rows + plane, PLANE_WIDTH);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_stored(0, sums.high[0], 64);
  _tile_stored(1, sums.high[1], 64);
  _tile_stored(2, sums.low[0], 64);
  _tile_stored(3, sums.low[1], 64);
}

// By vectors, since tiles multiply whole panels: the same integers, and the same operations on them.
template <int V>
void pick_vectors(const Matrix& matrix, const void* prepared, const int64_t* vectors, float* out) {
  const int64_t depth = padded(matrix.inputs);
  const Rows row(prepared, 1, matrix.inputs);
  const int8_t* weight[V];
  // A product takes unsigned by signed bytes: rows go in as x + 128, and `extra` is 128 times the sum of the weights.
  __m512i high[V], low[V], extra[V];
  for (int v = 0; v < V; ++v) {
    weight[v] = static_cast<const int8_t*>(matrix.panels) + vectors[v] / 2 * depth * PANEL + vectors[v] % 2 * LANES * DEPTH;
    high[v] = low[v] = extra[v] = _mm512_setzero_si512();
  }
  const __m512i offset = _mm512_set1_epi8(-128);
  const int8_t* values = row.values;
  for (int64_t g = 0; g < depth; g += GROUP, values += PLANE_WIDTH) {
    for (int k = 0; k < GROUP; k += DEPTH, values += DEPTH) {
      int32_t above, below;
      std::memcpy(&above, values, sizeof above);
      std::memcpy(&below, values + PLANE_WIDTH, sizeof below);
      const __m512i x_high = _mm512_xor_si512(_mm512_set1_epi32(above), offset);
      const __m512i x_low = _mm512_xor_si512(_mm512_set1_epi32(below), offset);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const __m512i w = _mm512_loadu_si512(weight[v]);
        high[v] = _mm512_dpbusd_epi32(high[v], x_high, w);
        low[v] = _mm512_dpbusd_epi32(low[v], x_low, w);
        extra[v] = _mm512_dpbusd_epi32(extra[v], offset, w);
        weight[v] += PANEL * DEPTH;
      }
    }
  }
  for (int v = 0; v < V; ++v) {
    const vf above = _mm512_cvtepi32_ps(_mm512_sub_epi32(high[v], extra[v]));
    const vf below = _mm512_cvtepi32_ps(_mm512_sub_epi32(low[v], extra[v]));
    const vf sum = mul(fma(above, splat(256.0f), below), splat(row.scales[0]));
    store(out + v * LANES, mul(sum, load(matrix.scale + vectors[v] * LANES)));
  }
}

// Round the GROUP values at x into the two planes.
void split_group(const float* x, vf inverse, int8_t* high, int8_t* low) {
  for (int i = 0; i < GROUP; i += LANES) {
    const __m512i whole = _mm512_cvtps_epi32(mul(load(x + i), inverse));
    const __m512i above = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(128)), 8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + i), _mm512_cvtsepi32_epi8(above));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + i), _mm512_cvtepi32_epi8(whole));
  }
}

// The largest magnitude of a row; NaN if the row has one.
float largest_of(const float* x, int64_t inputs) {
  vf most = zero();
  __mmask16 odd = 0;
  for (int64_t i = 0; i < inputs; i += LANES) {
    const vf v = inputs - i < LANES ? load_first(x + i, inputs - i) : load(x + i);
    most = max(most, magnitude(v));
    odd |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  }
  return odd ? std::nanf("") : max_lanes(most);
}

}  // namespace

bool is_available() {
  // The kernel keeps no room for the tiles of a process that has not asked for it (ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return granted;
}

int64_t prepared_bytes(int64_t rows, int64_t inputs) {
  return 2 * round_up(rows, strip_height(rows, MAX_HEIGHT)) * padded(inputs) + rows * static_cast<int64_t>(sizeof(float));
}

void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x) {
  const Rows all(prepared, rows, inputs);
  const int64_t height = strip_height(rows, MAX_HEIGHT), plane = height * PLANE_WIDTH;
  const float largest = largest_of(x, inputs);
  // Integers have no NaN and no infinity: the scale carries them to the outputs.
  const bool is_finite = std::isfinite(largest);
  const vf inverse = splat(is_finite && largest > 0 ? LIMIT / largest : 0.0f);
  all.scales[row] = is_finite ? largest / LIMIT : std::nanf("");
  int8_t* high = all.values + row / height * all.strip_bytes + row % height * PLANE_WIDTH;
  for (int64_t k = 0; k < inputs; k += GROUP, high += 2 * plane) {
    const int64_t left = inputs - k;
    if (left >= GROUP) {
      split_group(x + k, inverse, high, high + plane);
    } else {
      alignas(64) float last[GROUP] = {};
      std::copy(x + k, x + inputs, last);
      split_group(last, inverse, high, high + plane);
    }
  }
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece) {
  const Rows all(prepared, rows, matrix.inputs);
  const int64_t height = strip_height(rows, MAX_HEIGHT), depth = padded(matrix.inputs);
  load_config(height);
  Sums sums;
  for (int64_t panel = piece.panel_begin; panel < piece.panel_end; ++panel) {
    const auto* weights = static_cast<const int8_t*>(matrix.panels) + panel * depth * PANEL;
    for (int64_t strip = piece.strip_begin; strip < piece.strip_end; ++strip) {
      add_up(all.values + strip * all.strip_bytes, height, weights, depth / GROUP, sums);
      // The last strip's rows beyond the end hold anything: they are computed and dropped.
      const int64_t first = strip * height, end = std::min(rows, first + height);
      for (int side = 0; side < 2; ++side) {
        const int64_t output = panel * PANEL + side * LANES;
        const vf scale = load(matrix.scale + output);
        for (int64_t row = first; row < end; ++row) {
          const vf high = _mm512_cvtepi32_ps(_mm512_load_si512(sums.high[side][row - first]));
          const vf low = _mm512_cvtepi32_ps(_mm512_load_si512(sums.low[side][row - first]));
          const vf sum = mul(fma(high, splat(256.0f), low), splat(all.scales[row]));
          put(mul(sum, scale), matrix, target, row, output);
        }
      }
    }
  }
  _tile_release();
}

void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out) {
  with_count(count, [&](auto number) {
    pick_vectors<decltype(number)::value>(matrix, prepared, vectors, out);
  });
}

}  // namespace espalier::amx

#endif
