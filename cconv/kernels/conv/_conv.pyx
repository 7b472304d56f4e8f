"""Direct convolution: output, input gradient, weight and bias gradient."""

#     out[n, f, y, z] = b[f] + sum over c, i, j of W[f, c, i, j] * x[n, c, y*sh - pt + i*dh, z*sw - pl + j*dw]
#
# No matrix of patches is built, and every pass is the register tile of tile.h over the image where it is: the outer
# outputs of a row leave out the taps that lie beside the image, whole rows those above and below it. Images are copied
# once into a scratch, with zeros beside them, where more than one output at an end of a row would leave taps out, where
# padded rows have a stride or a dilation, and for weight gradients of few channels; and without zeros where their size
# is bad for the cache. A `Gather` says where the tile reads: the row of outputs y begins at source row y * down // up,
# output z lies z * across further, tap t another table[t], and channel c another c * plane. So the three passes are one
# table read in three ways:
#
#     output            out[y, z][f] = sum over c, t of image[place(y, z) + c*plane + table[t]] * W[c, t][f]
#     weight gradient   dW[c, t][f]  = sum over y, z of image[c*plane + table[t] + place(y, z)] * dout[y, z][f]
#     input gradient    an output pass over dout with the filters turned; with a stride, one such pass for each phase
#                       (y + pt) mod sh, (z + pl) mod sw of the input, which only some taps reach; tiles write every
#                       sw-th output of a row
#
# These are the outputs and input gradients of conv/gather.pxd and the weight gradients of conv/weights.pxd. Two more
# ways are faster where they fit: to few channels, from dout to the input (conv/scatter.pxd), and with few values of
# dout that count, over a list of these (conv/list.pxd). This file has the plan of a geometry, which they share, and
# chooses between them.
#
# The lanes f are channels: weights are packed as [block of lanes][c][t][lane], dout is transposed to [q][lane], and
# results are transposed back when they are stored.
#
# Order of additions: an output is one chain over (c, t) in that order, then the bias; t goes over the source's pixels
# row by row, from left to right. A weight gradient is one chain over the pixels of a strip, strips and images are added
# in order, and groups of images (their number depends on the shapes alone) at the end. From a list, gradients are
# chains in its order (in a first layer's, of every second value), so that zeros in dout may move their last bits. An
# input gradient to few channels is one chain over f for each tap; these are added over i, as the vectors of pixels
# follow each other, and then over j.
# Neither the batch nor the number of threads changes a bit of an output.
#
# Edge cases: padding is zeros, in a copy or by leaving out the taps that lie there; a negative padding of the input
# gradient's pass (pad beyond the filter) starts inside dout; an empty batch leaves the output empty and the weight
# gradient 0; input pixels that no window reads get 0.

cimport numpy as cnp
from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.string cimport memcpy

from cconv.kernels.runtime.arrays cimport copy_of, data, sizes
from cconv.kernels.runtime.calls cimport Call
from cconv.kernels.conv.finish cimport Finish
from cconv.kernels.conv.gather cimport (
    ALIGNMENT, STRIP, Gather, GatherJob, Pass, gather, most_outputs, pack_weights, pass_of, shares, splits, strip_size,
    tile_width
)
from cconv.kernels.conv.list cimport (
    WINDOW_BYTES, WINDOW_LANES, WINDOW_ROWS, WINDOWS, List, ListJob, WindowJob, cut_windows, list_gradient,
    window_gradient
)
from cconv.kernels.conv.scatter cimport Scatter, ScatterJob, scatter
from cconv.kernels.conv.weights cimport WeightJob, weight_gradient
from cconv.kernels.runtime.division cimport ceil_div, deal, floor_div, round_up
from cconv.kernels.vector.tile cimport (
    CACHE_LINE, PLANS_CHECKED, TILE_ASKED, TILE_ASKING, TILE_BYTES, TILE_ROWS, TILE_SIDE, TILE_SIDE_V, cconv_ftz_on,
    cconv_ftz_restore, tile_rows
)
from cconv.kernels.vector.zeros cimport all_finite, share_nonzero

import numpy as np

from cconv.kernels.runtime._memory import empty

cnp.import_array()

if PLANS_CHECKED:
    from cconv.kernels.plans import check

cdef enum:
    GRADIENT_STRIP = 16384  # values of a transposed strip of dout, which stays in the first or second cache
    GRADIENT_BLOCK = 1 << 19  # bytes of sums that share one transposed dout, and the second cache with it
    GRADIENT_ITEMS = 16  # pieces of work a weight gradient is cut into, where it can be
    GRADIENT_BYTES = 4 << 20  # memory for the sums of groups of images
    COMPACT_CHANNELS = 16  # from so many on, 1 x 1 filters read a copy
    LIST_BAND = 16384  # bytes of an image that all filters go over before the next
    LIST_SUMS = 1 << 20  # bytes for the sums of groups of images
    LIST_PERCENT = 35  # of values that are not 0: where there are fewer, a list is faster
    TAP_CHANNELS = 6  # from so many on, the weights of one tap in several channels make a good tile
    SCATTER_CHANNELS = 3  # to so many and no more, input gradients go from dout to the input,
    SCATTER_STRIDE = 8  # over no more rows and columns than these
    SCATTER_SUMS = 1 << 16  # bytes of sums that a band of rows may take
    MANY_VECTORS = 12  # whole tiles of every width
    TAP_WORDS = 7  # of a tap in the tables of a pass: three, and four pairs of 16 bits in no more than four

WINDOW = WINDOW_LANES, WINDOW_ROWS, CACHE_LINE  # for those who ask whether `backward_windows` can do it


cdef enum Kind:
    OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT, WEIGHT_GRADIENT, WINDOW_GRADIENT

PASSES = "output", "pooled_output", "input_gradient", "weight_gradient", "window_gradient"

cdef dict ALGORITHMS = {
    "output": ("channels", "pixels"),
    "pooled_output": ("channels",),
    "input_gradient": ("channels", "pixels", "scattered", "listed"),
    "weight_gradient": ("channels", "pixels", "windows", "listed"),
    "pooled_gradients": ("windows", "listed", "unpooled"),
}


def algorithms(object which, /):
    """The names of the algorithms for a pass; `cconv.functional.convolution` knows when each applies and is chosen."""
    if not isinstance(which, str) or which not in ALGORITHMS:
        raise ValueError(f"pass must be one of {', '.join(ALGORITHMS)}, got {which!r}")
    return ALGORITHMS[which]


def plan(str which, tuple source, tuple filters, tuple target, tuple steps, Py_ssize_t groups, Py_ssize_t itemsize, /):
    """The tables of a pass as a dict of numbers and arrays, which `cconv.kernels.plans` checks without running them.

    `source`, `filters` and `target` are (C, H, W) of what is read, the filters' shape and (C, H, W) of what is written;
    for gradients of weights, source and target are those of the output pass.
    """
    if which not in PASSES:
        raise ValueError(f"pass must be one of {', '.join(PASSES)}, got {which!r}")
    cdef Plan made = Plan(source, filters, target, *steps, groups, itemsize, PASSES.index(which))
    return made.describe(source, filters, target, steps)


cdef class Plan:
    """The tables of one geometry for one kind of pass."""

    cdef Gather g
    cdef object tables
    cdef object each
    cdef Py_ssize_t itemsize
    cdef Kind kind

    def __init__(self, tuple source, tuple filters, tuple target, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                 Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t groups, Py_ssize_t itemsize, Kind kind):
        cdef Gather* g = &self.g
        cdef Py_ssize_t FH = filters[2], FW = filters[3], H = target[1], W = target[2], y, z, passes, rows
        cdef Py_ssize_t* room
        self.itemsize = itemsize
        self.kind = kind
        g.groups = groups
        g.C = source[0] // groups
        g.F = target[0] // groups
        g.H = source[1]
        g.W = source[2]
        g.area = H * W
        g.width = W
        g.rows = H
        g.row = W
        g.lanes = TILE_BYTES // itemsize
        g.vectors = ceil_div(g.F, g.lanes)
        g.split = dw if kind in (OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT) and splits(g, FW, sw, dw) else 1
        g.ph = sh if kind == INPUT_GRADIENT else 1
        g.pw = sw if kind == INPUT_GRADIENT else 1
        g.pw = max(g.pw, g.split)
        passes = g.ph * g.pw
        g.folded = FH == FW == passes == sw == 1 and kind in (OUTPUT, POOLED_OUTPUT, INPUT_GRADIENT)
        rows = max(H, ceil_div(g.area, STRIP))
        self.each = bytearray(passes * sizeof(Pass))
        g.each = <Pass*><char*>self.each
        self.tables = empty((g.area + TAP_WORDS * FH * FW * passes + 2 * rows * g.pw,), np.intp)
        g.off = <Py_ssize_t*>cnp.PyArray_DATA(self.tables)
        g.taps = g.off + g.area
        room = g.taps + 2 * rows * g.pw
        if kind == INPUT_GRADIENT:
            self.plan_input_gradient(FH, FW, sh, sw, pt, pl, dh, dw, room)
        elif kind in (OUTPUT, POOLED_OUTPUT, WEIGHT_GRADIENT, WINDOW_GRADIENT):
            self.plan_output(FH, FW, sh, sw, pt, pl, dh, dw, room)
        else:
            raise ValueError(f"a pass of kind {<int>kind} has no plan")
        g.step = g.PW
        for y in range(H):
            for z in range(W):
                g.off[y * W + z] = y * g.down // g.up * g.PW + z * g.across
        # Outputs begin in the column of the source that they have themselves: no padding lies before it.
        cdef bint aligned = (passes == 1 and g.across == 1 and g.PW == g.W == W and g.left == 0
                             and g.each.table[0] == g.each.row[0] * g.PW)
        g.compact = (g.folded and aligned and g.down == 1 and g.PH == g.H == H and g.lowest == g.highest == 0
                     and g.C >= COMPACT_CHANNELS and kind != POOLED_OUTPUT)
        if g.compact:
            g.copied = False
            g.plane = g.PH * g.PW
        if (aligned and not g.copied and FW == g.down == 1 and g.lowest == 0 and H + g.highest <= g.H
                and kind in (OUTPUT, INPUT_GRADIENT)):
            # No gap between the rows: the image is one long row, cut into pieces of a good length.
            g.row = min(g.area, STRIP)
            g.rows = ceil_div(g.area, g.row)
            g.step = g.row
        for y in range(g.rows):
            for z in range(g.pw):
                find_taps(g, y, g.each + y % g.ph * g.pw + z, g.taps + 2 * (y * g.pw + z))
        for y in range(passes):
            find_side(g, g.each + y)
        if g.by_tap and g.each.side > 0:
            g.V = min(g.vectors, TILE_SIDE_V)
        elif kind == WEIGHT_GRADIENT:  # tiles of weights, which lie anywhere
            g.V = tile_width(g.vectors, g.C if g.by_tap else g.C * FH * FW, 0, 0, g.lanes)
        else:
            g.V = tile_width(g.vectors, ceil_div(g.row, g.pw), g.across, g.each.side, g.lanes)
        g.most = most_outputs(g.V, g.across, g.each.side, g.lanes)
        set_tiles(g)

    cdef void plan_output(self, Py_ssize_t FH, Py_ssize_t FW, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                          Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t* room):
        cdef Gather* g = &self.g
        cdef Pass* p = g.each
        cdef Py_ssize_t high = (g.rows - 1) * sh + (FH - 1) * dh + 1, i, j
        cdef Py_ssize_t wide = (g.width - 1) * sw + (FW - 1) * dw + 1, z
        cdef bint outside = pt > 0 or pl > 0 or high > g.H or wide > g.W, whole, padded
        # A weight gradient leaves out the taps outside of the image where there are enough channels for a tile of one
        # tap, and else needs the image with all its padding. An output needs no rows of it, nor one column: the outer
        # outputs of a row leave that out.
        g.by_tap = (self.kind == WEIGHT_GRADIENT and g.C >= TAP_CHANNELS
                    and (outside or TILE_SIDE > 0 and sw == dw == 1 and FW in (3, 5)))
        whole = self.kind in (WEIGHT_GRADIENT, WINDOW_GRADIENT) and not g.by_tap
        if g.split > 1:
            padded = True
            wide = round_up(wide, g.split)
        elif whole or g.by_tap:
            padded = whole and outside
        elif sw == 1:
            padded = pl > 1 or wide - pl > g.W + 1
        else:
            padded = pl > 0 or wide > g.W
        g.top = pt if whole else 0
        g.left = pl if padded else 0
        g.PH = high if whole and padded else g.H
        g.PW = wide if padded else g.W
        if self.kind == WINDOW_GRADIENT:
            g.PW = round_up(g.PW, CACHE_LINE // self.itemsize)
        set_planes(g, padded, whole)
        if self.kind == WINDOW_GRADIENT:
            g.copied = True  # always, and twice
        g.down = sh
        g.up = 1
        g.across = sw
        g.lowest = g.top - pt
        g.highest = g.lowest + (FH - 1) * dh
        for z in range(g.split):
            p = g.each + z
            p.width = ceil_div(g.width - z, g.split)
            p.weights = 0
            give_taps(p, room + TAP_WORDS * FH * FW * z, FH * FW)
            for i in range(FH):
                for j in range(FW):
                    add_tap(g, p, g.lowest + i * dh, z + j * dw - pl, i * FW + j)
        g.weights = g.C * FH * FW * g.vectors * g.lanes

    cdef void plan_input_gradient(self, Py_ssize_t FH, Py_ssize_t FW, Py_ssize_t sh, Py_ssize_t sw, Py_ssize_t pt,
                                  Py_ssize_t pl, Py_ssize_t dh, Py_ssize_t dw, Py_ssize_t* room):
        cdef Gather* g = &self.g
        cdef Pass* p
        cdef Py_ssize_t i, j, y, py, pz
        g.top = 0
        g.left = max(ceil_div(max((FW - 1) * dw - pl, 0), sw), 0)
        g.PH = g.H
        g.PW = g.left + max((g.width - 1 + pl) // sw + 1, 1)
        cdef bint padded = g.split > 1 or g.left > 1 or g.PW - g.left > g.W + 1
        g.PW = round_up(g.PW, g.split)
        if not padded:
            g.left = 0
            g.PW = g.W
        set_planes(g, padded, False)
        g.down = 1
        g.up = sh
        g.across = 1
        g.lowest = 0
        g.highest = 0
        g.weights = 0
        for py in range(sh):
            for pz in range(g.pw):
                p = g.each + py * g.pw + pz
                p.weights = g.weights
                p.width = max(ceil_div(g.width - pz, g.pw), 0)
                give_taps(p, room, FH * FW)
                room += TAP_WORDS * FH * FW
                # The smallest input position of this phase fixes how far each tap lies in dout.
                for i in range(FH):
                    if (py + pt - i * dh) % sh != 0:
                        continue
                    y = floor_div(py + pt - i * dh, sh)
                    for j in range(FW - 1, -1, -1):  # the pixels under them in order, from left to right
                        if (pz + pl - j * dw) % sw != 0:
                            continue
                        add_tap(g, p, y, floor_div(pz + pl - j * dw, sw), i * FW + j)
                        g.lowest = min(g.lowest, y)
                        g.highest = max(g.highest, y)
                if g.split == 1 or pz == g.split - 1:
                    g.weights += g.C * p.taps * g.vectors * g.lanes

    cdef dict describe(self, tuple source, tuple filters, tuple target, tuple steps):
        """The tables as arrays, for those who check them: see plans.py."""
        cdef Gather* g = &self.g
        cdef Pass* p
        cdef Py_ssize_t s, most = filters[2] * filters[3]
        cdef cnp.ndarray kept
        each = []
        for s in range(g.ph * g.pw):
            p = g.each + s
            kept = np.empty((4, most, 2), np.uint16)
            memcpy(cnp.PyArray_DATA(kept), p.kept, 8 * most * sizeof(uint16_t))
            each.append({
                "width": p.width, "side": p.side, "weights": p.weights, "table": copy_of(p.table, p.taps),
                "row": copy_of(p.row, p.taps), "tap": copy_of(p.tap, p.taps),
                "kept": kept[:, :p.taps] != 0,
            })
        return {
            "pass": PASSES[self.kind], "source": source, "filters": filters, "target": target, "steps": steps,
            "groups": g.groups, "C": g.C, "F": g.F, "top": g.top, "left": g.left, "PH": g.PH, "PW": g.PW,
            "plane": g.plane, "split": g.split, "copied": g.copied, "folded": g.folded, "compact": g.compact,
            "most": g.most, "by_tap": g.by_tap, "area": g.area, "width": g.width, "rows": g.rows, "row": g.row,
            "step": g.step, "down": g.down, "up": g.up, "across": g.across, "lowest": g.lowest, "highest": g.highest,
            "ph": g.ph, "pw": g.pw, "lanes": g.lanes, "vectors": g.vectors, "V": g.V, "weights": g.weights,
            "itemsize": self.itemsize, "each": each, "off": copy_of(g.off, g.area),
            "taps": copy_of(g.taps, 2 * g.rows * g.pw).reshape(g.rows, g.pw, 2), "tiles": self.find_tiles(),
        }

    cdef cnp.ndarray find_tiles(self):
        """Every tile of a group's outputs, for the first and the last block of vectors: V, row, phase, output, outputs.

        These are the loops of `gather_rows`, `gather_pooled` and `gather_phase`.
        """
        cdef Gather* g = &self.g
        cdef Py_ssize_t units = ceil_div(g.row, g.pw), pieces = ceil_div(units, max(STRIP // g.pw, 1)), V, y, i, z
        cdef Py_ssize_t z0, z1, first, count, k, end = g.row, rows = g.rows
        cdef int size = 0, larger = 0
        cdef list found = []
        if self.kind == POOLED_OUTPUT:
            pieces, end, rows = 1, g.width // 2 * 2, g.rows // 2 * 2
        elif self.kind not in (OUTPUT, INPUT_GRADIENT):
            rows = 0
        for V in {min(g.V, g.vectors), g.vectors - (g.vectors - 1) // g.V * g.V}:
            for y in range(rows):
                for i in range(pieces):
                    z0 = i * units // pieces * g.pw
                    z1 = min(min((i + 1) * units // pieces * g.pw, end), g.area - y * g.row)
                    for z in range(min(g.pw, z1 - z0)):
                        first = z0 // g.pw
                        count = ceil_div(z1 - z0 - z, g.pw)
                        k = g.most if g.compact else most_outputs(V, g.across, pass_of(g, y, z).side, g.lanes)
                        for k in range(deal(count, <int>k, &size, &larger)):
                            found.append((V, y, z, first, size + (k < larger)))
                            first += size + (k < larger)
        return np.array(found, np.intp).reshape(-1, 5)


cdef void set_planes(Gather* g, bint padded, bint whole):
    """Find out whether images are copied, and how far apart their channels lie.

    A tile reads a few pixels of every channel. Where channels lie a power of two apart, these fall in few of the first
    cache's sets (4 KiB in 8 ways, at least) and would drive each other out; an odd number of cache lines spreads them.
    """
    cdef Py_ssize_t itemsize = TILE_BYTES // g.lanes, size = g.PH * g.PW * itemsize, shared = gcd(size, 4096)
    g.copied = padded or not whole and shared >= 512 and g.C * shared > 4 * 4096
    g.plane = (ceil_div(size, 64) | 1) * 64 // itemsize if g.copied else g.PH * g.PW


cdef void set_tiles(Gather* g):
    """Find out how many tiles a row is, and for how many channels they ask: large ones with rows of taps, or none."""
    cdef Py_ssize_t width = ceil_div(g.row, g.pw), tiles = ceil_div(width, g.most)
    g.tiles = max(tiles * g.pw * ceil_div(g.vectors, g.V), 1)
    g.asked = 0
    if (g.across == 1 and tiles > 0 and width // tiles * g.V >= TILE_ASKING
            and (g.folded or shares(g.V, g.each.side, g.lanes))):
        g.asked = g.C - g.C % TILE_ASKED


cdef Py_ssize_t gcd(Py_ssize_t a, Py_ssize_t b):
    while b:
        a, b = b, a % b
    return a


cdef void give_taps(Pass* p, Py_ssize_t* room, Py_ssize_t most):
    """Give a pass the tables of `most` taps, none of them filled."""
    p.taps = 0
    p.table = room
    p.row = room + most
    p.tap = room + 2 * most
    p.kept = <uint16_t*>(room + 3 * most)
    p.most = most


cdef void add_tap(Gather* g, Pass* p, Py_ssize_t row, Py_ssize_t column, Py_ssize_t tap):
    """Add a tap that lies so many rows below the outputs' places, and for the first output of the pass on a column."""
    cdef Py_ssize_t at = g.left + column, which
    cdef uint16_t* kept
    p.table[p.taps] = row * g.PW + (at if g.split == 1 else at % g.split * (g.PW // g.split) + at // g.split)
    p.row[p.taps] = row
    for which in range(4):
        kept = p.kept + 2 * (which * p.most + p.taps)
        kept[0] = 0 if which & 1 and column < 0 else 0xFFFF
        kept[1] = 0 if which & 2 and (p.width - 1) * g.split + column >= g.W else 0xFFFF
    p.tap[p.taps] = tap
    p.taps += 1


cdef void find_side(Gather* g, Pass* p):
    """Find out whether taps lie side by side, as many in each row as `tile_run` has a loop for.

    Such a loop decides once, by the first row of taps, what the first and the last output of a tile leave out: all rows
    must leave out the same, and of a row's taps no more than the outer ones.
    """
    cdef Py_ssize_t t
    cdef int side
    p.side = 0
    for side in range(3, TILE_SIDE + 1, 2):
        if g.across == 1 and p.taps > 0 and p.taps % side == 0:
            for t in range(p.taps):
                if (p.table[t] != p.table[t - t % side] + t % side or p.row[t] != p.row[t - t % side]
                        or not same_ends(p, t, t % side, side)):
                    break
            else:
                p.side = side


cdef bint same_ends(Pass* p, Py_ssize_t t, Py_ssize_t place, int side):
    """Whether tap t, at a place of its row, is left out by a tile's first and last output as that of the first row."""
    cdef Py_ssize_t which
    cdef uint16_t* kept
    for which in range(4):
        kept = p.kept + 2 * which * p.most
        if kept[2 * t] != kept[2 * place] or kept[2 * t + 1] != kept[2 * place + 1]:
            return False
        if place > 0 and kept[2 * t] == 0 or place < side - 1 and kept[2 * t + 1] == 0:
            return False
    return True


cdef void find_taps(Gather* g, Py_ssize_t y, Pass* p, Py_ssize_t* taps):
    """Find which taps of row y read rows of the image: they follow each other."""
    cdef Py_ssize_t t, at
    taps[0] = taps[1] = 0
    for t in range(p.taps):
        at = y * g.down // g.up + p.row[t]
        if g.row != g.width or 0 <= at < g.PH:
            if taps[1] == 0:
                taps[0] = t
            taps[1] = t + 1


cdef dict found_plans = {}


cdef Plan find_plan(tuple source, cnp.ndarray W, tuple target, tuple steps, Py_ssize_t groups, Kind kind):
    """Return the plan of a geometry, from the last few that were used."""
    cdef tuple key = (source, W.shape[0], W.shape[2], W.shape[3], target, steps, groups, cnp.PyArray_ITEMSIZE(W), kind)
    found = found_plans.get(key)
    if found is None:
        found = Plan(source, (<object>W).shape, target, *steps, groups, cnp.PyArray_ITEMSIZE(W), kind)
        if PLANS_CHECKED:
            check((<Plan>found).describe(source, (<object>W).shape, target, steps))
        if len(found_plans) >= 256:
            found_plans.clear()
        found_plans[key] = found
    return <Plan>found


cdef void check_scratch(double values):
    """Refuse a scratch whose size in bytes would leave a machine word."""
    if values > 2.0**56:
        raise MemoryError(f"padded images would take {values:.0f} values of scratch")


cdef struct Output:
    Gather* g
    bint single, pooled
    const void* packed
    const void* bias
    const void* norm
    Py_ssize_t private  # values of scratch for each thread


cdef void run_output(void* given, const void* x, const void* branch, bint relu, void* out, Py_ssize_t N, void* scratch,
                     int num_threads) noexcept nogil:
    """Compute the outputs of N images; of pooled ones, no argmax."""
    write_output(<Output*>given, x, branch, relu, out, NULL, N, scratch, num_threads)


cdef void write_output(Output* output, const void* x, const void* branch, bint relu, void* out, uint8_t* argmax,
                       Py_ssize_t N, void* scratch, int num_threads) noexcept nogil:
    cdef GatherJob job = GatherJob(
        output.single, output.pooled, x,
        Finish(output.bias, output.norm, output.g.groups * output.g.F, branch, relu), out, argmax, output.g, N, 1,
        <void*>output.packed, scratch, output.private
    )
    gather(&job, num_threads)


cdef class Prepared:
    """An output pass of one geometry with its filters packed: what does not change from one batch to the next."""

    cdef Plan plan
    cdef cnp.ndarray W
    cdef object bias
    cdef object norm
    cdef cnp.ndarray packed
    cdef Output output
    cdef Call shown

    @property
    def call(self):
        """Where what a program runs is described."""
        return <size_t>&self.shown

    def pack(self):
        """Pack the filters, which may have changed in place."""
        cdef Gather* g = &self.plan.g
        cdef Output* output = &self.output
        cdef Py_ssize_t taps = self.W.shape[2] * self.W.shape[3], f_step = taps * g.C, c_step = taps
        cdef const void* filters = data(self.W)
        if self.plan.kind == INPUT_GRADIENT:
            f_step = taps
            c_step = taps * g.F
        with nogil:
            if output.single:
                pack_weights(<const float*>filters, <const float*>output.bias, g, output.pooled, f_step, c_step,
                             <float*>output.packed)
            else:
                pack_weights(<const double*>filters, <const double*>output.bias, g, output.pooled, f_step, c_step,
                             <double*>output.packed)

    def __call__(self, cnp.ndarray source, object branch, bint relu, cnp.ndarray target, object argmax,
                 int num_threads, /):
        """Write the outputs into target; `branch` is added, and for pooled outputs `argmax` filled, unless None."""
        cdef Gather* g = &self.plan.g
        cdef cnp.ndarray scratch
        cdef const void* added = data(branch)
        cdef uint8_t* where = <uint8_t*>data(argmax)
        cdef const void* x = data(source)
        cdef void* out = data(target)
        cdef void* work
        if target.shape[0] == 0:
            return
        if g.copied:
            check_scratch(<double>g.groups * g.C * g.plane * num_threads)
        scratch = empty((self.output.private * num_threads,), self.W.dtype)
        work = data(scratch)
        with nogil:
            write_output(&self.output, x, added, relu, out, where, source.shape[0], work, num_threads)


cdef Prepared prepared(Plan plan, cnp.ndarray W, object b, object norm=None):
    """Prepare a plan's pass with filters W."""
    cdef Prepared made = Prepared.__new__(Prepared)
    cdef Gather* g = &plan.g
    cdef bint pooled = plan.kind == POOLED_OUTPUT
    cdef Py_ssize_t private = strip_size(g, pooled), area = g.area
    made.plan, made.W, made.bias, made.norm = plan, W, b, norm
    made.packed = empty((round_up(g.groups * (g.weights + g.vectors * g.lanes), ALIGNMENT),), W.dtype)
    if g.copied:
        private += round_up(g.groups * g.C * g.plane + g.lanes, ALIGNMENT)
        if g.split > 1:
            private += round_up(g.PW + (2 * g.split + 1) * g.lanes, ALIGNMENT)
    elif g.compact:
        private += round_up(ceil_div(g.row, g.most) * g.most * g.C + g.lanes, ALIGNMENT)
    if pooled:
        area = g.area // g.width // 2 * (g.width // 2)
    made.output = Output(g, plan.itemsize == 4, pooled, data(made.packed), data(b), data(norm), private)
    made.shown = Call(run_output, &made.output, private * plan.itemsize, g.groups * g.C * g.H * g.W * plan.itemsize,
                      g.groups * g.F * area * plan.itemsize)
    made.pack()
    return made


def prepare(tuple source, cnp.ndarray W, object b, tuple target, tuple steps, int groups, object norm, /):
    """Prepare the convolution of images, as many as there will be, with W and b or None.

    `source` is (C, H, W), `target` (FN, OH, OW), `norm` None or (3, FN): centre, scale and shift of each channel. Call the result as
    ``prepared(x, branch, relu, out, None, num_threads)``; see finish.h for what follows the sums. Where W or b
    changes in place, call ``prepared.pack()``.
    """
    return prepared(find_plan(source, W, target, steps, groups, OUTPUT), W, b, norm)


def prepare_pooled(tuple source, cnp.ndarray W, object b, tuple target, tuple steps, int groups, /):
    """The same with relu and 2 x 2 maxima behind it: see `forward_pooled`. `target` is that of the convolution."""
    return prepared(find_plan(source, W, target, steps, groups, POOLED_OUTPUT), W, b)


def forward(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, tuple steps, int groups, int num_threads, /):
    """Write the convolution of x (N, C, H, W) with W (FN, C / groups, FH, FW), plus b (FN,) or None, into out."""
    prepared(find_plan(sizes(x), W, sizes(out), steps, groups, OUTPUT), W, b)(x, None, False, out, None, num_threads)


def forward_pooled(cnp.ndarray x, cnp.ndarray W, object b, cnp.ndarray out, object argmax, int OH, int OW,
                   tuple steps, int groups, int num_threads, /):
    """Write the 2 x 2 maxima, stride 2, of relu(convolution) into out, and where they lie into argmax unless None.

    OH and OW are the size of the convolution's own output, of which a thread holds two rows at a time.
    """
    prepared(find_plan(sizes(x), W, (W.shape[0], OH, OW), steps, groups, POOLED_OUTPUT), W, b)(
        x, None, False, out, argmax, num_threads)


def backward_input(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, tuple steps, int groups, int num_threads,
                   object bias=None, /):
    """Write the gradient with respect to the input, plus a bias per input channel or None, into dx."""
    prepared(find_plan(sizes(dout), W, sizes(dx), steps, groups, INPUT_GRADIENT), W, bias)(
        dout, None, False, dx, None, num_threads)


def scatters(cnp.ndarray W, tuple steps, int groups, /):
    """Whether `backward_scattered` is the fastest of the input gradients: few channels from many.

    A tile of few taps costs a multiply-add and a tenth, and ten more where its sums are added to those of other taps;
    lanes of pixels (`_conv_pixels.pyx`) 1.4 / channels more to be loaded.
    """
    cdef Py_ssize_t C = W.shape[1], F = W.shape[0] // groups
    return C <= SCATTER_CHANNELS and F >= 8 * C and W.shape[2] * W.shape[3] > 1 and max(steps[:2]) <= SCATTER_STRIDE


def backward_scattered(cnp.ndarray dout, cnp.ndarray W, cnp.ndarray dx, tuple steps, int groups, int num_threads,
                       object bias=None, /):
    """Write what `backward_input` does, from dout's pixels to the input's: for few channels and strides."""
    cdef Scatter g
    cdef Py_ssize_t i, taps, private, room, itemsize = cnp.PyArray_ITEMSIZE(W)
    cdef cnp.ndarray tables, scratch
    cdef ScatterJob job
    if dx.size == 0:
        return
    g.groups, g.C, g.F = groups, W.shape[1], W.shape[0] // groups
    g.H, g.W, g.OH, g.OW = dx.shape[2], dx.shape[3], dout.shape[2], dout.shape[3]
    g.FH, g.FW = W.shape[2], W.shape[3]
    g.sh, g.sw, g.pt, g.pl, g.dh, g.dw = steps
    g.lanes = TILE_BYTES // itemsize
    g.first = g.pt // g.sh
    g.rows = (g.H - 1 + g.pt) // g.sh + 1 - g.first
    taps = g.C * g.FW
    room = min(max(SCATTER_SUMS // (taps * g.sh * g.OW * itemsize), 1), g.rows)
    g.bands = ceil_div(g.rows, room)
    g.phase = round_up(ceil_div(g.rows, g.bands) * g.OW, g.lanes)
    if g.sh * g.phase * itemsize % 1024 == 0:
        g.phase += g.lanes  # the sums of a tile's taps do not share a few sets of the cache
    g.line = round_up(ceil_div(g.W, g.sw), g.lanes)
    g.V = tile_width(MANY_VECTORS, taps, 0, 0, g.lanes)  # bands cut pixels into runs of any length; taps lie anywhere
    g.most = min(tile_rows(<int>g.V), taps)
    tables = np.arange(g.F + TILE_ROWS + g.FH + 2 * g.FW)
    g.table = <Py_ssize_t*>cnp.PyArray_DATA(tables)
    g.off = g.table + g.F
    g.down = g.off + TILE_ROWS
    g.shift = g.down + g.FH
    g.place = g.shift + g.FW
    for i in range(TILE_ROWS):
        g.off[i] = i * g.F
    for i in range(g.FH):
        g.down[i] = i * g.dh % g.sh * g.phase + i * g.dh // g.sh * g.OW
    for i in range(g.FW):
        g.shift[i] = floor_div(i * g.dw - g.pl, g.sw)
        g.place[i] = i * g.dw - g.pl - g.shift[i] * g.sw
    private = round_up(2 * g.lanes + taps * g.sh * g.phase + g.lanes + g.sw * g.line
                       + (g.most + g.F) * g.V * g.lanes, ALIGNMENT)
    scratch = empty((round_up(W.size, ALIGNMENT) + private * num_threads,), W.dtype)
    job = ScatterJob(cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT, data(dout), data(W), data(bias), data(dx), &g, dx.shape[0],
                     data(scratch), <char*>data(scratch) + round_up(W.size, ALIGNMENT) * itemsize, private)
    with nogil:
        scatter(&job, num_threads)


cdef void run_windows(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray dW, object db,
                      Py_ssize_t OH, Py_ssize_t OW, tuple steps, int num_threads):
    """Compute the weight gradient from a list: the maxima of y, two outputs apart, or without it dout's nonzeros."""
    cdef Plan plan = find_plan(sizes(x), dW, (dW.shape[0], OH, OW), steps, 1, WINDOW_GRADIENT)
    cdef Gather* g = &plan.g
    cdef Py_ssize_t N = x.shape[0], FH = dW.shape[2], FW = dW.shape[3], apart = 1 if y is None else 2
    cdef Py_ssize_t columns = OW // apart, area = OH // apart * columns, k, private, start, dh = steps[4]
    cdef Py_ssize_t size = g.F * (g.C * FH + 1) * WINDOW_LANES, sets = max(min(GRADIENT_ITEMS, N), 1)
    cdef Py_ssize_t line = CACHE_LINE // plan.itemsize, half = line // 2
    cdef Py_ssize_t copy = round_up(g.C * g.plane + g.lanes + WINDOW_LANES, line)
    cdef Py_ssize_t[8] taps
    cdef cnp.ndarray bases = empty((area,), np.int32), scratch
    cdef int32_t* base = <int32_t*>cnp.PyArray_DATA(bases)
    cdef WindowJob job
    for k in range(area):
        start = apart * (k % columns) * g.across
        start += copy - half if start % line >= half else 0
        base[k] = <int32_t>(apart * (k // columns) * g.down * g.PW + start)
    for k in range(g.C * FH):
        taps[k] = k // FH * g.plane + k % FH * dh * g.PW
    check_scratch(<double>2 * g.C * g.plane * num_threads)
    private = round_up(2 * WINDOWS + 2 * copy, ALIGNMENT)
    size = round_up(size * sets, ALIGNMENT)
    scratch = empty((size + private * num_threads,), dW.dtype)
    job = WindowJob(cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT, data(dout), data(y),
                    <uint8_t*>data(argmax), data(x), data(dW), data(db), g, N, area, FW, base, &taps[0], copy, half,
                    sets, data(scratch), <char*>data(scratch) + size * plan.itemsize, private)
    with nogil:
        window_gradient(&job, num_threads)


def backward_weights(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray dW, object db, tuple steps, int groups,
                     int num_threads, /):
    """Write the gradient with respect to the filters into dW and, unless db is None, that of the bias into db."""
    cdef Plan plan = find_plan(sizes(x), dW, sizes(dout), steps, groups, WEIGHT_GRADIENT)
    cdef Gather* g = &plan.g
    cdef Pass* p = g.each
    cdef Py_ssize_t N = x.shape[0], lanes = g.vectors * g.lanes, rows = g.C * p.taps + 2
    cdef Py_ssize_t blocks = ceil_div(g.C * p.taps * lanes * plan.itemsize, GRADIENT_BLOCK)
    cdef Py_ssize_t block = ceil_div(g.C, min(blocks, g.C))
    cdef Py_ssize_t total = g.groups * rows * lanes, length, strips, sets, k, private, summed, together = 1
    cdef Py_ssize_t step = block * g.plane if g.copied else g.groups * g.C * g.H * g.W
    cdef Py_ssize_t unit = g.width if g.by_tap else g.lanes  # strips are whole ones of these
    cdef cnp.ndarray scratch, offsets
    cdef WeightJob job
    cdef Py_ssize_t* off
    cdef Py_ssize_t* k_off
    if N == 0:
        dW[...] = 0
        if db is not None:
            db[...] = 0
        return
    blocks = ceil_div(g.C, block)
    sets = min(ceil_div(GRADIENT_ITEMS, blocks * g.groups), GRADIENT_BYTES // (total * plan.itemsize))
    sets = max(min(sets, N), 1)
    strips = ceil_div(g.area, max(GRADIENT_STRIP // lanes // unit, 1) * unit)
    length = round_up(ceil_div(g.area, strips), unit) if strips > 1 else g.area
    if strips == 1:
        # Small images share a strip, so that each tile has a long chain.
        together = max(min(GRADIENT_STRIP // lanes // g.area, N // sets), 1)
    private = round_up(together * length * lanes, ALIGNMENT)
    if g.copied:
        check_scratch(<double>block * g.plane * num_threads * together)
        private += round_up(together * block * g.plane + g.lanes, ALIGNMENT)
    summed = round_up(total * sets, ALIGNMENT)
    scratch = empty((summed + private * num_threads,), dW.dtype)
    offsets = empty((block * p.taps + together * g.area,), np.intp)
    k_off = <Py_ssize_t*>cnp.PyArray_DATA(offsets)
    for k in range(block * p.taps):
        k_off[k] = k * g.plane if g.by_tap else k // p.taps * g.plane + p.table[k % p.taps]
    off = k_off + block * p.taps
    for k in range(together * g.area):
        off[k] = k // g.area * step + g.off[k % g.area]
    job = WeightJob(cnp.PyArray_TYPE(dW) == cnp.NPY_FLOAT, data(dout), data(x), data(dW), data(db), g, N, block, blocks,
                    sets, length, together, off, k_off, data(scratch),
                    <char*>data(scratch) + summed * plan.itemsize, private)
    with nogil:
        weight_gradient(&job, num_threads)


cdef bint all_numbers(cnp.ndarray array):
    """Whether no value is infinite or not a number."""
    if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT:
        return all_finite(<const float*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array))
    return all_finite(<const double*>cnp.PyArray_DATA(array), cnp.PyArray_SIZE(array))


def finite(cnp.ndarray array, /):
    """Whether no value is infinite or not a number."""
    return all_numbers(array)


cdef double share(cnp.ndarray dout):
    """The share of values that are not 0, as a few channels of a few images show it."""
    cdef Py_ssize_t lines = dout.shape[0] * dout.shape[1], area = dout.shape[2] * dout.shape[3]
    if lines * area == 0:
        return 1
    if cnp.PyArray_TYPE(dout) == cnp.NPY_FLOAT:
        return share_nonzero(<const float*>cnp.PyArray_DATA(dout), lines, area, area)
    return share_nonzero(<const double*>cnp.PyArray_DATA(dout), lines, area, area)


def few_windows(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray W, /):
    """Whether a weight gradient is faster that visits the values of dout that are not 0, and as good as one of all.

    A register of taps takes about the time in which all values of a cache line are multiplied where every output
    counts.
    """
    cdef Py_ssize_t bytes = W.shape[3] * cnp.PyArray_ITEMSIZE(W)  # of a row of taps
    cdef unsigned state = cconv_ftz_on()
    cdef bint few = share(dout) * ceil_div(bytes, WINDOW_BYTES) * CACHE_LINE < bytes and all_numbers(x)
    cconv_ftz_restore(state)
    return few


def few_values(cnp.ndarray dout, cnp.ndarray x, cnp.ndarray W, /):
    """Whether gradients from a list of dout's values that are not 0 are faster than, and as good as, those of all."""
    cdef unsigned state = cconv_ftz_on()
    cdef bint few = share(dout) * 100 < LIST_PERCENT and all_numbers(x) and all_numbers(W)
    cconv_ftz_restore(state)
    return few


def backward_listed(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray W, object dW, object db,
                    object dx, int OH, int OW, tuple steps, int num_threads, /):
    """Write the gradients of a convolution with OH x OW outputs into dW, db and dx, of which any may be None.

    dout and y are what `backward_windows` takes; without y, dout is the gradient of the convolution's own output. Only
    the maxima that relu passed, or the values of dout that are not 0, are visited. Offsets in a padded image with its
    channels last, whole vectors of them, must fit 32 bits.
    """
    cdef List g
    cdef Py_ssize_t sh, sw, pt, pl, dh, k, itemsize = cnp.PyArray_ITEMSIZE(W), apart = 1 if y is None else 2
    cdef Py_ssize_t K, total, private, weights, area, y_at, x_at
    cdef Py_ssize_t* off
    cdef cnp.ndarray bases, places, scratch
    cdef bytearray _pieces
    cdef int32_t* base
    cdef char* work
    cdef ListJob job
    sh, sw, pt, pl, dh, _ = steps
    g.N, g.C, g.H, g.W = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    g.F, g.FH, g.FW = W.shape[0], W.shape[2], W.shape[3]
    g.lanes = TILE_BYTES // itemsize
    g.pixel = round_up(g.C, g.lanes)
    g.PH = (OH - 1) * sh + (g.FH - 1) * dh + 1
    g.PW = (OW - 1) * sw + g.FW
    g.down = dh * g.PW * g.pixel
    g.up = sh * g.PW * g.pixel
    g.across = sw * g.pixel
    g.rows = OH // apart
    g.columns = OW // apart
    g.bands = max(ceil_div(g.rows, max(LIST_BAND // (g.PW * g.pixel * itemsize * sh * apart), 1)), 1)
    g.room = round_up(ceil_div(g.rows, g.bands) * g.columns, g.lanes) + max(g.lanes, WINDOW_LANES)
    _pieces = cut_windows(&g)  # g points into it
    K = g.FH * g.FW * g.pixel
    g.size = K + round_up(WINDOW_LANES, g.lanes)  # whole vectors, the last values for the bias
    total = g.F * g.size
    g.sets = max(min(min(GRADIENT_ITEMS, max(LIST_SUMS // (total * itemsize), 4)), g.N), 1)
    places = empty((g.H * g.W,), np.intp)
    off = <Py_ssize_t*>cnp.PyArray_DATA(places)
    for k in range(g.H * g.W):
        y_at = k // g.W + pt
        x_at = k % g.W + pl
        off[k] = (y_at * g.PW + x_at if y_at < g.PH and x_at < g.PW else g.PH * g.PW) * g.pixel
    g.off = off
    bases = empty((g.rows * g.columns,), np.int32)
    base = <int32_t*>cnp.PyArray_DATA(bases)
    for k in range(g.rows * g.columns):
        base[k] = <int32_t>(apart * (k // g.columns) * g.up + apart * (k % g.columns) * g.across)
    area = (g.PH * g.PW + 1) * g.pixel
    check_scratch(<double>2 * area * num_threads)
    weights = round_up(g.F * K, ALIGNMENT)
    private = round_up(2 * area + 2 * g.F * g.room + g.F * <Py_ssize_t>(sizeof(Py_ssize_t) // 4), ALIGNMENT)
    total = round_up(total * g.sets, ALIGNMENT)
    scratch = empty((weights + total + private * num_threads,), W.dtype)
    work = <char*>data(scratch)
    job = ListJob(cnp.PyArray_TYPE(W) == cnp.NPY_FLOAT, data(dout), data(y),
                  <uint8_t*>data(argmax), data(x), data(W), data(dW), data(db), data(dx), base, &g, work,
                  work + weights * itemsize, work + (weights + total) * itemsize, private)
    with nogil:
        list_gradient(&job, num_threads)


def backward_windows(cnp.ndarray dout, object y, object argmax, cnp.ndarray x, cnp.ndarray dW, object db, int OH,
                     int OW, tuple steps, int num_threads, /):
    """Write the weight gradient of a convolution with OH x OW outputs into dW and, unless None, the bias's into db.

    dout is the gradient of y, the output of `forward_pooled`, and argmax where the maxima lie; without y, that of the
    convolution's own output. Only these maxima, or the values of dout that are not 0, are visited. A row of taps must
    fit WINDOW_LANES, and the rows of all channels WINDOW_ROWS; places in two padded images must fit 32 bits.
    """
    run_windows(dout, y, argmax, x, dW, db, OH, OW, steps, num_threads)
