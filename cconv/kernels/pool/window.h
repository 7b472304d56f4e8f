/* Pooling windows, a vector of outputs at a time.
 *
 *     max_windows            the maxima of any windows of up to 255 values
 *     sum_windows            averages, and sum_windows_backward, their gradient
 *     max_pairs              the maxima of 2 x 2 and 3 x 3 windows, two apart, and scatter_pairs, their gradient
 *     average_pairs          the averages of 2 x 2 windows, two apart, and average_pairs_backward, their gradient
 *
 * For max_windows the input is first split by its phases: column q of the image becomes column (q + pl) / sw of phase
 * (q + pl) % sw, rows likewise, and padding is written out. Then each tap of a row of outputs is one contiguous vector,
 * whatever the stride. The gradient of any maximum goes to one input of its window; that is left to _pool.pyx. Sums are
 * taken over rows first and then, of these, over columns; gradients go the same way back.
 *
 * Windows two apart need no splitting: a lane stands for two columns of the image.
 *
 * Vectors may run over the end of a row, into one that is written later, but never over the end of the planes. What
 * does not fit is refused, and left to the loops of _pool.pyx: rows or windows too large for the scratch, planes that
 * hold NaN or -inf (for maxima), and all of this where a compiler has no shuffles of vectors. This file is compiled for
 * those that have them, and so uses the operators of C on vectors too.
 *
 * Parameters that several functions share:
 *
 *     x, dout     IN, planes of images or of outputs, one after the other
 *     out, dx     OUT, the same
 *     where       positions of maxima in their windows, one byte each: OUT of maxima (it may be NULL), IN of gradients
 *     planes      how many
 *     g           IN, sizes and steps of a window; its own number of planes is that of the whole array
 *     rest        how many values may be read from x or dout on: these planes and what follows them
 *     rows        IN, (OH,) and columns, (OW + LANES,): the product of two is the divisor of an average
 *     scratch     values that belong to a thread: window_room of them, or WINDOW_ROOM for maxima and their gradients
 */
#ifndef CCONV_WINDOW_H
#define CCONV_WINDOW_H

#include "vector/sums.h"

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define WINDOW_MASKS 1
#include <immintrin.h>
#endif

typedef struct {
    ptrdiff_t planes, H, W, OH, OW;
    int fh, fw, sh, sw, pt, pl, dh, dw;
} window_geometry;

/* Laws: they follow from the bytes of a position. */
#define WINDOW_TAPS 255

/* Fits, for the first two caches: `python -m benchmarks.tune --only window-scratch`. */
#define WINDOW_SCRATCH 8192 /* values of the image that a band of outputs reads */
#define WINDOW_COLUMNS 2048 /* up to so many columns, windows of 2 x 2 and 3 x 3, two apart, have loops of their own */

#define WINDOW_ROOM (2 * WINDOW_SCRATCH)

#if defined(VECTOR_SHUFFLES)
#if __has_builtin(__builtin_convertvector)
#define WINDOW_VECTORS 1
#endif
#endif

static inline ptrdiff_t window_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t window_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* How many further phase rows and columns a window reaches. */
static inline ptrdiff_t reach_h(const window_geometry *g) { return (ptrdiff_t)(g->fh - 1) * g->dh / g->sh; }
static inline ptrdiff_t reach_w(const window_geometry *g) { return (ptrdiff_t)(g->fw - 1) * g->dw / g->sw; }

/* Rows of maxima that are computed together; 0 where the windows do not fit. */
static inline ptrdiff_t window_rows(const window_geometry *g)
{
#ifdef WINDOW_VECTORS
    const ptrdiff_t row = (ptrdiff_t)g->sh * g->sw * (g->OW + reach_w(g));
    if (g->fh > WINDOW_TAPS || g->fw > WINDOW_TAPS || g->fh * g->fw > WINDOW_TAPS) return 0;
    if (g->sh > WINDOW_TAPS || g->sw > WINDOW_TAPS || g->sh * g->sw > WINDOW_TAPS) return 0;
    return window_max(WINDOW_SCRATCH / row - reach_h(g), 0);
#else
    return 0;
#endif
}

/* How many values of a buffer a row of sums takes: the image or all windows, a window beside it, and vectors. */
static inline ptrdiff_t window_width(const window_geometry *g)
{
    return window_max(g->pl + g->W, g->OW * g->sw) + g->fw + 2 * (VECTOR_BYTES / 4);
}

/* Whether sums are computed here. */
static inline int window_sums(void)
{
#ifdef WINDOW_VECTORS
    return 1;
#else
    return 0;
#endif
}

/* Values of a buffer for rows of sums. */
static inline ptrdiff_t window_buffer(const window_geometry *g) { return window_max(window_width(g), WINDOW_SCRATCH); }

/* Values of scratch that sums take, or their gradients, which go to the columns of the image first. */
static inline ptrdiff_t window_room(const window_geometry *g, int backward)
{
    return window_buffer(g) + (backward ? g->OH * (g->W + VECTOR_BYTES / 4) : 0);
}

/* Whether windows are 2 x 2 two apart and inside the image. */
static inline int window_quarters(const window_geometry *g)
{
#ifdef WINDOW_VECTORS
    return g->fh == 2 && g->fw == 2 && g->sh == 2 && g->sw == 2 && g->pt == 0 && g->pl == 0 && 2 * g->OH <= g->H &&
           2 * g->OW <= g->W;
#else
    (void)g;
    return 0;
#endif
}

/* Whether windows are 3 x 3 or, without padding on the left, 2 x 2, two apart, and rows fit the buffers. For the
 * gradient, vectors of 16 bytes are too short to look through 3 x 3. */
static inline int window_pairs(const window_geometry *g, int backward)
{
#ifdef WINDOW_VECTORS
    const int three = g->fw == 3 && (VECTOR_BYTES > 16 || !backward), two = g->fw == 2 && g->pl == 0;
    return (three || two) && g->fh == g->fw && g->sh == 2 && g->sw == 2 && g->dh == 1 && g->dw == 1 && g->pt <= 1 &&
           g->pl <= 1 && g->W <= WINDOW_COLUMNS;
#else
    (void)g, (void)backward;
    return 0;
#endif
}

#ifdef WINDOW_VECTORS
typedef uint8_t bytes_float __attribute__((vector_size(VECTOR_BYTES / 4), aligned(1), may_alias));
typedef uint8_t bytes_double __attribute__((vector_size(VECTOR_BYTES / 8), aligned(1), may_alias));
#if defined(WINDOW_MASKS)
/* s, and where a byte of `at` is `tap` s + d. */
static inline vec_float add_hit_float(vec_float s, vec_float d, bytes_float at, char tap)
{
    const __mmask16 hit = _mm_cmpeq_epi8_mask((__m128i)at, _mm_set1_epi8(tap));
    return (vec_float)_mm512_mask_add_ps((__m512)s, hit, (__m512)s, (__m512)d);
}
static inline vec_double add_hit_double(vec_double s, vec_double d, bytes_double at, char tap)
{
    const __mmask16 hit = _mm_cmpeq_epi8_mask(_mm_cvtsi64_si128((long long)at), _mm_set1_epi8(tap));
    return (vec_double)_mm512_mask_add_pd((__m512d)s, (__mmask8)hit, (__m512d)s, (__m512d)d);
}
/* Replace what is not NaN and less than v, or where v is NaN. */
static inline void update_max_float(vec_float *best, bytes_float *at, vec_float v, bytes_float tap)
{
    const __mmask16 more = _mm512_cmp_ps_mask((__m512)v, (__m512)*best, _CMP_GT_OQ) |
                           _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
    *best = (vec_float)_mm512_mask_mov_ps((__m512)*best, more, (__m512)v);
    *at = (bytes_float)_mm_mask_mov_epi8((__m128i)*at, more, (__m128i)tap);
}
static inline void update_max_double(vec_double *best, bytes_double *at, vec_double v, bytes_double tap)
{
    const __mmask8 more = _mm512_cmp_pd_mask((__m512d)v, (__m512d)*best, _CMP_GT_OQ) |
                          _mm512_cmp_pd_mask((__m512d)v, (__m512d)v, _CMP_UNORD_Q);
    const __m128i old = _mm_cvtsi64_si128((long long)*at), next = _mm_cvtsi64_si128((long long)tap);
    *best = (vec_double)_mm512_mask_mov_pd((__m512d)*best, more, (__m512d)v);
    *at = (bytes_double)_mm_cvtsi128_si64(_mm_mask_mov_epi8(old, more, next));
}
#endif

#define BODY "pool/window.h"
#include "vector/both_dtypes.h"
#else
/* Never called: window_rows, window_sums, window_quarters and window_pairs are 0. */
#define WINDOW_NONE(T, end)                                                                                            \
    static int max_windows_##end(const T *x, const window_geometry *g, T *out, uint8_t *where, T *scratch)             \
    {                                                                                                                  \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static void sum_windows_##end(const T *x, ptrdiff_t planes, const window_geometry *g, const T *rows,               \
                                  const T *columns, T *out, T *scratch)                                                \
    {                                                                                                                  \
    }                                                                                                                  \
    static void sum_windows_backward_##end(const T *dout, ptrdiff_t planes, const window_geometry *g, const T *rows,   \
                                           const T *columns, T *dx, T *scratch)                                        \
    {                                                                                                                  \
    }                                                                                                                  \
    static void average_pairs_##end(const T *x, ptrdiff_t rest, ptrdiff_t planes, const window_geometry *g, T *out) {} \
    static void average_pairs_backward_##end(const T *dout, ptrdiff_t rest, ptrdiff_t planes,                          \
                                             const window_geometry *g, T *dx)                                          \
    {                                                                                                                  \
    }                                                                                                                  \
    static void max_pairs_##end(const T *x, ptrdiff_t rest, ptrdiff_t planes, const window_geometry *g, T *out,        \
                                uint8_t *where, T *scratch)                                                            \
    {                                                                                                                  \
    }                                                                                                                  \
    static void scatter_pairs_##end(const T *dout, const uint8_t *where, ptrdiff_t rest, ptrdiff_t planes,             \
                                    const window_geometry *g, T *dx, T *scratch)                                       \
    {                                                                                                                  \
    }
WINDOW_NONE(float, float)
WINDOW_NONE(double, double)
#endif

#elif defined(T)

#if VECTOR_BYTES == 32
#define EACH_float(p) (p)[0], (p)[1], (p)[2], (p)[3], (p)[4], (p)[5], (p)[6], (p)[7]
#define EACH_double(p) (p)[0], (p)[1], (p)[2], (p)[3]
#endif

/* Split the rows of outputs y0 ... y0 + count - 1 by phases; say whether all values are above -inf. */
static int NAME(split)(const T *x, const window_geometry *g, ptrdiff_t y0, ptrdiff_t count, T fill, T *to)
{
    const ptrdiff_t rows = count + reach_h(g), pitch = g->OW + reach_w(g), sw = g->sw;
    const T *const end = x + g->H * g->W;
    const T least = (T)-__builtin_inf();
    NAME(mask) good = (NAME(mask)){0} == 0;
    int fine = 1;
    for (int a = 0; a < g->sh; a++)
        for (int b = 0; b < sw; b++)
            for (ptrdiff_t R = 0; R < rows; R++, to += pitch) {
                const ptrdiff_t r = (y0 + R) * g->sh + a - g->pt, from = b - g->pl;
                const int inside = r >= 0 && r < g->H;
                const ptrdiff_t lo = window_min(from >= 0 ? 0 : (-from + sw - 1) / sw, pitch);
                const ptrdiff_t hi = inside && from < g->W ? window_min((g->W - 1 - from) / sw + 1, pitch) : 0;
                const T *const row = x + r * g->W + from;
                ptrdiff_t k = inside ? lo : pitch;
                for (ptrdiff_t c = 0; c < (inside ? lo : pitch); c++) to[c] = fill;
                if (sw == 1)
                    for (; k < hi && end - (row + k) >= LANES; k += LANES) {
                        const NAME(vec) v = NAME(load)(row + k);
                        good &= NAME(greater)(v, NAME(broadcast)(least));
                        NAME(store)(to + k, v);
                    }
                else if (sw == 2)
                    for (; k < hi && end - (row + 2 * k) >= 2 * LANES; k += LANES) {
                        const NAME(vec) v = NAME(load_even)(row + 2 * k);
                        good &= NAME(greater)(v, NAME(broadcast)(least));
                        NAME(store)(to + k, v);
                    }
                for (; k < hi; k++) {
                    to[k] = row[k * sw];
                    fine &= to[k] > least;
                }
                if (inside)
                    for (k = window_max(hi, lo); k < pitch; k++) to[k] = fill;
            }
    for (int l = 0; l < LANES; l++) fine &= good[l] != 0;
    return fine;
}

/* Where each tap of the first output is in the split rows. */
static void NAME(tap_offsets)(const window_geometry *g, ptrdiff_t count, ptrdiff_t *off)
{
    const ptrdiff_t rows = count + reach_h(g), pitch = g->OW + reach_w(g);
    for (int i = 0; i < g->fh; i++)
        for (int j = 0; j < g->fw; j++) {
            const ptrdiff_t r = (ptrdiff_t)i * g->dh, c = (ptrdiff_t)j * g->dw;
            const ptrdiff_t phase = r % g->sh * g->sw + c % g->sw;
            off[i * g->fw + j] = (phase * rows + r / g->sh) * pitch + c / g->sw;
        }
}

/* The maxima of one plane, and their positions unless NULL; 0 if the plane holds NaN or -inf. */
static int NAME(max_windows)(const T *x, const window_geometry *g, T *out, uint8_t *where, T *scratch)
{
    T *const split = scratch; /* and two vectors behind it */
    ptrdiff_t off[WINDOW_TAPS];
    const ptrdiff_t pitch = g->OW + reach_w(g), band = window_rows(g);
    const int taps = g->fh * g->fw;
    const T *const end = out + g->OH * g->OW;
    for (ptrdiff_t y0 = 0; y0 < g->OH; y0 += band) {
        const ptrdiff_t count = window_min(band, g->OH - y0);
        if (!NAME(split)(x, g, y0, count, (T)-__builtin_inf(), split)) return 0;
        NAME(tap_offsets)(g, count, off);
        for (ptrdiff_t y = 0; y < count; y++)
            for (ptrdiff_t z = 0; z < g->OW; z += LANES) {
                const T *const at = split + y * pitch + z;
                const ptrdiff_t k = (y0 + y) * g->OW + z;
                NAME(vec) best = NAME(load)(at + off[0]);
                NAME(mask) position = {0};
                for (int t = 1; t < taps; t++) {
                    const NAME(vec) v = NAME(load)(at + off[t]);
                    const NAME(mask) more = NAME(greater)(v, best);
                    best = VECTOR_SELECT(more, v, best);
                    position = (position & ~more) | (((NAME(mask)){0} + (INT)t) & more);
                }
                NAME(store_until)(out + k, end, best);
                if (where) {
                    const NAME(bytes) bytes = __builtin_convertvector(position, NAME(bytes));
                    const ptrdiff_t room = end - (out + k);
                    if (room >= LANES)
                        memcpy(where + k, &bytes, LANES);
                    else
                        memcpy(where + k, &bytes, (size_t)room);
                }
            }
    }
    return 1;
}

/* The sums of some planes, divided by rows[y] * columns[z]. The rows of windows are added into a buffer with the
 * padding beside them, for a band of outputs at a time, so that nothing waits for what was just stored; then their
 * columns. columns has LANES values more than there are outputs. */
static void NAME(sum_windows)(const T *x, ptrdiff_t planes, const window_geometry *g, const T *rows, const T *columns,
                              T *CCONV_RESTRICT out, T *CCONV_RESTRICT scratch)
{
    T *const sums = scratch;
    const ptrdiff_t H = g->H, W = g->W, OW = g->OW, sw = g->sw, room = window_buffer(g);
    const ptrdiff_t pitch = window_width(g), band = window_min(room / pitch, g->OH);
    const ptrdiff_t OH = g->OH, sh = g->sh, pt = g->pt, pl = g->pl, fh = g->fh, fw = g->fw;
    const T *const end = x + planes * H * W, *const out_end = out + planes * OH * OW, *const sums_end = sums + room;
    const NAME(mask) inside = NAME(mask_between)(0, W % LANES);
    memset(sums, 0, sizeof(T) * (size_t)(band * pitch));
    for (ptrdiff_t p = 0; p < planes; p++, x += H * W)
        for (ptrdiff_t y0 = 0; y0 < OH; y0 += band) {
            const ptrdiff_t count = window_min(band, OH - y0);
            for (ptrdiff_t y = 0; y < count; y++) {
                const ptrdiff_t top = (y0 + y) * sh - pt, first = window_max(top, 0);
                const ptrdiff_t last = window_min(top + fh, H);
                for (ptrdiff_t q = 0; q < W; q += LANES) {
                    const NAME(vec) sum = NAME(sum_vectors)(x + first * W + q, W, last - first, end, 1);
                    NAME(store)(sums + y * pitch + pl + q, W - q < LANES ? NAME(mask_and)(sum, inside) : sum);
                }
            }
            for (ptrdiff_t y = 0; y < count; y++, out += OW) {
                const T *const row = sums + y * pitch;
                for (ptrdiff_t z = 0; z < OW && sw > 2; z++) {
                    out[z] = NAME(sum_row)(row + z * sw, fw) / (columns[z] * rows[y0 + y]);
                }
                for (ptrdiff_t z = 0; z < OW && sw <= 2; z += LANES) {
                    NAME(vec) sum = NAME(sum_vectors)(row + z * sw, 1, fw, sums_end, 0);
                    if (sw == 2) {
                        const NAME(vec) next = NAME(sum_vectors)(row + z * sw + LANES, 1, fw, sums_end, 0);
                        sum = NAME(even_lanes)(sum, next);
                    }
                    NAME(store_until)(out + z, out_end, NAME(div)(sum, NAME(load)(columns + z) * rows[y0 + y]));
                }
            }
        }
}

/* Some planes of gradients: each value of dout, divided by rows[y] * columns[z], goes to all inputs of its window. Rows
 * of dout wait in a buffer, where zeros stand for the strides, a band of them at a time; each goes to the
 * columns of the image. A row of this is the sum of those whose windows reach it. */
static void NAME(sum_windows_backward)(const T *dout, ptrdiff_t planes, const window_geometry *g, const T *rows,
                                       const T *columns, T *CCONV_RESTRICT dx, T *CCONV_RESTRICT scratch)
{
    const ptrdiff_t H = g->H, W = g->W, OH = g->OH, OW = g->OW, sh = g->sh, sw = g->sw, room = window_buffer(g);
    const ptrdiff_t pitch = window_width(g), band = window_min(room / pitch, OH), step = W + LANES;
    T *const values = scratch, *const sums = values + room;
    const ptrdiff_t pt = g->pt, pl = g->pl, fh = g->fh, fw = g->fw;
    const T *const values_end = values + room, *const sums_end = sums + OH * step;
    const T *const dout_end = dout + planes * OH * OW, *const end = dx + planes * H * W;
    const NAME(mask) valid = NAME(mask_between)(0, OW % LANES);
    const NAME(vec) zero = {0};
    memset(values, 0, sizeof(T) * (size_t)(band * pitch));
    for (ptrdiff_t p = 0; p < planes; p++) {
        ptrdiff_t done = 0, first = 0, last = 0; /* windows from first to before last reach the row */
        for (ptrdiff_t r = 0; r < H; r++, dx += W) {
            while (last < OH && last * sh - pt <= r) last++;
            while (first < last && first * sh - pt + fh <= r) first++;
            while (done < last) {
                const ptrdiff_t count = window_min(band, OH - done);
                for (ptrdiff_t y = 0; y < count; y++, dout += OW)
                    for (ptrdiff_t z = 0; z < OW; z += LANES) {
                        T *const at = values + y * pitch + fw - 1 + z * sw;
                        NAME(vec) v =
                            NAME(div)(NAME(load_until)(dout + z, dout_end), NAME(load)(columns + z) * rows[done + y]);
                        if (OW - z < LANES) v = NAME(mask_and)(v, valid);
                        if (sw == 1) {
                            NAME(store)(at, v);
                        } else if (sw == 2) {
                            NAME(store)(at, NAME(interleave_low)(v, zero));
                            NAME(store)(at + LANES, NAME(interleave_high)(v, zero));
                        } else {
                            for (ptrdiff_t l = 0; l < window_min(OW - z, LANES); l++) at[l * sw] = v[l];
                        }
                    }
                for (ptrdiff_t y = 0; y < count; y++)
                    for (ptrdiff_t q = 0; q < W; q += LANES)
                        NAME(store)(sums + (done + y) * step + q,
                                    NAME(sum_vectors)(values + y * pitch + pl + q, 1, fw, values_end, 0));
                done += count;
            }
            for (ptrdiff_t q = 0; q < W; q += LANES)
                NAME(store_until)(dx + q, end,
                                  NAME(sum_vectors)(sums + first * step + q, step, last - first, sums_end, 0));
        }
        dout += (OH - done) * OW;
    }
}

/* Averages over windows of 2 x 2 two apart, all of them inside the image, for some planes, of which, and what follows
 * them, `rest` values may be read. */
static void NAME(average_pairs)(const T *x, ptrdiff_t rest, ptrdiff_t planes, const window_geometry *g, T *out)
{
    const ptrdiff_t W = g->W, OH = g->OH, OW = g->OW, size = g->H * W;
    const T *const end = x + rest, *const out_end = out + planes * OH * OW;
    for (ptrdiff_t p = 0; p < planes; p++, x += size)
        for (ptrdiff_t y = 0; y < OH; y++, out += OW)
            for (ptrdiff_t z = 0; z < OW; z += LANES) {
                const T *const at = x + 2 * (y * W + z), *const below = at + W;
                NAME(vec) low, high, even;
                if (end - below >= 2 * LANES) {
                    low = NAME(load)(at) + NAME(load)(below);
                    high = NAME(load)(at + LANES) + NAME(load)(below + LANES);
                } else {
                    low = NAME(load_until)(at, end) + NAME(load_until)(below, end);
                    high = NAME(load_until)(at + LANES, end) + NAME(load_until)(below + LANES, end);
                }
                even = NAME(even_lanes)(low, high);
                NAME(store_until)(out + z, out_end, (even + NAME(odd_lanes)(low, high)) * (T)0.25);
            }
}

/* Their gradient, for some planes, of whose dout, and what follows it, `rest` values may be read. */
static void NAME(average_pairs_backward)(const T *dout, ptrdiff_t rest, ptrdiff_t planes, const window_geometry *g,
                                         T *dx)
{
    const ptrdiff_t H = g->H, W = g->W, OH = g->OH, OW = g->OW;
    const T *const dout_end = dout + rest, *const end = dx + planes * H * W;
    for (ptrdiff_t p = 0; p < planes; p++, dout += OH * OW)
        for (ptrdiff_t r = 0; r < H; r++, dx += W) {
            const ptrdiff_t covered = r < 2 * OH ? OW : 0;
            for (ptrdiff_t z = 0; z < covered; z += LANES) {
                const NAME(vec) v = NAME(load_until)(dout + r / 2 * OW + z, dout_end) * (T)0.25;
                NAME(store_until)(dx + 2 * z, end, NAME(interleave_low)(v, v));
                NAME(store_until)(dx + 2 * z + LANES, end, NAME(interleave_high)(v, v));
            }
            for (ptrdiff_t q = 2 * covered; q < W; q++) dx[q] = 0;
        }
}

/* Positions of LANES maxima in their windows: bytes, where comparisons can select these too, else as wide as values.
 * ADD_HIT adds to s those values of d whose position is `tap`; UPDATE_MAX replaces maxima by what is greater or NaN. */
#if defined(WINDOW_MASKS)
typedef NAME(bytes) NAME(positions);
#define LOAD_POSITIONS(p) (*(const NAME(positions) *)(p))
#define STORE_POSITIONS(p, at) (*(NAME(positions) *)(p) = (at))
#define ADD_HIT(s, d, at, tap) NAME(add_hit)(s, d, at, (char)(tap))
#define UPDATE_MAX(best, at, v, tap) NAME(update_max)(&(best), &(at), v, tap)
#else
typedef NAME(mask) NAME(positions);
#if VECTOR_BYTES > 16
#define LOAD_POSITIONS(p) ((NAME(mask)){NAME(EACH)(p)}) /* one instruction, where __builtin_convertvector takes many */
#else
#define LOAD_POSITIONS(p) __builtin_convertvector(*(const NAME(bytes) *)(p), NAME(mask))
#endif
#define STORE_POSITIONS(p, at) (*(NAME(bytes) *)(p) = __builtin_convertvector(at, NAME(bytes)))
#define ADD_HIT(s, d, at, tap) ((s) + (NAME(vec))((NAME(mask))(d) & ((at) == (NAME(mask)){0} + (INT)(tap))))
#define UPDATE_MAX(best, at, v, tap)                                                                                   \
    do {                                                                                                               \
        const NAME(mask) more = ((v) > (best)) | ((v) != (v));                                                         \
        best = VECTOR_SELECT(more, v, best);                                                                           \
        at = ((tap) & more) | ((at) & ~more);                                                                          \
    } while (0)
#endif

/* Values of three rows that are computed beside the arrays, and what vectors read and write behind them. */
#define WINDOW_BESIDE (3 * WINDOW_COLUMNS + 2 * LANES + 2)

/* The maxima of a row of windows, and where they are. */
typedef struct {
    NAME(vec) best;
    NAME(positions) at;
} NAME(maxima);

/* Those of `f` columns two apart, from column z of a row on. Without padding a window begins with an even column; with
 * it, with the odd one that is `before`. Columns from `clip` on count from there as -inf, if that is not negative. */
CCONV_INLINE NAME(maxima) NAME(max_of_row)(const int f, const int padded, const T *row, ptrdiff_t clip,
                                           NAME(vec) *before, NAME(positions) start)
{
    const NAME(positions) one = (NAME(positions)){0} + 1;
    NAME(maxima) m = {{0}, start};
    NAME(vec) even = NAME(load_even)(row), last = even;
    NAME(vec) odd = NAME(load_odd)(row);
    if (f == 3 && !padded) last = NAME(load_even)(row + 2);
    for (int l = 0; clip >= 0 && l < LANES; l++) {
        even[l] = 2 * l < clip ? even[l] : (T)-__builtin_inf();
        odd[l] = 2 * l + 1 < clip ? odd[l] : (T)-__builtin_inf();
        last[l] = 2 * l + 2 < clip ? last[l] : (T)-__builtin_inf();
    }
    if (padded) {
        m.best = __builtin_shufflevector(*before, odd, NAME(ORDER_BEFORE));
        UPDATE_MAX(m.best, m.at, even, one);
        UPDATE_MAX(m.best, m.at, odd, one + one);
        *before = odd;
    } else {
        m.best = even;
        UPDATE_MAX(m.best, m.at, odd, one);
        if (f == 3) UPDATE_MAX(m.best, m.at, last, one + one);
    }
    return m;
}

/* The maxima over windows of f x f two apart, as `scatter_rows` has them, from row `first` of outputs to before `last`
 * in each of some planes; `x` is the image's row with which that one begins. Each row of the image is gone through
 * once: the last of a window waits in `carried` for the next. Of equal values the first wins along the row, and then
 * down the rows. */
CCONV_INLINE void NAME(max_rows)(const int f, const int padded, const T *x, const window_geometry *g, ptrdiff_t planes,
                                 ptrdiff_t first, ptrdiff_t last, T *out, uint8_t *where, NAME(maxima) *carried)
{
    const ptrdiff_t H = g->H, W = g->W, OW = g->OW, pt = g->pt, vectors = (OW + LANES - 1) / LANES;
    const ptrdiff_t clip = 2 * (OW - 1) - padded + f > W ? W - 2 * (vectors - 1) * LANES : -1;
    const NAME(positions) tap = (NAME(positions)){0} + (uint8_t)f;
    NAME(positions) start = {0};
    if (padded) start[0] = 1; /* the first column there is */
    for (ptrdiff_t p = 0; p < planes; p++, x += H * W) {
        const T *row = x;
        for (ptrdiff_t y = first; y < last; y++, row += 2 * W, out += OW) {
            const ptrdiff_t r = 2 * y - pt;
            const int old = f == 3 && r > 0;
            NAME(vec) before[3];
            for (int i = 0; i < 3; i++) before[i] = (NAME(vec)){0} - (T)__builtin_inf();
            for (ptrdiff_t v = 0; v < vectors; v++) {
                const T *const at = row + 2 * v * LANES;
                const ptrdiff_t end = v == vectors - 1 ? clip : -1;
                const NAME(positions) begin = v == 0 ? start : (NAME(positions)){0};
                NAME(maxima) m, next;
                if (old)
                    m = carried[v];
                else if (r >= 0)
                    m = NAME(max_of_row)(f, padded, at, end, before, begin);
                if (r + 1 < H) {
                    next = NAME(max_of_row)(f, padded, at + W, end, before + 1, begin);
                    next.at += tap;
                    if (r >= 0)
                        UPDATE_MAX(m.best, m.at, next.best, next.at);
                    else
                        m = next;
                }
                if (f == 3 && r + 2 < H) {
                    next = NAME(max_of_row)(f, padded, at + 2 * W, end, before + 2, begin);
                    carried[v] = next;
                    next.at += tap + tap;
                    UPDATE_MAX(m.best, m.at, next.best, next.at);
                }
                NAME(store)(out + v * LANES, m.best);
                if (where) STORE_POSITIONS(where + v * LANES, m.at);
            }
            if (where) where += OW;
        }
    }
}

CCONV_NOINLINE void NAME(max_some)(const T *x, const window_geometry *g, ptrdiff_t planes, ptrdiff_t first,
                                   ptrdiff_t last, T *out, uint8_t *where, NAME(maxima) *carried)
{
    if (g->fw == 2)
        NAME(max_rows)(2, 0, x, g, planes, first, last, out, where, carried);
    else if (g->pl)
        NAME(max_rows)(3, 1, x, g, planes, first, last, out, where, carried);
    else
        NAME(max_rows)(3, 0, x, g, planes, first, last, out, where, carried);
}

/* The same for some planes, of which, and what follows them, `rest` values may be read. Where vectors would run too
 * far, rows are computed beside the arrays. */
static void NAME(max_pairs)(const T *x, ptrdiff_t rest, ptrdiff_t planes, const window_geometry *g, T *out,
                            uint8_t *where, T *scratch)
{
    NAME(maxima) *const carried = (NAME(maxima) *)scratch;
    T *const rows = (T *)(carried + WINDOW_COLUMNS / (2 * LANES) + 1), *const values = rows + WINDOW_BESIDE;
    uint8_t *const positions = (uint8_t *)(values + WINDOW_COLUMNS / 2 + LANES + 1);
    const ptrdiff_t H = g->H, W = g->W, OH = g->OH, OW = g->OW, pt = g->pt, size = H * W;
    const ptrdiff_t vectors = (OW + LANES - 1) / LANES, over = vectors * LANES - OW;
    const ptrdiff_t over_x = 2 * vectors * LANES + 2 - W; /* read beyond a row */
    ptrdiff_t p = planes;
    while (p > 0 && (p * size + over_x > rest || p * OH * OW + over > planes * OH * OW)) p--;
    NAME(max_some)(x - pt * W, g, p, 0, OH, out, where, carried);
    if (p < planes) memset(rows, 0, sizeof(T) * WINDOW_BESIDE);
    for (; p < planes; p++) {
        const ptrdiff_t at = p * OH * OW;
        for (ptrdiff_t y = 0; y < OH; y++) {
            const ptrdiff_t r = 2 * y - pt, first = window_max(r, 0), last = window_min(r + g->fh, H);
            memcpy(rows + (first - r) * W, x + p * size + first * W, sizeof(T) * (size_t)((last - first) * W));
            NAME(max_some)(rows, g, 1, y, y + 1, values, where ? positions : NULL, carried);
            memcpy(out + at + y * OW, values, sizeof(T) * (size_t)OW);
            if (where) memcpy(where + at + y * OW, positions, (size_t)OW);
        }
    }
}

/* Sums for two columns of the image by turns: those that two windows of a row reach, and those that one does. */
typedef struct {
    NAME(vec) two, one;
} NAME(column_sums);

/* What row i of the windows, whose positions begin with `tap`, adds; `other` are the neighbouring windows. */
CCONV_INLINE NAME(column_sums)
    NAME(hits)(const int f, const int padded, NAME(column_sums) sum, NAME(vec) d, NAME(positions) at, NAME(vec) other,
               NAME(positions) at_other, INT tap, INT step)
{
    if (f == 3 && !padded) sum.two = ADD_HIT(sum.two, other, at_other, tap + 2 * step);
    sum.two = ADD_HIT(sum.two, d, at, padded ? tap + 2 * step : tap);
    if (f == 3 && padded) sum.two = ADD_HIT(sum.two, other, at_other, tap);
    sum.one = ADD_HIT(sum.one, d, at, tap + step);
    return sum;
}

CCONV_INLINE void NAME(store_columns)(const int padded, T *p, NAME(column_sums) sum)
{
    const NAME(vec) even = padded ? sum.one : sum.two, odd = padded ? sum.two : sum.one;
    NAME(store)(p, NAME(interleave_low)(even, odd));
    NAME(store)(p + LANES, NAME(interleave_high)(even, odd));
}

/* The gradient of maxima over windows of f x f two apart, f being 2 or, where they overlap by one, 3: a vector of
 * outputs compares its positions with those there are. Lane z stands for the columns 2 z and 2 z + 1 of the image. A
 * window of 3 begins with these and reaches the next lane's first or, where there is padding on the left, begins with
 * the last lane's second. Each row is written once, the last of a window waiting in `below` for the first of the next.
 * A vector may run over the end of its row into what is written later: that of a window's second row waits for the end
 * of the first.
 *
 * This computes `count` rows of outputs in each of some planes and, unless that is negative, the `after` rows of the
 * image below; the first row goes to `above` where it is padding. */
CCONV_INLINE void NAME(scatter_rows)(const int f, const int padded, const int single, const T *dout,
                                     const uint8_t *where, const window_geometry *g, ptrdiff_t planes, ptrdiff_t count,
                                     ptrdiff_t after, T *dx, T *above, NAME(column_sums) *below)
{
    const ptrdiff_t W = g->W, OW = g->OW, size = g->H * W; /* what is written might alias g */
    const ptrdiff_t vectors = single ? 1 : (W + 2 * LANES - 1) / (2 * LANES);
    const INT step = (INT)g->dw, tap = (INT)g->fw; /* 1 and f, but of constants GCC would make vectors in each row */
    const NAME(positions) nowhere = (NAME(positions)){0} - 1;
    const NAME(column_sums) nothing = {{0}, {0}};
    NAME(positions) beyond = {0};
    NAME(column_sums) carried = below[0];
    for (ptrdiff_t l = 0; l < LANES; l++) beyond[l] = (OW - 1) / LANES * LANES + l < OW ? 0 : -1;
    for (ptrdiff_t p = 0; p < planes; p++, dx += size) {
        T *upper = above ? above : dx, *lower = above ? dx : dx + W;
        for (ptrdiff_t y = 0; y < count; y++, dout += OW, where += OW) {
            NAME(vec) d = NAME(load)(dout), before = {0};
            NAME(positions) at = LOAD_POSITIONS(where), at_before = nowhere;
            NAME(column_sums) first = nothing;
            if (single || OW < LANES) at |= beyond;
            for (ptrdiff_t v = 0; v < vectors; v++) {
                const ptrdiff_t z = (v + 1) * LANES;
                NAME(column_sums) *const last = single ? &carried : below + v, second;
                NAME(vec) next = {0}, other = {0};
                NAME(positions) at_next = nowhere, at_other = nowhere;
                if (!single && z < OW) {
                    next = NAME(load)(dout + z);
                    at_next = LOAD_POSITIONS(where + z);
                    if (z + LANES > OW) at_next |= beyond;
                }
                if (padded) {
                    other = __builtin_shufflevector(d, next, NAME(ORDER_AFTER));
                    at_other = __builtin_shufflevector(at, at_next, NAME(ORDER_AFTER));
                } else if (f == 3) {
                    other = __builtin_shufflevector(before, d, NAME(ORDER_BEFORE));
                    at_other = __builtin_shufflevector(at_before, at, NAME(ORDER_BEFORE));
                }
                NAME(store_columns)(padded, upper + 2 * v * LANES,
                                    NAME(hits)(f, padded, f == 3 ? *last : nothing, d, at, other, at_other, 0, step));
                second = NAME(hits)(f, padded, nothing, d, at, other, at_other, tap, step);
                if (f == 3) *last = NAME(hits)(f, padded, nothing, d, at, other, at_other, 2 * tap, step);
                if (v == 0)
                    first = second;
                else
                    NAME(store_columns)(padded, lower + 2 * v * LANES, second);
                before = d, at_before = at, d = next, at = at_next;
            }
            NAME(store_columns)(padded, lower, first);
            upper = lower + W;
            lower = upper + W;
        }
        for (ptrdiff_t r = 0; r < after; r++, upper += W)
            for (ptrdiff_t v = 0; v < vectors; v++) {
                NAME(column_sums) *const last = single ? &carried : below + v;
                NAME(store_columns)(padded, upper + 2 * v * LANES, *last);
                *last = nothing;
            }
        for (ptrdiff_t v = 0; v < vectors && after >= 0; v++) *(single ? &carried : below + v) = nothing;
    }
    if (single) below[0] = carried;
}

CCONV_NOINLINE void NAME(scatter_some)(const T *dout, const uint8_t *where, const window_geometry *g, ptrdiff_t planes,
                                       ptrdiff_t count, ptrdiff_t after, T *dx, T *above, NAME(column_sums) *below)
{
    const int single = g->W <= 2 * LANES && g->OW <= LANES; /* everything stays in registers then */
    if (g->fw == 2)
        NAME(scatter_rows)(2, 0, 0, dout, where, g, planes, count, after, dx, above, below);
    else if (g->pl && single)
        NAME(scatter_rows)(3, 1, 1, dout, where, g, planes, count, after, dx, above, below);
    else if (g->pl)
        NAME(scatter_rows)(3, 1, 0, dout, where, g, planes, count, after, dx, above, below);
    else if (single)
        NAME(scatter_rows)(3, 0, 1, dout, where, g, planes, count, after, dx, above, below);
    else
        NAME(scatter_rows)(3, 0, 0, dout, where, g, planes, count, after, dx, above, below);
}

/* The same for some planes, of whose dout, and what follows it, `rest` values may be read. Where vectors would run too
 * far, rows are computed beside the arrays. */
static void NAME(scatter_pairs)(const T *dout, const uint8_t *where, ptrdiff_t rest, ptrdiff_t planes,
                                const window_geometry *g, T *dx, T *scratch)
{
    NAME(column_sums) *const below = (NAME(column_sums) *)scratch;
    T *const rows = (T *)(below + WINDOW_COLUMNS / (2 * LANES)), *const values = rows + WINDOW_BESIDE;
    uint8_t *const positions = (uint8_t *)(values + WINDOW_COLUMNS / 2 + LANES + 1);
    const ptrdiff_t H = g->H, W = g->W, OH = g->OH, OW = g->OW, pt = g->pt, size = H * W, out = OH * OW;
    const ptrdiff_t vectors = (W + 2 * LANES - 1) / (2 * LANES), over = 2 * vectors * LANES - W;
    const ptrdiff_t over_dout = (OW + LANES - 1) / LANES * LANES - OW, bottom = window_max(H, 2 * OH - pt);
    ptrdiff_t p = planes;
    memset(below, 0, sizeof *below * (size_t)vectors);
    while (p > 0 && (((p - 1) * H + bottom) * W + over > planes * size || p * out + over_dout > rest)) p--;
    if (p < planes) memset(values, 0, (sizeof(T) + 1) * (WINDOW_COLUMNS / 2 + LANES + 1));
    NAME(scatter_some)(dout, where, g, p, OH, H - 2 * OH + pt > 0 ? H - 2 * OH + pt : 0, dx, pt ? rows : NULL, below);
    for (; p < planes; p++) {
        T *const plane = dx + p * size;
        ptrdiff_t y = OH;
        while (y > 0 && ((2 * y - pt) * W + over > (planes - p) * size || p * out + y * OW + over_dout > rest)) y--;
        NAME(scatter_some)(dout + p * out, where + p * out, g, 1, y, -1, plane, pt ? rows : NULL, below);
        for (ptrdiff_t r = 2 * y - pt; r < H; r += 2) {
            const ptrdiff_t first = window_max(r, 0), last = window_min(r + 2, H);
            if (y < OH) {
                memcpy(values, dout + p * out + y * OW, sizeof(T) * (size_t)OW);
                memcpy(positions, where + p * out + y * OW, (size_t)OW);
                NAME(scatter_some)(values, positions, g, 1, 1, -1, rows + W, rows, below);
                y++;
            } else {
                NAME(scatter_some)(values, positions, g, 1, 0, 2, rows + W, rows, below);
            }
            memcpy(plane + first * W, rows + (first - r) * W, sizeof(T) * (size_t)((last - first) * W));
        }
        memset(below, 0, sizeof *below * (size_t)vectors);
    }
}

#undef WINDOW_BESIDE
#undef LOAD_POSITIONS
#undef STORE_POSITIONS
#undef ADD_HIT
#undef UPDATE_MAX
#endif
