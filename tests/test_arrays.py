import pickle

import numpy as np
import pytest

from cconv._arrays import as_float, as_input, as_labels, is_ready, promote, with_weights

FLOATS = [np.float32, np.float64]


def awkward(x):
    """The same values in every layout that a kernel cannot take, and read-only."""
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    strided = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    strided[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "strided": strided,
        "reversed": x[..., ::-1].copy()[..., ::-1],
        "fortran": np.asfortranarray(x),
        "swapped": x.astype(x.dtype.newbyteorder()),
        "unaligned": unaligned,
        "read-only": read_only,
        "list": x.astype(np.float64).tolist(),
    }


@pytest.mark.parametrize("dtype", FLOATS)
def test_good_array_is_handed_on(dtype):
    x = np.ones((2, 3), dtype)
    assert is_ready(x)
    assert as_input(x, "x", 2) is x
    assert as_float(x, "x") is x
    x.flags.writeable = False
    assert as_input(x, "x") is x


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", awkward(np.ones((2, 3))))
def test_awkward_layouts_become_ready(dtype, layout):
    x = np.arange(12, dtype=dtype).reshape(3, 4)
    array = awkward(x)[layout]
    kept = array.copy() if isinstance(array, np.ndarray) else None
    result = as_input(array, "x", 2)
    assert is_ready(result)
    assert result.dtype == (np.float64 if layout == "list" else dtype)
    np.testing.assert_array_equal(result, x)
    if kept is not None:
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("layout", awkward(np.ones((2, 3))))
def test_operands_become_ready_in_one_dtype(layout, place):
    good = [np.ones((2, 3), np.float32), np.ones((3, 4), np.float32), np.ones(4, np.float32)]
    assert all(a is b for a, b in zip(with_weights(*good, 2), good, strict=True))
    assert with_weights(*good[:2], None, 2)[2] is None
    for other in (awkward(good[place])[layout], good[place].astype(np.float64)):
        results = with_weights(*(other if n == place else array for n, array in enumerate(good)), 2)
        dtype = np.float64 if isinstance(other, list) or other.dtype == np.float64 else np.float32
        assert all(is_ready(array) and array.dtype == dtype for array in results)
    with pytest.raises(ValueError, match=f"{'xWb'[place]} must have"):
        with_weights(*(array[None] if n == place else array for n, array in enumerate(good)), 2)
    with pytest.raises(TypeError, match=f"{'xWb'[place]} must be float32 or float64"):
        with_weights(*(array.astype(int) if n == place else array for n, array in enumerate(good)), 2)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), ()])
def test_empty_and_scalar(shape):
    x = np.zeros(shape, np.float32)
    assert as_input(x, "x", len(shape)).shape == shape
    assert as_input(x.astype(">f4"), "x").shape == shape


def test_subclass_and_unpickled_dtype():
    x = np.ones((2, 2), np.float32).view(np.matrix)
    assert type(as_input(x, "x")) is np.ndarray
    dtype = pickle.loads(pickle.dumps(np.dtype(np.float32)))
    assert as_input(np.ones(3, dtype), "x").dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integers_are_refused_with_a_hint(dtype):
    with pytest.raises(TypeError, match=r"x must be float32 or float64, got .*x\.astype\(np\.float32\) / 255"):
        as_input(np.ones((2, 2), dtype), "x")
    with pytest.raises(TypeError, match=r"W must be .*; convert it first, W\.astype\(np\.float32\)$"):
        as_input(np.ones(3, dtype), "W")


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.complex64, object, "U3", "M8[s]"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="x must be float32 or float64, got"):
        as_input(np.zeros(2).astype(dtype), "x")


def test_shape_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"W must have 4 dimensions, got 2 \(shape \(2, 3\)\)"):
        as_input(np.ones((2, 3)), "W", 4)
    with pytest.raises(ValueError, match=r"b must have 1 dimension, got 2"):
        as_input(np.ones((2, 3)), "b", 1)
    with pytest.raises(ValueError, match="W must be an array of numbers"):
        as_input([[1.0], [1.0, 2.0]], "W")


def test_promote():
    single, double = np.ones(2, np.float32), np.ones(3)
    x, W, b = promote(single, None, single)
    assert x is single and W is None and b is single
    x, W, b = promote(single, double, None)
    assert x.dtype == W.dtype == np.float64 and W is double and b is None
    x, b = promote(double, single)
    assert x is double and b.dtype == np.float64


@pytest.mark.parametrize(
    "value, dtype",
    [
        ([1, 2], np.float64),
        (np.float16([1, 2]), np.float32),
        ([True, False], np.float64),
        (np.uint8(3), np.float64),
        (np.longdouble([1, 2]), np.float64),
    ],
)
def test_as_float_takes_what_numpy_takes(value, dtype):
    result = as_float(value, "x")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.asarray(value))


@pytest.mark.parametrize("value", [1j, None, "a", [object()]])
def test_as_float_refuses_the_rest(value):
    with pytest.raises(TypeError, match="x must be an array of real numbers"):
        as_float(value, "x")


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, ">i4"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_class_indices(dtype, shape):
    labels = as_labels(np.array([2, 0, 1], dtype).reshape(shape), 3, 4)
    assert labels.dtype == np.int64 and labels.shape == (3,)
    assert labels.tolist() == [2, 0, 1]


def test_class_indices_are_aligned():
    t = np.frombuffer(b"\0" + np.array([2, 0, 1]).tobytes(), np.uint8)[1:].view(np.int64)
    assert not t.flags.aligned
    labels = as_labels(t, 3, 4)
    assert labels.flags.aligned and labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_one_hot_of_integers_becomes_indices(dtype):
    t = np.eye(4, dtype=dtype)[[3, 1]]
    assert as_labels(t, 2, 4).tolist() == [3, 1]
    assert as_labels(t[0], 1, 4).tolist() == [3]


def test_rows_of_floats_stay_floats():
    t = np.array([[0.25, 0.75], [1, 0]], np.float32)
    assert as_labels(t, 2, 2) is t
    assert as_labels(t.astype(np.float16), 2, 2).dtype == np.float32
    assert as_labels(t.astype(np.longdouble), 2, 2).dtype == np.float64
    assert as_labels(t[0], 1, 2).shape == (1, 2)


def test_batch_of_one_and_one_class():
    assert as_labels(2, 1, 3).tolist() == [2]
    assert as_labels(np.int8(2), 1, 3).tolist() == [2]
    assert as_labels([[0], [0]], 2, 1).tolist() == [0, 0]
    assert as_labels(np.ones((2, 1)), 2, 1).shape == (2, 1)
    assert as_labels(np.zeros(0, np.int64), 0, 3).shape == (0,)


@pytest.mark.parametrize(
    "t, bad, row",
    [([0, 3], 3, 1), ([-1, 0], -1, 0), (np.array([0, 2**64 - 1], np.uint64), 2**64 - 1, 1), ([[0], [7]], 7, 1)],
)
def test_labels_out_of_range(t, bad, row):
    with pytest.raises(ValueError, match=f"t must hold class indices from 0 to 2, got {bad} for sample {row}"):
        as_labels(t, 2, 3)


@pytest.mark.parametrize(
    "t", [[[1, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 1]], [[2, 0, 0], [0, 1, 0]], [[1, 5, 0], [0, 1, 0]]]
)
def test_integer_rows_must_be_one_hot(t):
    with pytest.raises(ValueError, match="t must have one 1 and otherwise 0 in each one-hot row, got .* for sample 0"):
        as_labels(t, 2, 3)


def test_label_shape_and_dtype_errors():
    with pytest.raises(
        ValueError, match=r"class indices of shape \(2,\) or \(2, 1\) or one-hot of shape \(2, 3\), got"
    ):
        as_labels([0, 1, 2], 2, 3)
    with pytest.raises(TypeError, match=r"t must hold class indices as integers, got float64; use t\.astype"):
        as_labels([0.0, 1.0], 2, 3)
    with pytest.raises(TypeError, match="t must hold class indices or one-hot rows, got"):
        as_labels(["a", "b"], 2, 3)
