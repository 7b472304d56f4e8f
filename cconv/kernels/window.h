/* Pooling windows of up to 255 values, a vector of outputs at a time.
 *
 * The input is first split by its phases: column q + left padding of phase (q + left) % stride, and rows likewise, with
 * the padding written out. Then every tap of a row of outputs is one contiguous vector, whatever the stride. Backward,
 * each input collects what the windows over it hand back, one phase after another, and is written once.
 *
 * Vectors may run over the end of a row, into one that is written later, but never over the end of a plane. What does
 * not fit (compilers without vector shuffles, windows too large for the scratch, and for maxima planes that hold NaN or
 * -inf) is refused, and left to the loops of _pool.pyx. The body is compiled twice, for float and for double.
 */
#ifndef CCONV_WINDOW_H
#define CCONV_WINDOW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    ptrdiff_t planes, H, W, OH, OW;
    int fh, fw, sh, sw, pt, pl, dh, dw;
} window_geometry;

#define WINDOW_SCRATCH 8192
#define WINDOW_TAPS 255

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define WINDOW_VECTORS 1
#endif
#endif

#if defined(__AVX512F__)
#define WINDOW_BYTES 64
#elif defined(__AVX__)
#define WINDOW_BYTES 32
#else
#define WINDOW_BYTES 16
#endif

static inline ptrdiff_t window_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t window_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/* How many further phase rows and columns a window reaches. */
static inline ptrdiff_t reach_h(const window_geometry *g) { return (ptrdiff_t)(g->fh - 1) * g->dh / g->sh; }
static inline ptrdiff_t reach_w(const window_geometry *g) { return (ptrdiff_t)(g->fw - 1) * g->dw / g->sw; }

/* Rows of outputs that are computed together; 0 where the windows do not fit. */
static inline ptrdiff_t window_rows(const window_geometry *g, ptrdiff_t width)
{
#ifdef WINDOW_VECTORS
    const ptrdiff_t row = (ptrdiff_t)g->sh * g->sw * (width + reach_w(g));
    if (g->fh > WINDOW_TAPS || g->fw > WINDOW_TAPS || g->fh * g->fw > WINDOW_TAPS) return 0;
    if (g->sh > WINDOW_TAPS || g->sw > WINDOW_TAPS || g->sh * g->sw > WINDOW_TAPS) return 0;
    return window_max(WINDOW_SCRATCH / row - reach_h(g), 0);
#else
    return 0;
#endif
}

#ifdef WINDOW_VECTORS
#define T float
#define INT int32_t
#define LANES (WINDOW_BYTES / 4)
#define NAME(name) name##_float
#include "window.h"
#undef T
#undef INT
#undef LANES
#undef NAME
#define T double
#define INT int64_t
#define LANES (WINDOW_BYTES / 8)
#define NAME(name) name##_double
#include "window.h"
#undef T
#undef INT
#undef LANES
#undef NAME
#else
/* Never called: window_rows is 0. */
#define WINDOW_NONE(T, end)                                                                                            \
    static int max_windows_##end(const T *x, const window_geometry *g, T *out, uint8_t *where) { return 0; }           \
    static void sum_windows_##end(const T *x, const window_geometry *g, const T *rows, const T *columns, T *out) {}    \
    static void spread_windows_##end(const T *dout, const uint8_t *where, const window_geometry *g, const T *rows,     \
                                     const T *columns, T *dx) {}
WINDOW_NONE(float, float)
WINDOW_NONE(double, double)
#endif

#elif defined(T)

typedef T NAME(wvec) __attribute__((vector_size(WINDOW_BYTES), aligned(sizeof(T)), may_alias));
typedef INT NAME(wint) __attribute__((vector_size(WINDOW_BYTES), aligned(sizeof(T)), may_alias));
typedef uint8_t NAME(wbyte) __attribute__((vector_size(LANES), aligned(1), may_alias));
#define V NAME(wvec)
#define M NAME(wint)
#define LOAD(p) (*(const V *)(p))
#define SELECT(m, a, b) ((V)(((M)(a) & (m)) | ((M)(b) & ~(m))))

#if WINDOW_BYTES / 4 == 16
#define W_EVEN_float 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define W_LOW_float 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define W_HIGH_float 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define W_EVEN_double 0, 2, 4, 6, 8, 10, 12, 14
#define W_LOW_double 0, 8, 1, 9, 2, 10, 3, 11
#define W_HIGH_double 4, 12, 5, 13, 6, 14, 7, 15
#elif WINDOW_BYTES / 4 == 8
#define W_EVEN_float 0, 2, 4, 6, 8, 10, 12, 14
#define W_LOW_float 0, 8, 1, 9, 2, 10, 3, 11
#define W_HIGH_float 4, 12, 5, 13, 6, 14, 7, 15
#define W_EVEN_double 0, 2, 4, 6
#define W_LOW_double 0, 4, 1, 5
#define W_HIGH_double 2, 6, 3, 7
#else
#define W_EVEN_float 0, 2, 4, 6
#define W_LOW_float 0, 4, 1, 5
#define W_HIGH_float 2, 6, 3, 7
#define W_EVEN_double 0, 2
#define W_LOW_double 0, 2
#define W_HIGH_double 1, 3
#endif

/* Store a vector at p, no further than `end`. */
static inline void NAME(put)(T *p, const T *end, V v)
{
    if (end - p >= LANES)
        *(V *)p = v;
    else
        memcpy(p, &v, (size_t)(end - p) * sizeof(T));
}

/* Split the rows of outputs y0 ... y0 + count - 1 by phases; say whether all values are above -inf. */
static int NAME(split)(const T *x, const window_geometry *g, ptrdiff_t y0, ptrdiff_t count, T fill, T *to)
{
    const ptrdiff_t rows = count + reach_h(g), pitch = g->OW + reach_w(g), sw = g->sw;
    const T *const end = x + g->H * g->W;
    const T least = (T)-__builtin_inf();
    M good = (M){0} == 0;
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
                        const V v = LOAD(row + k);
                        good &= v > least;
                        *(V *)(to + k) = v;
                    }
                else if (sw == 2)
                    for (; k < hi && end - (row + 2 * k) >= 2 * LANES; k += LANES) {
                        const V v = __builtin_shufflevector(LOAD(row + 2 * k), LOAD(row + 2 * k + LANES), NAME(W_EVEN));
                        good &= v > least;
                        *(V *)(to + k) = v;
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
static void NAME(places)(const window_geometry *g, ptrdiff_t count, ptrdiff_t *off)
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
static int NAME(max_windows)(const T *x, const window_geometry *g, T *out, uint8_t *where)
{
    T split[WINDOW_SCRATCH + 2 * LANES];
    ptrdiff_t off[WINDOW_TAPS];
    const ptrdiff_t pitch = g->OW + reach_w(g), band = window_rows(g, g->OW);
    const int taps = g->fh * g->fw;
    const T *const end = out + g->OH * g->OW;
    for (ptrdiff_t y0 = 0; y0 < g->OH; y0 += band) {
        const ptrdiff_t count = window_min(band, g->OH - y0);
        if (!NAME(split)(x, g, y0, count, (T)-__builtin_inf(), split)) return 0;
        NAME(places)(g, count, off);
        for (ptrdiff_t y = 0; y < count; y++)
            for (ptrdiff_t z = 0; z < g->OW; z += LANES) {
                const T *const at = split + y * pitch + z;
                const ptrdiff_t k = (y0 + y) * g->OW + z;
                V best = LOAD(at + off[0]);
                M position = {0};
                for (int t = 1; t < taps; t++) {
                    const V v = LOAD(at + off[t]);
                    const M more = v > best;
                    best = SELECT(more, v, best);
                    position = (position & ~more) | (((M){0} + (INT)t) & more);
                }
                NAME(put)(out + k, end, best);
                if (where) {
                    const NAME(wbyte) bytes = __builtin_convertvector(position, NAME(wbyte));
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

/* The sums of one plane, divided by rows[y] * columns[z]. columns has LANES values more than there are outputs. */
static void NAME(sum_windows)(const T *x, const window_geometry *g, const T *rows, const T *columns, T *out)
{
    T split[WINDOW_SCRATCH + 2 * LANES];
    ptrdiff_t off[WINDOW_TAPS];
    const ptrdiff_t pitch = g->OW + reach_w(g), band = window_rows(g, g->OW);
    const int taps = g->fh * g->fw;
    for (ptrdiff_t y0 = 0; y0 < g->OH; y0 += band) {
        const ptrdiff_t count = window_min(band, g->OH - y0);
        NAME(split)(x, g, y0, count, 0, split);
        NAME(places)(g, count, off);
        for (ptrdiff_t y = 0; y < count; y++)
            for (ptrdiff_t z = 0; z < g->OW; z += LANES) {
                const T *const at = split + y * pitch + z;
                V total = LOAD(at + off[0]);
                for (int t = 1; t < taps; t++) total += LOAD(at + off[t]);
                NAME(put)(out + (y0 + y) * g->OW + z, out + g->OH * g->OW, total / (LOAD(columns + z) * rows[y0 + y]));
            }
    }
}

/* One plane of gradients: each value of dout goes to the input that `where` names or, where that is NULL, divided by
 * rows[y] * columns[z], to all inputs of its window. */
static void NAME(spread_windows)(const T *dout, const uint8_t *where, const window_geometry *g, const T *rows,
                                 const T *columns, T *dx)
{
    T value[WINDOW_SCRATCH + 4 * LANES];
    INT place[WINDOW_SCRATCH + 4 * LANES];
    ptrdiff_t off[WINDOW_TAPS];
    INT tap[WINDOW_TAPS];
    int first[WINDOW_TAPS + 2];
    const ptrdiff_t up = reach_h(g), back = reach_w(g), width = (g->W + g->pl + g->sw - 1) / g->sw;
    const ptrdiff_t height = (g->H + g->pt + g->sh - 1) / g->sh, pitch = width + back, band = window_rows(g, width);
    const int sw = g->sw;
    T *const end = dx + g->H * g->W;
    const T *const dout_end = dout + g->OH * g->OW;
    int n = 0;
    /* The taps of each phase, and how far back their outputs are. */
    for (int a = 0; a < g->sh; a++)
        for (int b = 0; b < sw; b++) {
            first[a * sw + b] = n;
            for (int i = 0; i < g->fh; i++) {
                if (i * g->dh % g->sh != a) continue;
                for (int j = 0; j < g->fw; j++) {
                    if (j * g->dw % sw != b) continue;
                    off[n] = (up - i * g->dh / g->sh) * pitch + back - j * g->dw / sw;
                    tap[n++] = i * g->fw + j;
                }
            }
        }
    first[g->sh * sw] = n;
    for (ptrdiff_t Y0 = 0; Y0 < height; Y0 += band) {
        const ptrdiff_t count = window_min(band, height - Y0);
        for (ptrdiff_t R = 0; R < count + up; R++) {
            const ptrdiff_t y = Y0 + R - up, inside = y >= 0 && y < g->OH;
            T *const v = value + R * pitch;
            INT *const w = place + R * pitch;
            const ptrdiff_t length = inside ? window_min(g->OW, width) : 0;
            const T *const from = dout + y * g->OW;
            for (ptrdiff_t k = 0; k < (inside ? back : pitch); k++) v[k] = 0, w[k] = -1;
            ptrdiff_t z = 0;
            for (; z < length && dout_end - (from + z) >= LANES; z += LANES) {
                const V d = LOAD(from + z);
                if (!where) {
                    *(V *)(v + back + z) = d / (LOAD(columns + z) * rows[y]);
                } else {
                    *(V *)(v + back + z) = d;
                    const NAME(wbyte) bytes = *(const NAME(wbyte) *)(where + y * g->OW + z);
                    *(M *)(w + back + z) = __builtin_convertvector(bytes, M);
                }
            }
            for (; z < length; z++) {
                v[back + z] = where ? from[z] : from[z] / (rows[y] * columns[z]);
                w[back + z] = where ? where[y * g->OW + z] : 0;
            }
            if (inside)
                for (ptrdiff_t k = back + length; k < pitch; k++) v[k] = 0, w[k] = -1;
        }
        for (ptrdiff_t Y = 0; Y < count; Y++)
            for (int a = 0; a < g->sh; a++) {
                const ptrdiff_t r = (Y0 + Y) * g->sh + a - g->pt;
                if (r < 0 || r >= g->H) continue;
                for (ptrdiff_t Z = 0; Z < width; Z += LANES) {
                    T chunk[WINDOW_TAPS * LANES];
                    V even = {0}, odd = {0};
                    const ptrdiff_t q = Z * sw - g->pl; /* the image's column of the chunk's first value */
                    T *const row = dx + r * g->W;
                    for (int b = 0; b < sw; b++) {
                        V total = {0};
                        const T *const at = value + Y * pitch + Z;
                        const INT *const hit = place + Y * pitch + Z;
                        const int last = first[a * sw + b + 1];
                        if (where)
                            for (int t = first[a * sw + b]; t < last; t++)
                                total += (V)((M)LOAD(at + off[t]) & (*(const M *)(hit + off[t]) == (M){0} + tap[t]));
                        else
                            for (int t = first[a * sw + b]; t < last; t++) total += LOAD(at + off[t]);
                        if (sw <= 2 && b == 0)
                            even = total;
                        else if (sw <= 2)
                            odd = total;
                        else
                            for (int l = 0; l < LANES; l++) chunk[l * sw + b] = total[l];
                    }
                    if (sw == 2) {
                        const V low = __builtin_shufflevector(even, odd, NAME(W_LOW));
                        odd = __builtin_shufflevector(even, odd, NAME(W_HIGH));
                        even = low;
                    }
                    if (sw <= 2 && q >= 0 && end - (row + q) >= sw * LANES) {
                        *(V *)(row + q) = even;
                        if (sw == 2) *(V *)(row + q + LANES) = odd;
                        continue;
                    }
                    if (sw <= 2) *(V *)chunk = even;
                    if (sw == 2) *(V *)(chunk + LANES) = odd;
                    const ptrdiff_t lo = window_max(-q, 0), hi = window_min(sw * LANES, g->W - q);
                    if (hi > lo) memcpy(row + q + lo, chunk + lo, (size_t)(hi - lo) * sizeof(T));
                }
            }
    }
}

#undef V
#undef M
#undef LOAD
#undef SELECT
#undef W_EVEN_float
#undef W_LOW_float
#undef W_HIGH_float
#undef W_EVEN_double
#undef W_LOW_double
#undef W_HIGH_double
#endif
