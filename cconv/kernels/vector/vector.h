/* One vocabulary of vector operations, for float and double and for every CPU level.
 *
 * A vector, NAME(vec), is as wide as the level's registers and holds LANES values. With GCC and Clang it is their
 * vector extension, which each level compiles to its own instructions; other compilers get an array of the same length
 * and their own vectoriser. Names end in _float and _double.
 *
 *     load(p), store(p, v)           LANES values at any address
 *     load_until(p, end)             as far as `end`, and zeros beyond it
 *     store_until(p, end, v)         as far as `end`
 *     load_even(p), load_odd(p)      every second of 2 LANES values, from the first or the second on
 *     broadcast(a)                   one value in all lanes
 *     add, sub, mul, div(a, b)
 *     fma(a, b, c)                   a * b + c, rounded once where the level has such an instruction
 *     greater(a, b)                  a mask: all bits of a lane, or none
 *     mask_between(first, end)       the lanes from `first` to before `end`
 *     mask_last(count)               the last `count` lanes
 *     mask_of_bits(bits)             the lanes whose bits are set
 *     mask_and(v, mask)              v where the mask is set, else 0, whatever v holds there
 *     bits_and(v, bits)              v where the lanes' bits are set, else 0
 *     rectified(v)                   0 where v <= 0, else v: not a number stays
 *     reduce_add(v)                  the sum of the lanes, in one order
 *     even_lanes(a, b)               a0 a2 a4 ... b0 b2 ...
 *     odd_lanes(a, b)                a1 a3 a5 ... b1 b3 ...
 *     interleave_low(a, b)           a0 b0 a1 b1 ...       of the lower halves
 *     interleave_high(a, b)                                of the upper halves
 *     transpose(rows)                LANES vectors, in registers
 *
 * and, where VECTOR_SHUFFLES is defined and the operators of C work on vectors too,
 *
 *     VECTOR_SELECT(mask, a, b)      a where the mask is set, else b
 *
 * A file that needs vectors of another length includes this one again, in its own body: see VEC below.
 */
#ifndef CCONV_VECTOR_H
#define CCONV_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/compiler.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define VECTOR_SHUFFLES 1
#endif
#endif

/* The lanes of a and b in an order that a constant says, NAME(ORDER_...). */
#if defined(VECTOR_SHUFFLES)
#define IN_ORDER(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#elif defined(__GNUC__)
#define IN_ORDER(a, b, ...) __builtin_shuffle(a, b, (NAME(mask)){__VA_ARGS__})
#else
#define IN_ORDER(a, b, ...) NAME(in_order)(a, b, (const int[]){__VA_ARGS__})
#endif

/* Lanes of b are counted on from those of a. BEFORE is a's last lane and then b's but the last, AFTER is a's lanes but
 * the first and then b's first. */
#if VECTOR_BYTES == 64
#define ORDER_EVEN_float 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ORDER_ODD_float 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define ORDER_LOW_float 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ORDER_HIGH_float 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define ORDER_BEFORE_float 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
#define ORDER_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#define ORDER_EVEN_double 0, 2, 4, 6, 8, 10, 12, 14
#define ORDER_ODD_double 1, 3, 5, 7, 9, 11, 13, 15
#define ORDER_LOW_double 0, 8, 1, 9, 2, 10, 3, 11
#define ORDER_HIGH_double 4, 12, 5, 13, 6, 14, 7, 15
#define ORDER_BEFORE_double 7, 8, 9, 10, 11, 12, 13, 14
#define ORDER_AFTER_double 1, 2, 3, 4, 5, 6, 7, 8
#elif VECTOR_BYTES == 32
#define ORDER_EVEN_float 0, 2, 4, 6, 8, 10, 12, 14
#define ORDER_ODD_float 1, 3, 5, 7, 9, 11, 13, 15
#define ORDER_LOW_float 0, 8, 1, 9, 2, 10, 3, 11
#define ORDER_HIGH_float 4, 12, 5, 13, 6, 14, 7, 15
#define ORDER_BEFORE_float 7, 8, 9, 10, 11, 12, 13, 14
#define ORDER_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8
#define ORDER_EVEN_double 0, 2, 4, 6
#define ORDER_ODD_double 1, 3, 5, 7
#define ORDER_LOW_double 0, 4, 1, 5
#define ORDER_HIGH_double 2, 6, 3, 7
#define ORDER_BEFORE_double 3, 4, 5, 6
#define ORDER_AFTER_double 1, 2, 3, 4
#else
#define ORDER_EVEN_float 0, 2, 4, 6
#define ORDER_ODD_float 1, 3, 5, 7
#define ORDER_LOW_float 0, 4, 1, 5
#define ORDER_HIGH_float 2, 6, 3, 7
#define ORDER_BEFORE_float 3, 4, 5, 6
#define ORDER_AFTER_float 1, 2, 3, 4
#define ORDER_EVEN_double 0, 2
#define ORDER_ODD_double 1, 3
#define ORDER_LOW_double 0, 2
#define ORDER_HIGH_double 1, 3
#define ORDER_BEFORE_double 1, 2
#define ORDER_AFTER_double 1, 2
#endif

/* Of an inline function GCC would make an exclusive or, before it sees that a comparison made the mask. */
#define VECTOR_SELECT(where, a, b) ((NAME(vec))(((NAME(mask))(a) & (where)) | ((NAME(mask))(b) & ~(where))))

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* about vectors wider than registers as arguments: these are inlined */
#endif

#define BODY "vector/vector.h"
#include "vector/both_dtypes.h"

#elif defined(T)

/* VEC makes the names of the vocabulary, of vectors of VEC_BYTES. reduce_add adds the lanes that lie VEC_GROUP apart,
 * in order, and then the sums of these groups by pairs. A body that wants another length sets all three, includes this
 * file, and writes VEC(load) where others write NAME(load). */
#ifndef VEC
#define VEC(name) NAME(name)
#define VEC_BYTES VECTOR_BYTES
#define VEC_GROUP (16 / T_BYTES)
#define VEC_OF_THE_LEVEL
#endif
#define VEC_LANES (VEC_BYTES / T_BYTES)

#if defined(__GNUC__) && VEC_BYTES > VECTOR_BYTES

/* Several registers: a compiler would keep one longer vector in memory. These have arithmetic alone. */
#define VEC_PARTS (VEC_BYTES / VECTOR_BYTES)
typedef struct {
    NAME(vec) part[VEC_PARTS];
} VEC(vec);

CCONV_INLINE VEC(vec) VEC(load)(const T *p)
{
    VEC(vec) v;
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) v.part[i] = NAME(load)(p + i * (VECTOR_BYTES / T_BYTES));
    return v;
}

CCONV_INLINE void VEC(store)(T *p, VEC(vec) v)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) NAME(store)(p + i * (VECTOR_BYTES / T_BYTES), v.part[i]);
}

CCONV_INLINE VEC(vec) VEC(broadcast)(T a)
{
    VEC(vec) v;
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) v.part[i] = NAME(broadcast)(a);
    return v;
}

CCONV_INLINE VEC(vec) VEC(add)(VEC(vec) a, VEC(vec) b)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) a.part[i] = NAME(add)(a.part[i], b.part[i]);
    return a;
}

CCONV_INLINE VEC(vec) VEC(sub)(VEC(vec) a, VEC(vec) b)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) a.part[i] = NAME(sub)(a.part[i], b.part[i]);
    return a;
}

CCONV_INLINE VEC(vec) VEC(mul)(VEC(vec) a, VEC(vec) b)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) a.part[i] = NAME(mul)(a.part[i], b.part[i]);
    return a;
}

CCONV_INLINE VEC(vec) VEC(fma)(VEC(vec) a, VEC(vec) b, VEC(vec) c)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) c.part[i] = NAME(fma)(a.part[i], b.part[i], c.part[i]);
    return c;
}

CCONV_INLINE VEC(vec) VEC(bits_and)(VEC(vec) v, uint32_t bits)
{
    CCONV_UNROLL
    for (int i = 0; i < VEC_PARTS; i++) v.part[i] = NAME(bits_and)(v.part[i], bits >> i * (VECTOR_BYTES / T_BYTES));
    return v;
}

CCONV_INLINE T VEC(reduce_add)(VEC(vec) v)
{
    T lane[VEC_LANES];
    VEC(store)(lane, v);
    for (int l = VEC_GROUP; l < VEC_LANES; l++) lane[l % VEC_GROUP] += lane[l];
    return VEC_GROUP == 2 ? lane[0] + lane[1] : (lane[0] + lane[1]) + (lane[2 % VEC_GROUP] + lane[3 % VEC_GROUP]);
}
#undef VEC_PARTS

#elif defined(__GNUC__)

typedef T VEC(vec) __attribute__((vector_size(VEC_BYTES), aligned(T_BYTES), may_alias));
typedef INT VEC(mask) __attribute__((vector_size(VEC_BYTES), aligned(T_BYTES), may_alias));

CCONV_INLINE VEC(vec) VEC(load)(const T *p) { return *(const VEC(vec) *)p; }
CCONV_INLINE void VEC(store)(T *p, VEC(vec) v) { *(VEC(vec) *)p = v; }
CCONV_INLINE VEC(vec) VEC(broadcast)(T a) { return a - (VEC(vec)){0}; }
CCONV_INLINE VEC(vec) VEC(add)(VEC(vec) a, VEC(vec) b) { return a + b; }
CCONV_INLINE VEC(vec) VEC(sub)(VEC(vec) a, VEC(vec) b) { return a - b; }
CCONV_INLINE VEC(vec) VEC(mul)(VEC(vec) a, VEC(vec) b) { return a * b; }
CCONV_INLINE VEC(vec) VEC(div)(VEC(vec) a, VEC(vec) b) { return a / b; }
CCONV_INLINE VEC(vec) VEC(fma)(VEC(vec) a, VEC(vec) b, VEC(vec) c) { return a * b + c; }

CCONV_INLINE VEC(mask) VEC(greater)(VEC(vec) a, VEC(vec) b) { return a > b; }
CCONV_INLINE VEC(vec) VEC(mask_and)(VEC(vec) v, VEC(mask) mask) { return (VEC(vec))((VEC(mask))v & mask); }
CCONV_INLINE VEC(vec) VEC(rectified)(VEC(vec) v) { return VEC(mask_and)(v, ~(v <= VEC(broadcast)(0))); }

CCONV_INLINE VEC(mask) VEC(mask_between)(ptrdiff_t first, ptrdiff_t end)
{
    VEC(mask) lane;
    for (int l = 0; l < VEC_LANES; l++) lane[l] = l;
    return (lane >= (INT)first) & (lane < (INT)end);
}

CCONV_INLINE VEC(mask) VEC(mask_of_bits)(uint32_t bits)
{
    VEC(mask) lane;
    for (int l = 0; l < VEC_LANES; l++) lane[l] = (INT)1 << l;
    return (lane & (INT)bits) != 0;
}

CCONV_INLINE VEC(mask) VEC(mask_last)(ptrdiff_t count)
{
    static const INT bits[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                 -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    return *(const VEC(mask) *)(bits + 16 - VEC_LANES + count);
}

CCONV_INLINE T VEC(reduce_add)(VEC(vec) v)
{
    typedef T group __attribute__((vector_size(VEC_GROUP * T_BYTES), aligned(T_BYTES), may_alias));
    group sum = *(const group *)&v;
    for (int i = 1; i < VEC_LANES / VEC_GROUP; i++) sum += ((const group *)&v)[i];
    return VEC_GROUP == 2 ? sum[0] + sum[1] : (sum[0] + sum[1]) + (sum[2 % VEC_GROUP] + sum[3 % VEC_GROUP]);
}

#else

typedef struct {
    T lane[VEC_LANES];
} VEC(vec);
typedef struct {
    char lane[VEC_LANES];
} VEC(mask);

CCONV_INLINE VEC(vec) VEC(load)(const T *p)
{
    VEC(vec) v;
    memcpy(&v, p, sizeof v);
    return v;
}

CCONV_INLINE void VEC(store)(T *p, VEC(vec) v) { memcpy(p, &v, sizeof v); }

CCONV_INLINE VEC(vec) VEC(broadcast)(T a)
{
    VEC(vec) v;
    for (int l = 0; l < VEC_LANES; l++) v.lane[l] = a;
    return v;
}

CCONV_INLINE VEC(vec) VEC(add)(VEC(vec) a, VEC(vec) b)
{
    for (int l = 0; l < VEC_LANES; l++) a.lane[l] += b.lane[l];
    return a;
}

CCONV_INLINE VEC(vec) VEC(sub)(VEC(vec) a, VEC(vec) b)
{
    for (int l = 0; l < VEC_LANES; l++) a.lane[l] -= b.lane[l];
    return a;
}

CCONV_INLINE VEC(vec) VEC(mul)(VEC(vec) a, VEC(vec) b)
{
    for (int l = 0; l < VEC_LANES; l++) a.lane[l] *= b.lane[l];
    return a;
}

CCONV_INLINE VEC(vec) VEC(div)(VEC(vec) a, VEC(vec) b)
{
    for (int l = 0; l < VEC_LANES; l++) a.lane[l] /= b.lane[l];
    return a;
}

CCONV_INLINE VEC(vec) VEC(fma)(VEC(vec) a, VEC(vec) b, VEC(vec) c)
{
    for (int l = 0; l < VEC_LANES; l++) c.lane[l] += a.lane[l] * b.lane[l];
    return c;
}

CCONV_INLINE VEC(mask) VEC(greater)(VEC(vec) a, VEC(vec) b)
{
    VEC(mask) mask;
    for (int l = 0; l < VEC_LANES; l++) mask.lane[l] = a.lane[l] > b.lane[l];
    return mask;
}

CCONV_INLINE VEC(vec) VEC(mask_and)(VEC(vec) v, VEC(mask) mask)
{
    for (int l = 0; l < VEC_LANES; l++) v.lane[l] = mask.lane[l] ? v.lane[l] : 0;
    return v;
}

CCONV_INLINE VEC(vec) VEC(rectified)(VEC(vec) v)
{
    for (int l = 0; l < VEC_LANES; l++) v.lane[l] = v.lane[l] <= 0 ? 0 : v.lane[l];
    return v;
}

CCONV_INLINE VEC(mask) VEC(mask_between)(ptrdiff_t first, ptrdiff_t end)
{
    VEC(mask) mask;
    for (int l = 0; l < VEC_LANES; l++) mask.lane[l] = l >= first && l < end;
    return mask;
}

CCONV_INLINE VEC(mask) VEC(mask_of_bits)(uint32_t bits)
{
    VEC(mask) mask;
    for (int l = 0; l < VEC_LANES; l++) mask.lane[l] = bits >> l & 1;
    return mask;
}

CCONV_INLINE VEC(mask) VEC(mask_last)(ptrdiff_t count) { return VEC(mask_between)(VEC_LANES - count, VEC_LANES); }

CCONV_INLINE T VEC(reduce_add)(VEC(vec) v)
{
    T sum[VEC_GROUP];
    memcpy(sum, &v, sizeof sum);
    for (int l = VEC_GROUP; l < VEC_LANES; l++) sum[l % VEC_GROUP] += v.lane[l];
    return VEC_GROUP == 2 ? sum[0] + sum[1] : (sum[0] + sum[1]) + (sum[2 % VEC_GROUP] + sum[3 % VEC_GROUP]);
}

#endif

#if !defined(__GNUC__) || VEC_BYTES <= VECTOR_BYTES
CCONV_INLINE VEC(vec) VEC(bits_and)(VEC(vec) v, uint32_t bits) { return VEC(mask_and)(v, VEC(mask_of_bits)(bits)); }
#endif

CCONV_COLD VEC(vec) VEC(load_part)(const T *p, const T *end)
{
    VEC(vec) v = VEC(broadcast)(0);
    if (p < end) memcpy(&v, p, (size_t)(end - p) * sizeof(T));
    return v;
}

CCONV_INLINE VEC(vec) VEC(load_until)(const T *p, const T *end)
{
    return end - p >= VEC_LANES ? VEC(load)(p) : VEC(load_part)(p, end);
}

CCONV_COLD void VEC(store_part)(T *p, const T *end, VEC(vec) v)
{
    if (p < end) memcpy(p, &v, (size_t)(end - p) * sizeof(T));
}

CCONV_INLINE void VEC(store_until)(T *p, const T *end, VEC(vec) v)
{
    if (end - p >= VEC_LANES)
        VEC(store)(p, v);
    else
        VEC(store_part)(p, end, v);
}

#if defined(VEC_OF_THE_LEVEL)

#if !defined(__GNUC__)
CCONV_INLINE NAME(vec) NAME(in_order)(NAME(vec) a, NAME(vec) b, const int *order)
{
    NAME(vec) v;
    for (int l = 0; l < LANES; l++) v.lane[l] = order[l] < LANES ? a.lane[order[l]] : b.lane[order[l] - LANES];
    return v;
}
#endif

CCONV_INLINE NAME(vec) NAME(even_lanes)(NAME(vec) a, NAME(vec) b) { return IN_ORDER(a, b, NAME(ORDER_EVEN)); }

CCONV_INLINE NAME(vec) NAME(odd_lanes)(NAME(vec) a, NAME(vec) b) { return IN_ORDER(a, b, NAME(ORDER_ODD)); }

CCONV_INLINE NAME(vec) NAME(interleave_low)(NAME(vec) a, NAME(vec) b) { return IN_ORDER(a, b, NAME(ORDER_LOW)); }

CCONV_INLINE NAME(vec) NAME(interleave_high)(NAME(vec) a, NAME(vec) b) { return IN_ORDER(a, b, NAME(ORDER_HIGH)); }

CCONV_INLINE NAME(vec) NAME(load_even)(const T *p) { return NAME(even_lanes)(NAME(load)(p), NAME(load)(p + LANES)); }

CCONV_INLINE NAME(vec) NAME(load_odd)(const T *p) { return NAME(odd_lanes)(NAME(load)(p), NAME(load)(p + LANES)); }

/* In log2(LANES) rounds, pairs of rows swap halves, quarters, ... */
CCONV_INLINE void NAME(transpose)(NAME(vec) *row)
{
#if defined(__GNUC__) && !defined(__clang__)
    NAME(mask) lane, low, high;
    for (int l = 0; l < LANES; l++) lane[l] = l;
    CCONV_UNROLL
    for (int half = LANES / 2; half > 0; half /= 2) {
        const NAME(mask) upper = (lane & half) != 0;
        low = (upper & (lane - half + LANES)) | (~upper & lane);
        high = (upper & (lane + LANES)) | (~upper & (lane + half));
        CCONV_UNROLL
        for (int i = 0; i < LANES; i++)
            if (!(i & half)) {
                const NAME(vec) x = row[i], y = row[i + half];
                row[i] = __builtin_shuffle(x, y, low);
                row[i + half] = __builtin_shuffle(x, y, high);
            }
    }
#else
    T from[LANES][LANES], to[LANES][LANES];
    memcpy(from, row, sizeof from);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) to[l][i] = from[i][l];
    memcpy(row, to, sizeof to);
#endif
}

#undef VEC
#undef VEC_BYTES
#undef VEC_GROUP
#undef VEC_OF_THE_LEVEL
#endif
#undef VEC_LANES

#endif
