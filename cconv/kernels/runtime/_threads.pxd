"""What kernels need to compute on several threads: jobs, whose pieces threads share."""


cdef extern from "runtime/pieces.h" nogil:
    ctypedef struct Pieces "struct shared_pieces":
        pass
    Py_ssize_t take_piece(Pieces* pieces, int slot) noexcept

cdef extern from "runtime/atomics.h" nogil:
    ctypedef unsigned shared_word
    unsigned word_or(shared_word* word, unsigned value) noexcept

# Takes pieces until none is left, on one of the threads; each has a slot of its own, from 0 to below their number.
ctypedef void (*Body)(void* job, Pieces* pieces, int slot) noexcept nogil

cdef void run_job(Body body, void* job, Py_ssize_t pieces, int num_threads) noexcept nogil
cdef int threads_in_use() noexcept nogil
cdef void use_threads(int n) noexcept nogil
cdef int use_threads_here(int n) noexcept nogil
cdef int prepare(int cpus, double delay) except -1
