/* What compilers are told beyond C: how functions are inlined, that pointers do not overlap, that loops are unrolled.
 * */
#ifndef CCONV_COMPILER_H
#define CCONV_COMPILER_H

/* Whether each plan is checked when it is made (plans.py). */
#if defined(CCONV_DEBUG)
#define PLANS_CHECKED 1
#else
#define PLANS_CHECKED 0
#endif

#if defined(__GNUC__)

#define CCONV_INLINE static inline __attribute__((always_inline))
#define CCONV_NOINLINE static __attribute__((noinline, unused))
#define CCONV_COLD static __attribute__((noinline, cold, unused))
#if defined(__clang__)
#define CCONV_ONCE CCONV_NOINLINE
#else
#define CCONV_ONCE static __attribute__((noinline, noclone)) /* one copy, whatever constants its callers pass */
#endif
#define CCONV_RESTRICT restrict
#define CCONV_UNROLL _Pragma("GCC unroll 32")
/* Have a value in a single register: what the compiler would add to it in each address stays apart from it. */
#define CCONV_ONE_REGISTER(value) __asm__("" : "+r"(value))

#else

#if defined(_MSC_VER)
#define CCONV_INLINE static __forceinline
#define CCONV_RESTRICT __restrict
#else
#define CCONV_INLINE static inline
#define CCONV_RESTRICT restrict
#endif
#define CCONV_NOINLINE static
#define CCONV_COLD static
#define CCONV_ONCE static
#define CCONV_UNROLL
#define CCONV_ONE_REGISTER(value)

#endif
#endif
