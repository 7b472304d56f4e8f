/* Compiles the body of a header twice, for float and for double.
 *
 * A header with such a body includes itself by way of this file:
 *
 *     #ifndef CCONV_PADDING_H
 *     #define CCONV_PADDING_H
 *     (what does not depend on the dtype)
 *     #define BODY "room/padding.h"
 *     #include "vector/both_dtypes.h"
 *     #elif defined(T)
 *     static void NAME(pad)(const T *x, T *to) ...           becomes pad_float and pad_double
 *     #endif
 *
 * The body sees T, the dtype; T_BYTES, its size; INT and WORD, the signed and unsigned integers of that size; LETTER,
 * which names it in instructions; LANES, how many of it a vector has (vector.h); and NAME, which makes the names.
 */
#define T float
#define T_BYTES 4
#define INT int32_t
#define WORD uint32_t
#define LETTER "s"
#define LANES (VECTOR_BYTES / T_BYTES)
#define NAME(name) name##_float
#include BODY
#undef T
#undef T_BYTES
#undef INT
#undef WORD
#undef LETTER
#undef LANES
#undef NAME

#define T double
#define T_BYTES 8
#define INT int64_t
#define WORD uint64_t
#define LETTER "d"
#define LANES (VECTOR_BYTES / T_BYTES)
#define NAME(name) name##_double
#include BODY
#undef T
#undef T_BYTES
#undef INT
#undef WORD
#undef LETTER
#undef LANES
#undef NAME
#undef BODY
