"""How the kernels are built; see compiler.h."""


cdef extern from "runtime/compiler.h" nogil:
    const bint PLANS_CHECKED
