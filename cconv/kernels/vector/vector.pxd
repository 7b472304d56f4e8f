"""The vocabulary of vectors is for C alone; see vector.h."""


cdef extern from "vector/vector.h" nogil:
    const int VECTOR_BYTES
