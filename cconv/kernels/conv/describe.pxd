"""Plans as dicts of numbers and arrays, which `cconv/kernels/plans.py` checks without running them."""

cimport numpy as cnp
from libc.string cimport memcpy

from cconv.kernels.conv.channels cimport pieces_of_a_row
from cconv.kernels.conv.plan cimport (
    ALIGNMENT, BY_ROW, IN_ORDER, ChannelPlan, PixelPhase, PixelPlan, Phase, Source, WeightPlan, WindowPlan,
    most_outputs
)
from cconv.kernels.runtime.arrays cimport copy_of
from cconv.kernels.runtime.division cimport ceil_div, deal
from cconv.kernels.vector.register_tile cimport TILE_MAX_MR


cdef inline dict source_of(const Source* s):
    return {
        "C": s.C, "copied": s.copied, "top": s.top, "left": s.left, "PH": s.PH, "PW": s.PW, "plane": s.plane,
        "split": s.split, "down": s.down, "up": s.up, "row_step": s.row_step, "across": s.across, "lowest": s.lowest,
        "highest": s.highest,
    }


cdef inline dict phase_of(const Phase* p):
    cdef cnp.npy_intp[3] shape
    cdef cnp.ndarray mask
    shape[0], shape[1], shape[2] = 4, p.room, 2
    mask = cnp.PyArray_SimpleNew(3, shape, cnp.NPY_UINT16)
    memcpy(cnp.PyArray_DATA(mask), p.mask, 8 * p.room * sizeof(unsigned short))
    return {
        "width": p.width, "side": p.side, "weights": p.weights, "table": copy_of(p.table, p.taps),
        "row": copy_of(p.row, p.taps), "tap": copy_of(p.tap, p.taps), "mask": mask[:, :p.taps] != 0,
    }


cdef inline dict describe_channels(const ChannelPlan* g, bint pooled):
    cdef Py_ssize_t s
    return {
        **source_of(&g.source), "F": g.result.F, "area": g.result.area, "width": g.result.width, "ph": g.result.ph,
        "pw": g.result.pw, "lanes": g.tiling.lanes, "vectors": g.tiling.vectors, "NR": g.tiling.NR, "MR": g.tiling.MR,
        "rows": g.tiling.rows, "row": g.tiling.row, "product": g.tiling.product, "compact": g.tiling.compact,
        "weights": g.weights, "phases": [phase_of(g.result.phases + s) for s in range(g.result.ph * g.result.pw)],
        "off": copy_of(g.tiling.off, TILE_MAX_MR),
        "row_taps": copy_of(g.tiling.row_taps, 2 * g.tiling.rows * g.result.pw).reshape(g.tiling.rows, g.result.pw, 2),
        "tiles": tiles_of(g, pooled),
    }


cdef inline object tiles_of(const ChannelPlan* g, bint pooled):
    """Every tile of a group's outputs, for the first and the last block of vectors: NR, row, phase, output, outputs.

    These are the loops of `compute_rows`, `compute_pooled` and `compute_phase`.
    """
    import numpy as np
    cdef Py_ssize_t pw = g.result.pw, row = g.tiling.row, units = ceil_div(row, pw), end = row, rows = g.tiling.rows
    cdef Py_ssize_t pieces = pieces_of_a_row(g), NR, y, i, z, z0, z1, first, k
    cdef int size = 0, larger = 0
    cdef list found = []
    if pooled:
        pieces, end, rows = 1, g.result.width // 2 * 2, rows // 2 * 2
    last = g.tiling.vectors - (g.tiling.vectors - 1) // g.tiling.NR * g.tiling.NR
    for NR in {min(g.tiling.NR, g.tiling.vectors), last}:
        for y in range(rows):
            for i in range(pieces):
                z0 = i * units // pieces * pw
                z1 = min(min((i + 1) * units // pieces * pw, end), g.result.area - y * row)
                for z in range(min(pw, z1 - z0)):
                    first = z0 // pw
                    k = g.tiling.MR
                    if not g.tiling.compact:
                        k = most_outputs(NR, g.source.across, g.result.phases[y % g.result.ph * pw + z].side,
                                         g.tiling.lanes)
                    for k in range(deal(ceil_div(z1 - z0 - z, pw), <int>k, &size, &larger)):
                        found.append((NR, y, z, first, size + (k < larger)))
                        first += size + (k < larger)
    return np.array(found, np.intp).reshape(-1, 5)


cdef inline dict describe_weights(const WeightPlan* g):
    return {
        **source_of(&g.source), "F": g.F, "area": g.area, "width": g.width, "by_tap": g.tile != IN_ORDER,
        "by_row": g.tile == BY_ROW, "lanes": g.lanes, "vectors": g.vectors, "NR": g.NR, "phases": [phase_of(&g.phase)],
        "off": copy_of(g.off, g.area),
    }


cdef inline dict describe_windows(const WindowPlan* g, Py_ssize_t lanes):
    cdef Py_ssize_t k
    return {
        **source_of(&g.source), "F": g.F, "lanes": lanes, "vectors": ceil_div(g.F, lanes), "copy": g.copy,
        "half": g.half, "pool_down": g.down, "pool_across": g.across, "row": [g.row[k] for k in range(g.rows)],
        "base": [g.base[k] for k in range(g.area)],
    }


cdef inline dict describe_pixels(const PixelPlan* g, Py_ssize_t lanes):
    cdef const PixelPhase* p
    cdef Py_ssize_t s
    phases = []
    for s in range(g.phases):
        p = g.phase + s
        phases.append({"where": copy_of(p.where, p.vectors), "to": copy_of(p.to, p.vectors),
                       "table": copy_of(p.table, p.taps), "tap": copy_of(p.tap, p.taps), "weights": p.weights})
    return {
        "C": g.C, "F": g.F, "sh": g.split.sh, "sw": g.split.sw, "top": g.split.top, "left": g.split.left,
        "split_rows": g.split.rows, "pitch": g.split.pitch, "in_place": g.in_place, "in_rows": g.in_rows,
        "plane": g.plane, "row_step": g.row_step, "th": g.th, "tw": g.tw, "strip": g.strip, "lanes": lanes,
        "spare": 0 if g.in_place else ALIGNMENT, "phases": phases,
    }
