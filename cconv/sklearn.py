"""Estimators of scikit-learn, for its pipelines, searches and cross-validations: a network that a `Trainer` trains.

Needs scikit-learn 1.6 or later: ``pip install 'cconv[sklearn]'``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from . import functional, geometry
from ._arrays import number
from ._checks import argument, choice, flag, optional_positive
from ._extras import require
from ._typing import Array, Floats, NetworkMaker
from .data import ArrayDataset
from .geometry import integer
from .layers import Affine, MeanSquaredError, Relu, SoftmaxWithLoss
from .networks import DeepConvNet, LeNet5, MobileNet, Network, ResNet, SimpleConvNet
from .networks.network import takes
from .optimizers import Optimizer
from .schedules import Schedule
from .trainer import Trainer

require("sklearn", "cconv.sklearn", "sklearn")  # says how to install it

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402
from sklearn.utils.class_weight import compute_class_weight  # noqa: E402
from sklearn.utils.multiclass import check_classification_targets, unique_labels  # noqa: E402
from sklearn.utils.validation import (  # noqa: E402
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

__all__ = ["ConvNetClassifier", "ConvNetRegressor"]

NETWORKS = {
    "simple": SimpleConvNet,
    "lenet5": LeNet5,
    "deep": DeepConvNet,
    "resnet": ResNet,
    "mobilenet": MobileNet,
}
MEASURED = 1000  # samples whose accuracy is measured in each epoch


class _ConvNet(BaseEstimator):
    """What both estimators share: their parameters, the network that is made of these, and its training."""

    def __init__(
        self,
        network: NetworkMaker | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        optimizer: str | Optimizer = "Adam",
        lr: float | None = None,
        schedule: Callable[[Optimizer], Schedule] | None = None,
        augment: Callable[..., Any] | None = None,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: bool | int = False,
    ) -> None:
        self.network = network
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.augment = augment
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # ---- data

    def _begins(self):
        """Say whether `fit` makes a new network."""
        return not (flag(self.warm_start, "warm_start") and hasattr(self, "network_"))

    def _validated(self, X, *y, reset, **options):
        """Return X as an array of samples in the shape that the network takes, and y, if given, checked."""
        X, shape = _rows(X)
        checked = validate_data(self, X, *y, dtype=(np.float32, np.float64, np.uint8), reset=reset, **options)
        X, *y = checked if y else (checked,)
        shape = self._sample_shape(X, shape) if reset else self._expected(X, shape)
        X = X.reshape(len(X), *shape)
        return (X, *y) if y else X

    def _sample_shape(self, X, shape):
        """Return the shape of a sample for rows of X, where images were of `shape`."""
        if self.image_shape is None:
            return X.shape[1:] if shape is None else shape
        wanted = geometry.image_shape(self.image_shape, "image_shape", 3)
        if math.prod(wanted) != X.shape[1] or shape not in (None, wanted):
            got = f"{X.shape[1]} features" if shape is None else f"images of shape {shape}"
            raise ValueError(f"image_shape must be that of the samples in X, which has {got}, got {wanted}")
        return wanted

    def _expected(self, X, shape):
        """Return the shape of the network's samples; images must have it."""
        expected = self.network_.input_shape
        if shape not in (None, expected):
            raise ValueError(
                f"X must hold samples of shape {expected}, as those that {type(self).__name__} was fitted to, got "
                f"images of shape {shape}"
            )
        return expected

    def _scores(self, X):
        """Return what the network predicts."""
        check_is_fitted(self, "network_")
        X = self._validated(X, reset=False)
        return self.network_.predict(_taken(X, self.network_))

    # ---- training

    def _train(self, X, t, outputs, weight, *, begin, epochs=None, **attributes):
        """Train on samples and their targets, as the parameters say; `epochs` given is a part of a training.

        Parameters
        ----------
        X, t, weight : ndarray
        outputs : int
            Of the network.
        begin : bool
            Whether to make a new network, or go on with the one that is there.
        epochs : int, optional
            Train so many epochs more, with the optimizer and the schedule as they are.
        **attributes
            What to set beside the network.
        """
        partial = epochs is not None
        epochs = integer(self.epochs if epochs is None else epochs, "epochs", 1)
        batch_size = integer(self.batch_size, "batch_size", 1)
        lr, patience = optional_positive(self.lr, "lr"), integer(self.n_iter_no_change, "n_iter_no_change", 1)
        fraction = number(self.validation_fraction, "validation_fraction")
        if not 0 < fraction < 1:
            raise ValueError(f"validation_fraction must be above 0 and below 1, got {fraction}")
        if weight is not None:
            X, t, weight = _with_weight(X, t, weight)

        random_state = check_random_state(self.random_state) if begin else self._random_state
        seeds = [int(seed) for seed in random_state.randint(np.iinfo(np.int32).max, size=3)]
        network = self._made(X, outputs, seeds[0]) if begin else self.network_
        data, stopping = ArrayDataset(_taken(X, network), t), {}
        if flag(self.early_stopping, "early_stopping"):
            with argument("validation_fraction must leave samples for training and for validation"):
                data, part = data.split(fraction, seed=seeds[1], stratify=t.ndim == 1)
            weight = None if weight is None else weight[data.indices]
            stopping = {"validation": part, "early_stopping": patience, "restore_best": True}
        smallest, batch_size = network.smallest_batch, min(batch_size, len(data))
        if batch_size < smallest:
            raise ValueError(
                f"batch_size must be at least {smallest}, as batch normalization needs, and there must be as many "
                f"samples, got batch_size={self.batch_size} and n_samples = {len(data)}"
            )
        going_on = partial and not begin
        optimizer, settings = self.optimizer, None if lr is None else {"lr": lr}
        if going_on:
            optimizer, settings = self.optimizer_, None
        elif isinstance(optimizer, Optimizer):
            optimizer, settings = copy.deepcopy(optimizer), None
            optimizer.reset()
            optimizer.lr = optimizer.lr if lr is None else lr
        trainer = Trainer(
            network,
            data,
            epochs=epochs,
            mini_batch_size=batch_size,
            optimizer=optimizer,
            optimizer_param=settings,
            evaluate_sample_num_per_epoch=MEASURED,
            verbose=bool(self.verbose),
            seed=seeds[2],
            schedule=None if going_on else self.schedule,
            augment=self.augment,
            sample_weight=weight,
            drop_last=0 < len(data) % batch_size < smallest,
            **stopping,
        )
        if going_on:
            trainer.schedule = self.schedule_  # which is not at its beginning
        if begin:
            self.loss_curve_ = []
        self.network_, self.optimizer_, self.schedule_ = network, trainer.optimizer, trainer.schedule
        self.history_, self._random_state = trainer.history, random_state
        vars(self).update(attributes)
        try:
            trainer.train()
        finally:
            self.loss_curve_ += trainer.history.loss
            self.n_iter_ = len(self.loss_curve_)
        return self

    def _made(self, X, outputs, seed):
        """Return a new network with so many outputs for samples like those in X."""
        shape = X.shape[1:]
        options = {"dtype": "float64" if X.dtype == np.float64 else "float32", "seed": seed}
        wanted = "network must be None, a name, a list of layers or a function of (input_shape, outputs)"
        given = self.network
        if given is None:
            # Filters see more than one pixel where there are two rows and columns at least.
            is_image = len(shape) == 3 and min(shape[1:]) > 1
            given = "simple" if is_image else [Affine(units=100), Relu(), Affine(units=outputs)]
        if isinstance(given, str):
            kind = NETWORKS[choice(given, "network", tuple(NETWORKS))]
            with argument(f"network {given!r} must fit the samples (image_shape makes images of rows)"):
                return self._with_loss(kind(shape, output_size=outputs, **_simple(kind, shape), **options))
        if callable(given) and not isinstance(given, Network):
            given = given(shape, outputs, **{name: value for name, value in options.items() if takes(given, name)})
        elif isinstance(given, Network):
            raise TypeError(f"{wanted}, got a {type(given).__name__}, which would be trained in its place")
        else:
            given = copy.deepcopy(given)
        if not isinstance(given, Network):
            with argument(wanted):
                given = Network(given, shape, **options)
        elif given.input_shape != shape:
            raise ValueError(f"network must make one for samples of shape {shape}, got {given.input_shape}")
        if (made := _output_shape(given)) != (outputs,):
            raise ValueError(f"network must have an output shape of ({outputs},), {self._outputs}, got {made}")
        return self._with_loss(given)


class ConvNetClassifier(ClassifierMixin, _ConvNet):
    """A classifier: a network with the softmax's cross-entropy as its loss.

    Samples are rows of D features or images of shape (C, H, W), or rows that `image_shape` makes images of. float32 and
    float64 are kept, and uint8 where the network begins with a layer that takes it (`Scale`, `Normalize`); anything
    else is cast to float32. Scale features first, as by `sklearn.preprocessing.StandardScaler`.

    Parameters
    ----------
    network : str, list of layers or callable, optional
        'simple', 'lenet5', 'deep', 'resnet' or 'mobilenet': `SimpleConvNet` (with weights as He et al. say, and a
        filter of 3 x 3 and a pad of 1 for images smaller than 6 x 6), `LeNet5`, `DeepConvNet`, `ResNet`, `MobileNet`.
        Or layers as `Network` takes them, the last one with an output for each class; they are copied, and what weights
        they have is where training begins. Or ``factory(input_shape, outputs)``, which returns such layers or a
        `Network`; it is given `seed` and `dtype` by name if it takes them. Without it, affine (100) - relu - affine for
        rows, and 'simple' for images.
    image_shape : (int, int, int), optional, keyword only
        (C, H, W): rows of X are images.
    epochs : int, default 50, keyword only
    batch_size : int, default 32, keyword only
        A last batch that is too small for batch normalization is left out.
    optimizer : str or Optimizer, default 'Adam', keyword only
        A name, as for `Trainer`, or an optimizer, of which a copy without state is used.
    lr : float, optional, keyword only
        The learning rate; the optimizer's own when not given.
    schedule : callable, optional, keyword only
        Makes a schedule of the optimizer: ``functools.partial(cconv.StepDecay, steps=10)``.
    augment : callable, optional, keyword only
        As for `Trainer`, see `cconv.augment`.
    early_stopping : bool, default False, keyword only
        Keep a part of the samples for validation, stop when their loss has not become lower in `n_iter_no_change`
        epochs, and go back to the best epoch.
    n_iter_no_change : int, default 10, keyword only
    validation_fraction : float, default 0.1, keyword only
        The part for validation, of each class alike.
    class_weight : dict, 'balanced' or None, keyword only
        The weight of each class, by its label, 1 where there is none; 'balanced' is n / (classes · samples of the
        class).
    random_state : int, numpy.random.RandomState or None, keyword only
        Draws weights, the order of samples, the validation part and augmentation.
    warm_start : bool, default False, keyword only
        Let `fit` go on with the network that is there, with a new optimizer.
    verbose : bool or int, default False, keyword only
        Print a line per epoch, and show a progress bar.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    network_ : Network
        ``network_.save(file)`` writes it, with the names of the classes.
    loss_curve_ : list of float
        The loss of each epoch.
    n_iter_ : int
        How many epochs the network was trained.
    n_features_in_ : int
        Values of a sample.
    feature_names_in_ : ndarray of str
        The columns of X, where it is a frame with names that are strings.
    history_ : History
        What the last training measured; the accuracy is that of up to 1000 samples.
    optimizer_, schedule_ : Optimizer, Schedule or None
        Those of the last training.

    Raises
    ------
    TypeError, ValueError
        From `fit`, where parameters are not what they must be.

    Notes
    -----
    Samples of weight 0 are left out. A mean of weighted losses is taken in each batch, so a weight of 2 is not quite
    the same as the sample twice: batches are others then.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), ConvNetClassifier(image_shape=(1, 8, 8), epochs=5, random_state=0))
    >>> model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.85
    True
    """

    _outputs = "one for each class"

    def __init__(
        self,
        network: NetworkMaker | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        optimizer: str | Optimizer = "Adam",
        lr: float | None = None,
        schedule: Callable[[Optimizer], Schedule] | None = None,
        augment: Callable[..., Any] | None = None,
        early_stopping: bool = False,
        n_iter_no_change: int = 10,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: bool | int = False,
    ) -> None:
        super().__init__(
            network,
            image_shape=image_shape,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            lr=lr,
            schedule=schedule,
            augment=augment,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            validation_fraction=validation_fraction,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train a network on samples and their labels.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)
        y : array_like, shape (N,)
            Labels of two classes or more.
        sample_weight : array_like, shape (N,), optional

        Returns
        -------
        ConvNetClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter, or what is given here, is not what it must be.
        FloatingPointError
            If the loss or gradients become infinite or NaN.
        """
        begin = self._begins()
        X, targets = self._validated(X, y, reset=begin)
        check_classification_targets(targets)
        classes = _classes(targets)
        if not begin and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start needs the classes of the fit before in y, {_listed(self.classes_)}, got {_listed(classes)}"
            )
        weight = self._weights(X, targets, classes, sample_weight)
        present = classes if weight is None else np.unique(targets[weight > 0])
        if len(present) == 1:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes with a weight above 0, got one class: "
                f"{_listed(present)}"
            )
        return self._learn(X, targets, classes, weight, begin=begin)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on these samples, with the optimizer and the schedule as the last call left them.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)
        y : array_like, shape (N,)
        classes : array_like, optional
            All labels that there are; needed in the first call.
        sample_weight : array_like, shape (N,), optional

        Returns
        -------
        ConvNetClassifier
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As for `fit`, and with `early_stopping`, with ``class_weight='balanced'``, or where classes are missing,
            others than before or not all that y holds.
        FloatingPointError
            If the loss or gradients become infinite or NaN.
        """
        begin = not hasattr(self, "network_")
        _refuse_early_stopping(self)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight must be a dict or None for partial_fit, which does not see all samples, got "
                f"{self.class_weight!r}"
            )
        if begin and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        known = self.classes_ if classes is None else _classes(classes)
        if not begin and not np.array_equal(known, self.classes_):
            raise ValueError(f"classes must be those of the first call, {_listed(self.classes_)}, got {_listed(known)}")
        if len(known) == 1:
            raise ValueError(f"classes must be at least 2, got one class: {_listed(known)}")
        X, y = self._validated(X, y, reset=begin)
        check_classification_targets(y)
        if len(unseen := np.setdiff1d(y, known)):
            raise ValueError(f"y must hold labels that are in classes, {_listed(known)}, got {_listed(unseen)}")
        weight = self._weights(X, y, known, sample_weight)
        return self._learn(X, y, known, weight, begin=begin, epochs=1)

    def predict(self, X: ArrayLike) -> Array:
        """Return the label of each sample.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)

        Returns
        -------
        ndarray, shape (N,)

        Raises
        ------
        TypeError, ValueError
            If X does not fit, or the estimator was not fitted.
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return the probability of each class, the softmax of the network's scores.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)

        Returns
        -------
        ndarray, shape (N, number of classes)
            In the order of `classes_`.

        Raises
        ------
        TypeError, ValueError
            If X does not fit, or the estimator was not fitted.
        """
        return functional.softmax(self._scores(X))

    def _weights(self, X, y, classes, sample_weight):
        """Return the weight of each sample, with that of its class, or None."""
        weight = _sample_weight(sample_weight, X)
        if self.class_weight is None:
            return weight
        of_class = compute_class_weight(self.class_weight, classes=classes, y=y)
        if not (np.isfinite(of_class).all() and (of_class >= 0).all()):
            raise ValueError(f"class_weight must hold finite numbers that are not negative, got {self.class_weight}")
        of_sample = of_class[np.searchsorted(classes, y)]
        return of_sample if weight is None else of_sample * weight

    def _learn(self, X, y, classes, weight, **options):
        t = np.searchsorted(classes, y)
        self._train(X, t, len(classes), weight, classes_=classes, **options)
        if self.network_.classes is None:
            self.network_.classes = [str(label) for label in classes]
        return self

    def _with_loss(self, network):
        if not isinstance(network.last_layer, SoftmaxWithLoss):
            raise ValueError(
                f"network must have a SoftmaxWithLoss as its last_layer, got {type(network.last_layer).__name__}"
            )
        return network


class ConvNetRegressor(RegressorMixin, _ConvNet):
    """A regressor of one or more values: a network with the mean squared error as its loss.

    Samples are as for `ConvNetClassifier`. Targets are taken as they are: scale those that are far from 1, as by
    `sklearn.compose.TransformedTargetRegressor`.

    Parameters
    ----------
    network : str, list of layers or callable, optional
        As for `ConvNetClassifier`, with an output for each value. A `Network` that a factory makes keeps its loss, if
        that is not `SoftmaxWithLoss`.
    image_shape, epochs, batch_size, optimizer, lr, schedule, augment : keyword only
        As for `ConvNetClassifier`.
    early_stopping, n_iter_no_change, validation_fraction, random_state, warm_start, verbose : keyword only
        As for `ConvNetClassifier`.

    Attributes
    ----------
    network_, loss_curve_, n_iter_, n_features_in_, feature_names_in_, history_, optimizer_, schedule_
        As for `ConvNetClassifier`.

    Raises
    ------
    TypeError, ValueError
        From `fit`, where parameters are not what they must be.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, _ = load_digits(return_X_y=True)
    >>> upper, lower = X[:, :32] / 16, X[:, 32:].mean(axis=1) / 16
    >>> model = ConvNetRegressor(image_shape=(1, 4, 8), epochs=5, random_state=0)
    >>> model.fit(upper, lower).predict(upper[:3]).shape
    (3,)
    """

    _outputs = "one for each target"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train a network on samples and their values.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)
        y : array_like, shape (N,) or (N, M)
        sample_weight : array_like, shape (N,), optional

        Returns
        -------
        ConvNetRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter, or what is given here, is not what it must be.
        FloatingPointError
            If the loss or gradients become infinite or NaN.
        """
        return self._learn(X, y, sample_weight, begin=self._begins())

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on these samples, with the optimizer and the schedule as the last call left them.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)
        y : array_like, shape (N,) or (N, M)
        sample_weight : array_like, shape (N,), optional

        Returns
        -------
        ConvNetRegressor
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            As for `fit`, and with `early_stopping`.
        FloatingPointError
            If the loss or gradients become infinite or NaN.
        """
        _refuse_early_stopping(self)
        return self._learn(X, y, sample_weight, begin=not hasattr(self, "network_"), epochs=1)

    def predict(self, X: ArrayLike) -> Array:
        """Return the values of each sample.

        Parameters
        ----------
        X : array_like, shape (N, D) or (N, C, H, W)

        Returns
        -------
        ndarray, shape (N,) or (N, M)
            As y was in `fit`.

        Raises
        ------
        TypeError, ValueError
            If X does not fit, or the estimator was not fitted.
        """
        y = self._scores(X)
        return y[:, 0] if self._is_flat else y

    def _learn(self, X, y, sample_weight, *, begin, **options):
        X, y = self._validated(X, y, reset=begin, multi_output=True, y_numeric=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64 if X.dtype == np.float64 else np.float32, input_name="y")
        is_flat, t = y.ndim == 1, y.reshape(len(y), -1)
        if not begin and (is_flat, t.shape[1:]) != (self._is_flat, _output_shape(self.network_)):
            raise ValueError(f"y must have a shape as in the first fit, got {y.shape}")
        weight = _sample_weight(sample_weight, X)
        return self._train(X, t, t.shape[1], weight, begin=begin, _is_flat=is_flat, **options)

    def _with_loss(self, network):
        if isinstance(network.last_layer, SoftmaxWithLoss):
            network.last_layer = MeanSquaredError()
        return network


def _rows(X):
    """Return samples as rows, and the shape of images."""
    if isinstance(X, (list, tuple)):
        X = np.asarray(X)
    ndim = getattr(X, "ndim", 2)
    if ndim == 3 or ndim > 4:
        raise ValueError(f"X must have shape (N, D) or (N, C, H, W), got {tuple(X.shape)}")
    if ndim != 4:
        return X, None
    X = np.asarray(X)
    return X.reshape(len(X), math.prod(X.shape[1:])), X.shape[1:]


def _classes(y):
    """Return the different labels, sorted, in their own dtype."""
    unique_labels(y)  # refuses labels of several kinds
    return np.unique(y)


def _output_shape(network):
    return [network.input_shape, *network.output_shapes.values()][-1]


def _taken(X, network):
    """Return samples as a network takes them: those of uint8 as floats, if it does not take integers."""
    return X.astype(network.dtype) if X.dtype == np.uint8 and not network.takes_integers else X


def _sample_weight(weight, X):
    """Return a weight for each sample, or None."""
    if weight is None:
        return None
    return _check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)


def _with_weight(X, t, weight):
    """Return the samples that count, with their targets and weights."""
    counts = weight > 0
    if not counts.any():
        raise ValueError("sample_weight must not be zero for all samples, class_weight included")
    return (X, t, weight) if counts.all() else (X[counts], t[counts], weight[counts])


def _simple(kind, shape):
    """Return the settings of a SimpleConvNet for images of a shape, none of other networks."""
    if kind is not SimpleConvNet:
        return {}
    small = len(shape) == 3 and min(shape[1:]) < 6
    return {"weight_init_std": "he", "conv_param": {"filter_size": 3, "pad": 1} if small else {}}


def _refuse_early_stopping(estimator):
    if flag(estimator.early_stopping, "early_stopping"):
        raise ValueError("early_stopping must be False for partial_fit, which sees one part of the samples at a time")


def _listed(labels):
    return ", ".join(repr(label) for label in labels.tolist())
