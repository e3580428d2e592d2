// What the tiles of both weight formats share.
#pragma once

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

}  // namespace espalier
