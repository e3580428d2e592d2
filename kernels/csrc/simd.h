// Vectors of floats as wide as the machine has them. Whoever includes this needs at least AVX2, FMA and F16C.
//
// Products and sums are fused only where `fma` says so (the build switches contraction off): the same operation then
// gives the same bits in every instance of a template, which batch invariance rests on.
#pragma once

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "the native kernels need AVX2, FMA and F16C"
#endif

#include <immintrin.h>

#include <cstdint>

namespace espalier {

constexpr int CACHE_LINE = 64;

// Ask for a line that will be read soon; of memory that is not there, nothing happens. It comes into the second level of
// cache, since the first is full of what is read now.
inline void fetch_line(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define ESPALIER_AVX512 1

using vf = __m512;
constexpr int LANES = 16;

inline vf zero() { return _mm512_setzero_ps(); }
inline vf splat(float x) { return _mm512_set1_ps(x); }
inline vf load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vf x) { _mm512_storeu_ps(p, x); }
inline __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
// The first n < LANES lanes; the others read as zero and are not written.
inline vf load_first(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline void store_first(float* p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, first(n), x); }
inline vf add(vf a, vf b) { return _mm512_add_ps(a, b); }
inline vf sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
inline vf mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
inline vf div(vf a, vf b) { return _mm512_div_ps(a, b); }
inline vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
inline vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
inline vf min(vf a, vf b) { return _mm512_min_ps(a, b); }
inline vf nearest(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline vf magnitude(vf a) { return _mm512_abs_ps(a); }
inline float sum_lanes(vf a) { return _mm512_reduce_add_ps(a); }
inline float max_lanes(vf a) { return _mm512_reduce_max_ps(a); }
inline vf times_power_of_two(vf a, vf n) { return _mm512_scalef_ps(a, n); }
// `a`, but zero where x < limit.
inline vf zero_below(vf a, vf x, vf limit) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_NLT_UQ), a); }
inline vf indices() { return _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
// `a` where low <= index <= high, else minus infinity.
inline vf keep_between(vf a, vf index, vf low, vf high) {
  const __mmask16 keep = _mm512_cmp_ps_mask(index, low, _CMP_GE_OQ) & _mm512_cmp_ps_mask(index, high, _CMP_LE_OQ);
  return _mm512_mask_mov_ps(splat(-__builtin_inff()), keep, a);
}
// `a` in the lanes whose bit is set, `otherwise` in the others; and the lanes of `a` that are above a limit, or reach it.
inline vf keep_bits(vf a, uint32_t bits, vf otherwise) {
  return _mm512_mask_mov_ps(otherwise, static_cast<__mmask16>(bits), a);
}
inline uint32_t lanes_above(vf a, float limit) { return _mm512_cmp_ps_mask(a, splat(limit), _CMP_GT_OQ); }
inline uint32_t lanes_at_least(vf a, float limit) { return _mm512_cmp_ps_mask(a, splat(limit), _CMP_GE_OQ); }
inline vf load_float16(const uint16_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline vf load_bfloat16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
// To the nearest, ties to even; a NaN stays one.
inline void store_bfloat16(uint16_t* p, vf x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i kept = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}
inline void store_float16(uint16_t* p, vf x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

// Rows become columns: out[j * stride + i] = in[i] lane j, for LANES vectors.
inline void transpose(const vf (&in)[LANES], float* out, int64_t stride) {
  vf a[16], b[16];
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps(in[2 * i], in[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(in[2 * i], in[2 * i + 1]);
  }
  // b[4 g + j]: rows 4 g to 4 g + 3 of the columns j, j + 4, j + 8, j + 12.
  for (int g = 0; g < 4; ++g) {
    const __m512d low0 = _mm512_castps_pd(a[4 * g]), low1 = _mm512_castps_pd(a[4 * g + 2]);
    const __m512d high0 = _mm512_castps_pd(a[4 * g + 1]), high1 = _mm512_castps_pd(a[4 * g + 3]);
    b[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
    b[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
    b[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
    b[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
  }
  for (int j = 0; j < 4; ++j) {
    const vf c0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88), c1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    const vf d0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd), d1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    store(out + j * stride, _mm512_shuffle_f32x4(c0, c1, 0x88));
    store(out + (j + 8) * stride, _mm512_shuffle_f32x4(c0, c1, 0xdd));
    store(out + (j + 4) * stride, _mm512_shuffle_f32x4(d0, d1, 0x88));
    store(out + (j + 12) * stride, _mm512_shuffle_f32x4(d0, d1, 0xdd));
  }
}

// Of four vectors, in each 128 bits the four sums over those 128 bits; LANES / 4 of them make `sum_each`.
inline vf sum_quad(vf w, vf x, vf y, vf z) {
  const vf a = add(_mm512_unpacklo_ps(w, x), _mm512_unpackhi_ps(w, x)), b = add(_mm512_unpacklo_ps(y, z), _mm512_unpackhi_ps(y, z));
  const __m512d left = _mm512_castps_pd(a), right = _mm512_castps_pd(b);
  return add(_mm512_castpd_ps(_mm512_unpacklo_pd(left, right)), _mm512_castpd_ps(_mm512_unpackhi_pd(left, right)));
}

// Lane i is the sum of vector i of those that the quads were made of.
inline vf sum_each(const vf (&quad)[LANES / 4]) {
  const vf c = add(_mm512_shuffle_f32x4(quad[0], quad[1], 0x88), _mm512_shuffle_f32x4(quad[0], quad[1], 0xdd));
  const vf d = add(_mm512_shuffle_f32x4(quad[2], quad[3], 0x88), _mm512_shuffle_f32x4(quad[2], quad[3], 0xdd));
  return add(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xdd));
}

#else

using vf = __m256;
constexpr int LANES = 8;

inline vf zero() { return _mm256_setzero_ps(); }
inline vf splat(float x) { return _mm256_set1_ps(x); }
inline vf load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vf x) { _mm256_storeu_ps(p, x); }
inline __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
inline vf load_first(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
inline void store_first(float* p, vf x, int64_t n) { _mm256_maskstore_ps(p, first(n), x); }
inline vf add(vf a, vf b) { return _mm256_add_ps(a, b); }
inline vf sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
inline vf mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
inline vf div(vf a, vf b) { return _mm256_div_ps(a, b); }
inline vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
inline vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
inline vf min(vf a, vf b) { return _mm256_min_ps(a, b); }
inline vf nearest(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline vf magnitude(vf a) { return _mm256_andnot_ps(splat(-0.0f), a); }
inline float sum_lanes(vf a) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline float max_lanes(vf a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
inline vf times_power_of_two(vf a, vf n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return mul(a, _mm256_castsi256_ps(exponent));
}
inline vf zero_below(vf a, vf x, vf limit) { return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_NLT_UQ), a); }
inline vf indices() { return _mm256_set_ps(7, 6, 5, 4, 3, 2, 1, 0); }
inline vf keep_between(vf a, vf index, vf low, vf high) {
  const vf keep = _mm256_and_ps(_mm256_cmp_ps(index, low, _CMP_GE_OQ), _mm256_cmp_ps(index, high, _CMP_LE_OQ));
  return _mm256_blendv_ps(splat(-__builtin_inff()), a, keep);
}
inline vf keep_bits(vf a, uint32_t bits, vf otherwise) {
  const __m256i lane = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane);
  return _mm256_blendv_ps(otherwise, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)));
}
inline uint32_t lanes_above(vf a, float limit) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, splat(limit), _CMP_GT_OQ)));
}
inline uint32_t lanes_at_least(vf a, float limit) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, splat(limit), _CMP_GE_OQ)));
}
inline vf load_float16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline vf load_bfloat16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
inline void store_bfloat16(uint16_t* p, vf x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i lost = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), lost), 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(kept, kept), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
inline void store_float16(uint16_t* p, vf x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

inline void transpose(const vf (&in)[LANES], float* out, int64_t stride) {
  vf a[8], b[8];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm256_unpacklo_ps(in[2 * i], in[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_ps(in[2 * i], in[2 * i + 1]);
  }
  for (int g = 0; g < 2; ++g) {
    b[4 * g] = _mm256_shuffle_ps(a[4 * g], a[4 * g + 2], 0x44);
    b[4 * g + 1] = _mm256_shuffle_ps(a[4 * g], a[4 * g + 2], 0xee);
    b[4 * g + 2] = _mm256_shuffle_ps(a[4 * g + 1], a[4 * g + 3], 0x44);
    b[4 * g + 3] = _mm256_shuffle_ps(a[4 * g + 1], a[4 * g + 3], 0xee);
  }
  for (int j = 0; j < 4; ++j) {
    store(out + j * stride, _mm256_permute2f128_ps(b[j], b[4 + j], 0x20));
    store(out + (j + 4) * stride, _mm256_permute2f128_ps(b[j], b[4 + j], 0x31));
  }
}

inline vf sum_quad(vf w, vf x, vf y, vf z) {
  const vf a = add(_mm256_unpacklo_ps(w, x), _mm256_unpackhi_ps(w, x)), b = add(_mm256_unpacklo_ps(y, z), _mm256_unpackhi_ps(y, z));
  return add(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
}

inline vf sum_each(const vf (&quad)[LANES / 4]) {
  return add(_mm256_permute2f128_ps(quad[0], quad[1], 0x20), _mm256_permute2f128_ps(quad[0], quad[1], 0x31));
}

#endif

// e^x to about one unit in the last place (the polynomial of Cephes); e^0 is exactly 1, below -87.3 it is exactly 0.
inline vf exp(vf x) {
  const vf lowest = splat(-87.3f);
  // Of an operand that is NaN and one that is not, max and min give the second: a NaN stays one.
  const vf bounded = min(splat(88.0f), max(lowest, x));
  const vf n = nearest(mul(bounded, splat(1.44269504088896341f)));
  vf r = fma(n, splat(-0.693359375f), bounded);
  r = fma(n, splat(2.12194440e-4f), r);
  vf p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, splat(1.0f)));
  return zero_below(times_power_of_two(p, n), x, lowest);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace espalier
