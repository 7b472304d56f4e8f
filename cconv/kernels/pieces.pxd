"""The functions of pieces.h for Cython: pieces of work that threads share."""


cdef extern from "pieces.h" nogil:
    struct shared_pieces:
        pass
    void deal_pieces(shared_pieces*, Py_ssize_t count, int threads) noexcept
    Py_ssize_t take_piece(shared_pieces*, int slot) noexcept
