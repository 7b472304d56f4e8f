/* Flush-to-zero for the duration of a kernel.
 *
 * Arithmetic on denormal numbers is up to 40 times slower on x86, and vanishing gradients produce them by the million.
 * Each thread that computes calls `cconv_ftz_on` first and `cconv_ftz_restore` with its result last: the mode belongs
 * to the thread, and the caller's must come back unchanged. Other processors compute denormals as they always do.
 */
#ifndef CCONV_DENORMALS_H
#define CCONV_DENORMALS_H

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>

static inline unsigned cconv_ftz_on(void)
{
    unsigned previous = _mm_getcsr();
    _mm_setcsr(previous | 0x8040u); /* FTZ: results flushed (bit 15), DAZ: operands read as zero (bit 6) */
    return previous;
}

static inline void cconv_ftz_restore(unsigned previous)
{
    /* The exception flags that were raised meanwhile go too: NumPy would report them as warnings. */
    _mm_setcsr(previous);
}

#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))

static inline unsigned cconv_ftz_on(void)
{
    unsigned long previous;
    __asm__ volatile("mrs %0, fpcr" : "=r"(previous));
    __asm__ volatile("msr fpcr, %0" : : "r"(previous | 1ul << 24)); /* FZ */
    return (unsigned)previous;
}

static inline void cconv_ftz_restore(unsigned previous)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)previous));
}

#else

static inline unsigned cconv_ftz_on(void) { return 0; }
static inline void cconv_ftz_restore(unsigned previous) { (void)previous; }

#endif
#endif
