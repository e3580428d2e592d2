// The best token of a row, or one drawn by the inverse of its distribution, over the tokens that a mask allows.
//
// Legend: V vocabulary, W words of the mask. Bit j of word i allows token 32 i + j; where a word is zero, the logits of
// its tokens are not read.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "export.h"
#include "simd.h"
#include "team.h"

namespace espalier {
namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();
constexpr int64_t WORD = 32;
// Words of one sub-block: what is summed up in float32.
constexpr int64_t SUB_BLOCK = 4;

// Logits [V] of one row and its mask; a row without one has no words.
struct Row {
  const float* x;
  int64_t size;
  const uint32_t* words;
  int64_t num_words;

  int64_t word_count() const { return ceil_div(size, WORD); }

  uint32_t word(int64_t i) const {
    const int64_t rest = size - i * WORD;
    const uint32_t inside = rest >= WORD ? ~0u : (1u << rest) - 1;
    return words == nullptr ? inside : i < num_words ? words[i] & inside : 0u;
  }
};

struct Batch {
  const float* x;
  int64_t stride, size;
  const uint32_t* mask;
  int64_t mask_stride, num_words;
  const uint8_t* is_masked;

  Row row(int64_t i) const {
    const bool has_mask = mask != nullptr && (is_masked == nullptr || is_masked[i]);
    return {x + i * stride, size, has_mask ? mask + i * mask_stride : nullptr, num_words};
  }
};

// body(vector, bits, first token) for the vectors of the words [begin, end) that allow any token, bits for its lanes.
template <class Body>
inline void each_allowed(const Row& row, int64_t begin, int64_t end, Body body) {
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t word = row.word(i);
    if (word == 0) continue;
    for (int64_t lane = 0; lane < WORD; lane += LANES) {
      const uint32_t bits = (word >> lane) & static_cast<uint32_t>((uint64_t{1} << LANES) - 1);
      if (bits == 0) continue;
      const int64_t token = i * WORD + lane, rest = row.size - token;
      body(rest >= LANES ? load(row.x + token) : load_first(row.x + token, rest), bits, token);
    }
  }
}

inline bool allows(uint32_t bits, int lane) { return bits >> lane & 1; }

// The first allowed token of the words [begin, end) for which `is_it` holds, or -1.
template <class Test>
int64_t find_first(const Row& row, int64_t begin, int64_t end, Test is_it) {
  for (int64_t i = begin; i < end; ++i)
    for (uint32_t word = row.word(i); word != 0; word &= word - 1) {
      const int64_t token = i * WORD + __builtin_ctz(word);
      if (is_it(row.x[token])) return token;
    }
  return -1;
}

// Words between two looks at what was the best: the search for its place is as short.
constexpr int64_t STRETCH = 32;

int64_t argmax(const Row& row, float& value) {
  const int64_t count = row.word_count();
  int64_t best_begin = -1;
  value = -INFINITE;
  vf sum = zero();
  for (int64_t begin = 0; begin < count; begin += STRETCH) {
    vf most = splat(-INFINITE);
    each_allowed(row, begin, std::min(begin + STRETCH, count), [&](vf v, uint32_t bits, int64_t) {
      most = max(most, keep_bits(v, bits, splat(-INFINITE)));
      // Zero times a number is zero, times an infinity or a NaN it is NaN.
      sum = fma(keep_bits(v, bits, zero()), zero(), sum);
    });
    const float here = max_lanes(most);
    if (here > value) {
      value = here;
      best_begin = begin;
    }
  }
  const float zeros = sum_lanes(sum);
  if (zeros != zeros) {
    const int64_t broken = find_first(row, 0, count, [](float v) { return v != v; });
    if (broken >= 0) {
      value = row.x[broken];
      return broken;
    }
  }
  // All that is allowed may be minus infinity.
  if (best_begin < 0) return find_first(row, 0, count, [](float) { return true; });
  return find_first(row, best_begin, std::min(best_begin + STRETCH, count), [&](float v) { return v == value; });
}

// What a row keeps: logits above `floor` and the first `ties` that equal it; their weight is e^((x - most) scale).
struct Cut {
  float most, scale, floor;
  int64_t ties;

  vf weight(vf v) const { return exp(mul(sub(v, splat(most)), splat(scale))); }

  double weight_of(float x) const {
    float one[LANES];
    store(one, weight(splat(x)));
    return one[0];
  }
};

// Working memory of a thread.
struct Scratch {
  std::vector<double> mass;
  std::vector<int64_t> equal;
  std::vector<float> values, most;
};

Scratch& scratch() {
  thread_local Scratch own;
  return own;
}

// The allowed logits that reach `floor`, and are numbers.
void collect(const Row& row, float floor, std::vector<float>& values) {
  values.clear();
  each_allowed(row, 0, row.word_count(), [&](vf v, uint32_t bits, int64_t) {
    bits &= lanes_at_least(v, floor) & lanes_above(v, -INFINITE);
    if (bits == 0) return;
    float x[LANES];
    store(x, v);
    for (; bits != 0; bits &= bits - 1) values.push_back(x[__builtin_ctz(bits)]);
  });
}

// A logit that the k-th largest does not lie below: the k-th largest of the sub-blocks' maxima.
float bound_count(const Row& row, size_t k) {
  std::vector<float>& most = scratch().most;
  most.clear();
  const int64_t words = row.word_count();
  for (int64_t begin = 0; begin < words; begin += SUB_BLOCK) {
    vf here = splat(-INFINITE);
    each_allowed(row, begin, std::min(begin + SUB_BLOCK, words), [&](vf v, uint32_t bits, int64_t) {
      here = max(here, keep_bits(v, bits, splat(-INFINITE)));
    });
    most.push_back(max_lanes(here));
  }
  if (most.size() < k) return -INFINITE;
  std::nth_element(most.begin(), most.begin() + static_cast<int64_t>(k - 1), most.end(), std::greater<float>());
  return most[k - 1];
}

// Raise the cut to the top k of what it keeps; `values` are those then, in any order.
void keep_top_k(const Row& row, size_t k, Cut& cut, std::vector<float>& values) {
  collect(row, std::max(cut.floor, bound_count(row, k)), values);
  if (values.size() < k) return;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(k - 1), values.end(), std::greater<float>());
  values.resize(k);
  cut.floor = values[k - 1];
  cut.ties = std::count(values.begin(), values.end(), cut.floor);
}

// Raise the cut to the fewest of `values`, which are all that it keeps, that make up a share of p.
void keep_top_p(double p, Cut& cut, std::vector<float>& values) {
  // Buckets of falling logits: only the one in which the cut lies is sorted.
  constexpr int64_t BUCKETS = 1024;
  constexpr float RANGE = 40;
  const auto bucket_of = [&](float x) {
    return static_cast<int64_t>(std::min((cut.most - x) * cut.scale * (BUCKETS / RANGE), static_cast<float>(BUCKETS - 1)));
  };
  std::vector<double>& mass = scratch().mass;
  mass.assign(BUCKETS, 0.0);
  double whole = 0;
  for (size_t i = 0; i < values.size(); i += LANES) {
    const auto count = std::min<int64_t>(LANES, static_cast<int64_t>(values.size() - i));
    float weights[LANES];
    store(weights, cut.weight(count == LANES ? load(&values[i]) : load_first(&values[i], count)));
    for (int64_t lane = 0; lane < count; ++lane) {
      mass[static_cast<size_t>(bucket_of(values[i + static_cast<size_t>(lane)]))] += weights[lane];
      whole += weights[lane];
    }
  }
  const double target = p * whole;
  double before = 0;
  int64_t bucket = 0;
  while (bucket < BUCKETS - 1 && before + mass[static_cast<size_t>(bucket)] < target) before += mass[static_cast<size_t>(bucket++)];
  values.erase(std::remove_if(values.begin(), values.end(), [&](float x) { return bucket_of(x) != bucket; }), values.end());
  std::sort(values.begin(), values.end(), std::greater<float>());
  float floor = cut.floor;
  int64_t ties = 0;
  for (const float x : values) {
    if (ties != 0 && before >= target) break;
    ties = x == floor && ties != 0 ? ties + 1 : 1;
    floor = x;
    before += cut.weight_of(x);
  }
  if (ties == 0) return;
  cut.floor = floor;
  cut.ties = ties;
}

int64_t draw(const Row& row, const Cut& cut, double uniform) {
  const int64_t words = row.word_count(), count = ceil_div(words, SUB_BLOCK);
  std::vector<double>& mass = scratch().mass;
  std::vector<int64_t>& equal = scratch().equal;
  mass.assign(static_cast<size_t>(count), 0.0);
  equal.assign(static_cast<size_t>(count), 0);
  const double tie_weight = cut.weight_of(cut.floor);
  int64_t ties = cut.ties;
  double whole = 0;
  for (int64_t block = 0; block < count; ++block) {
    vf sum = zero();
    int64_t equals = 0;
    each_allowed(row, block * SUB_BLOCK, std::min((block + 1) * SUB_BLOCK, words), [&](vf v, uint32_t bits, int64_t) {
      bits &= lanes_at_least(v, cut.floor);
      if (bits == 0) return;
      const uint32_t above = bits & lanes_above(v, cut.floor);
      equals += __builtin_popcount(bits ^ above);
      sum = add(sum, keep_bits(cut.weight(v), above, zero()));
    });
    equal[static_cast<size_t>(block)] = std::min(equals, ties);
    ties -= equal[static_cast<size_t>(block)];
    mass[static_cast<size_t>(block)] = sum_lanes(sum) + tie_weight * static_cast<double>(equal[static_cast<size_t>(block)]);
    whole += mass[static_cast<size_t>(block)];
  }
  const double target = uniform * whole;
  double before = 0;
  int64_t chosen = -1;
  for (int64_t block = 0; block < count; ++block) {
    if (mass[static_cast<size_t>(block)] == 0) continue;
    if (chosen >= 0) {
      const double after = before + mass[static_cast<size_t>(chosen)];
      if (after > target) break;
      before = after;
    }
    // Rounding may leave the target beyond the sum: then it is the last sub-block, and in it the last token.
    chosen = block;
  }
  if (chosen < 0) return -1;
  int64_t left = equal[static_cast<size_t>(chosen)], token = -1;
  bool is_found = false;
  each_allowed(row, chosen * SUB_BLOCK, std::min((chosen + 1) * SUB_BLOCK, words), [&](vf v, uint32_t bits, int64_t at) {
    if (is_found) return;
    bits &= lanes_at_least(v, cut.floor);
    const uint32_t above = bits & lanes_above(v, cut.floor);
    float weights[LANES];
    store(weights, cut.weight(v));
    for (int lane = 0; lane < LANES && !is_found; ++lane) {
      if (!allows(bits, lane) || weights[lane] == 0) continue;
      if (!allows(above, lane) && left-- <= 0) continue;
      token = at + lane;
      before += weights[lane];
      is_found = before > target;
    }
  });
  return token;
}

struct Settings {
  float temperature;
  int32_t top_k;
  float top_p, min_p;
  double uniform;
};

int64_t sample(const Row& row, const Settings& settings, float& best) {
  const int64_t token = argmax(row, best);
  if (settings.temperature <= 0 || !(best > -INFINITE && best < INFINITE)) return token;
  // p >= min_p times the largest p, said of logits.
  const float floor = settings.min_p > 0 ? best + settings.temperature * std::log(settings.min_p) : -INFINITE;
  Cut cut{best, 1 / std::max(settings.temperature, 1e-20f), floor, std::numeric_limits<int64_t>::max()};
  std::vector<float>& values = scratch().values;
  if (settings.top_k > 0) keep_top_k(row, static_cast<size_t>(settings.top_k), cut, values);
  else if (settings.top_p < 1) collect(row, cut.floor, values);
  if (settings.top_p < 1) keep_top_p(settings.top_p, cut, values);
  const int64_t drawn = draw(row, cut, settings.uniform);
  return drawn < 0 ? token : drawn;
}

}  // namespace
}  // namespace espalier

using namespace espalier;

// The token of each row, whether it is one, whether nothing is allowed, and the largest allowed logit: a NaN if one is
// allowed. Where the temperature is zero, the token is that of the largest, the first of equals. The settings are vectors
// with one number for each row, or null: then all are greedy.
EXPORT void espalier_sample(const float* x, int64_t stride, int64_t rows, int64_t size, const uint32_t* mask,
                            int64_t mask_stride, int64_t words, const uint8_t* is_masked, const float* temperature,
                            const int32_t* top_k, const float* top_p, const float* min_p, const double* uniform,
                            int64_t* token, uint8_t* is_valid, uint8_t* is_blocked, float* best, int32_t threads) {
  const Batch batch{x, stride, size, mask, mask_stride, words, is_masked};
  parallel(threads, [&](Team& team, int) {
    team.share(rows, [&](int64_t row) {
      Settings settings{};
      if (temperature != nullptr) settings = {temperature[row], top_k[row], top_p[row], min_p[row], uniform[row]};
      token[row] = sample(batch.row(row), settings, best[row]);
      is_blocked[row] = token[row] < 0;
      is_valid[row] = std::isfinite(best[row]);
      if (!is_valid[row]) token[row] = 0;
    });
  });
}
