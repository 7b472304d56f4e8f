"""The sum of two branches."""

from collections import OrderedDict

from .._arrays import as_input
from .layer import Layer
from .stack import build, named

__all__ = ["Residual"]


class Residual(Layer):
    r"""Add what a body of layers makes of x to x, or to a shortcut of it (He et al., arXiv 1512.03385).

    .. math:: out = body(x) + shortcut(x)

    Parameters
    ----------
    body : list of Layer, or mapping of str to Layer
    shortcut : the same, optional
        x itself when not given.

    Attributes
    ----------
    layers : OrderedDict of str to Layer
        Those of both branches, as body.conv1, shortcut.conv1, ...

    Raises
    ------
    ValueError
        If the branches give different shapes.

    Examples
    --------
    >>> Residual([Relu()]).forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    takes_train_flg = True

    def __init__(self, body, shortcut=()):
        self.body = named(body)
        self.shortcut = named(shortcut)

    @property
    def layers(self):
        branches = {"body": self.body, "shortcut": self.shortcut}
        return OrderedDict(
            (f"{branch}.{name}", layer) for branch, layers in branches.items() for name, layer in layers.items()
        )

    def build(self, input_shape, rng, dtype):
        shapes = []
        for layers in (self.body, self.shortcut):
            built = list(build(layers, input_shape, rng, dtype).values())
            shapes.append(built[-1] if built else tuple(input_shape))
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"expects branches of one shape, gets {shapes[0]} and {shapes[1]} for {tuple(input_shape)}"
            )
        return shapes[0]

    def multiply_adds(self, input_shape):
        total = 0
        for layers in (self.body, self.shortcut):
            shapes = [input_shape, *build(layers, input_shape, None, None).values()]
            for layer, shape in zip(layers.values(), shapes, strict=False):
                total += layer.multiply_adds(shape) if isinstance(layer, Layer) else 0
        return total

    def forward(self, x, train_flg=None):
        if train_flg is None:
            train_flg = self.training
        x = as_input(x, "x")
        out, past = (_forward(layers, x, train_flg) for layers in (self.body, self.shortcut))
        if out.shape != past.shape:
            raise ValueError(f"body and shortcut must give one shape, got {out.shape} and {past.shape}")
        self._saved = True
        return out + past

    def backward(self, dout, *, input_gradient=True):
        self._recall()
        gradients = [_backward(layers, dout, input_gradient) for layers in (self.body, self.shortcut)]
        return gradients[0] + gradients[1] if input_gradient else None

    def describe(self):
        return {
            branch: {name: {"type": type(layer).__name__, **_settings(layer)} for name, layer in layers.items()}
            for branch, layers in (("body", self.body), ("shortcut", self.shortcut))
        }


def _settings(layer):
    return layer.describe() if isinstance(layer, Layer) else {}


def _forward(layers, x, train_flg):
    for layer in layers.values():
        x = layer.forward(x, train_flg) if getattr(layer, "takes_train_flg", False) else layer.forward(x)
    return x


def _backward(layers, dout, input_gradient):
    for number, layer in reversed(list(enumerate(layers.values()))):
        if number == 0 and not input_gradient and isinstance(layer, Layer):
            layer.backward(dout, input_gradient=False)
        else:
            dout = layer.backward(dout)
    return dout
