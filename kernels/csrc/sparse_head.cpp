// A few outputs of a linear layer, other ones for each row, computed from the packed panels as the whole product computes
// them: the results are the same to the bit.
#include <algorithm>
#include <limits>

#include "attention.h"
#include "buffer.h"
#include "export.h"
#include "linear.h"

namespace espalier {
namespace {

// Row r wants the outputs token[start[r]] ... token[start[r + 1] - 1].
struct Wanted {
  int64_t rows;
  const int32_t* start;
  const int32_t* token;

  int64_t count() const { return start[rows]; }
};

Fault find_fault(const Wanted& wanted, int64_t room, int64_t outputs) {
  if (wanted.start[0] != 0 || !std::is_sorted(wanted.start, wanted.start + wanted.rows + 1)) return WANTED_START;
  if (wanted.count() > room) return WANTED_START;
  const bool is_known = std::all_of(wanted.token, wanted.token + wanted.count(), [&](int32_t t) { return t >= 0 && t < outputs; });
  return is_known ? NONE : WANTED_TOKEN;
}

// The outputs [begin, end) of one prepared row. Neighbours that lie in one vector are computed at once.
void pick_range(const Matrix& matrix, const void* prepared, const int32_t* token, int64_t begin, int64_t end, float* out) {
  while (begin < end) {
    int64_t vectors[MOST_PICKED], places[MOST_PICKED + 1];
    int64_t count = 0, next = begin;
    for (; next < end; ++next) {
      const int64_t vector = token[next] / LANES;
      if (count > 0 && vectors[count - 1] == vector) continue;
      if (count == MOST_PICKED) break;
      vectors[count] = vector;
      places[count++] = next;
    }
    places[count] = next;
    alignas(64) float values[MOST_PICKED * LANES];
    pick(matrix, prepared, vectors, count, values);
    for (int64_t v = 0; v < count; ++v) {
      for (int64_t i = places[v]; i < places[v + 1]; ++i) {
        const float sum = values[v * LANES + token[i] % LANES];
        out[i] = matrix.bias ? sum + matrix.bias[token[i]] : sum;
      }
    }
    begin = next;
  }
}

}  // namespace
}  // namespace espalier

using namespace espalier;

// out [room] from x [rows, K]; what lies beyond start[rows] becomes minus infinity. Returns a Fault.
EXPORT int32_t espalier_sparse_head(const Matrix* matrix, const float* x, int64_t rows, const int32_t* start,
                                    const int32_t* token, int64_t room, float* out, int32_t threads) {
  const Wanted wanted = {rows, start, token};
  if (const Fault fault = find_fault(wanted, room, matrix->outputs)) return fault;
  const int64_t count = wanted.count(), row_bytes = round_up(prepared_bytes(*matrix, 1), 64);
  std::fill(out + count, out + room, -std::numeric_limits<float>::infinity());
  Buffer prepared;
  prepared.reserve(rows * row_bytes);
  const auto row_at = [&](int64_t row) { return static_cast<char*>(prepared.data()) + row * row_bytes; };
  parallel(threads, [&](Team& team, int) {
    team.share_ranges(rows, 4, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        if (start[row] < start[row + 1]) prepare_row(*matrix, row_at(row), 1, 0, x + row * matrix->inputs);
    });
    const int64_t step = std::clamp<int64_t>(count / (4 * team.size), MOST_PICKED, 16 * MOST_PICKED);
    team.share_ranges(count, step, [&](int64_t begin, int64_t end) {
      int64_t row = std::upper_bound(start, start + rows + 1, begin) - start - 1;
      for (; begin < end; ++row) {
        const int64_t row_end = std::min<int64_t>(end, start[row + 1]);
        pick_range(*matrix, row_at(row), token, begin, row_end, out);
        begin = row_end;
      }
    });
  });
  return NONE;
}
