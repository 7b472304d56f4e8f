"""Images changed at random: moved, distorted, made brighter, noisy or mixed, one sample a piece of work."""

# Arrays are NCHW, of uint8, float32 or float64; one sample n is one piece. All that is random about it is a function of
# a key of 64 bits, of the sample's index and of a number: the words of philox.pxd, with the index for the draw. So a
# sample's result depends on neither the batch that it is in nor the threads.
#
# Geometry. All steps that move pixels are one map from an output pixel o = (y, z) to the point in the image that it
# shows, six numbers for each sample:
#
#     s = A (o + d(o)) + b           A = [m0 m1; m3 m4], b = [m2, m5]
#
# `move` makes it: to the map T of what came before, another step with its own output o, about the centres c of its
# input and c' of its output, adds  T(o) <- T(L (o - c') + c + offset).  d is 0 but where an elastic distortion ends the
# chain (below). A sample whose map is the identity is copied.
#
# An output is mixed, bilinearly, out of the four pixels around s, with weights (1-wy, wy) x (1-wx, wx), first along the
# rows; or it is the pixel nearest to s. A pixel beside the image is `fill`; or s is first moved onto the image's border
# (EDGE), or reflected at the centres of its outermost pixels until it lies inside (REFLECT). Where s falls on a pixel,
# that pixel is copied, as flips and crops need; elsewhere a NaN or an infinity among the four makes the output one,
# however small its weight. Points are computed in double precision, a row of outputs at a time, once for all channels,
# values in float for uint8 and float32. Points beyond all bounds, as of a zoom to nothing, are moved to the border
# before they become integers, and a NaN among them too.
#
# Elastic distortion (Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual
# document analysis", ICDAR 2003): d is noise, uniform from -1 to 1, smoothed by a Gaussian of standard deviation sigma
# and multiplied by alpha. Noise for each pixel would be smoothed away again, so it stands on a grid of nodes that are
# sigma apart (one pixel at least), and a point sums that of the nodes around it, rows and columns apart:
#
#     d = amplitude * R Z K'         Z noise (nodes down x nodes across), R and K the weights of rows and columns
#
# of which TAPS in a row are not 0. The caller scales them so that the variance is that of noise for each pixel; the
# covariance over a distance, exp(-distance^2 / (4 sigma^2)), differs from that by less than a part in a thousand.
#
# Values. `change` computes  factor * x + more  for each value, clipped to a range:
#
#     MULTIPLY     factor * x
#     CONTRAST     factor * x + (1 - factor) * mean of the sample
#     MIX          factor * x + (1 - factor) * x of a partner
#     NOISE        x + factor * normal noise
#
# A factor that changes nothing, 1 or for noise 0, copies the sample. Normal noise is sqrt(2) * erfinv(u) of a uniform u
# between -1 and 1, of 24 bits, by the single-precision polynomials of Giles ("Approximating the erfinv function", GPU
# Computing Gems 2, 2011). A result for uint8 is clipped to 0 to 255 and rounded, halves up.

cimport numpy as cnp
from cython cimport floating
from libc.math cimport cos, fabs, fmod, sin, tan
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.division cimport ceil_div, round_up
from cconv.kernels.vector.philox cimport random_words
from cconv.kernels.vector.vmath cimport erfinv_float

from cconv.kernels.runtime._memory import empty

cnp.import_array()

ctypedef fused pixel:
    uint8_t
    float
    double

cdef enum:
    BLOCKS = 16  # of random words, which are drawn side by side
    GROUP = 4 * BLOCKS
    ALIGNMENT = 64  # bytes
    TAPS = 7  # nodes, at most, that a point sums

cdef enum Kind:
    SHIFT, ROTATE, SCALE, STRETCH, SHEAR, FLIP, CROP

cdef enum Border:
    FILL, EDGE, REFLECT

cdef enum Rule:
    MULTIPLY, CONTRAST, MIX, NOISE

cdef struct Nodes:
    Py_ssize_t count              # nodes of an axis
    const int32_t* first          # (points,) the first node of each
    const float* weights          # (points, TAPS)

cdef struct Warp:
    int type
    const char* x                 # (N, C, H, W)
    char* out                     # (N, C, OH, OW)
    char* scratch
    Py_ssize_t private            # bytes of it for each thread, and of its parts: see Room
    Py_ssize_t row, field, noise, column
    Py_ssize_t itemsize, C, H, W, OH, OW
    const double* maps            # (N, 6)
    Border border
    bint nearest
    double fill
    const double* amplitude       # (N,), or NULL
    uint64_t key
    const int64_t* indices
    Nodes rows, columns

cdef struct Room:                 # a thread's scratch
    double* y                     # (OW,) coordinates of a row's points, and then the weights of the second neighbours
    double* x
    int32_t* first_y              # (OW,) the first neighbours
    int32_t* first_x
    float* dy                     # (OH, OW), or a row of zeros
    float* dx
    float* noise                  # (nodes across, fields, nodes down)
    float* column                 # (fields, nodes down)
    float* mixed                  # (fields, nodes down, OW)

cdef struct Change:
    int type
    const void* x
    void* out
    Py_ssize_t size               # of a sample
    Rule rule
    const double* factor          # (N,)
    double low, high
    const int64_t* partner        # (N,): for MIX
    uint64_t key                  # for NOISE, with the indices
    const int64_t* indices


cdef inline void put(pixel* out, floating value) noexcept nogil:
    if pixel is uint8_t:
        value = value if value > 0 else 0
        value = value if value < 255 else 255
        out[0] = <uint8_t><int>(value + <floating>0.5)
    else:
        out[0] = <pixel>value


# ---- random numbers and maps


cdef inline void draw(uint64_t key, int64_t index, double* u) noexcept nogil:
    """Four numbers between 0 and 1."""
    cdef uint32_t words[4]
    cdef int i
    random_words(key, <uint64_t>index, 0, 1, words)
    for i in range(4):
        u[i] = (words[i] + 0.5) * (1.0 / 4294967296.0)


def uniform(cnp.ndarray out, uint64_t key, cnp.ndarray indices, /):
    """Write four numbers between 0 and 1 for each index into out (N, 4)."""
    cdef double* u = <double*>cnp.PyArray_DATA(out)
    cdef const int64_t* index = <const int64_t*>cnp.PyArray_DATA(indices)
    cdef Py_ssize_t n
    for n in range(cnp.PyArray_SIZE(indices)):
        draw(key, index[n], u + 4 * n)


def move(cnp.ndarray maps, uint64_t key, cnp.ndarray indices, int kind, double probability, tuple ranges, tuple sizes,
         /):
    """Put a step before the maps (N, 6): what comes after it sees what it makes.

    ranges are (low, high) of the two numbers that it draws; sizes are (height, width) of its input and its output.
    """
    cdef double* m = <double*>cnp.PyArray_DATA(maps)
    cdef const int64_t* index = <const int64_t*>cnp.PyArray_DATA(indices)
    cdef double low0, high0, low1, high1, a, b, c, d, v, w, y, x, H, W, OH, OW
    cdef double u[4]
    cdef Py_ssize_t n
    (low0, high0), (low1, high1) = ranges
    (H, W), (OH, OW) = sizes
    for n in range(cnp.PyArray_SIZE(indices)):
        draw(key, index[n], u)
        if u[0] >= probability:
            m += 6
            continue
        v, w = low0 + (high0 - low0) * u[1], low1 + (high1 - low1) * u[2]
        a, b, c, d, y, x = 1, 0, 0, 1, 0, 0
        if kind == SHIFT:
            y, x = -v, -w
        elif kind == ROTATE:
            a = d = cos(v)
            b = sin(v)
            c = -b
        elif kind == SCALE:
            a = d = 1 / v
        elif kind == STRETCH:
            a, d = 1 / v, 1 / w
        elif kind == SHEAR:
            b, c = tan(v), tan(w)
        elif kind == FLIP:
            a, d = -1 if u[1] < low0 else 1, -1 if u[2] < low1 else 1
        else:
            # The output's first pixel is one of the image's, or of its border's.
            y = low0 + <double><int64_t>((high0 - low0) * u[1]) - (H - OH) / 2
            x = low1 + <double><int64_t>((high1 - low1) * u[2]) - (W - OW) / 2
        y += (H - 1) / 2 - a * ((OH - 1) / 2) - b * ((OW - 1) / 2)
        x += (W - 1) / 2 - c * ((OH - 1) / 2) - d * ((OW - 1) / 2)
        m[2] += m[0] * y + m[1] * x
        m[0], m[1] = m[0] * a + m[1] * c, m[0] * b + m[1] * d
        m[5] += m[3] * y + m[4] * x
        m[3], m[4] = m[3] * a + m[4] * c, m[3] * b + m[4] * d
        m += 6


# ---- geometry


cdef void blend(const float* rows, Py_ssize_t step, const float* w, float* out, Py_ssize_t count) noexcept nogil:
    """Write the sum of TAPS rows, each times its weight."""
    cdef Py_ssize_t z
    for z in range(count):
        out[z] = (((w[0] * rows[z] + w[1] * rows[step + z]) + (w[2] * rows[2 * step + z] + w[3] * rows[3 * step + z]))
                  + ((w[4] * rows[4 * step + z] + w[5] * rows[5 * step + z]) + w[6] * rows[6 * step + z]))


cdef void distort(Warp* job, Py_ssize_t n, Room* room) noexcept nogil:
    """Write the fields of a sample."""
    cdef Py_ssize_t nodes = job.rows.count, both = 2 * nodes, g, i, y, z
    cdef float amplitude = <float>(job.amplitude[n] / 2147483648.0)
    cdef uint32_t words[GROUP]
    # Noise, and its sums over columns: the nodes down, of both fields, are neighbours there, and a row of nodes here.
    for g in range(ceil_div(both * job.columns.count, GROUP)):
        random_words(job.key, <uint64_t>job.indices[n], g * BLOCKS, BLOCKS, words)
        for i in range(GROUP):
            room.noise[g * GROUP + i] = amplitude * <float><int32_t>words[i]
    for z in range(job.OW):
        blend(room.noise + job.columns.first[z] * both, both, job.columns.weights + z * TAPS, room.column, both)
        for i in range(both):
            room.mixed[i * job.OW + z] = room.column[i]
    for y in range(job.OH):
        i = job.rows.first[y]
        blend(room.mixed + i * job.OW, job.OW, job.rows.weights + y * TAPS, room.dy + y * job.OW, job.OW)
        blend(room.mixed + (nodes + i) * job.OW, job.OW, job.rows.weights + y * TAPS, room.dx + y * job.OW, job.OW)


cdef void locate(Warp* job, double* s, int32_t* first, Py_ssize_t size) noexcept nogil:
    """Find the first neighbour of each coordinate of a row; the second one's weight replaces the coordinate."""
    cdef double low = 0, high = size - 1, last = size - 1, t, whole
    cdef Py_ssize_t z, count = job.OW
    cdef bint nearest = job.nearest
    if job.border == FILL:
        low, high = -1, size
    elif job.border == REFLECT:
        for z in range(count):
            if not 0 <= s[z] <= last:
                t = fmod(fabs(s[z]), 2 * last)
                s[z] = 2 * last - t if t > last else t
    for z in range(count):
        t = s[z] if s[z] > low else low
        t = t if t < high else high
        whole = <double><int32_t>(t + 1.5) - 1
        t = whole if nearest else t
        first[z] = <int32_t>(t + 1) - 1
        s[z] = t - first[z]


cdef inline floating at(const pixel* image, Py_ssize_t y, Py_ssize_t x, Py_ssize_t H, Py_ssize_t W,
                        floating fill) noexcept nogil:
    return <floating>image[y * W + x] if 0 <= y < H and 0 <= x < W else fill


cdef void mix_row(const pixel* image, pixel* out, Warp* job, Room* room, floating fill) noexcept nogil:
    cdef Py_ssize_t z, y, x, H = job.H, W = job.W
    cdef const int32_t* first_y = room.first_y
    cdef const int32_t* first_x = room.first_x
    cdef const double* weight_y = room.y
    cdef const double* weight_x = room.x
    cdef floating p, q, r, s, wy, wx
    cdef const pixel* near
    for z in range(job.OW):
        y, x = first_y[z], first_x[z]
        wy, wx = <floating>weight_y[z], <floating>weight_x[z]
        if wy == 0 and wx == 0:
            p = at(image, y, x, H, W, fill)
        else:
            if <size_t>y < <size_t>(H - 1) and <size_t>x < <size_t>(W - 1):
                near = image + y * W + x
                p, q, r, s = near[0], near[1], near[W], near[W + 1]
            else:
                p, q = at(image, y, x, H, W, fill), at(image, y, x + 1, H, W, fill)
                r, s = at(image, y + 1, x, H, W, fill), at(image, y + 1, x + 1, H, W, fill)
            p += wx * (q - p)
            r += wx * (s - r)
            p += wy * (r - p)
        put(out + z, p)


cdef inline bint is_identity(Warp* job, const double* m) noexcept nogil:
    return (job.OH == job.H and job.OW == job.W and m[0] == 1 and m[1] == 0 and m[2] == 0 and m[3] == 0 and m[4] == 1
            and m[5] == 0)


cdef void coordinates(const double* m, double y, const float* dy, const float* dx, double* s, double* r,
                      Py_ssize_t count) noexcept nogil:
    """Write which points of the image a row of outputs shows."""
    cdef double a = m[0], b = m[1], top = m[2], c = m[3], d = m[4], left = m[5], v, w
    cdef Py_ssize_t z
    for z in range(count):
        v, w = y + dy[z], <int32_t>z + dx[z]
        s[z] = a * v + b * w + top
        r[z] = c * v + d * w + left


cdef void warp_sample(Warp* job, Py_ssize_t n, Room* room) noexcept nogil:
    cdef Py_ssize_t y, c, offset, area = job.H * job.W, out_area = job.OH * job.OW, step = 0
    cdef const double* m = job.maps + 6 * n
    cdef const char* image = job.x + n * job.C * area * job.itemsize
    cdef char* out = job.out + n * job.C * out_area * job.itemsize
    if job.amplitude != NULL and job.amplitude[n] != 0:
        distort(job, n, room)
        step = job.OW
    elif is_identity(job, m):
        memcpy(out, image, job.C * area * job.itemsize)
        return
    else:
        memset(room.dy, 0, job.OW * sizeof(float))
        memset(room.dx, 0, job.OW * sizeof(float))
    for y in range(job.OH):
        coordinates(m, y, room.dy + y * step, room.dx + y * step, room.y, room.x, job.OW)
        locate(job, room.y, room.first_y, job.H)
        locate(job, room.x, room.first_x, job.W)
        for c in range(job.C):
            offset = c * out_area + y * job.OW
            if job.type == cnp.NPY_UINT8:
                mix_row(<const uint8_t*>image + c * area, <uint8_t*>out + offset, job, room, <float>job.fill)
            elif job.type == cnp.NPY_FLOAT:
                mix_row(<const float*>image + c * area, <float*>out + offset, job, room, <float>job.fill)
            else:
                mix_row(<const double*>image + c * area, <double*>out + offset, job, room, job.fill)


cdef void warp_samples(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Warp* job = <Warp*>given
    cdef char* scratch = job.scratch + slot * job.private
    cdef Room room
    cdef Py_ssize_t n
    room.y, room.x = <double*>scratch, <double*>(scratch + job.row)
    room.first_y, room.first_x = <int32_t*>(scratch + 2 * job.row), <int32_t*>(scratch + 3 * job.row)
    scratch += 4 * job.row
    room.dy, room.dx = <float*>scratch, <float*>(scratch + job.field)
    scratch += 2 * job.field
    room.noise, room.column = <float*>scratch, <float*>(scratch + job.noise)
    room.mixed = <float*>(scratch + job.noise + job.column)
    while (n := take_piece(pieces, slot)) >= 0:
        warp_sample(job, n, &room)


cdef Nodes nodes_of(tuple table):
    cdef cnp.ndarray first = table[1], weights = table[2]
    return Nodes(table[0], <const int32_t*>cnp.PyArray_DATA(first), <const float*>cnp.PyArray_DATA(weights))


def warp(cnp.ndarray x, cnp.ndarray out, cnp.ndarray maps, int border, double fill, bint nearest, tuple elastic,
         int num_threads, /):
    """Write the images that maps (N, 6) show of x into out.

    elastic is None or (amplitude (N,), key, indices (N,), rows, columns), each of the last two the number of
    nodes, the first one of each point, and its TAPS weights.
    """
    cdef Warp job
    cdef cnp.ndarray amplitude, indices, scratch
    memset(&job, 0, sizeof(job))
    job.type, job.itemsize = cnp.PyArray_TYPE(x), x.itemsize
    job.x, job.out = <const char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out)
    job.C, job.H, job.W, job.OH, job.OW = x.shape[1], x.shape[2], x.shape[3], out.shape[2], out.shape[3]
    job.maps = <const double*>cnp.PyArray_DATA(maps)
    job.border, job.fill, job.nearest = <Border>border, fill, nearest
    if elastic is not None:
        amplitude, indices = elastic[0], elastic[2]
        job.amplitude, job.key = <const double*>cnp.PyArray_DATA(amplitude), elastic[1]
        job.indices = <const int64_t*>cnp.PyArray_DATA(indices)
        job.rows, job.columns = nodes_of(elastic[3]), nodes_of(elastic[4])
    job.row = round_up(job.OW * sizeof(double), ALIGNMENT)
    job.field = round_up((job.OH if elastic else 1) * job.OW * sizeof(float), ALIGNMENT)
    job.noise = round_up(2 * job.rows.count * job.columns.count, GROUP) * sizeof(float)
    job.column = round_up(2 * job.rows.count * sizeof(float), ALIGNMENT)
    job.private = 4 * job.row + 2 * job.field + job.noise + job.column
    job.private += round_up(2 * job.rows.count * job.OW * sizeof(float), ALIGNMENT)
    scratch = empty((job.private * num_threads,), "u1")
    job.scratch = <char*>cnp.PyArray_DATA(scratch)
    with nogil:
        run_job(warp_samples, &job, x.shape[0], num_threads)


# ---- values


cdef void normal(uint64_t key, int64_t index, Py_ssize_t group, float* noise) noexcept nogil:
    """Write the normal numbers of a group of words."""
    cdef uint32_t words[GROUP]
    cdef Py_ssize_t i
    random_words(key, <uint64_t>index, group * BLOCKS, BLOCKS, words)
    for i in range(GROUP):
        noise[i] = <float>(2 * <int32_t>(words[i] >> 8) + 1 - (1 << 24)) * <float>(1.0 / (1 << 24))
        noise[i] = <float>1.41421356 * erfinv_float(noise[i])


cdef double mean_of(const pixel* x, Py_ssize_t size) noexcept nogil:
    cdef double[4] sums = [0, 0, 0, 0]
    cdef Py_ssize_t i, j
    for i in range(0, size - size % 4, 4):
        for j in range(4):
            sums[j] += x[i + j]
    for i in range(size - size % 4, size):
        sums[0] += x[i]
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) / size


cdef void change_sample(const pixel* x, pixel* out, Change* job, Py_ssize_t n, floating low,
                        floating high) noexcept nogil:
    cdef Py_ssize_t size = job.size, g, j, count
    cdef const pixel* other = NULL
    cdef floating factor = <floating>job.factor[n], noise = 0, offset = 0, v
    cdef floating more[GROUP]
    cdef float random[GROUP]
    if job.rule == MIX:
        other = x + job.partner[n] * size
    x += n * size
    out += n * size
    if factor == (0 if job.rule == NOISE else 1):
        memcpy(out, x, size * sizeof(pixel))
        return
    if job.rule == NOISE:
        noise, factor = factor, 1
    elif job.rule == CONTRAST:
        offset = <floating>((1 - job.factor[n]) * mean_of(x, size))
    for j in range(GROUP):
        more[j] = offset
    for g in range(ceil_div(size, GROUP)):
        count = min(GROUP, size - g * GROUP)
        if job.rule == NOISE:
            normal(job.key, job.indices[n], g, random)
            for j in range(GROUP):
                more[j] = noise * random[j]
        elif job.rule == MIX:
            for j in range(count):
                more[j] = (1 - factor) * other[j]
            other += count
        for j in range(count):
            v = factor * x[j] + more[j]
            v = low if v < low else v
            v = high if v > high else v
            put(out + j, v)
        x += count
        out += count


cdef void change_samples(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Change* job = <Change*>given
    cdef Py_ssize_t n
    while (n := take_piece(pieces, slot)) >= 0:
        if job.type == cnp.NPY_UINT8:
            change_sample(<const uint8_t*>job.x, <uint8_t*>job.out, job, n, <float>job.low, <float>job.high)
        elif job.type == cnp.NPY_FLOAT:
            change_sample(<const float*>job.x, <float*>job.out, job, n, <float>job.low, <float>job.high)
        else:
            change_sample(<const double*>job.x, <double*>job.out, job, n, job.low, job.high)


def change(cnp.ndarray x, cnp.ndarray out, int rule, cnp.ndarray factor, double low, double high, cnp.ndarray partner,
           uint64_t key, cnp.ndarray indices, int num_threads, /):
    """Write x with other values into out; partner is for MIX, key and indices are for NOISE, and else not looked at."""
    cdef Py_ssize_t N = x.shape[0]
    cdef Change job = Change(cnp.PyArray_TYPE(x), cnp.PyArray_DATA(x), cnp.PyArray_DATA(out),
                             cnp.PyArray_SIZE(x) // N, <Rule>rule, <const double*>cnp.PyArray_DATA(factor), low,
                             high, <const int64_t*>cnp.PyArray_DATA(partner), key,
                             <const int64_t*>cnp.PyArray_DATA(indices))
    with nogil:
        run_job(change_samples, &job, N, num_threads)
