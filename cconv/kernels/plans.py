"""Checks plans of the kernels without running them.

A plan is data: where each output begins, how far from there each tap lies, which taps an output at a border leaves
out, and how outputs are cut into tiles. `check` compares all of it with the formula that opens the kernels' source,
output by output and tap by tap, and with the bounds of the image or of its copy. A debug build checks each plan when it
is made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check", "check_product"]

Plan = dict[str, Any]
Ints = NDArray[np.intp]
LIMIT = 1 << 20  # pairs of an output and a tap, all of which are checked


def demand(condition: Any, plan: Plan, what: str) -> None:
    """Raise RuntimeError unless the condition is true throughout."""
    if not np.all(condition):
        sizes = {name: plan[name] for name in ("pass", "source", "filters", "target", "steps", "groups", "itemsize")}
        raise RuntimeError(f"a plan of the kernels is wrong: {what}; {sizes}")


def pixels_of(plan: Plan, tap: Ints, Y: Ints, Z: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The row and column of the source under each tap of each output, by the formula, and whether it has that tap.

    In an output pass all outputs have all taps, perhaps beside the image. In an input gradient they have those where
    the stride divides the distance.
    """
    sh, sw, pt, pl, dh, dw = plan["steps"]
    i, j = np.divmod(tap, plan["filters"][3])
    if plan["pass"] == "input_gradient":
        y, z = Y[:, None] + pt - i * dh, Z[:, None] + pl - j * dw
        return y // sh, z // sw, (y % sh == 0) & (z % sw == 0)
    y, z = Y[:, None] * sh - pt + i * dh, Z[:, None] * sw - pl + j * dw
    return y, z, np.ones(y.shape, bool)


def check_taps(plan: Plan, tap: Ints, Y: Ints, Z: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Compare the taps of a pass with those that its outputs have; return `pixels_of` them."""
    pixels = pixels_of(plan, tap, Y, Z)
    demand(pixels[2], plan, "a pass has a tap that its outputs have not")
    everything = np.arange(plan["filters"][2] * plan["filters"][3])
    demand(pixels_of(plan, everything, Y[:1], Z[:1])[2].sum() == len(tap), plan, "a pass lacks a tap")
    demand(len(np.unique(tap)) == len(tap), plan, "a pass has a tap twice")
    return pixels


def sample(plan: Plan, rows: Ints, taps: int) -> Ints:
    """Which of some outputs, in these rows, are checked: all, or of a large plan those of the rows at both ends."""
    if len(rows) * taps <= LIMIT:
        return np.arange(len(rows))
    H = plan["target"][1]
    return np.flatnonzero(np.isin(rows, [*range(9), H // 2, *range(H - 9, H)]))


def within(plan: Plan, y: Ints, z: Ints) -> NDArray[np.bool_]:
    """Whether a pixel lies in the source."""
    _, height, width = plan["source"]
    return (y >= 0) & (y < height) & (z >= 0) & (z < width)


def decode(plan: Plan, address: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The row and column of the source at an address within a channel, and whether it may be read at all."""
    pitch, row = plan["PW"] // plan["split"], address // plan["PW"]
    place = address % plan["PW"]
    column = place % pitch * plan["split"] + place // pitch
    readable = (address >= 0) & (address < plan["PH"] * plan["PW"])
    return row - plan["top"], column - plan["left"], readable


def check_reads(plan: Plan, address: Ints, read: NDArray[np.bool_], pixels: tuple[Ints, Ints, Any]) -> None:
    """Compare addresses with the formula's pixels: what is read lies there, what is left out is 0."""
    y, z, exists = pixels
    inside = within(plan, y, z) & exists
    demand(~inside | read, plan, "a tap that has a pixel is left out")
    row, column, readable = decode(plan, address)
    demand(~read | readable, plan, "a tap reads beyond the image or its copy")
    demand(~(read & inside) | ((row == y) & (column == z)), plan, "a tap reads another pixel than its own")
    zero = plan["copied"] & ~within(plan, row, column)
    demand(~read | inside | zero, plan, "a tap reads a pixel where padding should be")


def check(plan: Plan) -> None:
    """Check a plan of a convolution.

    Parameters
    ----------
    plan : dict
        What the `describe` of a `cconv.kernels.conv.Plan` returns.

    Raises
    ------
    RuntimeError
        If a tap reads another pixel than the formula's, or beyond the image or its copy; if one that has a pixel is
        left out; or if an output is not written exactly once.
    """
    if plan["algorithm"] == "pixels":
        check_pixels(plan)
        return
    source = plan["source"]
    demand((plan["PH"] >= 0) & (plan["PW"] >= 1), plan, "the padded image has no size")
    demand(plan["plane"] >= plan["PH"] * plan["PW"], plan, "channels overlap")
    demand(plan["lanes"] * plan["vectors"] >= plan["F"], plan, "vectors do not hold the channels of the output")
    demand(plan["C"] * plan["groups"] == source[0], plan, "groups do not divide the channels")
    if not plan["copied"]:
        same = plan["PH"], plan["PW"], plan["top"], plan["left"], plan["plane"], plan["split"]
        demand(
            same == (source[1], source[2], 0, 0, source[1] * source[2], 1), plan, "the image is read in another form"
        )
    if plan["algorithm"] == "windows":
        check_windows(plan)
    elif plan["pass"] == "weight_gradient":
        check_weights(plan)
    else:
        check_outputs(plan)


def check_outputs(plan: Plan) -> None:
    """An output pass or an input gradient: every tile of every row, for each width of tiles."""
    (_, H, W), tiles, area = plan["target"], plan["tiles"], plan["area"]
    pooled = plan["pass"] == "pooled_output"
    wanted = np.ones((H, W), int)
    if pooled:
        wanted[H // 2 * 2 :], wanted[:, W // 2 * 2 :] = 0, 0
    for each in plan["phases"]:
        check_side(plan, each)
        size = plan["C"] * len(each["tap"]) * plan["vectors"] * plan["lanes"]
        demand(each["weights"] + size <= plan["weights"], plan, "weights are packed beyond their room")
    for vectors in np.unique(tiles[:, 0]):
        rows, phases, firsts, counts = tiles[tiles[:, 0] == vectors, 1:].T
        demand(counts >= 1, plan, "a tile is empty")
        # One entry for each output of each tile.
        tile = np.repeat(np.arange(len(counts)), counts)
        p = np.arange(len(tile)) - np.repeat(np.cumsum(counts) - counts, counts)
        row, phase, z, count = rows[tile], phases[tile], firsts[tile], counts[tile]
        flat = row * plan["row"] + (z + p) * plan["pw"] + phase
        demand((flat >= 0) & (flat < area), plan, "an output lies beyond the image")
        demand(np.bincount(flat, minlength=area).reshape(H, W) == wanted, plan, "an output is not written exactly once")
        chosen = sample(plan, flat // W, max(len(each["tap"]) for each in plan["phases"]))
        which = row[chosen] % plan["ph"] * plan["pw"] + phase[chosen]
        for s in np.unique(which):
            at = chosen[which == s]
            check_pass(plan, plan["phases"][s], row[at], phase[at], z[at], count[at], p[at])


def check_side(plan: Plan, p: Plan) -> None:
    """Taps side by side: rows of them lie in one row of the source, and all leave out the same at a border."""
    side = p["side"]
    if side == 0:
        return
    demand(len(p["tap"]) % side == 0 and plan["across"] == 1, plan, "rows of taps are not whole")
    table, mask = p["table"].reshape(-1, side), p["mask"].reshape(4, -1, side, 2)
    demand(table == table[:, :1] + np.arange(side), plan, "taps do not lie side by side")
    demand(p["row"].reshape(-1, side) == p["row"].reshape(-1, side)[:, :1], plan, "taps side by side lie in two rows")
    demand(mask == mask[:, :1], plan, "rows of taps leave out different ones")
    demand(mask[:, :, 1:, 0].all() and mask[:, :, :-1, 1].all(), plan, "more taps than the outer ones are left out")


def check_pass(
    plan: Plan,
    p: Plan,
    row: Ints,
    phase: Ints,
    z: Ints,
    count: Ints,
    place: Ints,
) -> None:
    """Some outputs of one pass: row and phase, the first output of each one's tile, the tile's outputs, which it is."""
    flat = row * plan["row"] + (z + place) * plan["pw"] + phase
    Y, Z = np.divmod(flat, plan["target"][2])
    taps = np.arange(len(p["tap"]))
    pixels = check_taps(plan, p["tap"], Y, Z)
    begin = row * plan["down"] // plan["up"]
    address = (begin * plan["row_step"] + (z + place) * plan["across"])[:, None] + p["table"]
    first, end = plan["row_taps"][row, phase].T
    demand((first >= 0) & (first <= end) & (end <= len(taps)), plan, "a row has taps beyond the table")
    demand((first % (p["side"] or 1) == 0) & (end % (p["side"] or 1) == 0), plan, "a row of taps is cut")
    read = (taps >= first[:, None]) & (taps < end[:, None])
    if plan["across"] == 1:
        # A tile looks up what its first and last output leave out, by whether it begins and ends the row.
        mask = p["mask"][(z == 0) + 2 * (z + count == p["width"])]
        inner, outer = (place > 0)[:, None], (place < count - 1)[:, None]
        read &= (mask[:, :, 0] | inner) & (mask[:, :, 1] | outer)
    else:
        demand(
            plan["off"][: count.max()] == np.arange(count.max()) * plan["across"], plan, "a tile's places are others"
        )
    check_reads(plan, address, read, pixels)
    if plan["copied"]:
        # Only the rows that the outputs' own rows reach are copied.
        there = address // plan["PW"]
        lowest, highest = begin + plan["lowest"], begin + plan["highest"]
        demand(~read | ((there >= lowest[:, None]) & (there <= highest[:, None])), plan, "a row is read but not copied")
    if plan["compact"]:
        demand(address == flat[:, None], plan, "outputs are not where the copy of single taps has them")


def check_weights(plan: Plan) -> None:
    """A weight gradient: every output under every tap, as rows of taps, single taps or the padded image have them."""
    H, W = plan["target"][1:]
    _, height, width = plan["source"]
    p = plan["phases"][0]
    demand(p["tap"] == np.arange(plan["filters"][2] * plan["filters"][3]), plan, "taps are in another order")
    Y, Z = np.divmod(np.arange(H * W), W)
    chosen = sample(plan, Y, len(p["tap"]))
    Y, Z = Y[chosen], Z[chosen]
    pixels = pixels_of(plan, p["tap"], Y, Z)
    address = plan["off"][Y * W + Z][:, None] + p["table"]
    read = np.ones(address.shape, bool)
    if plan["by_tap"]:
        # Outputs from `top` to `bottom` and from `left` to `right` have a pixel under a tap.
        row, down, across = p["row"], plan["down"], plan["across"]
        column = p["table"] - row * plan["PW"]
        top, bottom = -(row // down), (height - 1 - row) // down + 1
        left, right = -(column // across), (width - 1 - column) // across + 1
        read = (Y[:, None] >= top) & (Y[:, None] < bottom) & (Z[:, None] >= left) & (Z[:, None] < right)
        demand(plan["off"][Y * W + Z] == Y * down * plan["PW"] + Z * across, plan, "an output begins elsewhere")
        check_side(plan, p)
    check_reads(plan, address, read, pixels)


def check_windows(plan: Plan) -> None:
    """A weight gradient over listed outputs: every window of every output, in the copy of the image that it lies in."""
    apart = 2 if plan["pass"] == "pooled_gradients" else 1
    (_, _, FH, FW), columns = plan["filters"], plan["target"][2] // apart
    base, rows = np.asarray(plan["base"], np.intp), np.asarray(plan["row"], np.intp)
    demand(rows.reshape(-1, FH) == rows[:FH] + np.arange(plan["C"])[:, None] * plan["plane"], plan, "channels overlap")
    # The second copy begins `half` values into the image.
    start = np.where(base >= plan["copy"], base - plan["copy"] + plan["half"], base)
    Y, Z = np.divmod(np.arange(len(base)), max(columns, 1))
    chosen = sample(plan, Y, FH * FW)
    for down, across in np.ndindex(apart, apart):
        y, z = Y[chosen] * apart + down, Z[chosen] * apart + across
        first = start[chosen] + down * plan["pool_down"] + across * plan["pool_across"]
        address = (first[:, None, None] + rows[:FH, None] + np.arange(FW)).reshape(len(y), FH * FW)
        check_reads(plan, address, np.ones(address.shape, bool), pixels_of(plan, np.arange(FH * FW), y, z))


def check_pixels(plan: Plan) -> None:
    """Lanes of pixels: every vector, and every output under every tap."""
    (_, H, W), lanes = plan["target"], plan["lanes"]
    written = np.zeros((H, W), int)
    for s, p in enumerate(plan["phases"]):
        a, b = divmod(s, plan["tw"])
        height, width = len(range(a, H, plan["th"])), len(range(b, W, plan["tw"]))
        if height == 0 or width == 0:
            demand(len(p["where"]) == 0, plan, "a pass without outputs has vectors")
            continue
        if plan["in_rows"]:
            place = p["to"][:, None] + np.arange(lanes)
            Y, Z = np.divmod(place, W)
            demand((place >= 0) & (place < H * W), plan, "a vector is stored beyond the image")
            demand(Y == Y[:, :1], plan, "a vector is stored in two rows")
            written[np.unique(place) // W, np.unique(place) % W] += 1
            address = p["where"][:, None] + np.arange(lanes)
        else:
            demand(p["where"] == np.arange(len(p["where"])) * lanes, plan, "vectors have gaps")
            demand(p["to"] == p["where"], plan, "a vector is stored elsewhere")
            demand(
                len(p["where"]) * lanes >= (height - 1) * plan["pitch"] + width, plan, "vectors end before the outputs"
            )
            demand(len(p["where"]) * lanes <= plan["strip"], plan, "vectors are stored beyond the strip")
            Y, Z = np.meshgrid(np.arange(a, H, plan["th"]), np.arange(b, W, plan["tw"]), indexing="ij")
            written[Y, Z] += 1
            address = (np.arange(height) * plan["pitch"])[:, None] + np.arange(width)
        Y, Z, address = Y.ravel(), Z.ravel(), address.ravel()
        chosen = sample(plan, Y, len(p["tap"]))
        Y, Z, address = Y[chosen], Z[chosen], address[chosen]
        pixels = check_taps(plan, p["tap"], Y, Z)
        check_phases(plan, address[:, None] + p["table"], pixels)
        # Whole vectors are read, outputs in the gaps between rows too.
        last = max(p["where"], default=0) + lanes - 1 + max(p["table"], default=0)
        demand(last < plan["plane"] + plan["spare"], plan, "a vector is read beyond the copy")
    demand(written == 1, plan, "an output is not written exactly once")


def check_phases(plan: Plan, address: Ints, pixels: tuple[Ints, Ints, Any]) -> None:
    """Compare addresses in an image whose rows and columns are split by phases with the formula's pixels."""
    y, z, _ = pixels
    inside = within(plan, y, z)
    demand((address >= 0) & (address < plan["plane"]), plan, "a tap reads beyond the image or its copy")
    if plan["in_place"]:
        row, column = np.divmod(address, plan["source"][2])
        demand(inside, plan, "padding is read from an image that has none")
    else:
        phase, place = np.divmod(address, plan["split_rows"] * plan["pitch"])
        row, column = np.divmod(place, plan["pitch"])
        row = row * plan["sh"] + phase // plan["sw"] - plan["top"]
        column = column * plan["sw"] + phase % plan["sw"] - plan["left"]
    demand(~inside | ((row == y) & (column == z)), plan, "a tap reads another pixel than its own")
    demand(inside | ~within(plan, row, column), plan, "a tap reads a pixel where padding should be")


def check_product(plan: Plan) -> None:
    """Check a plan of `cconv.kernels.gemm`.

    Parameters
    ----------
    plan : dict
        What `cconv.kernels.gemm.plan` returns.

    Raises
    ------
    RuntimeError
        If chunks leave out or repeat a step, if a value of the result is not written exactly once, or if tiles or
        copies are larger than their room.
    """
    (rows, K), (_, columns), (a_transposed, b_transposed) = plan["source"], plan["filters"], plan["steps"]
    lanes, chunk, tiles = plan["lanes"], plan["chunk"], plan["tiles"]
    steps = (1, rows) if a_transposed else (K, 1)
    demand((plan["row_step"], plan["k_step"]) == steps, plan, "the left factor is read in another order")
    demand(plan["b_step"] == (K if b_transposed else columns), plan, "the right factor is read in another order")
    demand(
        0 < chunk <= plan["longest"] and chunk * (plan["chunks"] - 1) < K <= chunk * plan["chunks"], plan, "chunks of K"
    )
    row, P, first, V, most, part, _ = tiles.T
    demand((1 <= P) & (P <= most) & (1 <= V) & (V <= plan["most_vectors"]), plan, "a tile has a size of its own")
    written = np.zeros((rows + 1, plan["vectors"] + 1), int)  # differences; their sums count
    for at, sign in ((row, 1), (row + P, -1)):
        np.add.at(written, (at, first // lanes), sign)
        np.add.at(written, (at, first // lanes + V), -sign)
    count = written.cumsum(0).cumsum(1)[:rows, : plan["vectors"]]
    demand(count == 1, plan, "a value of the result is not written exactly once")
    demand((plan["vectors"] - 1) * lanes < columns <= plan["vectors"] * lanes, plan, "vectors do not hold the columns")
    if plan["few"]:
        in_place = columns >= lanes and not a_transposed and not b_transposed
        demand(in_place, plan, "the right factor cannot be read in place")
        return
    most = np.bincount(part, weights=P * (first == 0)).max()
    demand(most <= plan["most_rows"], plan, "a part has too many rows")
    demand(plan["strip"] >= (P * V * lanes).max(), plan, "a strip has no room for a tile")
    packed = plan["vectors"] * lanes if plan["whole"] else V.max() * lanes
    demand(plan["right"] >= chunk * packed + lanes, plan, "the right factor's copy has no room")
    demand(
        plan["apart"] >= plan["strip"] + plan["right"] + a_transposed * (chunk * most + lanes), plan, "copies overlap"
    )
    demand(plan["step"] == columns or plan["step"] == plan["vectors"] * lanes, plan, "rows of sums have another length")
    if plan["step"] > columns and not plan["by_chunks"]:
        demand(plan["private"] >= plan["apart"] + most * plan["step"], plan, "sums have no room")
