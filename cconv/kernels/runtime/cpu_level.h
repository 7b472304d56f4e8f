/* The highest build level this CPU and operating system run: 0 baseline, 3 x86-64-v3, 4 x86-64-v4.
 *
 * CPUID is read here rather than through __builtin_cpu_supports, which knows the level names only from GCC 12 and
 * clang 17 on and does not exist in MSVC. A level counts only where the operating system saves its registers (XCR0).
 */
#ifndef CCONV_CPU_LEVEL_H
#define CCONV_CPU_LEVEL_H

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>

static void cconv_cpuid(unsigned leaf, unsigned subleaf, unsigned out[4])
{
    __cpuidex((int *)out, (int)leaf, (int)subleaf);
}

static unsigned cconv_xcr0(void) { return (unsigned)_xgetbv(0); }

#else
#include <cpuid.h>

static void cconv_cpuid(unsigned leaf, unsigned subleaf, unsigned out[4])
{
    __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
}

static unsigned cconv_xcr0(void)
{
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

static int cconv_has_all(unsigned value, unsigned bits) { return (value & bits) == bits; }

static int cconv_cpu_level(void)
{
    unsigned leaf[4]; /* eax, ebx, ecx, edx */
    unsigned highest, highest_extended, leaf7_ebx, leaf1_ecx, extended_ecx = 0, xcr0;

    cconv_cpuid(0, 0, leaf);
    highest = leaf[0];
    cconv_cpuid(0x80000000u, 0, leaf);
    highest_extended = leaf[0];
    if (highest < 7) return 0;
    cconv_cpuid(1, 0, leaf);
    leaf1_ecx = leaf[2];
    cconv_cpuid(7, 0, leaf);
    leaf7_ebx = leaf[1];
    if (highest_extended >= 0x80000001u) {
        cconv_cpuid(0x80000001u, 0, leaf);
        extended_ecx = leaf[2];
    }

    /* FMA, SSE4.2, MOVBE, OSXSAVE, AVX, F16C; AVX2, BMI1, BMI2; LZCNT */
    if (!cconv_has_all(leaf1_ecx, 1u << 12 | 1u << 20 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29)) return 0;
    if (!cconv_has_all(leaf7_ebx, 1u << 3 | 1u << 5 | 1u << 8)) return 0;
    if (!cconv_has_all(extended_ecx, 1u << 5)) return 0;
    xcr0 = cconv_xcr0();
    if (!cconv_has_all(xcr0, 0x6)) return 0; /* XMM and YMM state */

    /* AVX512F, DQ, CD, BW, VL; opmask and both halves of the ZMM state */
    if (!cconv_has_all(leaf7_ebx, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31)) return 3;
    if (!cconv_has_all(xcr0, 0xe6)) return 3;
    return 4;
}

#else

static int cconv_cpu_level(void) { return 0; }

#endif
#endif
