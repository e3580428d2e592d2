// float32 products: a tile of H rows by P panels stays in registers while k runs.
#include <algorithm>

#include "linear.h"
#include "tile.h"

namespace espalier::float32 {
namespace {

struct Tile {
  const Matrix& matrix;
  const float* strip;
  const Target& target;
  int64_t row;
  int64_t panel;
};

// `P` panels at once give a low tile enough independent chains to hide the latency of its products.
template <int H, int P>
void run(const Tile& tile) {
  const int64_t depth = tile.matrix.inputs;
  const float* panel = static_cast<const float*>(tile.matrix.panels) + tile.panel * depth * PANEL;
  vf sum[H][2 * P];
  for (auto& row : sum)
    for (vf& x : row) x = zero();
  for (int64_t k = 0; k < depth; ++k) {
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
  for (int h = 0; h < H; ++h)
    for (int v = 0; v < 2 * P; ++v)
      put(sum[h][v], tile.matrix, tile.target, tile.row + h, tile.panel * PANEL + v * LANES);
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

}  // namespace

int64_t prepared_bytes(int64_t rows, int64_t inputs) { return rows * inputs * static_cast<int64_t>(sizeof(float)); }

void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x) {
  const int64_t height = strip_height(rows, MAX_HEIGHT), begin = row / height * height;
  const int64_t own = std::min(height, rows - begin);
  float* strip = static_cast<float*>(prepared) + begin * inputs + (row - begin);
  for (int64_t k = 0; k < inputs; ++k) strip[k * own] = x[k];
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece) {
  const int64_t height = strip_height(rows, MAX_HEIGHT);
  const bool one_strip = piece.strip_end - piece.strip_begin == 1;
  for (int64_t panel = piece.panel_begin; panel < piece.panel_end;) {
    const int64_t left = piece.panel_end - panel;
    int64_t taken = 1;
    for (int64_t strip = piece.strip_begin; strip < piece.strip_end; ++strip) {
      const int64_t row = strip * height, own = std::min(height, rows - row);
      const auto& runs = RUNS[own - 1];
      if (one_strip) taken = panels_at_once(runs, left);
      runs[taken - 1]({matrix, static_cast<const float*>(prepared) + row * matrix.inputs, target, row, panel});
    }
    panel += taken;
  }
}

void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out) {
  with_count(count, [&](auto number) {
    pick_vectors<decltype(number)::value>(matrix, static_cast<const float*>(prepared), vectors, out);
  });
}

}  // namespace espalier::float32
