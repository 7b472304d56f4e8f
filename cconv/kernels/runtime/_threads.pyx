"""The threads that compute, of which a process has one pool, and how many are wanted."""

# threads.h is the pool. This module is built once, so that there is one pool whichever level's kernels run. They reach
# it by the pointers that `cimport` gets them.

cdef extern from "runtime/threads.h" nogil:
    """
    #ifdef CCONV_SERIAL
    #define CCONV_POOL 0
    #else
    #define CCONV_POOL 1
    #endif
    """
    const bint CCONV_POOL
    bint prepare_pool(int cpus, double delay) noexcept
    void share_job(Body body, void* job, Py_ssize_t count, int threads) noexcept
    int threads_to_use() noexcept
    int set_own_thread_count(int n) noexcept
    void cconv_set_num_threads(int n) noexcept

#: Whether this build has the pool; without it every kernel is serial, whatever number of threads it is given.
pool = bool(CCONV_POOL)


cdef void run_job(Body body, void* job, Py_ssize_t pieces, int num_threads) noexcept nogil:
    """Compute the pieces on up to num_threads threads, this one among them, with denormal numbers flushed to zero."""
    share_job(body, job, pieces, num_threads)


cdef int threads_in_use() noexcept nogil:
    """The number of threads that this thread's calls use."""
    return threads_to_use() if CCONV_POOL else 1


cdef void use_threads(int n) noexcept nogil:
    """Set the number of threads of all calls, of Python threads without a number of their own."""
    cconv_set_num_threads(n)


cdef int use_threads_here(int n) noexcept nogil:
    """Set the number of threads of this thread's calls, 0 for that of all; return what it was."""
    return set_own_thread_count(n)


cdef int prepare(int cpus, double delay) except -1:
    """Prepare the pool, once: for a number of CPUs, and threads that come up to `delay` seconds late."""
    if prepare_pool(cpus, delay):
        raise MemoryError("the pool of threads cannot be prepared for forks")
    return 0
