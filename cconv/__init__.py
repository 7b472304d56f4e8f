"""cconv: convolutional-network layers for Python, compiled."""
