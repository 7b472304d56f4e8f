/* Where the zeros of an array are, and whether all of it is finite. */
#ifndef CCONV_ZEROS_H
#define CCONV_ZEROS_H

#include "vector/vector.h"

#if defined(__SSE2__) || defined(__AVX__)
#include <immintrin.h>
#endif

/* A fit: `python -m benchmarks.tune --only zeros-sample`. */
#define ZEROS_SAMPLE 7 /* lines that are looked at: odd, so that even sizes do not make them alike */

/* Which of the values of a vector are not 0, as bits. */
static inline uint64_t nonzero_float(const float *a)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(a), _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX__)
    return (uint64_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(a), _mm256_setzero_ps(), _CMP_NEQ_UQ));
#elif defined(__SSE2__)
    return (uint64_t)_mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(a), _mm_setzero_ps()));
#else
    return (uint64_t)((a[0] != 0) | (a[1] != 0) << 1 | (a[2] != 0) << 2 | (a[3] != 0) << 3);
#endif
}

static inline uint64_t nonzero_double(const double *a)
{
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(a), _mm512_setzero_pd(), _CMP_NEQ_UQ);
#elif defined(__AVX__)
    return (uint64_t)_mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(a), _mm256_setzero_pd(), _CMP_NEQ_UQ));
#elif defined(__SSE2__)
    return (uint64_t)_mm_movemask_pd(_mm_cmpneq_pd(_mm_loadu_pd(a), _mm_setzero_pd()));
#else
    return (uint64_t)((a[0] != 0) | (a[1] != 0) << 1);
#endif
}

#define BODY "vector/zeros.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* The fraction of values that are not 0, in a few of `lines` lines of `length` values, `step` apart. */
static inline double NAME(fraction_nonzero)(const T *a, ptrdiff_t lines, ptrdiff_t step, ptrdiff_t length)
{
    const ptrdiff_t looked = lines < ZEROS_SAMPLE ? lines : ZEROS_SAMPLE;
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < looked; i++) {
        const T *const line = a + i * lines / looked * step;
        for (ptrdiff_t k = 0; k < length; k++) found += line[k] != 0;
    }
    return (double)found / (double)(looked * length);
}

/* Whether no value is infinite or not a number: only these times 0 are not 0. */
static inline int NAME(all_finite)(const T *a, ptrdiff_t count)
{
    int found = 0;
    for (ptrdiff_t k = 0; k < count; k++) found |= a[k] * 0 != 0;
    return !found;
}

#endif
