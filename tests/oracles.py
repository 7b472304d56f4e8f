"""Plain NumPy twins of the compiled operations: slow, short, obviously right, in float64."""

import functools
import hashlib
import itertools
import math
import statistics

import numpy as np


def remembered(oracle):
    """Compute once what several CPU levels and numbers of threads are compared with: most of the tests' time."""
    known = {}

    @functools.wraps(oracle)
    def recall(*args):
        arrays = [np.ascontiguousarray(arg) for arg in args if isinstance(arg, np.ndarray)]
        digests = [(array.shape, array.dtype.str, hashlib.sha256(array).digest()) for array in arrays]
        key = *digests, *(None if isinstance(arg, np.ndarray) else arg for arg in args)
        if key not in known:
            known[key] = oracle(*args)
            for array in known[key] if isinstance(known[key], tuple) else [known[key]]:
                array.flags.writeable = False
        return known[key]

    return recall


def windows(x, filter_h, filter_w, stride, pad, dilation, fill=0.0):
    """Yield ((y, z), window) with window of shape (N, C, FH, FW); pad is ((top, bottom), (left, right))."""
    (sh, sw), (dh, dw) = stride, dilation
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *pad), constant_values=fill)
    tall, wide = dh * (filter_h - 1) + 1, dw * (filter_w - 1) + 1
    for y, z in itertools.product(range((x.shape[2] - tall) // sh + 1), range((x.shape[3] - wide) // sw + 1)):
        yield (y, z), x[:, :, y * sh : y * sh + tall : dh, z * sw : z * sw + wide : dw]


def output_shape(x, filter_h, filter_w, stride, pad, dilation):
    (top, bottom), (left, right) = pad
    return (
        (x.shape[2] + top + bottom - dilation[0] * (filter_h - 1) - 1) // stride[0] + 1,
        (x.shape[3] + left + right - dilation[1] * (filter_w - 1) - 1) // stride[1] + 1,
    )


def im2col(x, filter_h, filter_w, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1)):
    columns = [w.reshape(len(x), -1) for _, w in windows(x, filter_h, filter_w, stride, pad, dilation)]
    return np.stack(columns, axis=1).reshape(-1, x.shape[1] * filter_h * filter_w)


@remembered
def convolution(x, W, b=None, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    W = np.asarray(W, np.float64)
    filters, channels, filter_h, filter_w = W.shape
    out = np.empty((len(x), filters, *output_shape(x, filter_h, filter_w, stride, pad, dilation)))
    W = W.reshape(groups, filters // groups, channels, filter_h, filter_w)
    for (y, z), window in windows(x, filter_h, filter_w, stride, pad, dilation):
        window = window.reshape(len(x), groups, channels, filter_h, filter_w)
        out[:, :, y, z] = np.einsum("ngcij,gfcij->ngf", window, W).reshape(len(x), filters)
    return out if b is None else out + np.asarray(b, np.float64)[:, None, None]


@remembered
def convolution_backward(dout, x, W, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """Return dx, dW, db, each sum written out: a window's gradient is dout times the filters."""
    W = np.asarray(W, np.float64)
    dout = np.asarray(dout, np.float64)
    filters, channels, filter_h, filter_w = W.shape
    (top, bottom), (left, right) = pad
    grouped = W.reshape(groups, filters // groups, channels, filter_h, filter_w)
    padded = np.zeros((*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right))
    dW = np.zeros_like(grouped)
    (sh, sw), (dh, dw) = stride, dilation
    for (y, z), window in windows(x, filter_h, filter_w, stride, pad, dilation):
        d = dout[:, :, y, z].reshape(len(x), groups, -1)
        window = window.reshape(len(x), groups, channels, filter_h, filter_w)
        dW += np.einsum("ngf,ngcij->gfcij", d, window)
        rows = slice(y * sh, y * sh + dh * (filter_h - 1) + 1, dh)
        columns = slice(z * sw, z * sw + dw * (filter_w - 1) + 1, dw)
        padded[:, :, rows, columns] += np.einsum("ngf,gfcij->ngcij", d, grouped).reshape(len(x), -1, filter_h, filter_w)
    dx = padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return dx, dW.reshape(W.shape), dout.sum(axis=(0, 2, 3))


@remembered
def transposed_convolution(x, W, b=None, stride=(1, 1), pad=((0, 0), (0, 0)), dilation=(1, 1), groups=1, more=(0, 0)):
    """Every pixel adds its filters to the output where it lies; then the pad is cut off."""
    x, W = np.asarray(x, np.float64), np.asarray(W, np.float64)
    channels, filters, *size = W.shape
    spans = [d * (f - 1) + 1 for f, d in zip(size, dilation, strict=True)]
    shape = [(n - 1) * s + span + m for n, s, span, m in zip(x.shape[2:], stride, spans, more, strict=True)]
    full = np.zeros((len(x), groups, filters, *shape))
    grouped, W = x.reshape(len(x), groups, channels // groups, *x.shape[2:]), W.reshape(groups, -1, filters, *size)
    for y, z in itertools.product(*map(range, x.shape[2:])):
        top, left = y * stride[0], z * stride[1]
        place = slice(top, top + spans[0], dilation[0]), slice(left, left + spans[1], dilation[1])
        full[:, :, :, *place] += np.einsum("ngc,gcfij->ngfij", grouped[:, :, :, y, z], W)
    (top, bottom), (left, right) = pad
    out = full.reshape(len(x), -1, *shape)[:, :, top : shape[0] - bottom, left : shape[1] - right]
    return out if b is None else out + np.asarray(b, np.float64)[:, None, None]


def max_pool(x, window, stride, pad, dilation):
    """Return the maxima and the position of the first one in each window."""
    shape = (*x.shape[:2], *output_shape(x, *window, stride, pad, dilation))
    out, argmax = np.empty(shape), np.empty(shape, int)
    for (y, z), values in windows(x, *window, stride, pad, dilation, fill=-np.inf):
        flat = values.reshape(*x.shape[:2], -1)
        out[:, :, y, z], argmax[:, :, y, z] = flat.max(axis=2), flat.argmax(axis=2)
    return out, argmax


def average_pool(x, window, stride, pad):
    out = np.empty((*x.shape[:2], *output_shape(x, *window, stride, pad, (1, 1))))
    for (y, z), values in windows(x, *window, stride, pad, (1, 1)):
        out[:, :, y, z] = values.mean(axis=(2, 3))
    return out


def logistic(x):
    decay = np.exp(-np.abs(x))
    return np.where(x < 0, decay, 1) / (1 + decay)


def normal(x):
    """The standard normal distribution function and its density."""
    share = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.ravel().astype(float)]).reshape(x.shape)
    return share, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_argument(x):
    return 2 * np.sqrt(np.longdouble(2) / np.longdouble(np.pi)) * (x + np.longdouble("0.044715") * x**3)


def gelu_tanh_slope(x):
    s, slope = logistic(gelu_argument(x)), 2 * np.sqrt(2 / np.longdouble(np.pi)) * (1 + 3 * 0.044715 * x**2)
    return s + x * s * logistic(-gelu_argument(x)) * slope


# An activation has its row here, and no other in the tests: settings; the function and its derivative at x, in extended
# precision where there is one; and its values and gradients at inf, -inf, nan, 0, -0, 1e20, -1e20. A name ends in what
# tells two rows of one activation apart.
INF, NAN = math.inf, math.nan
ACTIVATIONS = {
    "relu": (
        {},
        lambda x: np.maximum(x, 0),
        lambda x: x > 0,
        ([INF, 0, NAN, 0, 0, 1e20, 0], [1, 0, 1, 0, 0, 1, 0]),
    ),
    "leaky_relu": (
        {"negative_slope": 0.2},
        lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
        lambda x, negative_slope: np.where(x > 0, 1, negative_slope),
        ([INF, -INF, NAN, 0, 0, 1e20, -2e19], [1, 0.2, 0.2, 0.2, 0.2, 1, 0.2]),
    ),
    "elu": (
        {"alpha": 1.5},
        lambda x, alpha=1: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda x, alpha=1: np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),
        ([INF, -1.5, NAN, 0, 0, 1e20, -1.5], [1, 0, NAN, 1.5, 1.5, 1, 0]),
    ),
    "gelu": (
        {},
        lambda x: x * normal(x)[0],
        lambda x: normal(x)[0] + x * normal(x)[1],
        ([INF, NAN, NAN, 0, 0, 1e20, 0], [NAN, NAN, NAN, 0.5, 0.5, 1, 0]),
    ),
    "gelu_tanh": (
        {"approximate": "tanh"},
        lambda x, approximate: x * logistic(gelu_argument(x)),
        lambda x, approximate: gelu_tanh_slope(x),
        ([INF, NAN, NAN, 0, 0, 1e20, 0], [NAN, NAN, NAN, 0.5, 0.5, 1, 0]),
    ),
    "silu": (
        {},
        lambda x: x * logistic(x),
        lambda x: logistic(x) * (1 + x * logistic(-x)),
        ([INF, NAN, NAN, 0, 0, 1e20, 0], [NAN, NAN, NAN, 0.5, 0.5, 1, 0]),
    ),
    "sigmoid": (
        {},
        logistic,
        lambda x: logistic(x) * logistic(-x),
        ([1, 0, NAN, 0.5, 0.5, 1, 0], [0, 0, NAN, 0.25, 0.25, 0, 0]),
    ),
    "tanh": (
        {},
        np.tanh,
        lambda x: 1 - np.tanh(x) ** 2,
        ([1, -1, NAN, 0, 0, 1, -1], [0, 0, NAN, 1, 1, 0, 0]),
    ),
    "softplus": (
        {"beta": 0.7, "threshold": 3.0},
        lambda x, beta=1, threshold=20: np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta),
        lambda x, beta=1, threshold=20: np.where(beta * x > threshold, 1, logistic(beta * x)),
        ([INF, 0, NAN, np.log(2) / 0.7, np.log(2) / 0.7, 1e20, 0], [1, 0, NAN, 0.5, 0.5, 1, 0]),
    ),
    "hard_swish": (
        {},
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)),
        ([INF, NAN, NAN, 0, 0, 1e20, 0], [1, 0, NAN, 0.5, 0.5, 1, 0]),
    ),
}


def door_of(row):
    """The name of the operation that a row of `ACTIVATIONS` is of."""
    return row.removesuffix("_tanh")


def normalization(x, gamma, beta, axes, eps, mean=None, var=None):
    """Return the output, mean and variance over the axes; gamma and beta stand beside x as NumPy broadcasts them."""
    x = np.asarray(x, np.float64)
    mean = x.mean(axes, keepdims=True) if mean is None else mean
    var = x.var(axes, keepdims=True) if var is None else var
    return gamma * (x - mean) / np.sqrt(var + eps) + beta, mean, var


def normalization_backward(dout, x, gamma, axes, eps, mean=None, var=None):
    """Return dx, and the terms of dgamma and dbeta that are left to be added up."""
    dout, fixed = np.asarray(dout, np.float64), mean is not None
    y, mean, var = normalization(x, 1.0, 0.0, axes, eps, mean, var)
    g = dout * gamma
    if not fixed:
        g = g - g.mean(axes, keepdims=True) - y * (g * y).mean(axes, keepdims=True)
    return g / np.sqrt(var + eps), dout * y, dout


def philox(counter, key):
    """Seven rounds of Philox4x32 on Python integers: four words of a counter, two of a key."""
    mask = 2**32 - 1
    for _ in range(7):
        a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = b >> 32 ^ counter[1] ^ key[0], b & mask, a >> 32 ^ counter[3] ^ key[1], a & mask
        key = key[0] + 0x9E3779B9 & mask, key[1] + 0xBB67AE85 & mask
    return counter


def halves(number):
    return number & 2**32 - 1, number >> 32


def random_words(size, key, draw):
    """The first words of a draw; 16 counters give 64 words, those of one counter 16 apart."""
    groups = -(-size // 64)
    blocks = [philox((*halves(block), *halves(draw)), halves(key)) for block in range(16 * groups)]
    return np.array(blocks, np.uint64).reshape(groups, 16, 4).transpose(0, 2, 1).ravel()[:size]


def dropout_mask(size, ratio, key, draw):
    """Which values of a row are kept."""
    return random_words(size, key, draw) >= ratio * 2**32


# ---- augmentation


def four_uniform(key, indices):
    """Four numbers between 0 and 1 for each index."""
    words = [philox((0, 0, *halves(int(index))), halves(key)) for index in indices]
    return (np.array(words, float).reshape(-1, 4) + 0.5) / 2**32


def normal_noise(size, key, index):
    """Normal numbers of an index: the quantiles of 24 bits."""
    words = random_words(size, key, int(index)).astype(np.int64) >> 8
    quantile = statistics.NormalDist().inv_cdf
    return np.array([quantile((word + 0.5) / 2**24) for word in words.tolist()])


def elastic_fields(size, sigma, amplitude, key, index):
    """Fields (2, height, width): noise on nodes, smoothed by a Gaussian that is cut off behind seven of them."""
    step, tables = max(sigma, 1.0), []
    for length in size:
        count = int((length - 1) / step) + 7
        table = np.zeros((length, count))
        for place in range(length):
            for node in range(int(place / step), int(place / step) + 7):
                table[place, node] = np.exp(-0.5 * ((place - (node - 3) * step) / sigma) ** 2)
        taps = np.exp(-0.5 * (np.arange(-9, 10) * step / sigma) ** 2)
        energy = (taps**2).sum() / (step * taps.sum() ** 2)  # the sum of squares of a Gaussian's values at all pixels
        tables.append(table * np.sqrt(energy / (table**2).sum(axis=1, keepdims=True)))
    rows, columns = tables
    words = random_words(2 * rows.shape[1] * columns.shape[1], key, int(index)).astype(np.uint32).view(np.int32)
    noise = words.reshape(columns.shape[1], 2, rows.shape[1]) / 2**31
    return amplitude * np.einsum("yk,jfk,zj->fyz", rows, noise, columns)


def on_image(c, length, border):
    """Coordinates of an axis, brought to where pixels are, or one pixel beside."""
    last = length - 1
    if border == "reflect":
        c = np.abs(c) % (2 * last) if last else np.zeros_like(c)
        c = np.where(c > last, 2 * last - c, c)
    low, high = (0, last) if isinstance(border, str) else (-1, length)
    return np.clip(np.where(np.isnan(c), low, c), low, high)


def warped(x, maps, size, border, nearest, fields=None):
    """The images (N, C, *size) that maps (N, 2, 3) show; border is a value, 'edge' or 'reflect'."""
    out = np.empty((*x.shape[:2], *size))
    fill = 0.0 if isinstance(border, str) else border
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (1, 2), (1, 2)), constant_values=fill)
    for n, image in enumerate(padded):
        places = np.indices(size).astype(float)
        if fields is not None:
            places += fields[n]
        with np.errstate(over="ignore", invalid="ignore"):
            c = np.tensordot(maps[n][:, :2], places, 1) + maps[n][:, 2, None, None]
            c = [on_image(axis, length, border) for axis, length in zip(c, x.shape[2:], strict=True)]
        if nearest:
            c = [np.floor(axis + 0.5) for axis in c]
        (y, z), (wy, wz) = zip(*((np.floor(axis).astype(int) + 1, axis - np.floor(axis)) for axis in c), strict=True)
        top = (1 - wz) * image[:, y, z] + wz * image[:, y, z + 1]
        bottom = (1 - wz) * image[:, y + 1, z] + wz * image[:, y + 1, z + 1]
        out[n] = (1 - wy) * top + wy * bottom
    return out
