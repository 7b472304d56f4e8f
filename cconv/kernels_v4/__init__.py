"""The kernels compiled for CPU level 'v4'; ``cconv.kernels`` chooses among the levels."""
