"""Flush-to-zero for what is computed outside of a job; see denormals.h."""


cdef extern from "runtime/denormals.h" nogil:
    unsigned cconv_ftz_on() noexcept
    void cconv_ftz_restore(unsigned state) noexcept
