"""Data sets: what they read, how they are split, and what is made of what a caller has."""

import gc
import pickle
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv.data import ArrayDataset, Dataset, Subset, as_dataset

X = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
T = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 0])


class Own:
    """A data set that knows a length and arrays of indices, and records what it was asked for."""

    def __init__(self, n=10, **attributes):
        self.n, self.asked = n, []
        vars(self).update(attributes)

    def __len__(self):
        return self.n

    def __getitem__(self, indices):
        assert type(indices) is np.ndarray and indices.dtype == np.int64 and indices.ndim == 1
        self.asked.append(indices.tolist())
        return X[indices], T[indices]


def equal(batch, x, t):
    np.testing.assert_array_equal(batch[0], x)
    np.testing.assert_array_equal(batch[1], t)
    assert batch[0].dtype == x.dtype and batch[1].dtype == t.dtype


DATASETS = {
    "array": lambda: ArrayDataset(X, T),
    "subset": lambda: Subset(ArrayDataset(np.flip(X, 0), T[::-1]), np.arange(10)[::-1]),
    "wrapped": lambda: as_dataset(Own(labels=T), None),
    "subset of one's own": lambda: Subset(Own(labels=T), range(10)),
}


@pytest.mark.parametrize("kind", DATASETS)
def test_every_data_set_takes_slices_arrays_and_integers(kind):
    data = DATASETS[kind]()
    assert isinstance(data, Dataset) and len(data) == 10
    np.testing.assert_array_equal(data.labels, T)
    for indices in (slice(None), slice(2, 7, 2), slice(None, None, -1), slice(8, 99), slice(3, 3)):
        equal(data[indices], X[indices], T[indices])
    for indices in ([3, 1, 1], np.array([9, 0], np.uint8), np.array([-1, -10]), np.zeros(0, np.int32)):
        equal(data[indices], X[indices], T[indices])
    equal(data[[]], X[:0], T[:0])
    equal(data[-2], X[8], T[8])
    assert [int(t) for _, t in data] == T.tolist()


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize(
    ("indices", "error"),
    [
        (10, IndexError),
        ([0, -11], IndexError),
        (2**63, IndexError),
        (2**70, TypeError),
        (1.0, TypeError),
        ([0.5], TypeError),
        (T == 0, TypeError),
        ((1, 2), TypeError),
        ([[1], [2]], TypeError),
        ([[1], [2, 3]], ValueError),
        ("x", TypeError),
        (None, TypeError),
    ],
)
def test_an_index_that_is_none_is_refused_by_name(kind, indices, error):
    with pytest.raises(error, match="indices must be"):
        DATASETS[kind]()[indices]


def test_arrays_stay_what_they_are():
    data = ArrayDataset(X, T)
    assert data.x is X and data.t is T and data.classes is None
    x = np.asfortranarray(np.ones((3, 4), ">f4"))
    x.flags.writeable = False
    assert ArrayDataset(x, [1, 0, 1]).x is x
    assert pickle.loads(pickle.dumps(data)).labels.tolist() == T.tolist()


def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="what a process holds is told by Linux")
def test_a_memmap_stays_one_and_is_never_read_whole(tmp_path):
    n = 50_000
    x = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(n, 3, 64, 64))  # 600 MB, of which the disk has nothing
    x[7] = 5
    gc.collect()
    before = resident()
    data = as_dataset(x, np.arange(n) % 10)
    rest, part = data.split(0.2, seed=0)
    images, _ = rest[np.arange(100) * 300]
    assert images.shape == (100, 3, 64, 64)
    equal(data[7:8], np.full((1, 3, 64, 64), 5, np.uint8), np.array([7]))
    assert len(part[:3][0]) == 3
    assert type(data.x) is np.memmap and data.x is x
    assert resident() - before < 100_000  # kB


@pytest.mark.parametrize(
    ("t", "labels"),
    [
        (T, T),
        (T[:, None].astype(np.uint8), T),
        (np.eye(3)[T], T),
        (np.eye(3, dtype=bool)[T], T),
        (np.eye(3, dtype=int)[T], T),
        (T == 0, T == 0),
        (T.astype(float), None),
        (T[:, None].astype(float), None),
        (T - 1, None),
        (np.eye(3)[T] * 0.9 + 0.1 / 3, None),
        (np.eye(3)[T] + np.eye(3)[2], None),
        (np.zeros((10, 3)), None),
        (np.full((10, 2), np.nan), None),
        (np.zeros((10, 3, 2), int), None),
    ],
)
def test_labels_are_those_of_classes_alone(t, labels):
    found = ArrayDataset(X, t).labels
    if labels is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, labels)
        assert found.dtype.kind in "iu" and found.ndim == 1


def test_one_hot_rows_are_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr("cconv.data.dataset._ROWS", 4)
    np.testing.assert_array_equal(ArrayDataset(X, np.eye(3)[T]).labels, T)
    t = np.eye(3)[T]
    t[9, 1] = 1
    assert ArrayDataset(X, t).labels is None


def test_classes_name_the_labels():
    data = ArrayDataset(X, T, classes=("a", "b", "c"))
    assert data.classes == ["a", "b", "c"]
    rest, part = data.split(0.3)
    assert rest.classes == part.classes == data.classes
    for t, classes, error, message in (
        (T, ["a", "b"], ValueError, "classes must name each class in t, got 2 names where t has class index 2"),
        (T * 0.5, ["a"], ValueError, "classes must name each class in t, got 1 names where t has other targets"),
        (T, "abc", TypeError, "classes must be a list of str, got 'abc'"),
        (T, ["a", "b", 3], TypeError, "classes must be a list of str"),
        (T, ["a", "b", "a"], ValueError, "classes must be different names"),
    ):
        with pytest.raises(error, match=message):
            ArrayDataset(X, t, classes=classes)


@pytest.mark.parametrize(
    ("x", "t", "error", "message"),
    [
        (X, T[:9], ValueError, r"x_train and t_train must have as many samples, got shapes \(10, 2, 2\) and \(9,\)"),
        (X[:0], T[:0], ValueError, r"x_train must hold at least one sample, got shape \(0, 2, 2\)"),
        (1.0, T, ValueError, "x_train and t_train must have as many samples"),
        (X, 1, ValueError, "x_train and t_train must have as many samples"),
        (X.astype(object), T, TypeError, "x_train must hold real numbers, got object"),
        (X.astype(complex), T, TypeError, "x_train must hold real numbers, got complex128"),
        (X, T.astype(str), TypeError, "t_train must hold real numbers, got <U21"),
        (X, [[1], [2, 3]], ValueError, "t_train must be an array of numbers"),
        (X, None, TypeError, "t_train must be an array where x_train is no data set, got None"),
        (list(X), None, TypeError, "t_train must be an array where x_train is no data set, got None"),
        ({"x": X}, None, TypeError, "t_train must be an array where x_train is no data set, got None"),
        (None, T, TypeError, "x_train must hold real numbers, got object"),
        (Own, T, TypeError, "x_train must hold real numbers, got object"),
        (Own(), T, ValueError, "t_train must be None where x_train is a data set, got ndarray"),
        (ArrayDataset(X, T), T, ValueError, "t_train must be None where x_train is a data set, got ndarray"),
        (Own(0), None, ValueError, "x_train must hold at least one sample, got a Own of length 0"),
        (Dataset(), None, TypeError, "x_train must be a data set that has a length"),
        (Own(labels=T * 1.0), None, TypeError, "x_train.labels must be class indices, got float64"),
        (Own(labels=T[:9]), None, ValueError, r"x_train.labels must have shape \(10,\), .* got \(9,\)"),
        (Own(classes="abc"), None, TypeError, "x_train.classes must be a list of str"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(x, t, error, message):
    with pytest.raises(error, match=message):
        as_dataset(x, t)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (X, TypeError, r"x_val\[indices\] must be a pair \(x, t\) of arrays, got ndarray"),
        ((X[:1], T[:1], T[:1]), TypeError, "must be a pair"),
        ((X[0], T[0]), ValueError, r"must have a row for each of 1 samples, got shapes \(2, 2\) and \(\)"),
        ((X[:1], ["cat"]), TypeError, "must hold real numbers, got uint8 and <U3"),
    ],
)
def test_samples_of_ones_own_data_set_are_looked_at_at_once(batch, error, message):
    kind = type("Kind", (), {"__len__": lambda self: 10, "__getitem__": lambda self, indices: batch})
    with pytest.raises(error, match=message):
        as_dataset(kind(), None, ("x_val", "t_val"))
    with pytest.raises(error, match=message):
        as_dataset(type("Derived", (kind, Dataset), {})(), None, ("x_val", "t_val"))


def test_a_data_set_of_single_samples_is_refused_at_once():
    single = type("Single", (), {"__len__": lambda self: 2, "__getitem__": lambda self, i: ("ab"[i], i)})
    with pytest.raises(TypeError, match=r"x_train\[indices\] must be samples for a 1-D array of integers, got Ty"):
        as_dataset(single(), None)
    missing = type("Missing", (Own,), {"__getitem__": lambda self, indices: open("no/such/file")})
    with pytest.raises(FileNotFoundError):  # the caller's own error
        as_dataset(missing(), None)


def test_as_dataset_returns_data_sets_and_wraps_others():
    data = ArrayDataset(X, T)
    assert as_dataset(data, None) is data and as_dataset(Subset(data, [1]), None).dataset is data
    own = Own(classes=("a", "b", "c"))
    wrapped = as_dataset(own, None)
    assert wrapped.labels is None and wrapped.classes == ["a", "b", "c"]
    rest, part = wrapped.split(0.3, seed=1)
    own.asked.clear()
    equal(rest[1:3], X[rest.indices[1:3]], T[rest.indices[1:3]])
    assert own.asked == [rest.indices[1:3].tolist()] and part.classes == ["a", "b", "c"]


def test_a_data_set_may_change_its_mind():
    own = Own()
    data = as_dataset(own, None)
    own.n = 20
    with pytest.raises(IndexError):  # the caller's own error
        data[[15]]
    short = type("Short", (Own,), {"__getitem__": lambda self, indices: (X[indices][:1], T[indices][:1])})
    with pytest.raises(ValueError, match=r"x_train\[indices\] must have a row for each of 2 samples"):
        as_dataset(short(), None)[[1, 2]]


@pytest.mark.parametrize("n", [2, 3, 10, 97, 1000])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 1 / 3, 0.5, 0.75])
@pytest.mark.parametrize("stratify", [True, False])
def test_split_parts_what_is_there(n, fraction, stratify):
    t = np.random.default_rng(n).choice(4, n, p=[0.6, 0.3, 0.08, 0.02])
    data = ArrayDataset(np.arange(n), t)
    count = round(fraction * n)
    if not 0 < count < n:
        with pytest.raises(ValueError, match="fraction must be above 0 and below 1, and leave a sample in each part"):
            data.split(fraction, stratify=stratify)
        return
    sizes = np.bincount(t, minlength=4)
    if stratify and count > n - (sizes >= 2).sum():
        with pytest.raises(ValueError, match="fraction must leave a sample of each class in the rest"):
            data.split(fraction)
        return
    rest, part = data.split(fraction, seed=0, stratify=stratify)
    assert len(part) == count and len(rest) == n - count
    assert (np.diff(rest[:][0]) > 0).all() and (np.diff(part[:][0]) > 0).all()
    assert sorted([*rest[:][0], *part[:][0]]) == list(range(n))
    np.testing.assert_array_equal(part.labels, t[part.indices])
    if stratify:
        taken = np.bincount(part.labels, minlength=4)
        assert (taken >= np.floor(count / n * sizes - 1e-9)).all() and (taken <= np.ceil(count / n * sizes + 1)).all()
        assert ((sizes - taken)[sizes >= 2] >= 1).all()


def test_the_largest_remainders_are_rounded_up():
    t = np.repeat([0, 1, 2], [11, 14, 5])  # 0.2 of them: 2.2, 2.8 and 1
    _, part = ArrayDataset(t, t).split(0.2, seed=0)
    assert np.bincount(part.labels).tolist() == [2, 3, 1]
    t = np.repeat([0, 1, 2], [2, 2, 6])  # 0.7 of them: 1.4, 1.4 and 4.2
    _, part = ArrayDataset(t, t).split(0.7, seed=0)
    assert np.bincount(part.labels).tolist() == [1, 1, 5]  # a class of two keeps one


def test_a_class_that_would_keep_nothing_is_an_error():
    data = ArrayDataset(T, np.repeat(np.arange(5), 2))
    with pytest.raises(ValueError, match="fraction must leave a sample of each class in the rest, got 0.8.*stratify"):
        data.split(0.8)
    rest, part = data.split(0.8, stratify=False)
    assert len(part) == 8 and len(rest) == 2


def test_each_sample_a_class_of_its_own():
    rest, part = ArrayDataset(np.arange(10), np.arange(10)).split(0.3, seed=0)
    assert len(part) == 3 and sorted([*rest.labels, *part.labels]) == list(range(10))


def test_a_seed_repeats_the_split():
    data = ArrayDataset(np.zeros(200), np.arange(200) % 7)
    for stratify in (True, False):
        first, second, other = (data.split(0.3, seed=seed, stratify=stratify)[1].indices for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)
    np.random.seed(3)
    first = data.split(0.3)[1].indices
    assert not np.array_equal(first, data.split(0.3)[1].indices)
    np.random.seed(3)
    np.testing.assert_array_equal(first, data.split(0.3)[1].indices)


def test_within_a_class_any_sample_is_drawn():
    data = ArrayDataset(np.zeros(20), np.arange(20) % 2)
    drawn = np.zeros(20)
    for seed in range(300):
        drawn[data.split(0.3, seed=seed)[1].indices] += 1
    assert (abs(drawn - 90) < 40).all()  # five standard deviations


def test_parts_split_again():
    data = ArrayDataset(np.arange(100), np.arange(100) % 5)
    rest, test = data.split(0.2, seed=0)
    train, validation = rest.split(0.25, seed=0)
    x = np.concatenate([train[:][0], validation[:][0], test[:][0]])
    assert sorted(x) == list(range(100)) and np.bincount(validation.labels).tolist() == [4] * 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fraction": "x"}, TypeError, "fraction must be a number"),
        ({"fraction": True}, TypeError, "fraction must be a number"),
        ({"fraction": 0}, ValueError, "fraction must be above 0"),
        ({"fraction": 1}, ValueError, "fraction must be above 0 and below 1"),
        ({"fraction": -0.2}, ValueError, "fraction must be above 0"),
        ({"fraction": float("nan")}, ValueError, "fraction must be a finite number"),
        ({"fraction": 0.2, "seed": -1}, ValueError, "seed must be at least 0"),
        ({"fraction": 0.2, "seed": 1.5}, TypeError, "seed must be an integer"),
        ({"fraction": 0.2, "stratify": 2}, TypeError, "stratify must be True or False"),
    ],
)
def test_arguments_of_a_split_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ArrayDataset(X, T).split(**arguments)


@pytest.mark.parametrize(
    ("dataset", "indices", "error", "message"),
    [
        (X, [0], TypeError, "dataset must be a data set, got ndarray"),
        (ArrayDataset(X, T), [], ValueError, r"indices must be 1-D, one or more, got shape \(0,\)"),
        (ArrayDataset(X, T), 3, ValueError, "indices must be 1-D"),
        (ArrayDataset(X, T), [0.5], TypeError, "indices must be a slice, an integer or a 1-D array of integers"),
        (ArrayDataset(X, T), [10], IndexError, "indices must be from -10 to 9, got 10"),
    ],
)
def test_a_subset_has_indices_of_a_data_set(dataset, indices, error, message):
    with pytest.raises(error, match=message):
        Subset(dataset, indices)


def test_data_sets_come_with_the_package(run_python):
    done = run_python("import sys, cconv; cconv.data.ArrayDataset; print('PIL' in sys.modules, 'tqdm' in sys.modules)")
    assert done.stdout == "False False\n", done.stderr
    assert cconv.data.Dataset is Dataset
