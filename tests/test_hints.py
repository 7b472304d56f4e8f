"""Errors that say what was most likely meant."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest

import cconv
from cconv import _hints


def network(shape=(1, 28, 28)):
    return cconv.Network([cconv.Flatten(), cconv.Affine(units=2)], shape, seed=0)


@pytest.mark.parametrize(
    ("shape", "given", "code"),
    [
        ((1, 28, 28), (5, 784), "x.reshape(-1, 1, 28, 28)"),
        ((1, 28, 28), (784,), "x.reshape(-1, 1, 28, 28)"),
        ((3, 32, 32), (5, 32, 32, 3), "x.transpose(0, 3, 1, 2)"),
        ((3, 32, 20), (32, 20, 3), "x.transpose(2, 0, 1)"),
        ((1, 28, 28), (5, 28, 28, 1), "x.transpose(0, 3, 1, 2)"),
        ((1, 28, 28), (5, 28, 28), "x[:, None]"),
        ((1, 28, 28), (28, 28), "x[None]"),
        ((784,), (5, 1, 28, 28), "x.reshape(len(x), -1)"),
    ],
)
def test_inputs_of_another_layout_are_told_how_to_get_here(shape, given, code):
    x = np.zeros(given, np.float32)
    with pytest.raises(ValueError, match=re.escape(code)) as error:
        network(shape).predict(x)
    assert ("flatten=False" in str(error.value)) == (given[-1] == 784)
    assert network(shape).predict(eval(code, {"x": x})).shape == (len(x) if len(x) == 5 else 1, 2)
    if len(x) == 5:
        with pytest.raises(ValueError, match=re.escape(code)):
            cconv.Trainer(network(shape), x, np.zeros(5, np.int64))


@pytest.mark.parametrize("given", [(5, 3, 28, 28), (5, 785), (), (5, 1, 28, 27), (2, 5, 1, 28, 28)])
def test_other_inputs_get_no_hint(given):
    with pytest.raises(ValueError, match=re.escape(f"x must have shape (N, 1, 28, 28), got {given}") + "$"):
        network().predict(np.zeros(given, np.float32))


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (64, 64, 4)])
def test_a_shape_whose_channels_come_last_is_warned_of(shape):
    with pytest.warns(UserWarning, match=re.escape(f"are {(shape[2], *shape[:2])}")) as caught:
        network(shape)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (64, 7, 7), (4, 4, 1), (64, 8, 1), (32, 32), (3, 3, 3)])
def test_other_shapes_are_not(shape):
    network(shape)  # where a warning would be an error


class Counted(cconv.data.Dataset):
    """A data set that is not in memory, of images with values up to 255."""

    def __len__(self):
        return 6

    def __getitem__(self, indices):
        return np.full((6, 1, 28, 28), 255.0)[indices], np.zeros(6, np.int64)[indices]


def images(most):
    x = np.zeros((6, 1, 28, 28), np.float32)
    x[3] = most
    return x


@pytest.mark.parametrize("x", [images(255), images(-51), Counted()], ids=["255", "-51", "data set"])
def test_images_that_are_not_scaled_are_warned_of_once(x):
    t = np.zeros(6, np.int64)
    with pytest.warns(UserWarning, match=r"scale them\?.* x / 255, or by Scale\(\)") as caught:
        trainer = cconv.Trainer(network(), x, None if isinstance(x, Counted) else t, epochs=2, verbose=False)
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.on_nonfinite = "ignore"
        trainer.train()


def test_images_that_are_scaled_or_scaled_by_the_network_and_features_are_not_warned_of():
    t = np.zeros(6, np.int64)
    cconv.Trainer(network(), images(50), t)
    cconv.Trainer(network((784,)), images(255).reshape(6, 784), t)
    scaling = cconv.Network([cconv.Scale(), cconv.Affine(units=2)], (1, 28, 28), seed=0)
    cconv.Trainer(scaling, images(255), t)
    cconv.Trainer(network(), np.full((6, 1, 28, 28), np.nan, np.float32), t)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.1}, r"arguments of Adam \(lr, .*clip_norm\), got 'learning_rate': use lr$"),
        ({"betas": (0.9, 0.99)}, "got 'betas': use beta1 and beta2$"),
        ({"nothing": 1}, "got 'nothing'$"),
    ],
)
def test_arguments_of_optimizers_by_other_names_are_told_theirs(options, message):
    with pytest.raises(TypeError, match=f"optimizer_param must hold {message}|{message}"):
        cconv.Trainer(network(), images(1), np.zeros(6, np.int64), optimizer="adam", optimizer_param=options)


@pytest.mark.parametrize(
    ("name", "own"), [("Conv2D", "Convolution"), ("Dense", "Affine"), ("MaxPool2D", "Pooling"), ("Linear", "Affine")]
)
def test_names_of_other_libraries_are_answered_with_cconvs(name, own):
    with pytest.raises(AttributeError, match=f"module 'cconv' has no attribute '{name}': use cconv.{own}$"):
        getattr(cconv, name)
    assert not hasattr(cconv, name)
    with pytest.raises(AttributeError, match="module 'cconv' has no attribute 'Nothing'$"):
        cconv.Nothing  # noqa: B018


def test_methods_of_other_libraries_are_answered_with_cconvs():
    simple = network()
    with pytest.raises(AttributeError, match=r"Network has no attribute 'fit': use Trainer\(network, "):
        simple.fit(1, 2)
    trainer = cconv.Trainer(simple, images(1), np.zeros(6, np.int64))
    with pytest.raises(AttributeError, match=r"Trainer has no attribute 'fit': use train\(\)"):
        trainer.fit()
    for thing in (simple, trainer):
        assert not hasattr(thing, "fit")
        with pytest.raises(AttributeError, match="object has no attribute 'nothing'$"):
            thing.nothing  # noqa: B018


def test_no_hint_stands_for_a_name_that_is_there_and_all_lead_to_one():
    trainer = cconv.Trainer(network(), images(1), np.zeros(6, np.int64))
    for name, own in _hints.NAMES.items():
        place = cconv
        for part in re.match(r"[\w.]+", own)[0].split("."):
            place = getattr(place, part)
        assert name not in cconv.__all__
    for names, thing in ((_hints.METHODS, network()), (_hints.TRAINING, trainer)):
        for name, own in names.items():
            assert name not in dir(thing)
            first = re.match(r"\w+", own)[0]
            assert hasattr(thing, first) or hasattr(cconv, first) or " " in own, own


def test_the_error_of_a_property_is_not_hidden():
    class Broken(cconv.Network):
        @property
        def params(self):
            return self.layers.not_there

    with pytest.raises(AttributeError, match="OrderedDict.*not_there"):
        Broken([cconv.Affine(units=2)], (3,), seed=0).params  # noqa: B018


def test_networks_are_copied_and_pickled_with_hints():
    for twin in (copy.copy(network()), copy.deepcopy(network()), pickle.loads(pickle.dumps(network()))):
        assert twin.predict(np.zeros((1, 1, 28, 28), np.float32)).shape == (1, 2)
    assert not hasattr(cconv.Network.__new__(cconv.Network), "layers")
