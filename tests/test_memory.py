"""Large arrays whose memory is used again: right in content and ownership, bounded, and safe with threads and forks."""

import gc
import multiprocessing
import os
import pickle
import sys
import threading

import numpy as np
import pytest

import cconv
from cconv.kernels import memory

LARGE = (100, 30, 12, 12)  # 1.7 MB in float32
SMALL = (3, 5)


@pytest.fixture(autouse=True)
def _clean_cache():
    gc.collect()
    cconv.empty_cache()
    yield
    cconv.empty_cache()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), SMALL, LARGE, (2**20,), (1,) * 30 + (70_000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.dtype(np.int64), np.dtype(">f4")])
def test_matches_numpy(shape, dtype):
    array = memory.empty(shape, dtype)
    expected = np.empty(shape, dtype)
    assert type(array) is np.ndarray
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    assert array.strides == expected.strides
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert array.flags.writeable
    array[...] = 7
    assert (array == 7).all()


def test_large_array_is_aligned_to_a_cache_line():
    for size in (64 * 1024, 100_001, 5_000_000):
        assert memory.empty((size,), np.uint8).ctypes.data % 64 == 0


def test_memory_is_used_again():
    array = memory.empty(LARGE, np.float32)
    address, size = array.ctypes.data, array.nbytes
    assert memory.cached_bytes() == 0
    del array
    assert memory.cached_bytes() >= size
    again = memory.empty(LARGE, np.float32)
    assert again.ctypes.data == address
    assert memory.cached_bytes() == 0


def test_a_slightly_smaller_array_fits_and_a_much_smaller_one_does_not():
    array = memory.empty((1_000_000,), np.uint8)
    address = array.ctypes.data
    del array
    assert memory.empty((700_000,), np.uint8).ctypes.data != address
    assert memory.empty((900_000,), np.uint8).ctypes.data == address


def test_a_view_keeps_the_memory():
    array = memory.empty(LARGE, np.float32)
    array[...] = 3
    view = array[5:7, ::-1].T
    del array
    assert memory.cached_bytes() == 0
    other = memory.empty(LARGE, np.float32)
    other[...] = 4
    assert (view == 3).all()
    del view
    assert memory.cached_bytes() > 0


def test_a_buffer_export_keeps_the_memory():
    array = memory.empty(LARGE, np.float32)
    array[...] = 3
    export = memoryview(array)
    del array
    memory.empty(LARGE, np.float32)[...] = 4
    assert export[0, 0, 0, 0] == 3


def test_live_arrays_never_overlap():
    rng = np.random.default_rng(0)
    live = {}
    for step in range(300):
        if live and rng.random() < 0.5:
            key = rng.choice(list(live))
            assert (live.pop(key) == key).all()
        array = memory.empty((int(rng.integers(60_000, 90_000)),), np.int32)
        array[...] = step
        live[step] = array
    for key, array in live.items():
        assert (array == key).all()


def test_small_arrays_are_numpys_own():
    array = memory.empty(SMALL, np.float32)
    assert array.base is None
    del array
    assert memory.cached_bytes() == 0


POISONED = {"f4": 0x7FA5A5A5, "f8": 0x7FF4A5A5A5A5A5A5, "u1": 0xA5, "i4": 0xA5A5A5A5, "u8": 0xA5A5A5A5A5A5A5A5}


def test_arrays_are_filled_where_the_environment_asks_for_it(run_python):
    code = f"""
import numpy as np
from cconv import functional, kernels

for name, pattern in {POISONED}.items():
    for shape in [(3,), (5, 700), (5, 700), (0, 3), ()]:  # small ones, a fresh block, and one that is used again
        array = kernels.memory.empty(shape, name)
        assert (array.view(f"u{{name[1]}}") == pattern).all(), (name, shape)
        array[...] = 1
assert np.isnan(kernels.memory.empty((3,), "f4")).all() and np.isnan(kernels.memory.empty((3,), "f8")).all()
assert kernels.memory.copy(np.ones(1000)).all() and (functional.relu(np.ones(1000)) == 1).all()
"""
    done = run_python(code, CCONV_POISON="1")
    assert done.returncode == 0, done.stderr
    for value in ("0", ""):
        assert run_python(code, CCONV_POISON=value).returncode == 1
    assert "CCONV_POISON must be 0 or 1, got 'yes'" in run_python("import cconv", CCONV_POISON="yes").stderr


def test_empty_cache():
    del_me = memory.empty(LARGE, np.float32)
    del del_me
    assert memory.cached_bytes() > 0
    cconv.empty_cache()
    assert memory.cached_bytes() == 0


def test_the_cache_is_bounded_in_bytes():
    size = memory.cache_limit // 4 + 1
    arrays = [memory.empty((size,), np.uint8) for _ in range(6)]  # never written, so no page of them is ever used
    first, last = arrays[0].ctypes.data, arrays[-1].ctypes.data
    while arrays:
        del arrays[0]
    assert memory.cached_bytes() <= memory.cache_limit
    assert memory.cached_bytes() >= 3 * size
    kept = [memory.empty((size,), np.uint8) for _ in range(3)]
    addresses = {array.ctypes.data for array in kept}
    assert last in addresses, "the youngest block is kept"
    assert first not in addresses, "the oldest block went back to the system"


def test_an_array_above_the_limit_is_not_kept():
    array = memory.empty((memory.cache_limit + 1,), np.uint8)
    del array
    assert memory.cached_bytes() == 0


def test_the_cache_is_bounded_in_blocks():
    arrays = [memory.empty((64 * 1024,), np.uint8) for _ in range(1100)]
    arrays.clear()
    assert memory.cached_bytes() == 1024 * 64 * 1024


@pytest.mark.parametrize("shape", [(2**62, 2**62), (2**62, 4), (2**61, 1)])
def test_impossible_size_is_a_memory_error(shape):
    with pytest.raises(MemoryError, match="array"):
        memory.empty(shape, np.float64)


def test_a_failed_allocation_gives_up_the_cache_first():
    array = memory.empty(LARGE, np.float32)
    del array
    with pytest.raises(MemoryError, match=f"{2**60} bytes"):
        memory.empty((2**60,), np.uint8)
    assert memory.cached_bytes() == 0


def test_zero_size_beside_a_huge_dimension_is_empty():
    assert memory.empty((2**40, 0), np.float32).size == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "error", "message"),
    [
        ((-1, 3), np.float32, ValueError, r"shape must not have negative dimensions, got \(-1, 3\)"),
        ((1,) * 65, np.float32, ValueError, "at most 64 dimensions, got 65"),
        (LARGE, object, ValueError, "must not hold Python objects"),
        ([3, 4], np.float32, TypeError, "shape"),
        (LARGE, "no such dtype", TypeError, "data type"),
    ],
)
def test_bad_arguments(shape, dtype, error, message):
    with pytest.raises(error, match=message):
        memory.empty(shape, dtype)


def test_the_owner_cannot_be_made_by_hand():
    owner = type(memory.empty(LARGE, np.float32).base)
    with pytest.raises(TypeError, match="empty"):
        owner()


def test_no_reference_leaks():
    dtype = np.dtype([("a", "f4"), ("b", "u1", (3,))])  # one of our own: the built-in ones are immortal
    before = sys.getrefcount(dtype)
    for _ in range(50):
        memory.empty((30_000,), dtype)
        memory.empty((3,), dtype)
    assert sys.getrefcount(dtype) == before


def test_threads_never_share_a_block():
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for step in range(200):
            array = memory.empty((int(rng.integers(70_000, 80_000)),), np.int32)
            array[...] = seed * 1000 + step
            if not (array == seed * 1000 + step).all():
                failures.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def _report_from_child(queue, array):
    inherited = memory.cached_bytes()
    fresh = memory.empty(LARGE, np.float32)
    fresh[...] = 5
    del fresh
    queue.put((inherited, memory.cached_bytes() > 0, float(array.sum())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_an_empty_cache():
    kept = memory.empty(LARGE, np.float32)
    kept[...] = 1
    freed = memory.empty(LARGE, np.float32)
    del freed
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_report_from_child, args=(queue, kept))
    child.start()
    inherited, works, total = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert inherited == 0
    assert works
    assert total == kept.size
    assert memory.cached_bytes() > 0, "the parent keeps its cache"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_handlers_of_others_may_allocate(run_python):
    code = """
import os
import pickle
import numpy as np
from cconv.kernels import memory

def use():
    memory.empty((100_000,), np.float32)[...] = 1

os.register_at_fork(before=use, after_in_parent=use, after_in_child=use)
use()
child = os.fork()
use()
if child == 0:
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_alike_are_ready_arrays_of_one_shape_and_dtype():
    a = np.ones((2, 3), np.float32)
    assert memory.are_alike()
    assert memory.are_alike(a, a.copy(), pickle.loads(pickle.dumps(a)))
    for other in (np.ones((3, 2), np.float32), np.ones((2, 3)), np.ones(6, np.float32), np.ones((3, 2), np.float32).T):
        assert not memory.are_alike(a, other)
    assert not memory.are_alike(a, a.tolist())
    assert not memory.are_alike(a, a.astype(">f4"))


def test_states_hold_arrays_like_their_parameters():
    a, b = np.zeros((2, 3)), np.zeros(4, np.float32)
    states = [{"m": a.copy(), "v": a.copy(), "step": 1}, {"m": b.copy(), "v": b.copy(), "step": 1}]
    assert memory.hold_alike([], ("m",), [])
    assert memory.hold_alike(states, ("m", "v"), [a, b])
    assert not memory.hold_alike(states, ("m", "v"), [b, a])
    assert not memory.hold_alike([states[0], states[1] | {"v": b.astype(float)}], ("m", "v"), [a, b])
    assert not memory.hold_alike([states[0], None], (), [a, b])
    assert not memory.hold_alike([{}], (), [a.T])
    with pytest.raises(ValueError, match="zip"):
        memory.hold_alike(states, (), [a])
    with pytest.raises(TypeError):
        memory.hold_alike([3.0], ("m",), [a])


def test_updatable_are_parameters_apart_from_each_other_and_from_the_gradients():
    flat = np.zeros(40)
    p, q, g, h = flat[:10], flat[10:20], flat[20:30], flat[30:]
    assert memory.are_updatable([], [])
    assert memory.are_updatable([p, q], [g, h])
    assert memory.are_updatable([p, p[:0]], [g, g[:0]]), "empty ones"
    assert memory.are_updatable([p, q], [g, g]), "one gradient for both"
    assert not memory.are_updatable([p, p], [g, h]), "tied parameters"
    assert not memory.are_updatable([flat[:20], q], [flat[20:], g])
    assert not memory.are_updatable([p, q], [g, p])
    assert not memory.are_updatable([p, q], [q, g])
    assert not memory.are_updatable([g, flat[:20]], [h, flat[19:39]])
    assert not memory.are_updatable([p], [g[:5]])
    assert not memory.are_updatable([p], [g.astype(np.float32)])
    assert not memory.are_updatable([flat[:20:2]], [g])
    assert not memory.are_updatable([np.broadcast_to(0.0, 10)], [g])
    assert not memory.are_updatable([0.0], [g])
    q.flags.writeable = False
    assert not memory.are_updatable([p, q], [g, h])
    with pytest.raises(ValueError, match="zip"):
        memory.are_updatable([p], [])
