"""What kernels need of NumPy's arrays. Everything here is inlined into its user."""

cimport numpy as cnp
from libc.string cimport memcpy


cdef inline void* data(object array) noexcept:
    """Where an array's values begin; NULL for None."""
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray>array)


cdef inline tuple sizes(cnp.ndarray images):
    """The channels, height and width of one image."""
    return images.shape[1], images.shape[2], images.shape[3]


cdef inline cnp.ndarray copy_of(const Py_ssize_t* values, cnp.npy_intp count):
    """An array of its own with the values of a table."""
    cdef cnp.ndarray array = cnp.PyArray_SimpleNew(1, &count, cnp.NPY_INTP)
    memcpy(cnp.PyArray_DATA(array), values, count * sizeof(Py_ssize_t))
    return array
