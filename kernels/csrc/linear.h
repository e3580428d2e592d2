// Linear layers over packed weights: what is packed how, and the product of prepared rows with it.
//
// Legend: T rows (tokens), K input features, N output features, H rows of one strip.
// Weights lie in panels of PANEL outputs, a panel by rising k. Rows are prepared in strips of H = strip_height(T) rows,
// a strip by rising k, so that both are read from end to end. An output is one chain of operations by rising k,
// whatever T, the strip or the thread: a row alone and the same row among others have the same bits.
#pragma once

#include <cstdint>

#include "simd.h"
#include "team.h"

namespace espalier {

enum Format : int32_t { FLOAT32 = 0, INT8 = 1 };

// As native.py declares it. `bias` may be null; `scale` (one for each output) is null for float32.
struct Matrix {
  int32_t format;
  int32_t reserved;
  int64_t inputs;
  int64_t outputs;
  const void* panels;
  const float* scale;
  const float* bias;
};

// Where a product goes: row t begins at data + t * stride. `add` adds to what is there.
struct Target {
  float* data;
  int64_t stride;
  bool add;
};

// Half-open ranges of strips and panels: one thread's piece of a product.
struct Piece {
  int64_t strip_begin, strip_end;
  int64_t panel_begin, panel_end;
};

// Strips of equal height (but for the last), none above `most`: eight rows become 4 + 4, not 6 + 2.
inline int64_t strip_height(int64_t rows, int64_t most) { return ceil_div(rows, ceil_div(rows, most)); }

// Every way has the same face.
namespace float32 {
#ifdef ESPALIER_AVX512
constexpr int MAX_HEIGHT = 12;
#else
constexpr int MAX_HEIGHT = 6;
#endif
constexpr int PANEL = 2 * LANES;
int64_t prepared_bytes(int64_t rows, int64_t inputs);
void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x);
void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece);
void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out);
}  // namespace float32

namespace int8 {
constexpr int MAX_HEIGHT = 6;
constexpr int PANEL = 2 * LANES;
#if defined(ESPALIER_AVX512) && defined(__AVX512VNNI__)
// Inputs that one 32-bit lane takes at once, inputs that share an activation scale, and what is added to a weight.
constexpr int DEPTH = 4;
constexpr int GROUP = 64;
constexpr int OFFSET = 128;
#else
constexpr int DEPTH = 2;
constexpr int GROUP = 2;
constexpr int OFFSET = 0;
#endif
int64_t prepared_bytes(int64_t rows, int64_t inputs);
void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x);
void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece);
void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out);
}  // namespace int8

#if defined(ESPALIER_AVX512) && defined(__AMX_INT8__)
#define ESPALIER_AMX 1
namespace amx {
constexpr int MAX_HEIGHT = 16;
constexpr int PANEL = 2 * LANES;
constexpr int DEPTH = 4;
constexpr int GROUP = 64;
// Whether the kernel lets this process use tiles; the library then takes this for all its int8 matrices.
bool is_available();
int64_t prepared_bytes(int64_t rows, int64_t inputs);
void prepare_row(void* prepared, int64_t rows, int64_t inputs, int64_t row, const float* x);
void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, const Piece& piece);
void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out);
}  // namespace amx
#endif

int64_t prepared_bytes(const Matrix& matrix, int64_t rows);
void prepare_row(const Matrix& matrix, void* prepared, int64_t rows, int64_t row, const float* x);
// The whole product, shared out among the team.
void multiply(const Matrix& matrix, const void* prepared, int64_t rows, const Target& target, Team& team);
// Of a row that was prepared alone, the outputs [LANES * v, LANES * (v + 1)) for each v of `vectors`, at most MOST_PICKED
// of them, without the bias: out [count, LANES]. The chains are those of the whole product, so the bits are, too.
constexpr int MOST_PICKED = 8;
void pick(const Matrix& matrix, const void* prepared, const int64_t* vectors, int64_t count, float* out);

}  // namespace espalier
