/* Pooling windows of up to 255 values, a vector of outputs at a time.
 *
 * The input is first split by its phases: column q + left padding of phase (q + left) % stride, and rows likewise, with
 * the padding written out. Then every tap of a row of outputs is one contiguous vector, whatever the stride. The
 * gradient of an average goes the same way back: each input collects what the windows over it hand back, one phase
 * after another, and is written once. That of a maximum goes to one input of its window, and is left to _pool.pyx but
 * for windows of 3 x 3 two apart, where looking for it in all nine is faster.
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
#define WINDOW_COLUMNS 2048

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

/* Whether windows are 3 x 3, two apart, and rows not too wide for the buffers; vectors of 16 bytes are too short. */
static inline int window_threes(const window_geometry *g)
{
#if defined(WINDOW_VECTORS) && WINDOW_BYTES > 16
    return g->fh == 3 && g->fw == 3 && g->sh == 2 && g->sw == 2 && g->dh == 1 && g->dw == 1 && g->pt <= 1 &&
           g->pl <= 1 && g->W <= WINDOW_COLUMNS;
#else
    (void)g;
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
/* Never called: window_rows and window_threes are 0. */
#define WINDOW_NONE(T, end)                                                                                            \
    static int max_windows_##end(const T *x, const window_geometry *g, T *out, uint8_t *where) { return 0; }           \
    static void sum_windows_##end(const T *x, const window_geometry *g, const T *rows, const T *columns, T *out) {}    \
    static void spread_windows_##end(const T *dout, const window_geometry *g, const T *rows, const T *columns, T *dx)  \
    {                                                                                                                  \
    }                                                                                                                  \
    static void scatter_threes_##end(const T *dout, const uint8_t *where, ptrdiff_t rest, const window_geometry *g,    \
                                     T *dx)                                                                            \
    {                                                                                                                  \
    }
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
#define W_BEFORE_float 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
#define W_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#define W_EVEN_double 0, 2, 4, 6, 8, 10, 12, 14
#define W_LOW_double 0, 8, 1, 9, 2, 10, 3, 11
#define W_HIGH_double 4, 12, 5, 13, 6, 14, 7, 15
#define W_BEFORE_double 7, 8, 9, 10, 11, 12, 13, 14
#define W_AFTER_double 1, 2, 3, 4, 5, 6, 7, 8
#elif WINDOW_BYTES / 4 == 8
#define W_EVEN_float 0, 2, 4, 6, 8, 10, 12, 14
#define W_LOW_float 0, 8, 1, 9, 2, 10, 3, 11
#define W_HIGH_float 4, 12, 5, 13, 6, 14, 7, 15
#define W_BEFORE_float 7, 8, 9, 10, 11, 12, 13, 14
#define W_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8
#define W_EVEN_double 0, 2, 4, 6
#define W_LOW_double 0, 4, 1, 5
#define W_HIGH_double 2, 6, 3, 7
#define W_BEFORE_double 3, 4, 5, 6
#define W_AFTER_double 1, 2, 3, 4
#else
#define W_EVEN_float 0, 2, 4, 6
#define W_LOW_float 0, 4, 1, 5
#define W_HIGH_float 2, 6, 3, 7
#define W_BEFORE_float 3, 4, 5, 6
#define W_AFTER_float 1, 2, 3, 4
#define W_EVEN_double 0, 2
#define W_LOW_double 0, 2
#define W_HIGH_double 1, 3
#define W_BEFORE_double 1, 2
#define W_AFTER_double 1, 2
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

/* One plane of gradients: each value of dout, divided by rows[y] * columns[z], goes to all inputs of its window. */
static void NAME(spread_windows)(const T *dout, const window_geometry *g, const T *rows, const T *columns, T *dx)
{
    T value[WINDOW_SCRATCH + 4 * LANES];
    ptrdiff_t off[WINDOW_TAPS];
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
                    off[n++] = (up - i * g->dh / g->sh) * pitch + back - j * g->dw / sw;
                }
            }
        }
    first[g->sh * sw] = n;
    for (ptrdiff_t Y0 = 0; Y0 < height; Y0 += band) {
        const ptrdiff_t count = window_min(band, height - Y0);
        for (ptrdiff_t R = 0; R < count + up; R++) {
            const ptrdiff_t y = Y0 + R - up, inside = y >= 0 && y < g->OH;
            T *const v = value + R * pitch;
            const ptrdiff_t length = inside ? window_min(g->OW, width) : 0;
            const T *const from = dout + y * g->OW;
            for (ptrdiff_t k = 0; k < (inside ? back : pitch); k++) v[k] = 0;
            ptrdiff_t z = 0;
            for (; z < length && dout_end - (from + z) >= LANES; z += LANES)
                *(V *)(v + back + z) = LOAD(from + z) / (LOAD(columns + z) * rows[y]);
            for (; z < length; z++) v[back + z] = from[z] / (rows[y] * columns[z]);
            if (inside)
                for (ptrdiff_t k = back + length; k < pitch; k++) v[k] = 0;
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
                        const int last = first[a * sw + b + 1];
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

/* What there is from p to before `end`, as a vector. */
static __attribute__((noinline)) V NAME(part)(const T *p, const T *end)
{
    V v = {0};
    if (end > p) memcpy(&v, p, (size_t)window_min(end - p, LANES) * sizeof(T));
    return v;
}

/* Positions, as wide as the values. */
static inline M NAME(widen)(const uint8_t *bytes)
{
    INT wide[LANES];
    M k;
    for (int l = 0; l < LANES; l++) wide[l] = bytes[l]; /* one instruction, where __builtin_convertvector takes many */
    memcpy(&k, wide, sizeof k);
    return k;
}

static __attribute__((noinline)) void NAME(put_part)(T *p, const T *end, V v)
{
    if (end > p) memcpy(p, &v, (size_t)window_min(end - p, LANES) * sizeof(T));
}

/* Two vectors of a row, the columns of one in turns with those of the other; no further than `end`, unless `inside`. */
static inline void NAME(put_turns)(T *p, const T *end, int inside, V even, V odd)
{
    const V low = __builtin_shufflevector(even, odd, NAME(W_LOW));
    const V high = __builtin_shufflevector(even, odd, NAME(W_HIGH));
    if (inside || end - p >= 2 * LANES) {
        *(V *)p = low;
        *(V *)(p + LANES) = high;
    } else {
        NAME(put_part)(p, end, low);
        NAME(put_part)(p + LANES, end, high);
    }
}

/* Read outputs from z on: values in d, positions in k. */
#define READ(z, d, k)                                                                                                  \
    V d = {0};                                                                                                         \
    M k = (M){0} - 1;                                                                                                  \
    if ((z) < OW) {                                                                                                    \
        const T *const from = dout + y * OW + (z);                                                                     \
        const uint8_t *at = where + y * OW + (z);                                                                      \
        if (dout_end - from >= LANES) {                                                                                \
            d = LOAD(from);                                                                                            \
        } else {                                                                                                       \
            d = NAME(part)(from, dout_end);                                                                            \
            at = memcpy(spare, at, (size_t)(dout_end - from));                                                         \
        }                                                                                                              \
        k = NAME(widen)(at);                                                                                           \
        if ((z) + LANES > OW) k |= beyond;                                                                             \
    }
#define HIT(d, k, tap) ((V)((M)(d) & ((k) == (M){0} + (INT)(tap))))
/* What row i of the windows gives to the even and to the odd columns. */
#define COLUMNS(i, even, odd)                                                                                          \
    V even, odd;                                                                                                       \
    if (padded) {                                                                                                      \
        even = HIT(d, k, i * fw + 1);                                                                                  \
        odd = __builtin_shufflevector(HIT(d, k, i * fw), HIT(next, next_k, i * fw), NAME(W_AFTER));                    \
        odd += HIT(d, k, i * fw + 2);                                                                                  \
    } else {                                                                                                           \
        const V over = HIT(d, k, i * fw + 2);                                                                          \
        even = HIT(d, k, i * fw) + __builtin_shufflevector(before[i], over, NAME(W_BEFORE));                           \
        odd = HIT(d, k, i * fw + 1);                                                                                   \
        before[i] = over;                                                                                              \
    }

/* The gradient of maxima over windows of 3 x 3 two apart, which overlap by one: a vector of outputs compares its
 * positions with the nine there are. Lane z stands for the columns 2 z and 2 z + 1 of the image, and what falls on the
 * column left of these (or right, where there is padding on the left) moves on by a lane. Each row is written once, the
 * last of a window waiting for the first of the next. A vector may run over the end of its row into the next one's
 * first vector, which is written later: that of a window's second row waits for the end of the first. `rest` values of
 * dout may be read. */
static inline __attribute__((always_inline)) void NAME(scatter_columns)(const T *dout, const uint8_t *where,
                                                                        ptrdiff_t rest, const window_geometry *g,
                                                                        const int padded, const int single, T *dx)
{
    V even_below[WINDOW_COLUMNS / (2 * LANES)], odd_below[WINDOW_COLUMNS / (2 * LANES)];
    const ptrdiff_t H = g->H, W = g->W, OH = g->OH, OW = g->OW, pt = g->pt; /* what is written might alias g */
    const ptrdiff_t vectors = single ? 1 : (W + 2 * LANES - 1) / (2 * LANES);
    const T *const end = dx + H * W, *const dout_end = dout + rest;
    const INT fw = (INT)g->fw; /* 3, but as a constant GCC would make its vectors anew in each row */
    M beyond = {0};
    uint8_t spare[LANES] = {0};
    for (ptrdiff_t l = 0; l < LANES; l++) beyond[l] = (OW - 1) / LANES * LANES + l < OW ? 0 : -1;
    for (ptrdiff_t v = 0; v < vectors; v++) even_below[v] = odd_below[v] = (V){0};
    for (ptrdiff_t y = 0; y < OH; y++) {
        const ptrdiff_t r = 2 * y - pt;
        V before[3] = {{0}}, even_first = {0}, odd_first = {0};
        T *const row = dx + r * W;
        const int inside = r >= 0 && end - row >= W + 2 * vectors * LANES; /* the common case, asked once */
        for (ptrdiff_t v = 0; v < vectors; v++) {
            READ(v * LANES, d, k)
            READ(padded && !single ? (v + 1) * LANES : OW, next, next_k)
            COLUMNS(0, even0, odd0)
            COLUMNS(1, even1, odd1)
            COLUMNS(2, even2, odd2)
            if (inside || r >= 0)
                NAME(put_turns)(row + 2 * v * LANES, end, inside, even0 + even_below[v], odd0 + odd_below[v]);
            even_below[v] = even2;
            odd_below[v] = odd2;
            if (v == 0)
                even_first = even1, odd_first = odd1;
            else
                NAME(put_turns)(row + W + 2 * v * LANES, end, inside, even1, odd1);
        }
        if (inside || r >= -1) NAME(put_turns)(row + W, end, inside, even_first, odd_first);
    }
    for (ptrdiff_t r = 2 * OH - pt; r < H; r++)
        for (ptrdiff_t v = 0; v < vectors; v++) {
            NAME(put_turns)(dx + r * W + 2 * v * LANES, end, 0, even_below[v], odd_below[v]);
            even_below[v] = odd_below[v] = (V){0};
        }
}
#undef READ
#undef HIT
#undef COLUMNS

static void NAME(scatter_threes)(const T *dout, const uint8_t *where, ptrdiff_t rest, const window_geometry *g, T *dx)
{
    const int single = g->W <= 2 * LANES && g->OW <= LANES; /* everything stays in registers then */
    if (g->pl && single)
        NAME(scatter_columns)(dout, where, rest, g, 1, 1, dx);
    else if (g->pl)
        NAME(scatter_columns)(dout, where, rest, g, 1, 0, dx);
    else if (single)
        NAME(scatter_columns)(dout, where, rest, g, 0, 1, dx);
    else
        NAME(scatter_columns)(dout, where, rest, g, 0, 0, dx);
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
#undef W_BEFORE_float
#undef W_BEFORE_double
#undef W_AFTER_float
#undef W_AFTER_double
#endif
