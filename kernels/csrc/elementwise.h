// The operations between the products, one row at a time. Legend: H features, D head size.
#pragma once

#include <cstdint>

namespace espalier {

enum RowType : int32_t { ROW_FLOAT32 = 0, ROW_FLOAT16 = 1, ROW_BFLOAT16 = 2 };

// out [H] = x [H] over its root mean square, times weight [H] (Zhang and Sennrich, 2019); in place if out is x.
void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* out);

// Rotate a head [D] to its position: D/2 cosines, then D/2 sines; halves against each other (Su et al., 2021).
void rotate(float* head, const float* cos_sin, int64_t size);

// out [H] = SiLU(gate [H]) times up [H] (Shazeer, 2020).
void silu_mul(const float* gate, const float* up, int64_t size, float* out);

// Row `index` of a table of floats of the given type.
void read_row(const void* table, int32_t type, int64_t index, int64_t size, float* out);

// x [H] in the given type at element `offset` of a pool.
void write_row(const float* x, int64_t size, void* pool, int32_t type, int64_t offset);

}  // namespace espalier
