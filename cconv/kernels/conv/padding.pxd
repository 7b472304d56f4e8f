"""Copies of images as a plan's `Source` lays them out: with padding, and columns split by phases."""

from cython cimport floating

from cconv.kernels.conv.plan cimport Source
from cconv.kernels.vector.layout cimport pad, pad_split


cdef inline void pad_image(const floating* x, const floating* end, Py_ssize_t channels, const Source* s,
                           Py_ssize_t first, Py_ssize_t last, floating* to) noexcept nogil:
    """Copy rows `first` to `last` of the padded image.

    x          IN, (channels, s.H, s.W): part of an array that ends at `end`
    to         OUT, planes of s.PH x s.PW values, s.plane apart
    """
    cdef Py_ssize_t c
    for c in range(channels):
        if s.split > 1:
            pad_split(x + c * s.H * s.W, end, s.H, s.W, s.left, s.split, s.PW, first, last, to + c * s.plane)
        else:
            pad(x + c * s.H * s.W, end, s.H, s.W, s.top, s.left, s.PW, first, last, to + c * s.plane)
