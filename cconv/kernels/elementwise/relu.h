/* Relu with one bit per value for its gradient, which so reads 1/32 of the output.
 *
 *     out[i] = x[i] if !(x[i] <= 0), else 0       bit i % 64 of mask[i / 64] says which
 *     dx[i]  = dout[i] where its bit is set, else 0
 *
 * NaN passes. Bits beyond the last value are 0. Both loops wait for memory.
 */
#ifndef CCONV_RELU_H
#define CCONV_RELU_H

#include "vector/zeros.h"

#define MASK_BITS 64

#define BODY "elementwise/relu.h"
#include "vector/both_dtypes.h"

#elif defined(T)

static void NAME(relu_masked)(const T *x, ptrdiff_t n, T *out, uint64_t *mask)
{
    for (ptrdiff_t first = 0; first < n; first += MASK_BITS, x += MASK_BITS, out += MASK_BITS) {
        const ptrdiff_t count = n - first < MASK_BITS ? n - first : MASK_BITS;
        uint64_t word = 0;
        ptrdiff_t i = 0;
        for (; i + LANES <= count; i += LANES) {
            for (int l = 0; l < LANES; l++) out[i + l] = x[i + l] <= 0 ? 0 : x[i + l];
            word |= NAME(nonzero)(out + i) << i;
        }
        for (; i < count; i++) {
            out[i] = x[i] <= 0 ? 0 : x[i];
            word |= (uint64_t)(out[i] != 0) << i;
        }
        *mask++ = word;
    }
}

static void NAME(relu_masked_backward)(const T *dout, const uint64_t *mask, ptrdiff_t n, T *dx)
{
    for (ptrdiff_t first = 0; first < n; first += MASK_BITS, dout += MASK_BITS, dx += MASK_BITS) {
        const ptrdiff_t count = n - first < MASK_BITS ? n - first : MASK_BITS;
        const uint64_t word = *mask++;
        ptrdiff_t i = 0;
        for (; i + LANES <= count; i += LANES)
            NAME(store)(dx + i, NAME(bits_and)(NAME(load)(dout + i), (uint32_t)(word >> i)));
        for (; i < count; i++) dx[i] = word >> i & 1 ? dout[i] : 0;
    }
}

#endif
