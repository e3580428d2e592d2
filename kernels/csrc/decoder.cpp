// The whole decoder stack for the new tokens of one step, in one parallel region: at one token a step, entering and
// leaving a region for each operation would cost more than the operations.
//
// Legend: T new tokens, R rows of logits, H hidden features, V vocabulary, N query heads, M KV heads, D head size,
// I features of the gated unit.
#include <algorithm>
#include <cstring>
#include <vector>

#include "attention.h"
#include "buffer.h"
#include "elementwise.h"
#include "export.h"
#include "linear.h"

namespace espalier {

// As native.py declares them.
struct Layer {
  Matrix qkv;
  Matrix o;
  Matrix gate_up;
  Matrix down;
  const float* input_norm;
  const float* post_norm;
  const float* q_norm;
  const float* k_norm;
  int64_t window;
};

struct Model {
  const Layer* layers;
  int64_t num_layers;
  Matrix head;
  const void* embedding;
  const float* final_norm;
  const float* cos_sin;
  int64_t num_positions;
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_size;
  int64_t vocabulary;
  int32_t embedding_type;
  float eps;
  float scale;
  int32_t exact;
};

struct Step {
  const int64_t* token_ids;
  const int64_t* positions;
  const int64_t* out_slots;
  int64_t num_tokens;
  const int64_t* logit_rows;
  int64_t num_logits;
  Sequences sequences;
  Pool pool;
  int64_t layer_stride;
  float* logits;
  float* hidden;  // where not null, the normed hidden states [R, H] go there, and no logits are computed
};

namespace {

class Decoder {
 public:
  explicit Decoder(const Model& model) : model_(model), layers_(model.layers, model.layers + model.num_layers) {
    const Layer& layer = layers_.front();
    heads_ = {model.num_heads, model.num_kv_heads, model.head_size};
    hidden_ = layer.o.outputs;
    mixed_ = layer.o.inputs;
    fused_ = layer.qkv.outputs;
    inner_ = layer.down.inputs;
  }

  Fault run(const Step& step, int threads) {
    if (const Fault fault = check(step)) return fault;
    reserve(step, threads);
    const auto& s = step.sequences;
    all_.build(s, heads_, nullptr, 0);
    wanted_.build(s, heads_, step.logit_rows, step.num_logits);
    parallel(threads, [&](Team& team, int index) {
      float* row = rows_.floats() + index * row_size();
      Worker(*this, step, team, row).run();
    });
    return NONE;
  }

 private:
  // One thread's way through the step. A method is one or a few loops; each begins when the one before it is done.
  struct Worker {
    Decoder& decoder;
    const Step& step;
    Team& team;
    float* row;

    Worker(Decoder& d, const Step& s, Team& t, float* r) : decoder(d), step(s), team(t), row(r) {}

    void run() {
      embed();
      const auto last = decoder.layers_.size() - 1;
      for (size_t i = 0; i < last; ++i) layer(i, step.num_tokens, decoder.all_);
      layer(last, step.num_logits, decoder.wanted_);
      if (step.num_logits == 0) return;
      if (step.hidden) return norm_into(step.hidden);
      prepare_norm(decoder.model_.final_norm, step.num_logits, decoder.model_.head);
      multiply(decoder.model_.head, decoder.prepared_.data(), step.num_logits,
               {step.logits, decoder.model_.head.outputs, false}, team);
    }

    // Keys and values of all tokens; the rest for the `wanted` of the plan alone.
    void layer(size_t index, int64_t wanted, const AttentionPlan& plan) {
      const Layer& weights = decoder.layers_[index];
      const Pool pool = pool_of(index);
      prepare_norm(weights.input_norm, step.num_tokens, weights.qkv);
      product(weights.qkv, step.num_tokens, decoder.work_.floats(), false);
      place_heads(weights, pool);
      if (wanted == 0) return;
      attention(weights, pool, plan, wanted);
      product(weights.o, wanted, decoder.residual_.floats(), true);
      prepare_norm(weights.post_norm, wanted, weights.gate_up);
      product(weights.gate_up, wanted, decoder.work_.floats(), false);
      gate(weights, wanted);
      product(weights.down, wanted, decoder.residual_.floats(), true);
    }

    void embed() {
      const Model& model = decoder.model_;
      team.share_ranges(step.num_tokens, 16, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          read_row(model.embedding, model.embedding_type, step.token_ids[t], decoder.hidden_, residual(t));
      });
    }

    void prepare_norm(const float* weight, int64_t rows, const Matrix& next) {
      team.share_ranges(rows, 12, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          rms_norm(residual(t), weight, decoder.hidden_, decoder.model_.eps, row);
          prepare_row(next, decoder.prepared_.data(), rows, t, row);
        }
      });
    }

    void norm_into(float* hidden) {
      const int64_t size = decoder.hidden_;
      team.share_ranges(step.num_logits, 12, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          rms_norm(residual(t), decoder.model_.final_norm, size, decoder.model_.eps, hidden + t * size);
      });
    }

    void product(const Matrix& matrix, int64_t rows, float* out, bool add) {
      multiply(matrix, decoder.prepared_.data(), rows, {out, matrix.outputs, add}, team);
    }

    // Norm and rotate the queries and keys of each token; put keys and values into its slot.
    void place_heads(const Layer& weights, const Pool& pool) {
      const auto& heads = decoder.heads_;
      team.share_ranges(step.num_tokens, 8, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          float* query = decoder.work_.floats() + t * decoder.fused_;
          float* key = query + heads.query * heads.size;
          turn(query, heads.query, weights.q_norm, step.positions[t]);
          turn(key, heads.kv, weights.k_norm, step.positions[t]);
          for (int64_t head = 0; head < heads.kv; ++head) {
            const int64_t offset = head * pool.head_stride + step.out_slots[t] * pool.slot_stride;
            write_row(key + head * heads.size, heads.size, pool.k, pool.type, offset);
            write_row(key + (heads.kv + head) * heads.size, heads.size, pool.v, pool.type, offset);
          }
        }
      });
    }

    void turn(float* first, int64_t count, const float* norm, int64_t position) {
      const int64_t size = decoder.heads_.size;
      const float* cos_sin = decoder.model_.cos_sin + position * size;
      for (float* head = first; head != first + count * size; head += size) {
        if (norm) rms_norm(head, norm, size, decoder.model_.eps, head);
        rotate(head, cos_sin, size);
      }
    }

    void attention(const Layer& weights, const Pool& pool, const AttentionPlan& plan, int64_t wanted) {
      float* mixed = decoder.mix_.floats();
      attend(plan, decoder.heads_, pool, {decoder.work_.floats(), decoder.fused_}, {mixed, decoder.mixed_},
             {decoder.model_.scale, weights.window, decoder.model_.exact != 0}, team);
      const bool fewer = wanted != step.num_tokens;
      // Rising: row i moves to a place at or before its own, but another thread may not have read that place yet.
      if (fewer) team.share(1, [&](int64_t) { gather_residual(); });
      team.share_ranges(wanted, 12, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          prepare_row(weights.o, decoder.prepared_.data(), wanted, t, mixed + t * decoder.mixed_);
      });
    }

    void gather_residual() {
      for (int64_t i = 0; i < step.num_logits; ++i) {
        const int64_t from = step.logit_rows[i];
        if (from != i) std::memcpy(residual(i), residual(from), sizeof(float) * static_cast<size_t>(decoder.hidden_));
      }
    }

    void gate(const Layer& weights, int64_t rows) {
      team.share_ranges(rows, 12, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const float* gate = decoder.work_.floats() + t * 2 * decoder.inner_;
          silu_mul(gate, gate + decoder.inner_, decoder.inner_, row);
          prepare_row(weights.down, decoder.prepared_.data(), rows, t, row);
        }
      });
    }

    Pool pool_of(size_t index) const {
      const int64_t bytes = static_cast<int64_t>(index) * step.layer_stride * (step.pool.type == KV_FLOAT32 ? 4 : 2);
      Pool pool = step.pool;
      pool.k = static_cast<char*>(pool.k) + bytes;
      pool.v = static_cast<char*>(pool.v) + bytes;
      return pool;
    }

    float* residual(int64_t t) const { return decoder.residual_.floats() + t * decoder.hidden_; }
  };

  Fault check(const Step& step) const {
    const auto outside = [](int64_t x, int64_t limit) { return x < 0 || x >= limit; };
    for (int64_t t = 0; t < step.num_tokens; ++t) {
      if (outside(step.token_ids[t], model_.vocabulary)) return TOKEN_IDS;
      if (outside(step.positions[t], model_.num_positions)) return POSITIONS;
      if (outside(step.out_slots[t], step.pool.num_slots)) return OUT_SLOTS;
    }
    for (int64_t i = 0; i < step.num_logits; ++i) {
      if (outside(step.logit_rows[i], step.num_tokens)) return LOGIT_ROWS;
      if (i > 0 && step.logit_rows[i] <= step.logit_rows[i - 1]) return LOGIT_ROWS;
    }
    return find_fault(step.sequences, step.num_tokens, step.pool.num_slots);
  }

  // Floats of a thread's row, a whole number of cache lines.
  int64_t row_size() const { return round_up(std::max(hidden_, inner_), 16); }

  void reserve(const Step& step, int threads) {
    const int64_t tokens = step.num_tokens;
    int64_t prepared = prepared_bytes(model_.head, std::max<int64_t>(1, step.num_logits));
    for (const Layer& layer : layers_)
      for (const Matrix* matrix : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
        prepared = std::max(prepared, prepared_bytes(*matrix, tokens));
    prepared_.reserve(prepared);
    residual_.reserve(tokens * hidden_ * 4);
    work_.reserve(tokens * std::max(fused_, 2 * inner_) * 4);
    mix_.reserve(tokens * mixed_ * 4);
    rows_.reserve(threads * row_size() * 4);
  }

  Model model_;
  std::vector<Layer> layers_;
  Heads heads_;
  int64_t hidden_, mixed_, fused_, inner_;
  AttentionPlan all_, wanted_;
  // residual [T, H]; work: queries, keys and values, or gate and up; mix: attention's results; a row for each thread.
  Buffer prepared_, residual_, work_, mix_, rows_;
};

}  // namespace
}  // namespace espalier

using namespace espalier;

// What `model` points to must outlive the decoder, except for the array of layers itself.
EXPORT void* espalier_decoder_new(const Model* model) { return new Decoder(*model); }

EXPORT void espalier_decoder_free(void* decoder) { delete static_cast<Decoder*>(decoder); }

// One call at a time for each decoder. Returns a Fault.
EXPORT int32_t espalier_decoder_run(void* decoder, const Step* step, int32_t threads) {
  return static_cast<Decoder*>(decoder)->run(*step, threads);
}
