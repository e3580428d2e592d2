// int8 weights, one scale for each output, by integer products: the sums are exact in any order.
//
// With VNNI a product takes unsigned by signed bytes. Weights are stored as w + 128; rows are rounded to int8 with a
// scale for each 64 inputs, and every group's sum begins at -128 times the sum of its row, which takes the 128 away.
// Without VNNI rows are rounded to as many bits as the int32 sum allows (14 for 1,000 inputs), one scale a row.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "linear.h"
#include "tile.h"

namespace espalier::int8 {
namespace {

// Bytes of a panel up to which the next one is fetched meanwhile: both have to stay in the second level of cache.
constexpr int64_t MOST_FETCHED = 128 * 1024;

struct Tile {
  const Matrix& matrix;
  const void* prepared;
  int64_t rows;
  const Target& target;
  int64_t row;
  int64_t panel;
  // Which of how many parts of the next panel to fetch meanwhile.
  int64_t part, parts;
};

int64_t padded(int64_t inputs) { return round_up(inputs, GROUP); }

#if defined(ESPALIER_AVX512) && defined(__AVX512VNNI__)

// Prepared rows: int8 [strips][K / DEPTH][H][DEPTH], then float scales and int32 starts, each [strips][groups][H].
struct Rows {
  int8_t* values;
  float* scales;
  int32_t* starts;

  Rows(const void* prepared, int64_t rows, int64_t inputs) {
    values = static_cast<int8_t*>(const_cast<void*>(prepared));
    scales = reinterpret_cast<float*>(values + rows * padded(inputs));
    starts = reinterpret_cast<int32_t*>(scales + rows * (padded(inputs) / GROUP));
  }
};

template <int H, int P>
void run(const Tile& tile) {
  const int64_t depth = padded(tile.matrix.inputs), groups = depth / GROUP, panel_bytes = depth * PANEL;
  const Rows rows(tile.prepared, tile.rows, tile.matrix.inputs);
  const auto* values = rows.values + tile.row * depth;
  const float* scales = rows.scales + tile.row * groups;
  const int32_t* starts = rows.starts + tile.row * groups;
  const auto* panel = static_cast<const uint8_t*>(tile.matrix.panels) + tile.panel * panel_bytes;
  const auto* next_panel = panel + panel_bytes;
  constexpr int64_t GROUP_LINES = GROUP * PANEL / CACHE_LINE;
  vf sum[H][2 * P];
  for (auto& row : sum)
    for (vf& x : row) x = zero();
  for (int64_t g = 0; g < groups; ++g) {
    if (P == 1 && panel_bytes <= MOST_FETCHED) {
      const int64_t before = (tile.part * groups + g) * GROUP_LINES;
      for (int64_t line = before / tile.parts; line < (before + GROUP_LINES) / tile.parts; ++line)
        fetch_line(next_panel + CACHE_LINE * line);
    }
    __m512i part[H][2 * P];
#pragma GCC unroll 8
    for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
      for (int v = 0; v < 2 * P; ++v) part[h][v] = _mm512_set1_epi32(starts[g * H + h]);
#pragma GCC unroll 1
    for (int k = 0; k < GROUP / DEPTH; ++k) {
      __m512i weight[2 * P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        weight[2 * p] = _mm512_loadu_si512(panel + p * panel_bytes);
        weight[2 * p + 1] = _mm512_loadu_si512(panel + p * panel_bytes + 64);
      }
#pragma GCC unroll 8
      for (int h = 0; h < H; ++h) {
        int32_t four;
        std::memcpy(&four, values + h * DEPTH, sizeof four);
        const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * P; ++v) part[h][v] = _mm512_dpbusd_epi32(part[h][v], weight[v], x);
      }
      panel += PANEL * DEPTH;
      values += H * DEPTH;
    }
#pragma GCC unroll 8
    for (int h = 0; h < H; ++h) {
      const vf scale = splat(scales[g * H + h]);
#pragma GCC unroll 8
      for (int v = 0; v < 2 * P; ++v) sum[h][v] = fma(_mm512_cvtepi32_ps(part[h][v]), scale, sum[h][v]);
    }
  }
  for (int v = 0; v < 2 * P; ++v) {
    const int64_t output = tile.panel * PANEL + v * LANES;
    const vf scale = load(tile.matrix.scale + output);
    for (int h = 0; h < H; ++h) put(mul(sum[h][v], scale), tile.matrix, tile.target, tile.row + h, output);
  }
}

template <int V>
void pick_vectors(const Matrix& matrix, const void* prepared, const int64_t* vectors, float* out) {
  const int64_t depth = padded(matrix.inputs), groups = depth / GROUP;
  const Rows rows(prepared, 1, matrix.inputs);
  const int8_t* values = rows.values;
  const uint8_t* weight[V];
  vf sum[V];
  for (int v = 0; v < V; ++v) {
    weight[v] = static_cast<const uint8_t*>(matrix.panels) + vectors[v] / 2 * depth * PANEL + vectors[v] % 2 * 64;
    sum[v] = zero();
  }
  for (int64_t g = 0; g < groups; ++g) {
    __m512i part[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) part[v] = _mm512_set1_epi32(rows.starts[g]);
#pragma GCC unroll 4
    for (int k = 0; k < GROUP / DEPTH; ++k, values += DEPTH) {
      int32_t four;
      std::memcpy(&four, values, sizeof four);
      const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        part[v] = _mm512_dpbusd_epi32(part[v], _mm512_loadu_si512(weight[v]), x);
        weight[v] += PANEL * DEPTH;
      }
    }
    const vf scale = splat(rows.scales[g]);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = fma(_mm512_cvtepi32_ps(part[v]), scale, sum[v]);
  }
  for (int v = 0; v < V; ++v) store(out + v * LANES, mul(sum[v], load(matrix.scale + vectors[v] * LANES)));
}

// Round the 64 values at x to int8; returns their scale and the start of their sums.
void quantize_group(const float* x, int8_t* out, float& scale, int32_t& start) {
  vf most = zero();
  __mmask16 odd = 0;
  for (int i = 0; i < GROUP; i += LANES) {
    const vf v = load(x + i);
    most = max(most, magnitude(v));
    odd |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  }
  const float largest = max_lanes(most);
  const vf inverse = splat(largest > 0 ? 127.0f / largest : 0.0f);
  __m512i total = _mm512_setzero_si512();
  for (int i = 0; i < GROUP; i += LANES) {
    const __m512i whole = _mm512_cvtps_epi32(mul(load(x + i), inverse));
    total = _mm512_add_epi32(total, whole);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm512_cvtsepi32_epi8(whole));
  }
  // Integers have no NaN: the scale carries it to the outputs.
  scale = odd ? std::nanf("") : largest / 127.0f;
  start = -OFFSET * _mm512_reduce_add_epi32(total);
}

void prepare(const Rows& rows, int64_t inputs, int64_t begin, int64_t place, int64_t height, const float* x) {
  const int64_t depth = padded(inputs), groups = depth / GROUP;
  int8_t* values = rows.values + begin * depth + place * DEPTH;
  for (int64_t g = 0; g < groups; ++g) {
    alignas(64) float padded_group[GROUP];
    alignas(64) int8_t rounded[GROUP];
    const float* group = x + g * GROUP;
    const int64_t left = inputs - g * GROUP;
    if (left < GROUP) {
      std::fill(std::copy(group, group + left, padded_group), padded_group + GROUP, 0.0f);
      group = padded_group;
    }
    const int64_t index = begin * groups + g * height + place;
    quantize_group(group, rounded, rows.scales[index], rows.starts[index]);
    for (int k = 0; k < GROUP; k += DEPTH, values += height * DEPTH) std::memcpy(values, rounded + k, DEPTH);
  }
}

#else

#ifdef ESPALIER_AVX512
using vi = __m512i;
inline vi no_integers() { return _mm512_setzero_si512(); }
inline vi splat_integer(int32_t x) { return _mm512_set1_epi32(x); }
inline vi widen(const int8_t* p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline vi add_products(vi sum, vi a, vi b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
inline vf to_floats(vi x) { return _mm512_cvtepi32_ps(x); }
inline void store_rounded(int16_t* p, vf x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
}
inline uint32_t lanes_unordered(vf x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
#else
using vi = __m256i;
inline vi no_integers() { return _mm256_setzero_si256(); }
inline vi splat_integer(int32_t x) { return _mm256_set1_epi32(x); }
inline vi widen(const int8_t* p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
// The addition is spelled out: GCC 12 would else compute all products first, and keep the sums in memory meanwhile.
inline vi add_products(vi sum, vi a, vi b) {
  const vi products = _mm256_madd_epi16(a, b);
  asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
  return sum;
}
inline vf to_floats(vi x) { return _mm256_cvtepi32_ps(x); }
inline void store_rounded(int16_t* p, vf x) {
  const __m256i whole = _mm256_cvtps_epi32(x);
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
}
inline uint32_t lanes_unordered(vf x) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}
#endif

// Prepared rows: int16 [strips][K / DEPTH][H][DEPTH], then a float scale for each row.
struct Rows {
  int16_t* values;
  float* scales;

  Rows(const void* prepared, int64_t rows, int64_t inputs) {
    values = static_cast<int16_t*>(const_cast<void*>(prepared));
    scales = reinterpret_cast<float*>(values + round_up(rows * padded(inputs), 2));
  }
};

template <int H, int P>
void run(const Tile& tile) {
  const int64_t depth = padded(tile.matrix.inputs), panel_bytes = depth * PANEL;
  const Rows rows(tile.prepared, tile.rows, tile.matrix.inputs);
  const auto* values = rows.values + tile.row * depth;
  const auto* panel = static_cast<const int8_t*>(tile.matrix.panels) + tile.panel * panel_bytes;
  vi sum[H][2 * P];
  for (auto& row : sum)
    for (vi& x : row) x = no_integers();
  constexpr int64_t LINE_INPUTS = CACHE_LINE / PANEL;
  static_assert(LINE_INPUTS % DEPTH == 0);
  const bool fetches = P == 1 && panel_bytes <= MOST_FETCHED;
  const int8_t* ahead = panel + P * panel_bytes + panel_bytes * tile.part / tile.parts;
  const int64_t step = fetches ? LINE_INPUTS * tile.parts : depth;
  for (int64_t k = 0; k < depth;) {
    if (fetches) {
      fetch_line(ahead);
      ahead += CACHE_LINE;
    }
    for (const int64_t pause = std::min(k + step, depth); k < pause; k += DEPTH) {
      vi weight[2 * P];
#pragma GCC unroll 8
      for (int v = 0; v < 2 * P; ++v) {
        const int8_t* at = panel + (v / 2) * panel_bytes + (v % 2) * LANES * DEPTH;
        weight[v] = widen(at);
      }
#pragma GCC unroll 8
      for (int h = 0; h < H; ++h) {
        int32_t two;
        std::memcpy(&two, values + h * DEPTH, sizeof two);
        const vi x = splat_integer(two);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * P; ++v) sum[h][v] = add_products(sum[h][v], weight[v], x);
      }
      panel += PANEL * DEPTH;
      values += H * DEPTH;
    }
  }
  for (int v = 0; v < 2 * P; ++v) {
    const int64_t output = tile.panel * PANEL + v * LANES;
    const vf scale = load(tile.matrix.scale + output);
    for (int h = 0; h < H; ++h) {
      const vf wide = mul(to_floats(sum[h][v]), splat(rows.scales[tile.row + h]));
      put(mul(wide, scale), tile.matrix, tile.target, tile.row + h, output);
    }
  }
}

template <int V>
void pick_vectors(const Matrix& matrix, const void* prepared, const int64_t* vectors, float* out) {
  const int64_t depth = padded(matrix.inputs);
  const Rows rows(prepared, 1, matrix.inputs);
  const int8_t* weight[V];
  vi sum[V];
  for (int v = 0; v < V; ++v) {
    weight[v] = static_cast<const int8_t*>(matrix.panels) + vectors[v] / 2 * depth * PANEL + vectors[v] % 2 * LANES * DEPTH;
    sum[v] = no_integers();
  }
  for (int64_t k = 0; k < depth; k += DEPTH) {
    int32_t two;
    std::memcpy(&two, rows.values + k, sizeof two);
    const vi x = splat_integer(two);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = add_products(sum[v], widen(weight[v] + k * PANEL), x);
  }
  for (int v = 0; v < V; ++v) {
    const vf wide = mul(to_floats(sum[v]), splat(rows.scales[0]));
    store(out + v * LANES, mul(wide, load(matrix.scale + vectors[v] * LANES)));
  }
}

// The largest magnitude of a row; NaN if one is in there.
float largest_of(const float* x, int64_t count) {
  vf most = zero();
  uint32_t odd = 0;
  const auto look = [&](vf v) {
    most = max(most, magnitude(v));
    odd |= lanes_unordered(v);
  };
  int64_t k = 0;
  for (; k + LANES <= count; k += LANES) look(load(x + k));
  if (k < count) look(load_first(x + k, count - k));
  return odd ? std::nanf("") : max_lanes(most);
}

void prepare(const Rows& rows, int64_t inputs, int64_t begin, int64_t place, int64_t height, const float* x) {
  const int64_t depth = padded(inputs);
  // The int32 sum of K products of at most 127 by `limit` does not overflow.
  const float limit = static_cast<float>(std::min<int64_t>(32767, 2147483647 / (127 * depth)));
  const float largest = largest_of(x, inputs);
  const vf inverse = splat(largest > 0 ? limit / largest : 0.0f), lowest = splat(-limit), highest = splat(limit);
  int16_t* values = rows.values + begin * depth + place * DEPTH;
  for (int64_t k = 0; k < depth; k += LANES) {
    alignas(64) int16_t rounded[LANES];
    const int64_t left = inputs - k;
    const vf scaled = mul(left < LANES ? load_first(x + k, left) : load(x + k), inverse);
    store_rounded(rounded, min(max(scaled, lowest), highest));
    for (int64_t i = 0; i < std::min<int64_t>(LANES, depth - k); i += DEPTH, values += height * DEPTH)
      std::memcpy(values, rounded + i, sizeof(int16_t) * DEPTH);
  }
  // Integers have no NaN: the scale carries it to the outputs.
  rows.scales[begin + place] = largest / limit;
}

#endif

using Run = void (*)(const Tile&);

constexpr Run RUNS[MAX_HEIGHT][4] = {
    {run<1, 1>, run<1, 2>, run<1, 3>, run<1, 4>},
    {run<2, 1>, run<2, 2>},
#ifdef ESPALIER_AVX512
    {run<3, 1>, run<3, 2>},
#else
    {run<3, 1>},
#endif
    {run<4, 1>},
    {run<5, 1>},
    {run<6, 1>},
};

}  // namespace

int64_t prepared_bytes(int64_t rows, int64_t inputs) {
  // Values of at most two bytes, and for each group (of at least two inputs) a scale and a start.
  return rows * padded(inputs) * 2 + rows * (padded(inputs) / GROUP) * 8 + 64;
}

void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x) {
  const int64_t height = strip_height(rows, MAX_HEIGHT), begin = row / height * height;
  prepare(Rows(prepared, rows, inputs), inputs, begin, row - begin, std::min(height, rows - begin), x);
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece) {
  const int64_t height = strip_height(rows, MAX_HEIGHT);
  const int64_t parts = piece.strip_end - piece.strip_begin;
  for (int64_t panel = piece.panel_begin; panel < piece.panel_end;) {
    const int64_t left = piece.panel_end - panel;
    int64_t taken = 1;
    for (int64_t strip = piece.strip_begin; strip < piece.strip_end; ++strip) {
      const int64_t row = strip * height;
      const auto& runs = RUNS[std::min(height, rows - row) - 1];
      if (parts == 1) taken = panels_at_once(runs, left);
      runs[taken - 1]({matrix, prepared, rows, target, row, panel, strip - piece.strip_begin, parts});
    }
    panel += taken;
  }
}

void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out) {
  with_count(count, [&](auto number) {
    pick_vectors<decltype(number)::value>(matrix, prepared, vectors, out);
  });
}

}  // namespace espalier::int8
