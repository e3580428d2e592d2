// Attention by blocks of keys at fixed places, joined by the online softmax (Milakov and Gimelshein, 2018).
//
// A query's blocks begin at multiples of KEY_BLOCK of its own positions, and what a block adds to it is one chain of
// operations, whatever else is computed beside it. A block it does not see at all changes nothing, to the bit: it
// multiplies by e^0 and adds zeros. So a query's result depends on its own history alone, unless exactness is given up:
// then blocks of few rows go another way (few_rows.h).
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "export.h"
#include "few_rows.h"
#include "simd.h"

namespace espalier {
namespace {

constexpr int64_t KEY_BLOCK = 64;
// Rows of a block: as many whole queries as fit, or one.
constexpr int64_t BLOCK_ROWS = 48;
constexpr int64_t MAX_ROWS = std::max(BLOCK_ROWS, MAX_GROUP);
// Not a power of two: rows of queries would fall into the same few sets of the first cache.
constexpr int64_t ROW_STRIDE = MAX_HEAD_SIZE + LANES;
// Rows of one tile: with two vectors a row, what the registers hold.
#ifdef ESPALIER_AVX512
constexpr int TILE = 12;
#else
constexpr int TILE = 6;
#endif

template <class T>
float read_one(const T* p) {
  T copy[LANES] = {*p};
  float wide[LANES];
  store(wide, read(copy));
  return wide[0];
}

// One thread's working memory. A row is one query of one head.
struct Scratch {
  alignas(64) float query[MAX_ROWS][ROW_STRIDE];
  alignas(64) float mixed[MAX_ROWS][ROW_STRIDE];
  alignas(64) float score[MAX_ROWS][KEY_BLOCK];
  alignas(64) float keys[MAX_HEAD_SIZE + LANES][KEY_BLOCK];
  alignas(64) float values[KEY_BLOCK][MAX_HEAD_SIZE];
  float best[MAX_ROWS];
  float total[MAX_ROWS];
};

// out[h][0, 2 LANES) (+)= sum over k of a[h][k] * b[k][0, 2 LANES).
template <int H, int64_t A_STRIDE, int64_t OUT_STRIDE, bool ADD>
void tile(const float* a, const float* b, int64_t b_stride, int64_t depth, float* out) {
  vf sum[H][2];
#pragma GCC unroll 16
  for (int h = 0; h < H; ++h) {
    sum[h][0] = ADD ? load(out + h * OUT_STRIDE) : zero();
    sum[h][1] = ADD ? load(out + h * OUT_STRIDE + LANES) : zero();
  }
  for (int64_t k = 0; k < depth; ++k) {
    const vf left = load(b + k * b_stride), right = load(b + k * b_stride + LANES);
#pragma GCC unroll 16
    for (int h = 0; h < H; ++h) {
      const vf x = splat(a[h * A_STRIDE + k]);
      sum[h][0] = fma(x, left, sum[h][0]);
      sum[h][1] = fma(x, right, sum[h][1]);
    }
  }
#pragma GCC unroll 16
  for (int h = 0; h < H; ++h) {
    store(out + h * OUT_STRIDE, sum[h][0]);
    store(out + h * OUT_STRIDE + LANES, sum[h][1]);
  }
}

// `tile` for any number of rows.
template <int64_t A_STRIDE, int64_t OUT_STRIDE, bool ADD, int H = TILE>
void tiles(int64_t rows, const float* a, const float* b, int64_t b_stride, int64_t depth, float* out) {
  for (; rows >= H; rows -= H, a += H * A_STRIDE, out += H * OUT_STRIDE)
    tile<H, A_STRIDE, OUT_STRIDE, ADD>(a, b, b_stride, depth, out);
  if constexpr (H > 1) {
    if (rows > 0) tiles<A_STRIDE, OUT_STRIDE, ADD, H - 1>(rows, a, b, b_stride, depth, out);
  }
}

// Keys and values of KEY_BLOCK positions of one head, as the tiles want them.
template <class T>
class KeyBlock {
 public:
  KeyBlock(const T* k, const T* v, int64_t slot_stride, int64_t size) : k_(k), v_(v), stride_(slot_stride), size_(size) {}

  // Positions [0, count) of the block lie in `slots`.
  void read(const int32_t* slots, int64_t count, Scratch& scratch) {
    for (int64_t i = 0; i < count; i += LANES) read_keys(slots + i, std::min<int64_t>(LANES, count - i), &scratch.keys[0][i]);
    read_values(slots, count, scratch);
  }

  void prefetch(const int32_t* slots, int64_t count) const {
    const int64_t step = CACHE_LINE / static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < count; ++i)
      for (int64_t d = 0; d < size_; d += step) {
        fetch_line(k_ + slots[i] * stride_ + d);
        fetch_line(v_ + slots[i] * stride_ + d);
      }
  }

  const T* k() const { return k_; }
  const T* v() const { return v_; }

  const float* values = nullptr;
  int64_t value_stride = 0;

 private:
  // Columns of scratch.keys: key i's features go down column i.
  void read_keys(const int32_t* slots, int64_t count, float* out) {
    int64_t d = 0;
    for (; d + LANES <= size_; d += LANES) {
      vf in[LANES];
      for (int64_t i = 0; i < LANES; ++i) in[i] = i < count ? espalier::read(k_ + slots[i] * stride_ + d) : zero();
      transpose(in, out + d * KEY_BLOCK, KEY_BLOCK);
    }
    for (; d < size_; ++d)
      for (int64_t i = 0; i < count; ++i) out[d * KEY_BLOCK + i] = read_one(k_ + slots[i] * stride_ + d);
  }

  // Slots in a row are read where they lie; others, other types and odd sizes are copied side by side.
  void read_values(const int32_t* slots, int64_t count, Scratch& scratch) {
    if constexpr (std::is_same_v<T, float>) {
      bool in_a_row = size_ % (2 * LANES) == 0;
      for (int64_t i = 1; i < count; ++i) in_a_row &= slots[i] == slots[0] + i;
      if (in_a_row) {
        values = v_ + slots[0] * stride_;
        value_stride = stride_;
        return;
      }
    }
    values = scratch.values[0];
    value_stride = MAX_HEAD_SIZE;
    for (int64_t i = 0; i < count; ++i) {
      const T* from = v_ + slots[i] * stride_;
      int64_t d = 0;
      for (; d + LANES <= size_; d += LANES) store(scratch.values[i] + d, espalier::read(from + d));
      for (; d < size_; ++d) scratch.values[i][d] = read_one(from + d);
    }
  }

  const T* k_;
  const T* v_;
  int64_t stride_;
  int64_t size_;
};

// Turn a row of scores into weights and account for them; returns what the earlier results shrink by.
float soften(float* score, int64_t begin, int64_t first_seen, int64_t last_seen, bool whole, float& best, float& total) {
  constexpr int N = KEY_BLOCK / LANES;
  vf x[N];
  vf top = splat(best);
  for (int i = 0; i < N; ++i) {
    x[i] = load(score + i * LANES);
    if (!whole) {
      const vf index = add(indices(), splat(static_cast<float>(i * LANES)));
      x[i] = keep_between(x[i], index, splat(static_cast<float>(first_seen - begin)), splat(static_cast<float>(last_seen - begin)));
    }
    top = max(top, x[i]);
  }
  const float highest = max_lanes(top);
  // Nothing seen yet: any finite number will do.
  const float base = highest == -std::numeric_limits<float>::infinity() ? 0.0f : highest;
  vf sum = zero();
  for (int i = 0; i < N; ++i) {
    x[i] = exp(sub(x[i], splat(base)));
    store(score + i * LANES, x[i]);
    sum = add(sum, x[i]);
  }
  float keep[LANES];
  store(keep, exp(splat(best - base)));
  total = std::fma(total, keep[0], sum_lanes(sum));
  best = highest;
  return keep[0];
}

template <class T>
class Attention {
 public:
  Attention(const Heads& heads, const Pool& pool, const Queries& queries, const Mixed& mixed, const Manner& manner)
      : heads_(heads), pool_(pool), queries_(queries), mixed_(mixed), manner_(manner), window_(manner.window),
        group_(heads.query / heads.kv), width_(round_up(heads.size, 2 * LANES)) {}

  // All queries of the block, for the query heads of one KV head.
  void run(const AttentionPlan& plan, const QueryBlock& block, int64_t kv_head, Scratch& scratch) const {
    const auto* query = plan.queries.data();
    const int64_t rows = (block.end - block.begin) * group_, end = query[block.end - 1].position + 1;
    for (int64_t r = 0; r < rows; ++r) start(query[block.begin + r / group_].token, kv_head * group_ + r % group_, r, scratch);
    KeyBlock<T> keys(static_cast<const T*>(pool_.k) + kv_head * pool_.head_stride,
                     static_cast<const T*>(pool_.v) + kv_head * pool_.head_stride, pool_.slot_stride, heads_.size);
    const bool is_few = !manner_.exact && rows <= FEW_ROWS && block.end - block.begin == 1 && heads_.size % LANES == 0;
    const int64_t first = window_ > 0 ? std::max<int64_t>(0, query[block.begin].position + 1 - window_) : 0;
    for (int64_t begin = first / KEY_BLOCK * KEY_BLOCK; begin < end; begin += KEY_BLOCK) {
      const int64_t count = std::min(KEY_BLOCK, end - begin), after = begin + KEY_BLOCK;
      if (after < end) keys.prefetch(block.slots + after, std::min(KEY_BLOCK, end - after));
      if (is_few) {
        few(keys, block, begin, count, rows, query[block.begin].position, scratch);
        continue;
      }
      keys.read(block.slots + begin, count, scratch);
      for (int64_t i = 0; i < count; i += 2 * LANES)
        tiles<ROW_STRIDE, KEY_BLOCK, false>(rows, scratch.query[0], &scratch.keys[0][i], KEY_BLOCK, heads_.size, &scratch.score[0][i]);
      for (int64_t r = 0; r < rows; ++r) weigh(query[block.begin + r / group_].position, begin, r, scratch);
      for (int64_t d = 0; d < width_; d += 2 * LANES)
        tiles<KEY_BLOCK, ROW_STRIDE, true>(rows, scratch.score[0], keys.values + d, keys.value_stride, count, &scratch.mixed[0][d]);
    }
    for (int64_t r = 0; r < rows; ++r) finish(block.begin + r / group_, kv_head * group_ + r % group_, r, scratch);
  }

 private:
  // One query with all its heads.
  void few(const KeyBlock<T>& keys, const QueryBlock& block, int64_t begin, int64_t count, int64_t rows, int64_t position,
           Scratch& scratch) const {
    const int32_t* slots = block.slots + begin;
    with_rows(rows, [&](auto number) {
      constexpr int R = decltype(number)::value;
      score_rows<R>(scratch.query[0], ROW_STRIDE, keys.k(), pool_.slot_stride, slots, count, heads_.size, scratch.score[0], KEY_BLOCK);
      for (int64_t r = 0; r < R; ++r) weigh(position, begin, r, scratch);
      mix_rows<R>(scratch.score[0], KEY_BLOCK, keys.v(), pool_.slot_stride, slots, count, heads_.size, scratch.mixed[0], ROW_STRIDE);
    });
  }

  void start(int64_t token, int64_t head, int64_t r, Scratch& scratch) const {
    const float* from = queries_.data + token * queries_.stride + head * heads_.size;
    for (int64_t d = 0; d < heads_.size; ++d) scratch.query[r][d] = from[d] * manner_.scale;
    std::memset(scratch.mixed[r], 0, sizeof(float) * static_cast<size_t>(width_));
    scratch.best[r] = -std::numeric_limits<float>::infinity();
    scratch.total[r] = 0;
  }

  void weigh(int64_t position, int64_t begin, int64_t r, Scratch& scratch) const {
    const int64_t low = window_ > 0 ? position + 1 - window_ : 0;
    const bool whole = low <= begin && begin + KEY_BLOCK - 1 <= position;
    const float keep = soften(scratch.score[r], begin, low, position, whole, scratch.best[r], scratch.total[r]);
    if (keep == 1.0f) return;
    for (int64_t d = 0; d < width_; d += LANES) store(&scratch.mixed[r][d], mul(load(&scratch.mixed[r][d]), splat(keep)));
  }

  void finish(int64_t result, int64_t head, int64_t r, const Scratch& scratch) const {
    float* to = mixed_.data + result * mixed_.stride + head * heads_.size;
    for (int64_t d = 0; d < heads_.size; ++d) to[d] = scratch.mixed[r][d] / scratch.total[r];
  }

  const Heads& heads_;
  const Pool& pool_;
  const Queries& queries_;
  const Mixed& mixed_;
  const Manner& manner_;
  int64_t window_, group_, width_;
};

template <class T>
void attend_as(const AttentionPlan& plan, const Heads& heads, const Pool& pool, const Queries& queries, const Mixed& mixed,
               const Manner& manner, Team& team) {
  static thread_local Scratch scratch;
  const Attention<T> attention(heads, pool, queries, mixed, manner);
  const auto blocks = static_cast<int64_t>(plan.blocks.size());
  // Later blocks of a prompt read more keys: the longest work is given out first.
  team.share(blocks * heads.kv, [&](int64_t item) {
    const int64_t index = blocks - 1 - item / heads.kv;
    attention.run(plan, plan.blocks[static_cast<size_t>(index)], item % heads.kv, scratch);
  });
}

}  // namespace

Fault find_fault(const Sequences& sequences, int64_t num_tokens, int64_t num_slots) {
  int64_t at = 0;
  for (int64_t b = 0; b < sequences.count; ++b) {
    const int64_t begin = sequences.query_start[b], end = sequences.query_start[b + 1], length = sequences.context_len[b];
    if (begin != at || end < begin) return QUERY_START;
    if (sequences.rows[b] < 0 || sequences.rows[b] >= sequences.table_rows) return ROWS;
    if (length < end - begin || length > sequences.table_stride) return CONTEXT_LEN;
    const int32_t* slots = sequences.slot_table + sequences.rows[b] * sequences.table_stride;
    // As unsigned, a negative slot is beyond the last.
    uint32_t highest = 0;
    for (int64_t p = 0; p < length; ++p) highest = std::max(highest, static_cast<uint32_t>(slots[p]));
    if (length > 0 && highest >= num_slots) return SLOT_TABLE;
    at = end;
  }
  return at == num_tokens ? NONE : QUERY_START;
}

void AttentionPlan::build(const Sequences& sequences, const Heads& heads, const int64_t* wanted, int64_t num_wanted) {
  queries.clear();
  blocks.clear();
  const int64_t most = std::max<int64_t>(1, BLOCK_ROWS / (heads.query / heads.kv));
  int64_t next = 0;
  for (int64_t b = 0; b < sequences.count; ++b) {
    const int64_t begin = sequences.query_start[b], end = sequences.query_start[b + 1];
    const int64_t first = static_cast<int64_t>(queries.size()), offset = sequences.context_len[b] - end;
    if (wanted) {
      for (; next < num_wanted && wanted[next] < end; ++next) queries.push_back({wanted[next], wanted[next] + offset});
    } else {
      for (int64_t token = begin; token < end; ++token) queries.push_back({token, token + offset});
    }
    const int32_t* slots = sequences.slot_table + sequences.rows[b] * sequences.table_stride;
    const int64_t last = static_cast<int64_t>(queries.size());
    for (int64_t i = first; i < last; i += most) blocks.push_back({slots, i, std::min(i + most, last)});
  }
}

void attend(const AttentionPlan& plan, const Heads& heads, const Pool& pool, const Queries& queries, const Mixed& mixed,
            const Manner& manner, Team& team) {
  const auto run = pool.type == KV_FLOAT32   ? attend_as<float>
                   : pool.type == KV_FLOAT16 ? attend_as<Float16>
                                             : attend_as<BFloat16>;
  run(plan, heads, pool, queries, mixed, manner, team);
}

}  // namespace espalier

using namespace espalier;

// q and out [T, N, D] contiguous; window 0 is none. Returns a Fault.
EXPORT int32_t espalier_attention(const Sequences* sequences, const Pool* pool, int64_t num_heads, int64_t num_kv_heads,
                                  int64_t head_size, const float* q, int64_t num_tokens, float* out, float scale,
                                  int64_t window, bool exact, int32_t threads) {
  if (const Fault fault = find_fault(*sequences, num_tokens, pool->num_slots)) return fault;
  const Heads heads{num_heads, num_kv_heads, head_size};
  AttentionPlan plan;
  plan.build(*sequences, heads, nullptr, 0);
  const int64_t stride = num_heads * head_size;
  parallel(threads, [&](Team& team, int) { attend(plan, heads, *pool, {q, stride}, {out, stride}, {scale, window, exact}, team); });
  return NONE;
}
