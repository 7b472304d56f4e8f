"""The same with batch normalization and dropout."""

from ..._checks import flag as _flag
from . import multi_layer_net
from .multi_layer_net import *

__all__ = ["MultiLayerNetExtend", *(name for name in multi_layer_net.__all__ if name != "MultiLayerNet")]


class MultiLayerNetExtend(multi_layer_net.MultiLayerNet):
    """`MultiLayerNet` with batch normalization before each activation, and dropout behind it.

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda
        As for `MultiLayerNet`.
    use_dropout : bool, default False
    dropout_ration : float, default 0.5
        The share of values that is dropped; the book spells it so.
    use_batchnorm : bool, default False
    dtype : {'float64', 'float32'}, keyword only

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> network = MultiLayerNetExtend(4, [5], 3, use_dropout=True, use_batchnorm=True)
    >>> list(network.layers)
    ['Affine1', 'BatchNorm1', 'Activation_function1', 'Dropout1', 'Affine2']
    """

    def __init__(
        self,
        input_size,
        hidden_size_list,
        output_size,
        activation="relu",
        weight_init_std="relu",
        weight_decay_lambda=0,
        use_dropout=False,
        dropout_ration=0.5,
        use_batchnorm=False,
        *,
        dtype="float64",
    ):
        self.use_dropout, self.use_batchnorm = _flag(use_dropout, "use_dropout"), _flag(use_batchnorm, "use_batchnorm")
        self.dropout_ration = dropout_ration
        sizes = input_size, hidden_size_list, output_size
        super().__init__(*sizes, activation, weight_init_std, weight_decay_lambda, dtype=dtype)

    def _between(self, number, kind):
        found = super()._between(number, kind)
        if self.use_batchnorm:
            found = {f"BatchNorm{number}": BatchNormalization()} | found
        if self.use_dropout:
            found[f"Dropout{number}"] = Dropout(self.dropout_ration)
        return found
