"""The kernels compiled for CPU level 'v3'; ``cconv.kernels`` chooses among the levels."""
