// Which format a matrix is in, how a product is cut into pieces, and the linear layer on its own.
#include "linear.h"

#include <unistd.h>

#include <algorithm>

#include "buffer.h"
#include "export.h"

namespace espalier {
namespace {

// One way of computing products.
struct Way {
  int64_t max_height;
  int64_t panel;
  // How the weights lie: inputs of a lane, inputs of a group, and what is added to a weight.
  int32_t depth, group, offset;
  int64_t (*prepared_bytes)(int64_t rows, int64_t inputs);
  void (*prepare_row)(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x);
  void (*multiply)(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece);
  void (*pick)(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out);
};

constexpr Way FLOATS = {float32::MAX_HEIGHT, float32::PANEL, 1, 1, 0, float32::prepared_bytes, float32::prepare_row, float32::multiply,
                        float32::pick};
constexpr Way BYTES = {int8::MAX_HEIGHT, int8::PANEL, int8::DEPTH, int8::GROUP, int8::OFFSET,
                       int8::prepared_bytes, int8::prepare_row, int8::multiply, int8::pick};
#ifdef ESPALIER_AMX
constexpr Way TILES = {amx::MAX_HEIGHT, amx::PANEL, amx::DEPTH, amx::GROUP, 0, amx::prepared_bytes, amx::prepare_row, amx::multiply,
                       amx::pick};
#endif

const Way& way_of(int32_t format) {
  if (format != INT8) return FLOATS;
#ifdef ESPALIER_AMX
  if (amx::is_available()) return TILES;
#endif
  return BYTES;
}

// Rows that are read again for every panel should stay in the core's own cache, beside the panel.
int64_t row_cache_bytes() {
  static const int64_t bytes = [] {
    const long level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return (level2 > 0 ? level2 : 512 * 1024) / 2;
  }();
  return bytes;
}

}  // namespace

int64_t prepared_bytes(const Matrix& matrix, int64_t rows) { return way_of(matrix.format).prepared_bytes(rows, matrix.inputs); }

void prepare_row(const Matrix& matrix, void* prepared, int64_t rows, int64_t row, const float* x) {
  way_of(matrix.format).prepare_row(prepared, rows, matrix.inputs, row, x);
}

void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, Team& team) {
  if (rows == 0) return;
  const Way& way = way_of(matrix.format);
  const int64_t height = strip_height(rows, way.max_height), strips = ceil_div(rows, height);
  const int64_t panels = ceil_div(matrix.outputs, way.panel);
  const int64_t strip_bytes = prepared_bytes(matrix, height);
  const int64_t block = std::clamp<int64_t>(row_cache_bytes() / strip_bytes, 1, strips);
  const int64_t blocks = ceil_div(strips, block);
  // Small products are cut into one piece a thread; large ones finer, for threads that lose their core for a while.
  const int64_t share = ceil_div(panels, team.size), cuts = std::clamp<int64_t>(share * strips / 16, 1, 16);
  const int64_t step = ceil_div(share, cuts), steps = ceil_div(panels, step);
  team.share(blocks * steps, [&](int64_t item) {
    const int64_t strip = item / steps * block, panel = item % steps * step;
    way.multiply(matrix, prepared, rows, target,
                 {strip, std::min(strip + block, strips), panel, std::min(panel + step, panels)});
  });
}

void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out) {
  way_of(matrix.format).pick(matrix, prepared, vectors, count, out);
}

}  // namespace espalier

using namespace espalier;

// out [T, N] = x [T, K] times the matrix; both contiguous.
EXPORT void espalier_linear(const Matrix* matrix, const float* x, int64_t rows, float* out, int32_t threads) {
  Buffer prepared;
  prepared.reserve(prepared_bytes(*matrix, rows));
  parallel(threads, [&](Team& team, int) {
    team.share(rows, [&](int64_t row) { prepare_row(*matrix, prepared.data(), rows, row, x + row * matrix->inputs); });
    multiply(*matrix, prepared.data(), rows, {out, matrix->outputs, false}, team);
  });
}

// How pack.py has to lay the weights of a format: {outputs of a panel, inputs of a lane, inputs of a group, offset}.
EXPORT void espalier_layout(int32_t format, int32_t* layout) {
  const Way& way = way_of(format);
  layout[0] = static_cast<int32_t>(way.panel), layout[1] = way.depth, layout[2] = way.group, layout[3] = way.offset;
}
