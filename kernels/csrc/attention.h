// Attention of new tokens to the history in their slots.
//
// Legend: T new tokens, B sequences, N query heads, M KV heads, G = N / M query heads that share a KV head, D head size.
// Sequence b owns the tokens [query_start[b], query_start[b + 1]); the last stands at position context_len[b] - 1. The
// slot of its position p is slot_table[rows[b] * table_stride + p]. A window w lets position p see (p - w, p].
#pragma once

#include <cstdint>
#include <vector>

#include "team.h"

namespace espalier {

enum KvType : int32_t { KV_FLOAT32 = 0, KV_FLOAT16 = 1, KV_BFLOAT16 = 2 };

// Keys and values of one layer; strides in elements. As native.py declares it.
struct Pool {
  void* k;
  void* v;
  int64_t head_stride;
  int64_t slot_stride;
  int64_t num_slots;
  int32_t type;
  int32_t reserved;
};

// Whose tokens are new. As native.py declares it.
struct Sequences {
  const int32_t* slot_table;
  int64_t table_stride;
  int64_t table_rows;
  const int32_t* rows;
  const int32_t* query_start;
  const int32_t* context_len;
  int64_t count;
};

// The first argument found wrong: these come from outside, and a slot that does not exist would be read all the same.
enum Fault : int32_t {
  NONE = 0,
  QUERY_START = 1,
  ROWS = 2,
  CONTEXT_LEN = 3,
  SLOT_TABLE = 4,
  TOKEN_IDS = 5,
  POSITIONS = 6,
  OUT_SLOTS = 7,
  LOGIT_ROWS = 8,
  WANTED_START = 9,
  WANTED_TOKEN = 10,
};
Fault find_fault(const Sequences& sequences, int64_t num_tokens, int64_t num_slots);

struct Heads {
  int64_t query;
  int64_t kv;
  int64_t size;
};

// Rows begin at data + t * stride; heads lie one after the other.
struct Queries {
  const float* data;
  int64_t stride;
};

struct Mixed {
  float* data;
  int64_t stride;
};

// Neighbouring queries of one sequence that read the same keys: those of query_of[begin, end).
struct QueryBlock {
  const int32_t* slots;
  int64_t begin;
  int64_t end;
};

// Which queries are wanted, in blocks. Made once for all layers.
class AttentionPlan {
 public:
  struct Query {
    int64_t token;
    int64_t position;
  };

  // All new tokens; or, with `wanted` (rising indices of tokens), these alone: result i then belongs to wanted[i].
  void build(const Sequences& sequences, const Heads& heads, const int64_t* wanted, int64_t num_wanted);

  std::vector<Query> queries;
  std::vector<QueryBlock> blocks;
};

constexpr int64_t MAX_HEAD_SIZE = 256;
constexpr int64_t MAX_GROUP = 64;

// How: `window` 0 is none; with `exact` a query's result depends on its own history alone, to the bit.
struct Manner {
  float scale;
  int64_t window;
  bool exact;
};

// Result i of the plan goes to row i of `mixed`. Shared out among the team.
void attend(const AttentionPlan& plan, const Heads& heads, const Pool& pool, const Queries& queries, const Mixed& mixed,
            const Manner& manner, Team& team);

}  // namespace espalier
