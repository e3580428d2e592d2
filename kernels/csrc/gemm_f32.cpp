// float32 products: a tile of H rows by P panels stays in registers while k runs.
#include <algorithm>

#include "linear.h"
#include "tile.h"

namespace espalier::float32 {
namespace {

// Inputs of a panel that all strips take before any takes the next ones: they lie in the second level of cache, beside
// the next ones, which are fetched meanwhile.
constexpr int64_t SLICE = 512;
// Strips whose sums are kept from slice to slice.
constexpr int64_t MOST_STRIPS = 16;

struct Tile {
  const Matrix& matrix;
  const float* strip;
  const Target& target;
  int64_t row;
  int64_t panel;
  // The inputs [begin, end), and where the sums [H][PANEL] wait for the next ones.
  int64_t begin, end;
  float* sums;
  // Which of how many parts of the next slice to fetch meanwhile.
  int64_t part, parts;
};

// `P` panels at once give a low tile enough independent chains to hide the latency of its products. They are read as
// fast as memory gives them without fetching ahead.
template <int H, int P>
void run(const Tile& tile) {
  const int64_t depth = tile.matrix.inputs, count = tile.end - tile.begin;
  const float* panel = static_cast<const float*>(tile.matrix.panels) + tile.panel * depth * PANEL;
  vf sum[H][2 * P];
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < 2 * P; ++v) sum[h][v] = tile.begin ? load(tile.sums + h * PANEL + v * LANES) : zero();
  const float* ahead = panel + (tile.end + count * tile.part / tile.parts) * PANEL;
  const int64_t step = P > 1 ? count : tile.parts;
  for (int64_t k = tile.begin; k < tile.end;) {
    if constexpr (P == 1) {
      for (const float* line = ahead; line < ahead + PANEL; line += CACHE_LINE / sizeof(float)) fetch_line(line);
      ahead += PANEL;
    }
    for (const int64_t pause = std::min(k + step, tile.end); k < pause; ++k) {
      vf weight[2 * P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        weight[2 * p] = load(panel + p * depth * PANEL + k * PANEL);
        weight[2 * p + 1] = load(panel + p * depth * PANEL + k * PANEL + LANES);
      }
#pragma GCC unroll 16
      for (int h = 0; h < H; ++h) {
        const vf x = splat(tile.strip[k * H + h]);
#pragma GCC unroll 8
        for (int v = 0; v < 2 * P; ++v) sum[h][v] = fma(x, weight[v], sum[h][v]);
      }
    }
  }
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < 2 * P; ++v) {
      if (tile.end < depth) {
        store(tile.sums + h * PANEL + v * LANES, sum[h][v]);
      } else {
        put(sum[h][v], tile.matrix, tile.target, tile.row + h, tile.panel * PANEL + v * LANES);
      }
    }
}

template <int V>
void pick_vectors(const Matrix& matrix, const float* x, const int64_t* vectors, float* out) {
  const float* weight[V];
  vf sum[V];
  for (int v = 0; v < V; ++v) {
    weight[v] = static_cast<const float*>(matrix.panels) + vectors[v] / 2 * matrix.inputs * PANEL + vectors[v] % 2 * LANES;
    sum[v] = zero();
  }
  for (int64_t k = 0; k < matrix.inputs; ++k) {
    const vf one = splat(x[k]);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sum[v] = fma(one, load(weight[v] + k * PANEL), sum[v]);
  }
  for (int v = 0; v < V; ++v) store(out + v * LANES, sum[v]);
}

using Run = void (*)(const Tile&);

// By height and by number of panels at once; 0 stands where registers would not do.
constexpr Run RUNS[MAX_HEIGHT][4] = {
    {run<1, 1>, run<1, 2>, run<1, 3>, run<1, 4>},
#ifdef ESPALIER_AVX512
    {run<2, 1>, run<2, 2>, run<2, 3>, run<2, 4>},
    {run<3, 1>, run<3, 2>},
    {run<4, 1>, run<4, 2>},
    {run<5, 1>, run<5, 2>},
    {run<6, 1>},
    {run<7, 1>},
    {run<8, 1>},
    {run<9, 1>},
    {run<10, 1>},
    {run<11, 1>},
    {run<12, 1>},
#else
    {run<2, 1>, run<2, 2>},
    {run<3, 1>},
    {run<4, 1>},
    {run<5, 1>},
    {run<6, 1>},
#endif
};

// The tiles of the strip that begins with `row`.
const Run (&runs_of(int64_t rows, int64_t row))[4] {
  return RUNS[std::min(strip_height(rows, MAX_HEIGHT), rows - row) - 1];
}

}  // namespace

int64_t prepared_bytes(int64_t rows, int64_t inputs) { return rows * inputs * static_cast<int64_t>(sizeof(float)); }

void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x) {
  const int64_t height = strip_height(rows, MAX_HEIGHT), begin = row / height * height;
  const int64_t own = std::min(height, rows - begin);
  float* strip = static_cast<float*>(prepared) + begin * inputs + (row - begin);
  for (int64_t k = 0; k < inputs; ++k) strip[k * own] = x[k];
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece) {
  const int64_t height = strip_height(rows, MAX_HEIGHT), depth = matrix.inputs;
  // Where one slice is all, no sums wait.
  const int64_t most = depth > SLICE ? MOST_STRIPS : piece.strip_end - piece.strip_begin;
  alignas(64) float sums[MOST_STRIPS][MAX_HEIGHT * PANEL];
  for (int64_t first = piece.strip_begin; first < piece.strip_end; first += most) {
    const int64_t parts = std::min(piece.strip_end - first, most);
    for (int64_t panel = piece.panel_begin, taken = 1; panel < piece.panel_end; panel += taken) {
      if (parts == 1) taken = panels_at_once(runs_of(rows, first * height), piece.panel_end - panel);
      const int64_t slice = taken > 1 ? depth : ceil_div(depth, ceil_div(depth, SLICE));
      for (int64_t begin = 0; begin < depth; begin += slice) {
        for (int64_t part = 0; part < parts; ++part) {
          const int64_t row = (first + part) * height;
          runs_of(rows, row)[taken - 1]({matrix, static_cast<const float*>(prepared) + row * depth, target, row, panel,
                                         begin, std::min(begin + slice, depth), depth > SLICE ? sums[part] : nullptr, part,
                                         parts});
        }
      }
    }
  }
}

void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out) {
  with_count(count, [&](auto number) {
    pick_vectors<decltype(number)::value>(matrix, static_cast<const float*>(prepared), vectors, out);
  });
}

}  // namespace espalier::float32
