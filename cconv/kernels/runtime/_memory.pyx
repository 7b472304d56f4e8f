"""Large arrays whose memory is used again."""

# A fresh large array costs a page fault per page when it is first written, more than many kernels cost that write it.
# So the memory of large arrays comes in blocks: the base of such an array is a `_Block`, and when the last array or
# view that refers to it is gone, the block's memory goes to a free list, where the next array of about that size finds
# it. Nothing is guessed from reference counts; a view that lives on keeps its memory, as in NumPy.
#
# The free list is an array in the order in which blocks became free. A request takes the youngest block that is large
# enough and wastes at most a fifth of itself: the youngest is the one most likely still in cache. When the list would
# exceed its bounds, the oldest blocks go back to the system. One lock guards it; nothing that could run Python code
# happens under the lock. A forked child drops the list, since writing into pages shared with the parent would copy
# them.
#
# With the environment variable CCONV_POISON=1, read once at import, every new array is filled with what no result may
# depend on: signalling NaNs in floats, bytes of 0xA5 elsewhere. All outputs and scratch of the kernels come from here,
# so that a kernel which reads what it has not written, or leaves an output unwritten, gives NaN.

import os

cimport cython
cimport numpy as cnp
from cpython.pyport cimport PY_SSIZE_T_MAX
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memmove, memset

import numpy as np

cnp.import_array()

cdef extern from "runtime/block.h":
    const size_t CCONV_ALIGNMENT
    void *cconv_block_new(size_t size) noexcept nogil
    void cconv_block_free(void *data) noexcept nogil

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const cnp.npy_intp *dims, const cnp.npy_intp *strides, void *data,
        int flags, object obj
    )

cdef enum:
    MAX_DIMENSIONS = 64
    MAX_BLOCKS = 1024

# Below this many bytes the C library's own free lists do as well, without a page fault.
# A fit: `python -m benchmarks.tune --only smallest-block`.
cdef size_t SMALLEST_BLOCK = 4 * 1024

cdef struct Free:
    void *data
    size_t size

cdef Free free_blocks[MAX_BLOCKS]  # oldest first
cdef Py_ssize_t free_count = 0
cdef size_t free_bytes = 0
cdef cython.pymutex lock
cdef bint forking = False  # while it is set the list is left alone: a race to read it does no harm


def _physical_memory():
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 8 << 30


#: The most bytes the free list keeps: an eighth of the machine's memory, at most 1 GiB.
cache_limit = min(_physical_memory() // 8, 1 << 30)
cdef size_t max_free_bytes = cache_limit


def _poison(environ):
    """Whether the environment asks for arrays that are filled."""
    value = environ.get("CCONV_POISON", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"CCONV_POISON must be 0 or 1, got {value!r}")
    return value == "1"


cdef bint poison = _poison(os.environ)


cdef void fill(void* data, size_t size, char kind, int itemsize) noexcept nogil:
    """Write what no result may depend on."""
    cdef size_t i
    if kind == b"f" and itemsize == 4:
        for i in range(size // 4):
            (<uint32_t*>data)[i] = 0x7FA5A5A5
    elif kind == b"f" and itemsize == 8:
        for i in range(size // 8):
            (<uint64_t*>data)[i] = 0x7FF4A5A5A5A5A5A5
    else:
        memset(data, 0xA5, size)


cdef void remove_free_block(Py_ssize_t index) noexcept nogil:
    """Take one entry out of the free list; the lock is held."""
    global free_count, free_bytes
    free_bytes -= free_blocks[index].size
    free_count -= 1
    memmove(&free_blocks[index], &free_blocks[index + 1], (free_count - index) * sizeof(Free))


cdef void *take_free_block(size_t size, size_t *capacity) noexcept nogil:
    """The youngest free block that fits, its size in `capacity`; NULL if none does. The lock is held."""
    cdef Py_ssize_t index
    cdef void *data
    for index in range(free_count - 1, -1, -1):
        if size <= free_blocks[index].size and free_blocks[index].size - size <= free_blocks[index].size // 5:
            data = free_blocks[index].data
            capacity[0] = free_blocks[index].size
            remove_free_block(index)
            return data
    return NULL


cdef void give_back(void *data, size_t size) noexcept nogil:
    """Put a block on the free list; what no longer fits within its bounds goes back to the system."""
    global free_count, free_bytes
    if forking or size > max_free_bytes:
        cconv_block_free(data)
        return
    with lock:
        while free_count == MAX_BLOCKS or free_bytes + size > max_free_bytes:
            cconv_block_free(free_blocks[0].data)
            remove_free_block(0)
        free_blocks[free_count].data = data
        free_blocks[free_count].size = size
        free_count += 1
        free_bytes += size


@cython.final
@cython.freelist(64)
cdef class _Block:
    """The owner of one array's memory: the array's base."""

    cdef void *data
    cdef size_t size

    def __init__(self):
        raise TypeError("a _Block is made by empty() only")

    def __dealloc__(self):
        if self.data != NULL:
            give_back(self.data, self.size)


cdef _Block new_block(size_t size):
    cdef _Block block = _Block.__new__(_Block)
    if not forking:
        with lock:
            block.data = take_free_block(size, &block.size)
    if block.data == NULL:
        block.size = (size + CCONV_ALIGNMENT - 1) & ~(CCONV_ALIGNMENT - 1)
        block.data = cconv_block_new(block.size)
        if block.data == NULL and not forking:
            empty_cache()
            block.data = cconv_block_new(block.size)
    if block.data == NULL:
        raise MemoryError(f"cannot allocate an array of {size} bytes")
    return block


def empty(tuple shape, dtype):
    """An uninitialised C-contiguous array; like `numpy.empty`, but large arrays use freed memory again.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype or type
        Any dtype without references to Python objects.

    Returns
    -------
    ndarray
        Aligned to 64 bytes from 4 KiB on. Its memory returns to the free list when its last view is gone.

    Raises
    ------
    ValueError
        If a dimension is negative, there are too many, or the dtype holds Python objects.
    MemoryError
        If the memory cannot be had, or the size does not fit the address space.
    """
    cdef cnp.npy_intp dims[MAX_DIMENSIONS]
    cdef cnp.dtype descr = <cnp.dtype>dtype if isinstance(dtype, cnp.dtype) else np.dtype(dtype)
    cdef Py_ssize_t ndim = len(shape), axis
    cdef size_t size = descr.itemsize, dimension
    cdef bint overflow = False, is_empty = False
    cdef cnp.ndarray array
    cdef _Block block
    if ndim > MAX_DIMENSIONS:
        raise ValueError(f"shape must have at most {MAX_DIMENSIONS} dimensions, got {ndim}")
    if descr.hasobject:
        raise ValueError(f"dtype must not hold Python objects, got {descr}")
    for axis in range(ndim):
        dims[axis] = shape[axis]
        if dims[axis] < 0:
            raise ValueError(f"shape must not have negative dimensions, got {shape}")
        dimension = <size_t>dims[axis]
        if dimension == 0:
            is_empty = True
        elif size > <size_t>PY_SSIZE_T_MAX // dimension:
            overflow = True
        else:
            size *= dimension
    if overflow and not is_empty:
        raise MemoryError(f"an array of shape {shape} and dtype {descr} does not fit the address space")
    Py_INCREF(descr)  # both constructors steal a reference
    if is_empty or size < SMALLEST_BLOCK:
        array = PyArray_NewFromDescr(cnp.ndarray, descr, <int>ndim, dims, NULL, NULL, 0, None)
    else:
        block = new_block(size)
        array = PyArray_NewFromDescr(
            cnp.ndarray, descr, <int>ndim, dims, NULL, block.data, cnp.NPY_ARRAY_CARRAY, None
        )
        cnp.set_array_base(array, block)
    if poison and not is_empty:
        fill(cnp.PyArray_DATA(array), size, descr.kind, descr.itemsize)
    return array


def copy(cnp.ndarray array):
    """The same values in an array from `empty`: for large ones that live long, such as parameters.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    ndarray
        C-contiguous.
    """
    cdef cnp.ndarray values = empty((<object>array).shape, array.dtype)
    values[...] = array
    return values


# NumPy keeps one dtype object per native type; an equal one that is not it (from a pickle, say) only costs a copy.
cdef cnp.dtype FLOAT32 = np.dtype(np.float32)
cdef cnp.dtype FLOAT64 = np.dtype(np.float64)


cdef inline void* dtype_of(object array) noexcept:
    return <void*>cnp.PyArray_DESCR(<cnp.ndarray>array)


cdef inline bint in_order(object array) noexcept:
    """Whether an array lies in memory as kernels take it, whatever its dtype."""
    cdef int needed = cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
    return cnp.PyArray_CheckExact(array) and cnp.PyArray_FLAGS(<cnp.ndarray>array) & needed == needed


cdef inline bint ready(object array) noexcept:
    return in_order(array) and (dtype_of(array) == <void*>FLOAT32 or dtype_of(array) == <void*>FLOAT64)


cdef inline bint alike(object array, object other, int ndim) noexcept:
    return cnp.PyArray_NDIM(<cnp.ndarray>array) == ndim and dtype_of(array) == dtype_of(other)


cdef inline bint same(object array, object other):
    """Whether two arrays are of one shape and dtype."""
    return (cnp.PyArray_SAMESHAPE(<cnp.ndarray>array, <cnp.ndarray>other)
            and cnp.PyArray_EquivArrTypes(<cnp.ndarray>array, <cnp.ndarray>other))


def is_ready(array):
    """Whether kernels can take an array as it lies in memory, whether or not it may be written to."""
    return ready(array)


def are_ready(x, W, b, int ndim):
    """The same of x and W with `ndim` dimensions and of b with one, or None: all of them, and in one dtype."""
    return (ready(x) and ready(W) and alike(x, x, ndim) and alike(W, x, ndim)
            and (b is None or ready(b) and alike(b, x, 1)))


def of_one_dtype(tuple arrays):
    """Whether all these arrays have the first one's dtype; any but that may be None."""
    for array in arrays:
        if array is not None and dtype_of(array) != dtype_of(arrays[0]):
            return False
    return True


def are_alike(*arrays):
    """Whether all these arrays lie in memory as kernels take them, and are of one shape and dtype."""
    for array in arrays:
        if not (in_order(array) and same(array, arrays[0])):
            return False
    return True


def are_where_they_were(list arrays, list views):
    """Whether each array lies in memory as kernels take it, and has the memory, shape and dtype that its view has.

    A view that was made of an array keeps these when ``array.shape = ...`` or ``array.resize(...)`` changes them.
    """
    cdef Py_ssize_t i
    for i in range(len(arrays)):
        array, view = arrays[i], views[i]
        if not (in_order(array) and dtype_of(array) == dtype_of(view)
                and cnp.PyArray_DATA(<cnp.ndarray>array) == cnp.PyArray_DATA(<cnp.ndarray>view)
                and cnp.PyArray_SAMESHAPE(<cnp.ndarray>array, <cnp.ndarray>view)):
            return False
    return True


def hold_alike(list states, tuple names, list arrays):
    """Whether each of these dicts, and none is None, holds under all the names what is writeable and `are_alike` with
    its array."""
    for state, array in zip(states, arrays, strict=True):
        if state is None or not in_order(array):
            return False
        for name in names:
            held = state[name]
            if not (in_order(held) and same(held, array) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>held)):
                return False
    return True


cdef struct Extent:
    size_t begin, end  # addresses
    bint written


cdef int by_begin(const void* a, const void* b) noexcept nogil:
    cdef size_t x = (<const Extent*>a).begin, y = (<const Extent*>b).begin
    return (x > y) - (x < y)


def are_updatable(list params, list grads):
    """Whether kernels can update all parameters together, where they lie, each with the gradient at its place.

    All must be ready, the two alike, parameters writeable, and nothing in a parameter's memory: neither a gradient nor
    another parameter.
    """
    cdef Py_ssize_t count = len(params), i, filled = 0
    cdef size_t read = 0, written = 0  # where the last extent of each kind ends
    cdef bint apart = True
    cdef Extent* extents
    for p, g in zip(params, grads, strict=True):
        if not (ready(p) and ready(g) and same(p, g) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>p)):
            return False
    if count == 0:
        return True
    extents = <Extent*>malloc(2 * count * sizeof(Extent))
    if extents == NULL:
        raise MemoryError
    for i in range(2 * count):
        array = params[i] if i < count else grads[i - count]
        if cnp.PyArray_SIZE(<cnp.ndarray>array) > 0:
            extents[filled].begin = <size_t>cnp.PyArray_DATA(<cnp.ndarray>array)
            extents[filled].end = extents[filled].begin + <size_t>cnp.PyArray_NBYTES(<cnp.ndarray>array)
            extents[filled].written = i < count
            filled += 1
    qsort(extents, filled, sizeof(Extent), by_begin)
    for i in range(filled):
        if extents[i].written:
            apart = apart and extents[i].begin >= max(read, written)
            written = max(written, extents[i].end)
        else:
            apart = apart and extents[i].begin >= written
            read = max(read, extents[i].end)
    free(extents)
    return apart


def first_outside(cnp.ndarray labels, Py_ssize_t end, /):
    """Where the first of int64 labels (N,) lies that is negative or not below `end`, or -1 where there is none."""
    cdef const int64_t* label = <const int64_t*>cnp.PyArray_DATA(labels)
    cdef Py_ssize_t n
    for n in range(cnp.PyArray_SIZE(labels)):
        if not 0 <= label[n] < end:
            return n
    return -1


def empty_cache():
    """Give the memory of all free blocks back to the system.

    Arrays that are still referred to keep theirs.

    Examples
    --------
    >>> import cconv
    >>> cconv.empty_cache()
    """
    global free_count, free_bytes
    cdef Py_ssize_t index
    with lock:
        for index in range(free_count):
            cconv_block_free(free_blocks[index].data)
        free_count = 0
        free_bytes = 0


def cached_bytes():
    """The number of bytes on the free list."""
    return free_bytes


# The lock is held across a fork, so that the child, which has none of the parent's other threads, finds the list whole.
# Other libraries' fork handlers may run meanwhile, in this thread: `forking` keeps what they allocate off the list.
def _before_fork():
    global forking
    lock.acquire()
    forking = True


def _after_fork_in_parent():
    global forking
    forking = False
    lock.release()


def _after_fork_in_child():
    _after_fork_in_parent()
    empty_cache()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
