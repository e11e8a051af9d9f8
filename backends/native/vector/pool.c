/* Pooling over runs of channels, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include <math.h>
#include <string.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define I int64_t
#define TAG f64
#include "backends/native/vector/pool_of_type.h"

#ifdef __AVX512BW__
#include <immintrin.h>
#define MASKED /* pieces of up to 16, as below */

static inline void max_masked(__mmask16 m, int64_t c, int64_t n_taps, const int64_t *offsets,
                              const int32_t *taps, const float *x, float *y, char *where,
                              bool is_wide, bool has_where)
{
    __m512 most = _mm512_set1_ps(-INFINITY);
    __m512i tap = _mm512_setzero_si512();
    if (n_taps > 0) {
        most = _mm512_maskz_loadu_ps(m, x + offsets[0] + c);
        tap = _mm512_set1_epi32(taps[0]);
    }
    for (int64_t t = 1; t < n_taps; t++) {
        const __m512 value = _mm512_maskz_loadu_ps(m, x + offsets[t] + c);
        /* Larger, or the first NaN. */
        const __mmask16 takes = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(most, most, _CMP_ORD_Q),
                                                        value, most, _CMP_NLE_UQ);
        most = _mm512_mask_mov_ps(most, takes, value);
        if (has_where)
            tap = _mm512_mask_set1_epi32(tap, takes, taps[t]);
    }
    _mm512_mask_storeu_ps(y + c, m, most);
    if (!has_where)
        return;
    if (is_wide)
        _mm512_mask_storeu_epi32(where + 4 * c, m, tap);
    else
        _mm_mask_storeu_epi8(where + c, m, _mm512_cvtepi32_epi8(tap));
}

static inline void pick_masked(__mmask16 m, int64_t c, int64_t n_taps, const int64_t *offsets,
                               const int32_t *taps, const float *dy, const char *where,
                               bool is_wide, float *dx)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t t = 0; t < n_taps; t++) {
        const int64_t at = offsets[t] + c;
        const __m512i tap = is_wide ? _mm512_maskz_loadu_epi32(m, where + 4 * at)
                                    : _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, where + at));
        const __mmask16 is_it = _mm512_mask_cmpeq_epi32_mask(m, tap, _mm512_set1_epi32(taps[t]));
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(is_it, dy + at));
    }
    _mm512_mask_storeu_ps(dx + c, m, sum);
}

static inline void sum_masked(__mmask16 m, int64_t c, int64_t n_taps, const int64_t *offsets,
                              const double *factors, double factor, const float *x, float *y)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t t = 0; t < n_taps; t++) {
        __m512 value = _mm512_maskz_loadu_ps(m, x + offsets[t] + c);
        if (factors)
            value = _mm512_mul_ps(value, _mm512_set1_ps((float)factors[t]));
        sum = _mm512_add_ps(sum, value);
    }
    if (!factors)
        sum = _mm512_mul_ps(sum, _mm512_set1_ps((float)factor));
    _mm512_mask_storeu_ps(y + c, m, sum);
}
#endif

#define T float
#define I int32_t
#define TAG f32
#include "backends/native/vector/pool_of_type.h"
