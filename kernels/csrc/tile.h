// What the tiles of both weight formats share.
#pragma once

#include <type_traits>

#include "linear.h"

namespace espalier {

// Add the bias to LANES outputs and put them in their place; the last panel may be wider than the matrix.
inline void put(vf sum, const Matrix& matrix, const Target& target, int64_t row, int64_t output) {
  const int64_t left = matrix.outputs - output;
  if (left <= 0) return;
  float* place = target.data + row * target.stride + output;
  if (left >= LANES) {
    if (matrix.bias) sum = add(sum, load(matrix.bias + output));
    store(place, target.add ? add(load(place), sum) : sum);
  } else {
    if (matrix.bias) sum = add(sum, load_first(matrix.bias + output, left));
    store_first(place, target.add ? add(load_first(place, left), sum) : sum, left);
  }
}

// How many of the `left` panels to take now: the most that there is a tile for, but spread evenly (9 as 3 + 3 + 3).
template <class Run, int N>
int64_t panels_at_once(const Run (&runs)[N], int64_t left) {
  int64_t most = N;
  while (!runs[most - 1]) --most;
  return ceil_div(left, ceil_div(left, most));
}

// Call work with `count`, 1 to MOST_PICKED, as a constant: work(std::integral_constant).
template <int N = 1, class Work>
void with_count(int64_t count, Work work) {
  if constexpr (N < MOST_PICKED) {
    if (count > N) return with_count<N + 1>(count, work);
  }
  work(std::integral_constant<int, N>());
}

}  // namespace espalier
