"""Break the kernels one line at a time, and see that a test finds each.

    python tests/mutations.py
    python tests/mutations.py --list
    python tests/mutations.py --only "taps that leave out" --level v4 --jobs 2

Works on copies of the tree in a temporary folder: only the module with the broken line is built again, for one CPU
level, and its tests run, the first failure ending them. Prints which test found which line; the exit code is 1 if one
was not found.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = Path("cconv/kernels")

CONVOLUTION = "plans conv differential guard_pages"
# For each source the modules that are built again, and the tests that are to find what is wrong there, in order.
SOURCES = {
    "resample/_augment.pyx": ("_augment", "augment differential guard_pages"),
    "conv/_conv.pyx": ("_conv", f"{CONVOLUTION} transposed_conv conv_scatter fusion"),
    "conv/channels.pxd": ("_conv", f"{CONVOLUTION} transposed_conv fusion inference"),
    "conv/pixels.pxd": ("_conv", "plans conv_pixels transposed_conv differential guard_pages"),
    "conv/plan.pxd": ("_conv", f"{CONVOLUTION} conv_pixels transposed_conv conv_scatter fusion"),
    "elementwise/_elementwise.pyx": ("_elementwise", "activation dropout preprocessing differential"),
    "gemm/_gemm.pyx": ("_gemm", "plans gemm differential guard_pages"),
    "im2col/_im2col.pyx": ("_im2col", "im2col differential"),
    "loss/_loss.pyx": ("_loss", "loss differential"),
    "optimize/_optimize.pyx": ("_optimize", "optimizers differential"),
    "pool/_pool.pyx": ("_pool", "pool differential guard_pages"),
    "resample/_resample.pyx": ("_resample", "resample differential"),
    "conv/depthwise.h": ("_conv", "conv_pixels differential guard_pages"),
    "conv/depthwise.pxd": ("_conv", "conv_pixels differential guard_pages"),
    "conv/finish.h": ("_conv", "algorithms inference differential"),
    "conv/list.h": ("_conv", f"{CONVOLUTION} fusion"),
    "conv/list.pxd": ("_conv", f"{CONVOLUTION} fusion"),
    "conv/pixels.h": ("_conv", "conv_pixels transposed_conv differential guard_pages"),
    "conv/pooled.h": ("_conv", "fusion differential guard_pages"),
    "conv/scatter.pxd": ("_conv", "conv_scatter differential guard_pages"),
    "conv/weights.pxd": ("_conv", CONVOLUTION),
    "conv/windows.h": ("_conv", "fusion conv differential guard_pages"),
    "conv/windows.pxd": ("_conv", f"{CONVOLUTION} fusion"),
    "norm/norm.h": ("_norm", "norm fusion differential"),
    "vector/finish_row.h": ("_norm", "norm fusion differential"),
    "vector/philox.pxd": ("_elementwise", "dropout"),
    "pool/pool.h": ("_pool", "pool differential"),
    "elementwise/activations.h": ("_elementwise", "activation differential"),
    "elementwise/relu.h": ("_elementwise", "activation differential"),
    "gemm/sparse.h": ("_gemm", "gemm differential"),
    "pool/window.h": ("_pool", "pool differential guard_pages"),
    "vector/zeros.h": ("_conv", "conv differential"),
    "gemm/row.h": ("_gemm", "gemm differential"),
    "vector/layout.h": ("_conv", f"{CONVOLUTION} conv_scatter transposed_conv fusion"),
    "vector/register_tile.h": ("_conv", f"{CONVOLUTION} conv_scatter transposed_conv fusion"),
    "vector/vector.h": ("_pool", "pool differential guard_pages"),
}

# What breaks: (source, text that is there once, what stands in its place).
MUTATIONS = {
    # ---- plans of convolutions
    "rows of taps that leave out different ends share a loop": (
        "conv/plan.pxd",
        "or p.row[t] != p.row[t - t % side]\n                        or not same_ends(p, t, t % side, side)):",
        "):",
    ),
    "an inner tap of a shared row is left out": (
        "conv/plan.pxd",
        "if place > 0 and mask[2 * t] == 0 or place < side - 1 and mask[2 * t + 1] == 0:",
        "if place > 0 and mask[2 * t] == 0:",
    ),
    "a row's first output reads the pixel before it": (
        "conv/plan.pxd",
        "mask[0] = 0 if which & 1 and column < 0 else",
        "mask[0] = 0 if which & 1 and column < -1 else",
    ),
    "a row's last output reads the pixel behind it": (
        "conv/plan.pxd",
        "(p.width - 1) * s.split + column >= s.W else",
        "(p.width - 1) * s.split + column > s.W else",
    ),
    "a tap of a split row in another phase": (
        "conv/plan.pxd",
        "at % s.split * (s.PW // s.split) + at // s.split)",
        "at % s.split * (s.PW // s.split) + column // s.split)",
    ),
    "a tap below the image": ("conv/plan.pxd", "or 0 <= at < g.source.PH:", "or 0 <= at <= g.source.PH:"),
    "1 x 1 filters read a copy as if there were no padding": (
        "conv/plan.pxd",
        "t.compact = (t.product and aligned and s.down == 1 and s.PH == s.H == H and s.lowest == s.highest == 0",
        "t.compact = (t.product and s.down == 1 and s.PW == r.width and s.PH == H",
    ),
    "a column of padding is taken for the image": (
        "conv/plan.pxd",
        "and s.PW == s.W == r.width and s.left == 0",
        "and s.PW == s.W == r.width",
    ),
    "rows joined beside padding": (
        "conv/plan.pxd",
        "if (aligned and not s.copied and c.FW == s.down == 1",
        "if (s.PW == r.width and phases == s.across == 1 and not s.copied and c.FW == s.down == 1",
    ),
    "rows joined with taps below the image": (
        "conv/plan.pxd",
        "and s.lowest == 0 and H + s.highest <= s.H",
        "and s.lowest == 0",
    ),
    "channels of a copy overlap": (
        "conv/plan.pxd",
        "s.plane = (ceil_div(size, CACHE_LINE) | 1) * CACHE_LINE // itemsize",
        "s.plane = (size // CACHE_LINE | 1) * CACHE_LINE // itemsize",
    ),
    "an input gradient without the padding on its left": (
        "conv/plan.pxd",
        "padded = s.split > 1 or s.left > 1 or",
        "padded = s.split > 1 or s.left > 2 or",
    ),
    "rows above are not copied": ("conv/plan.pxd", "s.lowest = min(s.lowest, y)", "s.lowest = max(s.lowest, y)"),
    "the taps of another phase": (
        "conv/plan.pxd",
        "find_row_taps(g, y, r.phases + y % r.ph * r.pw + z,",
        "find_row_taps(g, y, r.phases + y % r.pw * r.pw + z,",
    ),
    # ---- outputs and input gradients
    "a tile is taken for the last of its row": (
        "conv/channels.pxd",
        "(z == 0) | (z + MR == p.width) << 1",
        "(z == 0) | (z + MR == run.count) << 1",
    ),
    "filters that changed in place": (
        "conv/channels.pxd",
        "t * NR * lanes * sizeof(floating)) != 0:",
        "(t - 1) * NR * lanes * sizeof(floating)) != 0:",
    ),
    "biases that changed in place": (
        "conv/channels.pxd",
        "elif memcmp(bias + group * F, biases + group * g.biases, F *",
        "elif memcmp(bias + group * F, biases + group * g.biases, F // 2 *",
    ),
    "filters of a phase packed by number": ("conv/channels.pxd", "c * c_step + p.tap[t]]", "c * c_step + t]"),
    "an output too many in a phase": (
        "conv/channels.pxd",
        "quotient(width - z + pw - 1, pw)",
        "quotient(width + pw - 1, pw)",
    ),
    "a pixel too few in a copy of 1 x 1 filters": (
        "conv/channels.pxd",
        "row + last * g.source.plane, MR * sizeof(floating))",
        "row + last * g.source.plane, (MR - 1) * sizeof(floating))",
    ),
    "the last row of a part is not copied": ("conv/channels.pxd", "s.highest + 1, s.PH)", "s.highest, s.PH)"),
    "rows of a part for those of another in the copy": (
        "conv/channels.pxd",
        "padded != n * parts + item % parts",
        "padded != n",
    ),
    "a block of filters that no thread computes": (
        "conv/channels.pxd",
        "min((split + 1) * blocks // splits",
        "min(((split + 1) * blocks - 1) // splits",
    ),
    "the first vectors of filters for those of a split": (
        "conv/channels.pxd",
        "row.v = strip.v0 + i",
        "row.v = i",
    ),
    "biases of groups one behind the other": (
        "conv/channels.pxd",
        "memcpy(biases + group * g.biases, bias + group * F,",
        "memcpy(biases + group * F, bias + group * F,",
    ),
    # ---- weight gradients
    "outputs left of a tap, rounded towards zero": (
        "conv/weights.pxd",
        "left = max(0, -floor_div(column, s.across))",
        "left = max(0, -(column // s.across))",
    ),
    "an output too few under a tap": (
        "conv/weights.pxd",
        "floor_div(s.W - 1 - column, s.across) + 1)",
        "floor_div(s.W - 1 - column, s.across))",
    ),
    "a strip's rows counted from the image's": (
        "conv/weights.pxd",
        "dout + (m * strip.count + (top - y0) * g.width) * lanes",
        "dout + (m * strip.count + top * g.width) * lanes",
    ),
    # ---- gradients from a list
    "windows in the wrong copy of the image": (
        "conv/plan.pxd",
        "start += g.copy - g.half if start % line >= g.half else 0",
        "start += g.copy if start % line >= g.half else 0",
    ),
    "the second copy of the image is not moved": (
        "conv/windows.pxd",
        "memcpy(image + g.copy, image + g.half,",
        "memcpy(image + g.copy, image,",
    ),
    "windows without their dilation": ("conv/plan.pxd", "k % c.FH * c.dh * s.PW", "k % c.FH * s.PW"),
    "a pixel that no window reads": ("conv/plan.pxd", "if y < g.PH and x < g.PW else", "if y < g.PH else"),
    "a list of pooled outputs one apart": (
        "conv/plan.pxd",
        "<int32_t>(apart * (k // g.columns) * g.pool_down",
        "<int32_t>(k // g.columns * g.pool_down",
    ),
    "weights of a window's second piece": (
        "conv/plan.pxd",
        "p.weights = r * g.FW * g.pixel + v * g.lanes",
        "p.weights = r * g.pixel + v * g.lanes",
    ),
    "a gradient grows from image to image": (
        "conv/list.pxd",
        "if dx != NULL:\n                memset(gradient",
        "if dx != NULL and n == 0:\n                memset(gradient",
    ),
    "sums of a list overwritten": (
        "conv/list.h",
        "sum[i] = NAME(load)(total + i / NR * step + i % NR * LANES)",
        "sum[i] = NAME(broadcast)(0)",
    ),
    "the last pixel of a small image": (
        "conv/list.h",
        "if (r < n && m < LANES) memcpy(to + r * count + q, &block[r], (size_t)m * sizeof(T))",
        "if (r < n && m < LANES) memcpy(to + r * count + q, &block[r], (size_t)(m - 1) * sizeof(T))",
    ),
    # ---- input gradients of few channels
    "a shift to the left, rounded towards zero": (
        "conv/plan.pxd",
        "floor_div(i * c.dw - c.pl, c.sw)",
        "(i * c.dw - c.pl) // c.sw",
    ),
    "the first row of taps in a band": (
        "conv/scatter.pxd",
        "min(ceil_div(max(rows, 0) * g.sh, g.dh), g.FH)",
        "min(max(rows, 0) * g.sh // g.dh, g.FH)",
    ),
    "all columns of taps to one phase": (
        "conv/scatter.pxd",
        "lines + g.place[j] * g.line)",
        "lines + g.place[0] * g.line)",
    ),
    "rows above a band, without the dilation": (
        "conv/scatter.pxd",
        "max(first - (g.FH - 1) * g.dh // g.sh, 0)",
        "max(first - (g.FH - 1) // g.sh, 0)",
    ),
    # ---- what follows a convolution, and depthwise outputs
    "normalization of another channel": (
        "conv/finish.h",
        "NAME(finish_lanes_of)(after, c + l, m)",
        "NAME(finish_lanes_of)(after, c, m)",
    ),
    "a branch that is added behind relu": (
        "conv/finish.h",
        "return after->relu ? NAME(rectified)(x) : x;",
        "return x;",
    ),
    "minus zero becomes zero where there is no bias": (
        "conv/finish.h",
        "lanes = {NAME(broadcast)((T)-0.0)",
        "lanes = {NAME(broadcast)(0)",
    ),
    "minus zero becomes zero where there is no normalization": (
        "conv/finish.h",
        "NAME(broadcast)((T)-0.0)};",
        "NAME(broadcast)(0)};",
    ),
    "a branch that is not added to transposed outputs": (
        "conv/finish.h",
        "if (!plain && branch) line",
        "if (!plain && branch && rows >= LANES) line",
    ),
    "a column beside the image of a depthwise filter": (
        "conv/depthwise.h",
        "inside > 0 ? (inside + more) >> more : 0",
        "inside > 0 ? ((inside + more) >> more) + 1 : 0",
    ),
    "a row above the image of a depthwise filter": (
        "conv/depthwise.h",
        "r >= g->pt && r - g->pt < g->H",
        "r - g->pt < g->H",
    ),
    "a row above the image of a depthwise filter of 3 x 3": (
        "conv/depthwise.h",
        "ptrdiff_t row = -g->pt * W,",
        "ptrdiff_t row = (1 - g->pt) * W,",
    ),
    "the sums of another row of outputs": (
        "conv/depthwise.h",
        "for (int t = older; t > 0; t--) sum[t] = sum[t - 1];",
        "for (int t = 1; t <= older; t++) sum[t] = sum[t - 1];",
    ),
    "a vector that is stored beyond a channel": (
        "conv/depthwise.h",
        "column.whole = g->OH * g->OW - LANES;",
        "column.whole = g->OH * g->OW - 1;",
    ),
    "a channel next to the end of its batch is not copied": (
        "conv/depthwise.pxd",
        "(job.N * g.groups - item - 1) * area < g.behind",
        "False",
    ),
    # ---- filters of one tap, over planes that are one row
    "the last filters do not begin earlier": (
        "conv/pixels.h",
        "r->filters - k < PIXELS_MR ? r->filters - PIXELS_MR : k;",
        "k;",
    ),
    "an odd channel is left out": (
        "conv/pixels.h",
        "if (left) NAME(row_products)(NR, x, end, W, channels, sum);",
        "if (left > 1) NAME(row_products)(NR, x, end, W, channels, sum);",
    ),
    "the branch of another filter": (
        "conv/pixels.h",
        "(const T *)r->after->branch + at + f * r->area;",
        "(const T *)r->after->branch + at;",
    ),
    "the last vector's pixels are packed from elsewhere": (
        "conv/pixels.h",
        "NAME(load)(from + (p < NR - 1 ? first + p * LANES : last))",
        "NAME(load)(from + first + p * LANES)",
    ),
    "a part of the filters of another thread": (
        "conv/pixels.pxd",
        "quotient((part + 1) * g.F, job.parts),",
        "quotient((part + 1) * g.F, job.parts) - (part + 1 < job.parts),",
    ),
    # ---- fused pooling
    "the later of two equal maxima": (
        "conv/pooled.h",
        "take = (c > best) | (c != c);",
        "take = (c >= best) | (c != c);",
    ),
    "a maximum in the second row": (
        "conv/windows.h",
        "_mm512_test_epi32_mask(place, _mm512_set1_epi32(2))",
        "_mm512_test_epi32_mask(place, _mm512_set1_epi32(4))",
    ),
    "what was in a word of positions": ("conv/pooled.h", "keep = byte ? ~(WORD)0 : 0;", "keep = ~(WORD)0;"),
    # ---- lanes of pixels
    "a padded row read in place": (
        "conv/plan.pxd",
        "and s.left == 0 and s.pitch <= s.W",
        "and s.left == 0",
    ),
    "a tap in another phase": (
        "conv/plan.pxd",
        "((y % c.sh * c.sw + z % c.sw) * s.rows",
        "((y % c.sh * c.sh + z % c.sw) * s.rows",
    ),
    "scratch for one filter in place of four": (
        "conv/plan.pxd",
        "g.phases * PIXELS_MR * g.strip + ALIGNMENT",
        "g.phases * g.strip",
    ),
    "lanes of a row's last vector counted twice": (
        "conv/pixels.h",
        "NAME(mask_between)(full - last, width - last)",
        "NAME(mask_between)(0, width - last)",
    ),
    "the end of a merged row": ("conv/pixels.h", "for (ptrdiff_t k = z / 2; b", "for (ptrdiff_t k = z; b"),
    # ---- tiles
    "the first pixel under all taps": (
        "vector/register_tile.h",
        "side - 1 - left : 0, end =",
        "side - 2 - left : 0, end =",
    ),
    "the last pixel under all taps": (
        "vector/register_tile.h",
        "end = width - left < columns ? width - left : columns;",
        "end = columns;",
    ),
    "outputs beyond a row's end": (
        "vector/register_tile.h",
        "if (q < 0 || q >= width) continue;",
        "if (q < 0) continue;",
    ),
    "the last output looks at the first tap": ("vector/register_tile.h", "2 * !mask[2 * side - 1];", "2 * !mask[1];"),
    "the only output of a tile has two ends": (
        "vector/register_tile.h",
        "if (end && q == MR - 1) lane_mask &= mask",
        "if (end && q == MR - 1) lane_mask = mask",
    ),
    "half the lanes of a mask": (
        "vector/register_tile.h",
        '"v"(a), "v"(b), "Yk"(mask)',
        '"v"(a), "v"(b), "Yk"((uint16_t)(mask >> LANES / 2))',
    ),
    "finished sums are not added": (
        "vector/register_tile.h",
        "NAME(store)(to, add ? NAME(add)(NAME(load)(to), sum[p * NR + v]) : sum[p * NR + v]);",
        "NAME(store)(to, sum[p * NR + v]);",
    ),
    "every second pixel, from an odd one on": ("vector/layout.h", "at < 0 ? (1 - at) / 2 : 0", "at < 0 ? -at / 2 : 0"),
    "the row below an image": ("vector/layout.h", "if (y >= top && y - top < H) {", "if (y >= top && y - top <= H) {"),
    "a split row that is wider than its image": (
        "vector/layout.h",
        "y > 0 && left <= W && end - row",
        "y > 0 && end - row",
    ),
    "a block of few columns is not transposed": (
        "vector/layout.h",
        "s < n ? source[s * from_step + r] : 0;",
        "s < n ? source[r * from_step + s] : 0;",
    ),
    "sums moved sideways from before their row": (
        "vector/layout.h",
        "if (k < first || end - k < LANES) values",
        "if (end - k < LANES) values",
    ),
    # ---- matrix products
    "one feature is taken for a transposed factor": (
        "gemm/_gemm.pyx",
        "return run_rows(<int>NR) if g.a_transposed else",
        "return run_rows(<int>NR) if g.row_step == 1 else",
    ),
    "a left factor of one feature is copied": (
        "gemm/_gemm.pyx",
        "if g.a_transposed:\n            pad(",
        "if g.row_step == 1:\n            pad(",
    ),
    "bits beyond the last step": (
        "gemm/_gemm.pyx",
        "= ~(<uint64_t>0) >> (SPARSE_STEPS - steps)",
        "= ~(<uint64_t>0)",
    ),
    "the last vector of a sparse row": (
        "gemm/_gemm.pyx",
        "last = min(c + NR * g.lanes, end_column) - g.lanes - c",
        "last = NR * g.lanes - g.lanes",
    ),
    "chunks of sparse rows overwritten": (
        "gemm/_gemm.pyx",
        "sums + c, sums_step, last, ki > first_chunk)",
        "sums + c, sums_step, last, False)",
    ),
    "columns beyond the last of few rows": (
        "gemm/_gemm.pyx",
        "c = min(v * g.lanes, g.columns - NR * g.lanes)",
        "c = v * g.lanes",
    ),
    "the last chunk is left out": (
        "gemm/_gemm.pyx",
        "for chunk in range(1, g.chunks):",
        "for chunk in range(1, g.chunks - 1):",
    ),
    "a strip overwrites the chunks before it": ("gemm/_gemm.pyx", "out[c] += strip[c]", "out[c] = strip[c]"),
    "relu stops a NaN": (
        "vector/finish_row.h",
        "return relu ? NAME(rectified)(v) : v;",
        "return relu ? NAME(mask_and)(v, NAME(greater)(v, NAME(broadcast)(0))) : v;",
    ),
    "no room for a vector too much": (
        "gemm/_gemm.pyx",
        "SPARSE_STEPS * SPARSE_MAX_NR * g.lanes) + g.lanes",
        "SPARSE_STEPS * SPARSE_MAX_NR * g.lanes)",
    ),
    "the right factor of other blocks": ("gemm/_gemm.pyx", "ready and item == last,", "ready,"),
    "an infinite value in an earlier row": ("gemm/sparse.h", "sum = NAME(add)(sum, line);", "sum = line;"),
    "the last vector of a row": (
        "gemm/row.h",
        "NAME(store)(out + (v < NR - 1 ? v * LANES : last), sum[v]);",
        "NAME(store)(out + v * LANES, sum[v]);",
    ),
    "an infinite last value": (
        "vector/zeros.h",
        "for (ptrdiff_t k = 0; k < count; k++) found |=",
        "for (ptrdiff_t k = 0; k < count - 1; k++) found |=",
    ),
    # ---- pooling
    "a NaN does not win": ("pool/pool.h", "replaces = (v > best[q]) | (v != v)", "replaces = (v > best[q])"),
    "a window's columns in another phase": (
        "pool/window.h",
        "r % g->sh * g->sw + c % g->sw",
        "r % g->sh * g->sh + c % g->sw",
    ),
    "the row above a padded window": ("pool/window.h", "old = f == 3 && r > 0;", "old = f == 3 && r >= 0;"),
    "sums beyond a row's end": (
        "pool/window.h",
        "pl + q, W - q < LANES ? NAME(mask_and)(sum, inside) : sum);",
        "pl + q, sum);",
    ),
    "the last neighbour in a table": (
        "vector/vector.h",
        "27, 28, 29, 30\n#define ORDER_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8, 9,",
        "27, 28, 29, 31\n#define ORDER_AFTER_float 1, 2, 3, 4, 5, 6, 7, 8, 9,",
    ),
    "gradients beyond a row's end": ("pool/window.h", "if (OW - z < LANES) v = NAME(mask_and)(v, valid);", ""),
    "the first window inside an image": ("pool/_pool.pyx", "(-start + stride - 1) // stride", "-start // stride"),
    "the last row of an adaptive part": (
        "pool/_pool.pyx",
        "((y + 1) * g.H + g.OH - 1) // g.OH",
        "(y + 1) * g.H // g.OH",
    ),
    # ---- normalization, losses, activations
    "moments of pieces of different sizes": (
        "norm/norm.h",
        "apart * apart * (all->count * count / total)",
        "apart * apart * (count * count / total)",
    ),
    "the second of two vectors": (
        "norm/norm.h",
        "p2 = VEC(fma)(e, VEC(sub)(VEC(load)(b + i + LANES), b_centre), p2);",
        "p2 = VEC(fma)(e, VEC(sub)(VEC(load)(b + i), b_centre), p2);",
    ),
    "a fixed mean has a gradient": ("norm/norm.h", "shifts[f] = fixed ? 0 : -scales[f]", "shifts[f] = -scales[f]"),
    "the mask of a later sample": (
        "norm/norm.h",
        "mask + r * mask_pitch + c / FINISH_WORD,",
        "mask + c / FINISH_WORD,",
    ),
    "the mask of a later block of columns": (
        "norm/norm.h",
        "mask ? mask + n * mask_pitch + c / FINISH_WORD : NULL",
        "mask ? mask + n * mask_pitch : NULL",
    ),
    "the branch of a later sample": ("norm/norm.h", "branch ? branch + at : NULL", "branch ? branch + c : NULL"),
    "a branch that relu does not see": ("vector/finish_row.h", "if (branch) v =", "if (branch && !relu) v ="),
    "the second pass back forgets the mask": ("norm/norm.h", "from = row;", ""),
    "a class of probability 0": ("loss/_loss.pyx", "0 if targets[i] == 0 else targets[i] *", "targets[i] *"),
    "a sample of weight 0": ("loss/_loss.pyx", "0 if weight == 0 else weight *", "weight *"),
    "the samples of a later piece": (
        "loss/_loss.pyx",
        "end = min(size, n * width - first)",
        "end = min(size, n * width)",
    ),
    "the end of a long total": ("loss/_loss.pyx", "size + PIECES - 1) // PIECES)", "size) // PIECES)"),
    "the mask of a later chunk": ("elementwise/_elementwise.pyx", "mask += i // MASK_BITS", "mask += 0"),
    "hard_swish at its corner": ("elementwise/activations.h", "x <= -3 ? 0 : x /", "x < -3 ? 0 : x /"),
    "the channel of a rescaled row": ("elementwise/_elementwise.pyx", "c = row % job.channels", "c = 0"),
    "the channel of a rescaled feature": ("elementwise/_elementwise.pyx", "c = i % job.channels", "c = 0"),
    "the end of a rescaled row": ("elementwise/_elementwise.pyx", "min(end, (row + 1) * job.inner) - i", "end - i"),
    "the end of a masked row": ("elementwise/relu.h", "dx[i] = word >> i & 1 ? dout[i] : 0;", "dx[i] = dout[i];"),
    # ---- augmentation
    "a step behind the ones before it": ("resample/_augment.pyx", "m[2] += m[0] * y + m[1] * x", "m[2] += y"),
    "a crop from the image's centre": ("resample/_augment.pyx", "u[1]) - (H - OH) / 2", "u[1]) - (H - OH)"),
    "a place beside all images": ("resample/_augment.pyx", "t = t if t < high else high", "t = t"),
    "reflected on one side only": ("resample/_augment.pyx", "fmod(fabs(s[z]), 2 * last)", "fmod(fabs(s[z]), 2 * size)"),
    "the row below the last one": (
        "resample/_augment.pyx",
        "<size_t>y < <size_t>(H - 1) and",
        "<size_t>y < <size_t>H and",
    ),
    "whole pixels mixed with their neighbours": ("resample/_augment.pyx", "if wy == 0 and wx == 0:", "if wy == 2:"),
    "the noise of the other field": (
        "resample/_augment.pyx",
        "room.mixed + (nodes + i) * job.OW,",
        "room.mixed + i * job.OW,",
    ),
    "the last group of nodes": (
        "resample/_augment.pyx",
        "ceil_div(both * job.columns.count, GROUP)",
        "both * job.columns.count // GROUP",
    ),
    "rounded down": ("resample/_augment.pyx", "<uint8_t><int>(value + <floating>0.5)", "<uint8_t><int>value"),
    "the partner's weight": ("resample/_augment.pyx", "(1 - factor) * other[j]", "factor * other[j]"),
    "the noise of the first values, again": (
        "resample/_augment.pyx",
        "normal(job.key, job.indices[n], g, random)",
        "normal(job.key, job.indices[n], 0, random)",
    ),
    "the last values of a mean": (
        "resample/_augment.pyx",
        "for i in range(size - size % 4, size):",
        "for i in range(size, size):",
    ),
    # ---- optimizers, resampling, im2col
    "gradients below their limit": ("optimize/_optimize.pyx", "d = -limit if d < -limit else d", "d = d"),
    "the velocity behind the step": ("optimize/_optimize.pyx", "p[i] += a * a * old -", "p[i] += a * a * s[i] -"),
    "the third state of a later block": (
        "optimize/_optimize.pyx",
        "s + i, r + i, h + i, given, size)",
        "s + i, r + i, h, given, size)",
    ),
    "the other dtype": (
        "resample/_resample.pyx",
        "Job(cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT",
        "Job(cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE",
    ),
    "the second neighbour of a gradient": (
        "resample/_resample.pyx",
        "mixed[columns.second[z]] += w *",
        "mixed[columns.second[z]] = w *",
    ),
    "the padding below an image": ("resample/_resample.pyx", "if r < f.H - 1 else", "if r < f.H else"),
    "the column right of an image": ("im2col/_im2col.pyx", "and q < g.W:", "and q <= g.W:"),
}

# Lines that lower levels do not compile, or never run.
HIGHEST_ONLY = {
    "a tap of a split row in another phase",
    "every second pixel, from an odd one on",
    "a split row that is wider than its image",
    "rows of taps that leave out different ends share a loop",
    "an inner tap of a shared row is left out",
    "a strip's rows counted from the image's",
    "a maximum in the second row",
    "the first pixel under all taps",
    "the last pixel under all taps",
    "outputs beyond a row's end",
    "the last output looks at the first tap",
    "half the lanes of a mask",
    "the last neighbour in a table",
}


def broken(name, root):
    """The text of a mutation's source under `root`, with the mutation."""
    source, text, replacement = MUTATIONS[name]
    whole = (root / KERNELS / source).read_text("utf-8")
    if (count := whole.count(text)) != 1:
        raise ValueError(f"{name!r}: expected its text once in {source}, found it {count} times: {text}")
    return whole.replace(text, replacement)


def copy_tree(to):
    """Copy what git knows of, or would, and what was built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    if (ROOT / "build").is_dir():
        shutil.copytree(ROOT / "build", to / "build")


def put(name, tree):
    """Write a mutation, so that the next build makes its modules again and no others."""
    source = tree / KERNELS / MUTATIONS[name][0]
    status, text = source.stat(), broken(name, tree)
    source.write_text(text, "utf-8")
    if source.suffix == ".h":  # on which setup.py lets all modules depend
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        for module in SOURCES[MUTATIONS[name][0]][0].split():
            for path in (tree / "build").glob(f"lib*/cconv/kernels*/{module}.*"):
                path.unlink()


def run(command, tree, level, seconds):
    """Run a command in a tree; return its exit status, or None where it took too long, and what it printed."""
    variables = {"CCONV_LEVELS": level, "CCONV_CPU": level, "PYTHONPATH": str(tree), "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tree,
            env=os.environ | variables | {"PYTEST_ADDOPTS": ""},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it and the processes that its tests have begun
            process.wait()
            code = None
        output.seek(0)
        return code, output.read()


def build(tree, level):
    code, output = run(["setup.py", "-q", "build_ext", "--inplace"], tree, level, 1800)
    if code != 0:
        raise RuntimeError(f"the build ended with {code}:\n{output[-3000:]}")


def modules(tree):
    return {path.relative_to(tree): path.read_bytes() for path in (tree / "cconv").glob("kernels*/*.so")}


def test(files, tree, level, seconds):
    """Run test files; return what found a defect, or None, and what was printed."""
    files = [f"tests/test_{name}.py" for name in files.split()]
    options = ["-x", "-v", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code, output = run(["-m", "pytest", *options, *files], tree, level, seconds)
    if code == 0:
        return None, output
    if code == 1:
        return re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", output, re.M)[-1], output
    if code is None or code < 0:
        how = f"no end after {seconds} s" if code is None else signal.Signals(-code).name
        started = re.findall(r"^(tests/test_.+?) ?(?:PASSED|SKIPPED|Fatal Python error|$)", output, re.M)
        return f"{started[-1] if started else 'before any test'} ({how})", output
    raise RuntimeError(f"pytest ended with {code}:\n{output[-3000:]}")


def try_one(name, base, level, seconds):
    """Return what found a mutation, or None, and the seconds that took."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(base, tree)
        put(name, tree)
        build(tree, level)
        if modules(tree) == modules(base):
            raise RuntimeError("the compiled modules are the same, byte for byte")
        found, _ = test(SOURCES[MUTATIONS[name][0]][1], tree, level, seconds)
    return found, time.monotonic() - begin


def parsed(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=["baseline", "v3", "v4"], help="the CPU level, the best one when not given")
    parser.add_argument(
        "--only",
        metavar="TEXT",
        nargs="+",
        default=[],
        help="mutations with one of these in the name, or of this source",
    )
    parser.add_argument("--list", action="store_true", help="print the mutations, and run nothing")
    parser.add_argument("--jobs", type=int, default=1, help="mutations that are tried at the same time")
    parser.add_argument("--limit", type=float, default=600, help="seconds for the tests of a mutation")
    return parser.parse_args(arguments)


def best_level():
    """The highest level of this machine; asked for in a process of its own, where the tree's kernels are imported."""
    program = "from cconv import kernels; print(kernels.cpu.levels()[-1])"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def main():
    options = parsed()
    level = options.level or best_level()
    names = list(MUTATIONS)
    if options.only:
        names = [n for n in names if MUTATIONS[n][0] in options.only or any(text in n for text in options.only)]
    if level != "v4":
        names = [name for name in names if name not in HIGHEST_ONLY]
    if not names:
        sys.exit(f"no mutation is one of {', '.join(options.only)}")
    for name in names:
        broken(name, ROOT)
    if options.list:
        for name in names:
            print(f"{MUTATIONS[name][0]}: {name}")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        base = Path(folder) / "base"
        base.mkdir()
        copy_tree(base)
        build(base, level)
        files = dict.fromkeys(file for name in names for file in SOURCES[MUTATIONS[name][0]][1].split())
        found, output = test(" ".join(files), base, level, 4 * options.limit)
        if found:
            sys.exit(f"{found} finds something in the kernels as they are:\n{output[-3000:]}")
        print(f"{len(names)} mutations, on {level}", flush=True)
        wrong = 0
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            tries = {pool.submit(try_one, name, base, level, options.limit): name for name in names}
            for done in concurrent.futures.as_completed(tries):
                name = tries[done]
                try:
                    found, seconds = done.result()
                    result = f"{found or 'NOT FOUND'} ({seconds:.0f} s)"
                except RuntimeError as error:
                    found, result = None, f"NOT TRIED: {error}"
                wrong += found is None
                print(f"{MUTATIONS[name][0]}: {name}: {result}", flush=True)
    print(f"in all: {len(names)} mutations, {wrong} not found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
