"""Prepared operations, one on what another one wrote, over the images of a batch."""

# An operation reads one value, may add another to its result, and writes a third. Value 0 is the batch, the target of
# the last operation the result; the others lie in buffers, which a value gets from one that nobody reads any more.
#
# A batch is computed in one of two ways:
#
#     in turns     each turn is a few images through all operations, on one thread, with buffers of its own: what one
#                  operation wrote is still in the cache for the next, and threads meet once, at the end
#     in order     each operation is computed for all images by several threads, before the next one
#
# Images do not depend on each other, and operations have the same bits for any number of threads: neither the way nor
# the size of turns changes a bit.

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject

cimport cython
cimport numpy as cnp

from cconv.kernels.runtime._threads cimport Pieces, run_job, take_piece
from cconv.kernels.runtime.calls cimport Call

from cconv.kernels.runtime._memory import empty

import numpy as np

cnp.import_array()

cdef enum:
    CACHE_LINE = 64

cdef struct Step:
    Call* call
    Py_ssize_t source, branch, target  # where values begin in the buffers, in bytes for each image; or one of these:
    bint relu

cdef enum:
    NONE = -1
    BATCH = -2
    RESULT = -3

cdef struct Job:
    Step* steps
    Py_ssize_t count
    const char* x
    char* out
    Py_ssize_t N, turns
    Py_ssize_t images  # that buffers have room for
    char* scratch
    Py_ssize_t private  # bytes of it for each thread, buffers first
    Py_ssize_t buffers


cdef inline Py_ssize_t lines(Py_ssize_t bytes) noexcept nogil:
    """Whole cache lines."""
    return (bytes + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE


cdef inline char* value(Job* job, Py_ssize_t place, const char* x, char* out, char* buffers) noexcept nogil:
    if place == NONE:
        return NULL
    if place == BATCH:
        return <char*>x
    return out if place == RESULT else buffers + place * job.images


cdef void run_step(Job* job, Py_ssize_t i, const char* x, char* out, Py_ssize_t N, char* scratch,
                   int num_threads) noexcept nogil:
    cdef Step* step = job.steps + i
    step.call.run(step.call.state, value(job, step.source, x, out, scratch), value(job, step.branch, x, out, scratch),
                  step.relu, value(job, step.target, x, out, scratch), N, scratch + job.buffers, num_threads)


cdef void run_turns(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Job* job = <Job*>given
    cdef Py_ssize_t turn, first, end, i
    while (turn := take_piece(pieces, slot)) >= 0:
        first = turn * job.N // job.turns
        end = (turn + 1) * job.N // job.turns
        for i in range(job.count):
            run_step(job, i, job.x + first * job.steps[0].call.reads,
                     job.out + first * job.steps[job.count - 1].call.writes, end - first,
                     job.scratch + slot * job.private, 1)


cdef struct Look:
    Call** calls
    unsigned char* found


cdef void look(void* given, Pieces* pieces, int slot) noexcept nogil:
    cdef Look* job = <Look*>given
    cdef Py_ssize_t i
    while (i := take_piece(pieces, slot)) >= 0:
        job.found[i] = job.calls[i].changed(job.calls[i].state)


def changed(cnp.ndarray calls, int num_threads, /):
    """Return a list of which operations are to be prepared again, by their numbers.

    `calls` (n,) of np.uintp says where their `Call`s are, and the operations must live.
    """
    cdef cnp.ndarray found = empty((calls.shape[0],), np.uint8)
    cdef Look job = Look(<Call**>cnp.PyArray_DATA(calls), <unsigned char*>cnp.PyArray_DATA(found))
    cdef Py_ssize_t i, count = calls.shape[0]
    with nogil:
        run_job(look, &job, count, num_threads)
    return [i for i in range(count) if job.found[i]]


# Stands in a state where a stack of layers, and where the last branch of a layer ends.
cdef object END = object()


cdef inline bint meet(list state, Py_ssize_t* place, object held, bint collecting) except -1:
    """Append what is held, or return whether it is what stands at a place, and go on to the next one."""
    cdef Py_ssize_t i = place[0]
    place[0] += 1
    if collecting:
        state.append(held)
        return True
    return i < PyList_GET_SIZE(state) and PyList_GET_ITEM(state, i) == <PyObject*>held


cdef bint visit(layers, type branches, tuple blocks, list state, Py_ssize_t* place, bint collecting) except -1:
    """Meet all that layers hold, and where a stack of layers ends.

    `blocks` are those around the layers: one that is put inside of itself is refused later.
    """
    cdef dict attributes
    for layer in layers.values():
        kind = type(layer)
        if not (meet(state, place, layer, collecting) and meet(state, place, kind, collecting)
                and meet(state, place, getattr(kind, "forward", None), collecting)):
            return False
        given = getattr(layer, "__dict__", None)
        attributes = given if type(given) is dict else dict(given or ())
        for name, held in attributes.items():
            if not (meet(state, place, name, collecting) and meet(state, place, held, collecting)):
                return False
        if isinstance(layer, branches) and layer not in blocks:
            if not meet(state, place, kind.join, collecting):
                return False
            for branch in layer.branches.values():
                if not visit(branch, branches, (*blocks, layer), state, place, collecting):
                    return False
            if not meet(state, place, END, collecting):
                return False
    return meet(state, place, END, collecting)


def state_of(layers, type branches, /):
    """Return a list of all that what layers do depends on, but for what arrays hold.

    `layers` is a mapping, and `branches` the class of those that have stacks of layers.
    """
    cdef list state = []
    cdef Py_ssize_t place = 0
    visit(layers, branches, (), state, &place, True)
    return state


def has_state(layers, type branches, list state, /):
    """Return whether `state_of` these layers would be the same objects."""
    cdef Py_ssize_t place = 0
    return visit(layers, branches, (), state, &place, False) and place == len(state)


@cython.final
cdef class Program:
    """Operations that were prepared, in order.

    Parameters
    ----------
    steps : sequence of (object, int, int, int, bool)
        An operation, whose attribute `call` says where its `Call` is; the values that it reads, adds (or -1) and
        writes; and whether relu is applied. The first one reads value 0, the last one writes the result.
    """

    cdef Step* steps
    cdef Py_ssize_t count
    cdef Py_ssize_t work  # bytes of scratch that one thread needs in any step
    cdef readonly Py_ssize_t size  # bytes of buffers for an image
    cdef object operations  # kept alive

    def __cinit__(self, steps, /):
        cdef Py_ssize_t i, source, branch, target
        cdef size_t address
        steps = list(steps)
        self.count = len(steps)
        if self.count == 0:
            raise ValueError("steps must not be empty")
        self.steps = <Step*>PyMem_Calloc(self.count, sizeof(Step))
        if self.steps == NULL:
            raise MemoryError
        self.operations = [step[0] for step in steps]
        last = {}  # which step reads a value last
        for i, (_, source, branch, _, _) in enumerate(steps):
            last[source] = last[branch] = i
        buffer, bytes, free = {}, [], []  # of a value; of a buffer; those that nobody reads any more
        for i, (operation, source, branch, target, relu) in enumerate(steps):
            address = operation.call
            self.steps[i].call = <Call*>address
            self.steps[i].relu = relu
            self.work = max(self.work, self.steps[i].call.scratch)
            if i + 1 < self.count:
                if not free:
                    free.append(len(bytes))
                    bytes.append(0)
                buffer[target] = free.pop()
                bytes[buffer[target]] = max(bytes[buffer[target]], lines(self.steps[i].call.writes))
            free += [buffer[read] for read in {source, branch} if last[read] == i and read in buffer]
        places = {0: BATCH, -1: NONE, steps[self.count - 1][3]: RESULT}
        places.update({value: sum(bytes[:number]) for value, number in buffer.items()})
        for i, (_, source, branch, target, _) in enumerate(steps):
            self.steps[i].source, self.steps[i].branch, self.steps[i].target = (
                places[source], places[branch], places[target])
        self.size = sum(bytes)

    def __dealloc__(self):
        PyMem_Free(self.steps)

    def __call__(self, cnp.ndarray x, cnp.ndarray out, Py_ssize_t turns, threads, /):
        """Write the result for a batch x into out.

        In so many turns, on as many threads as `threads` says; or with 0 turns in order, on the number of threads that
        `threads` lists for each step.
        """
        cdef Job job
        cdef Py_ssize_t i, N = x.shape[0]
        cdef cnp.ndarray scratch
        cdef int num_threads = threads if turns else max(threads)
        cdef cnp.ndarray listed
        cdef int* counts
        if N == 0:
            return
        job.steps, job.count, job.N, job.turns = self.steps, self.count, N, turns
        job.x, job.out = <char*>cnp.PyArray_DATA(x), <char*>cnp.PyArray_DATA(out)
        job.images = N if turns == 0 else (N + turns - 1) // turns
        job.buffers = self.size * job.images
        if (<double>self.size * job.images + self.work) * num_threads > 2.0**56:
            raise MemoryError(f"{job.images} images would take buffers of {self.size} bytes each")
        if turns:
            job.private = job.buffers + lines(self.work)
            scratch = empty((job.private * num_threads,), np.uint8)
            job.scratch = <char*>cnp.PyArray_DATA(scratch)
            with nogil:
                run_job(run_turns, &job, turns, num_threads)
            return
        scratch = empty((job.buffers + self.work * num_threads,), np.uint8)
        job.scratch = <char*>cnp.PyArray_DATA(scratch)
        listed = empty((self.count,), np.intc)
        counts = <int*>cnp.PyArray_DATA(listed)
        for i in range(self.count):
            counts[i] = threads[i]
        with nogil:
            for i in range(self.count):
                run_step(&job, i, job.x, job.out, N, job.scratch, counts[i])
