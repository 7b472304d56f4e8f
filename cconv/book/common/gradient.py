"""Gradients by central differences."""

import numpy as np

from ...gradient import numerical_gradient, numerical_gradient_2d

__all__ = ["np", "numerical_gradient", "numerical_gradient_2d"]
