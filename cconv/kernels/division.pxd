"""Divisions of whole numbers by positive ones, inlined into their user."""


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded up, for a >= 0."""
    return (a + b - 1) // b


cdef inline Py_ssize_t floor_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded down, for any a; `//` cuts off, as in C."""
    return a // b if a >= 0 else -((-a + b - 1) // b)


cdef inline Py_ssize_t round_up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The least multiple of b that is no less than a, for a >= 0."""
    return (a + b - 1) // b * b
