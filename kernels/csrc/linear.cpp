// Which format a matrix is in, how a product is cut into pieces, and the linear layer on its own.
#include "linear.h"

#include <unistd.h>

#include <algorithm>

#include "buffer.h"
#include "export.h"

namespace espalier {
namespace {

int64_t max_height(const Matrix& matrix) { return matrix.format == INT8 ? int8::MAX_HEIGHT : float32::MAX_HEIGHT; }

int64_t panel_width(const Matrix& matrix) { return matrix.format == INT8 ? int8::PANEL : float32::PANEL; }

// Rows that are read again for every panel should stay in the core's own cache, beside the panel.
int64_t row_cache_bytes() {
  static const int64_t bytes = [] {
    const long level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return (level2 > 0 ? level2 : 512 * 1024) / 2;
  }();
  return bytes;
}

}  // namespace

int64_t prepared_bytes(const Matrix& matrix, int64_t rows) {
  const auto bytes = matrix.format == INT8 ? int8::prepared_bytes : float32::prepared_bytes;
  return bytes(rows, matrix.inputs);
}

void prepare_row(const Matrix& matrix, void* prepared, int64_t rows, int64_t row, const float* x) {
  const auto prepare = matrix.format == INT8 ? int8::prepare_row : float32::prepare_row;
  prepare(prepared, rows, matrix.inputs, row, x);
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, Team& team) {
  if (rows == 0) return;
  const int64_t height = strip_height(rows, max_height(matrix)), strips = ceil_div(rows, height);
  const int64_t panels = ceil_div(matrix.outputs, panel_width(matrix));
  const int64_t strip_bytes = prepared_bytes(matrix, height);
  const int64_t block = std::clamp<int64_t>(row_cache_bytes() / strip_bytes, 1, strips);
  const int64_t blocks = ceil_div(strips, block);
  // Small products are cut into one piece a thread; large ones finer, for threads that lose their core for a while.
  const int64_t share = ceil_div(panels, team.size), cuts = std::clamp<int64_t>(share * strips / 16, 1, 16);
  const int64_t step = ceil_div(share, cuts), steps = ceil_div(panels, step);
  const auto run = matrix.format == INT8 ? int8::multiply : float32::multiply;
  team.share(blocks * steps, [&](int64_t item) {
    const int64_t strip = item / steps * block, panel = item % steps * step;
    run(matrix, prepared, rows, target,
        {strip, std::min(strip + block, strips), panel, std::min(panel + step, panels)});
  });
}

}  // namespace espalier

using namespace espalier;

// out [T, N] = x [T, K] times the matrix; both contiguous.
EXPORT void espalier_linear(const Matrix* matrix, const float* x, int64_t rows, float* out, int32_t threads) {
  Buffer prepared;
  prepared.reserve(prepared_bytes(*matrix, rows));
  parallel(threads, [&](Team& team, int) {
    team.share(rows, [&](int64_t row) { prepare_row(*matrix, prepared.data(), rows, row, x + row * matrix->inputs); });
    team.wait();
    multiply(*matrix, prepared.data(), rows, {out, matrix->outputs, false}, team);
  });
}

// How pack.py has to lay the weights of a format: {outputs of a panel, inputs of a lane, inputs of a group, offset}.
EXPORT void espalier_layout(int32_t format, int32_t* layout) {
  if (format == INT8) {
    layout[0] = int8::PANEL, layout[1] = int8::DEPTH, layout[2] = int8::GROUP, layout[3] = int8::OFFSET;
  } else {
    layout[0] = float32::PANEL, layout[1] = 1, layout[2] = 1, layout[3] = 0;
  }
}
