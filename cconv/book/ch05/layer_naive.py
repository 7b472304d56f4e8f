"""A product and a sum, as layers that remember their inputs."""

__all__ = ["AddLayer", "MulLayer"]


class MulLayer:
    """The product of two numbers, or of two arrays of one shape.

    Examples
    --------
    >>> layer = MulLayer()
    >>> layer.forward(100, 2), layer.backward(1.5)
    (200, (3.0, 150.0))
    """

    def __init__(self):
        self.x = None
        self.y = None

    def forward(self, x, y):
        """Return x * y."""
        self.x, self.y = x, y
        return x * y

    def backward(self, dout):
        """Return the gradients with respect to x and y."""
        if self.x is None:
            raise RuntimeError("MulLayer.backward was called before forward")
        return dout * self.y, dout * self.x


class AddLayer:
    """The sum of two numbers, or of two arrays of one shape.

    Examples
    --------
    >>> layer = AddLayer()
    >>> layer.forward(200, 450), layer.backward(1.5)
    (650, (1.5, 1.5))
    """

    def forward(self, x, y):
        """Return x + y."""
        return x + y

    def backward(self, dout):
        """Return the gradients with respect to x and y."""
        return dout * 1, dout * 1
