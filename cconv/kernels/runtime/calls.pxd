"""What a prepared operation shows to those that run several after one another (_program.pyx)."""

# Compute N images of x into out, on so many threads; `branch`, of the output's shape, is added unless NULL, and relu
# applied where wanted. Each thread has `scratch` bytes of its own.
ctypedef void (*Run)(void* state, const void* x, const void* branch, bint relu, void* out, Py_ssize_t N, void* scratch,
                     int num_threads) noexcept nogil

# Whether the arrays that an operation was prepared from hold something else now, bit by bit, of what it took from them.
ctypedef bint (*Changed)(void* state) noexcept nogil

cdef struct Call:
    Run run
    Changed changed
    void* state
    Py_ssize_t scratch  # bytes for each thread
    Py_ssize_t reads, writes  # bytes of an image
