"""The kernels compiled for CPU level 'baseline'; ``cconv.kernels`` chooses among the levels."""
