"""cconv.sklearn: what scikit-learn asks of estimators, and what networks add to that."""

import functools
import io
import pickle

import numpy as np
import parity
import pytest

import cconv

parity.require("sklearn", "scikit-learn")
import joblib  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from cconv.sklearn import ConvNetClassifier, ConvNetRegressor  # noqa: E402

ESTIMATORS = [ConvNetClassifier, ConvNetRegressor]
# With a batch size below the number of samples that the check repeats; with the default, all are in one batch.
REASON = "where samples are repeated, others come together in a batch, and the steps of the optimizer are others"
FAILED = {"check_sample_weight_equivalence_on_dense_data": REASON}


@parametrize_with_checks([kind() for kind in ESTIMATORS])
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_checks([kind(batch_size=10) for kind in ESTIMATORS], expected_failed_checks=lambda estimator: FAILED)
def test_what_scikit_learn_checks_with_small_batches(estimator, check):
    check(estimator)


def test_only_the_equivalence_of_weights_and_repetitions_may_fail():
    assert all(name.startswith("check_sample_weight_equivalence") and reason for name, reason in FAILED.items())


# What the estimators are trained on: images in two halves of different brightness, as rows and as images.


def images(n=24, size=(1, 8, 8), classes=2, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n) % classes
    x = rng.random((n, *size)) / 4
    for label in range(classes):
        x[t == label, :, label % size[1]] += 1
    return x.astype(dtype), t


def classifier(**options):
    return ConvNetClassifier(**{"epochs": 8, "batch_size": 8, "lr": 0.01, "random_state": 0} | options)


def regressor(**options):
    return ConvNetRegressor(**{"epochs": 8, "batch_size": 8, "lr": 0.01, "random_state": 0} | options)


def weights_of(model):
    return {name: array.copy() for name, array in model.network_.state_dict().items()}


def assert_same_weights(model, other):
    found, expected = weights_of(model), weights_of(other)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


# Samples and targets


def test_rows_and_images_are_the_same_samples():
    x, y = images()
    of_images = classifier().fit(x, y)
    of_rows = classifier(image_shape=(1, 8, 8)).fit(x.reshape(len(x), -1), y)
    assert_same_weights(of_images, of_rows)
    np.testing.assert_array_equal(of_images.predict_proba(x), of_rows.predict_proba(x.reshape(len(x), -1)))
    np.testing.assert_array_equal(of_rows.predict_proba(x), of_rows.predict_proba(x.reshape(len(x), -1)))
    assert isinstance(of_rows.network_, cconv.SimpleConvNet)
    assert of_images.n_features_in_ == of_rows.n_features_in_ == 64
    assert of_images.score(x, y) == 1


@pytest.mark.parametrize(
    "labels",
    [["no", "yes", "a longer one"], [-7, 3, -1], [True, False], [0.0, 5.0], np.array(["b", "a"], object)],
    ids=["strings", "negative", "booleans", "floats", "objects"],
)
def test_labels_of_any_kind(labels):
    x, t = images(classes=len(labels))
    y = np.asarray(labels)[t]
    model = classifier().fit(x, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.classes_.dtype == y.dtype
    np.testing.assert_array_equal(model.predict(x), y)
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (len(x), len(labels))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    loaded = cconv.load(_saved(model.network_))
    assert loaded.classes == [str(label) for label in np.unique(y)]
    partial = classifier().partial_fit(x, y, classes=labels)
    assert set(partial.predict(x)) <= set(y)


def _saved(network):
    file = io.BytesIO()
    network.save(file)
    return file.getvalue()


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_keep_their_dtype(make, dtype):
    x, y = images(dtype=dtype)
    model = make(epochs=1).fit(x, y)
    assert model.network_.dtype == dtype
    answer = model.predict_proba(x) if make is classifier else model.predict(x)
    assert answer.dtype == dtype


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.float16, bool, object])
def test_other_numbers_become_float32(dtype):
    x, y = images()
    x = (x > 0.5).astype(dtype)
    model = classifier(epochs=2).fit(x, y)
    assert model.network_.dtype == np.float32
    assert_same_weights(model, classifier(epochs=2).fit(x.astype(np.float32), y))


def test_pixels_go_as_they_are_into_a_network_that_takes_them(monkeypatch):
    x, y = images()
    x = (200 * x).clip(0, 255).astype(np.uint8)
    seen = []
    monkeypatch.setattr(
        cconv.Scale, "forward", lambda self, x, forward=cconv.Scale.forward: (seen.append(x.dtype), forward(self, x))[1]
    )
    layers = [cconv.Scale(), cconv.Convolution(filters=4, size=3), cconv.Relu(), cconv.Affine(units=2)]
    model = classifier(network=layers).fit(x, y)
    assert model.score(x, y) == 1
    assert set(seen) == {np.dtype(np.uint8)}
    with pytest.warns(UserWarning, match="scale them"):
        plain = classifier(epochs=1).fit(x, y)
    np.testing.assert_array_equal(plain.predict_proba(x), plain.predict_proba(x.astype(np.float32)))


def test_names_of_features():
    pandas = parity.require("pandas", "pandas")
    x, y = images(size=(1, 2, 2))
    frame = pandas.DataFrame(x.reshape(len(x), -1), columns=["a", "b", "c", "d"])
    model = classifier(epochs=1).fit(frame, y)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (24, 8, 8), r"X must have shape \(N, D\) or \(N, C, H, W\), got \(24, 8, 8\)"),
        ({}, (24, 1, 1, 8, 8), r"X must have shape \(N, D\) or \(N, C, H, W\)"),
        ({"image_shape": (1, 8, 9)}, (24, 64), r"image_shape must be that of .* 64 features, got \(1, 8, 9\)"),
        ({"image_shape": (1, 4, 16)}, (24, 1, 8, 8), r"image_shape must be .* images of shape \(1, 8, 8\), got \(1, 4"),
        ({"image_shape": 8}, (24, 64), r"image_shape must be \(C, H, W\)"),
    ],
)
def test_samples_of_another_shape_are_refused(options, shape, message):
    with pytest.raises((TypeError, ValueError), match=message):
        classifier(**options).fit(np.zeros(shape), np.arange(24) % 2)


def test_samples_that_do_not_fit_what_was_fitted_are_refused():
    x, y = images()
    model = classifier(epochs=1).fit(x, y)
    with pytest.raises(ValueError, match=r"X must hold samples of shape \(1, 8, 8\), .* got .* \(1, 4, 16\)"):
        model.predict(x.reshape(-1, 1, 4, 16))
    with pytest.raises(ValueError, match="X has 32 features, but ConvNetClassifier is expecting 64"):
        model.predict(x.reshape(-1, 32))
    with pytest.raises(ValueError, match=r"X must hold samples of shape \(64,\)"):
        classifier(epochs=1).fit(x.reshape(-1, 64), y).predict(x)
    with pytest.raises(NotFittedError):
        classifier().predict(x)
    with pytest.raises(NotFittedError):
        regressor().predict(x)


def test_one_class_and_one_sample():
    x, _ = images(4)
    with pytest.raises(ValueError, match="needs samples of at least 2 classes .* above 0, got one class: 'a'"):
        classifier().fit(x, ["a"] * 4)
    with pytest.raises(ValueError, match="got one class: 1"):
        classifier().fit(x, [0, 1, 1, 1], sample_weight=[0, 1, 1, 1])
    with pytest.raises(ValueError, match="one class: 1"):
        classifier(class_weight={0: 0}).fit(x, [0, 1, 1, 1])
    assert regressor().fit(x[:1], [2.0]).predict(x).shape == (4,)


def test_regression_of_several_values():
    x, t = images(40)
    y = np.stack([t, 1 - t, 0.5 * t], axis=1)
    model = regressor(epochs=30).fit(x, y)
    assert model.predict(x).shape == (40, 3)
    assert model.score(x, y) > 0.9
    assert regressor(epochs=1).fit(x, y[:, :1]).predict(x).shape == (40, 1)
    model.set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"y must have a shape as in the first fit, got \(40, 2\)"):
        model.fit(x, y[:, :2])
    with pytest.raises(ValueError, match=r"y must have a shape as in the first fit, got \(40,\)"):
        model.partial_fit(x, t)


# Networks


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("simple", cconv.SimpleConvNet),
        ("lenet5", cconv.LeNet5),
        ("deep", cconv.DeepConvNet),
        ("resnet", cconv.ResNet),
        ("mobilenet", cconv.MobileNet),
    ],
)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_networks_by_name(name, kind, make):
    x, y = images(12, (1, 16, 16), classes=3)
    model = make(network=name, epochs=1).fit(x, y)
    assert type(model.network_) is kind
    assert model.predict(x).shape == (12,)
    loss = cconv.SoftmaxWithLoss if make is classifier else cconv.MeanSquaredError
    assert type(model.network_.last_layer) is loss


def test_rows_get_two_affine_layers():
    x, y = images()
    network = classifier(epochs=1).fit(x.reshape(len(x), -1), y).network_
    assert [type(layer) for layer in network.layers.values()] == [cconv.Affine, cconv.Relu, cconv.Affine]
    assert network.params["W1"].shape == (64, 100)


@pytest.mark.parametrize("size", [(1, 5, 5), (3, 2, 7), (2, 1, 6), (1, 6, 6)])
def test_images_too_small_for_a_large_filter(size):
    x, y = images(24, size)
    model = classifier(epochs=20).fit(x, y)
    assert model.network_.input_shape == size
    assert model.predict(x).shape == (24,)


def test_layers_are_copied():
    x, y = images()
    layers = [cconv.Convolution(filters=3, size=3), cconv.BatchNormalization(), cconv.Relu(), cconv.Affine(units=2)]
    model = classifier(network=layers)
    model.fit(x, y)
    assert model.network is layers
    assert layers[0].W is None and layers[1].running_mean is None
    assert clone(model).fit(x, y).score(x, y) == model.score(x, y) == 1
    assert_same_weights(clone(model).fit(x, y), model)


def test_factories():
    x, y = images()
    asked = []

    def layers(input_shape, outputs):
        asked.append((input_shape, outputs))
        return [cconv.Affine(units=8), cconv.Tanh(), cconv.Affine(units=outputs)]

    def network(input_shape, outputs, *, seed, dtype):
        asked.append((dtype, isinstance(seed, int)))
        made = layers(input_shape, outputs)
        last_layer = cconv.Huber() if outputs == 1 else cconv.SoftmaxWithLoss(label_smoothing=0.1)
        return cconv.Network(made, input_shape, seed=seed, dtype=dtype, last_layer=last_layer)

    classifier(network=layers, epochs=1).fit(x, y)
    assert asked == [((1, 8, 8), 2)]
    asked.clear()
    model = classifier(network=network, epochs=1).fit(x.reshape(len(x), -1), y)
    assert asked == [("float32", True), ((64,), 2)]
    assert model.network_.last_layer.label_smoothing == 0.1
    assert_same_weights(model, classifier(network=network, epochs=1).fit(x.reshape(len(x), -1), y))
    assert type(regressor(network=network, epochs=1).fit(x, y).network_.last_layer) is cconv.Huber
    assert type(regressor(network=layers, epochs=1).fit(x, y).network_.last_layer) is cconv.MeanSquaredError
    small = images(8, (1, 16, 16))
    assert_same_weights(*(classifier(network=cconv.LeNet5, epochs=1).fit(*small) for _ in range(2)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("vgg", "network must be 'simple', 'lenet5', 'deep', 'resnet' or 'mobilenet', got 'vgg'"),
        ("lenet5", "network 'lenet5' must fit the samples"),
        (3, r"network must be None, a name, a list of layers or a function .* got int"),
        ([cconv.Affine(units=3)], r"network must have an output shape of \(2,\), one for each class, got \(3,\)"),
        ([cconv.Convolution(filters=2, size=9)], "network must be None, a name, .* Convolution 'conv1'"),
        (cconv.Network([cconv.Affine(units=2)], (1, 8, 8), seed=0), "got a Network, which would be trained"),
        (lambda *_: cconv.Network([cconv.Affine(units=2)], (3,), seed=0), r"samples of shape \(1, 8, 8\), got \(3,\)"),
        (
            lambda *_: cconv.Network([cconv.Affine(units=2)], (1, 8, 8), seed=0, last_layer=cconv.Huber()),
            "network must have a SoftmaxWithLoss as its last_layer, got Huber",
        ),
    ],
)
def test_networks_that_do_not_fit(network, message):
    x, y = images()
    model = classifier(network=network)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(x, y)
    assert not hasattr(model, "network_")


def test_images_by_name_need_images():
    with pytest.raises(ValueError, match="network 'simple' must fit the samples.*image_shape"):
        classifier(network="simple").fit(np.zeros((4, 64)), [0, 1, 0, 1])


def test_a_network_is_no_estimator():
    network = cconv.LeNet5(seed=0)
    with pytest.raises(TypeError, match=r"copy\.deepcopy\(network\) copies it, and cconv\.sklearn\.ConvNetClassifier"):
        clone(network)
    with pytest.raises(TypeError, match="no estimator"):
        clone(classifier(network=network))


# Training


def test_parameters_reach_the_training(monkeypatch):
    seen = {}
    make = cconv.sklearn.Trainer

    def trainer(*arguments, **options):
        seen.update(options)
        return make(*arguments, **options)

    monkeypatch.setattr(cconv.sklearn, "Trainer", trainer)
    x, y = images()

    def augment(x, t, *, seed, epoch, indices):
        seen["augmented"] = True
        return x, t

    schedule = functools.partial(cconv.StepDecay, steps=1, gamma=0.5)
    model = classifier(epochs=3, batch_size=5, optimizer="Momentum", lr=0.5, schedule=schedule, augment=augment)
    model.fit(x, y)
    assert (seen["epochs"], seen["mini_batch_size"], seen["verbose"]) == (3, 5, False)
    assert type(model.optimizer_) is cconv.Momentum and model.optimizer_.lr == 0.5 / 8
    assert seen["augmented"]
    assert len(model.loss_curve_) == model.n_iter_ == len(model.history_) == 3
    classifier(epochs=1, batch_size=1000).fit(x, y)
    assert seen["mini_batch_size"] == 24


def test_the_learning_rate_of_the_optimizer_holds_where_none_is_given():
    x, y = images()
    given = cconv.SGD(lr=0.25)
    model = classifier(optimizer=given, lr=None).fit(x, y)
    assert model.optimizer_ is not given and model.optimizer_.lr == 0.25
    assert classifier(optimizer=given, lr=0.125).fit(x, y).optimizer_.lr == 0.125
    assert given.lr == 0.25 and given.state == {}
    assert classifier(lr=None, epochs=1).fit(x, y).optimizer_.lr == cconv.Adam().lr


def test_verbose_prints_a_line_per_epoch(capsys):
    x, y = images()
    classifier(epochs=2).fit(x, y)
    assert capsys.readouterr() == ("", "")
    classifier(epochs=2, verbose=2).fit(x, y)
    assert "epoch 2/2: loss" in "".join(capsys.readouterr())


@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_random_state_makes_a_fit_repeatable(make):
    x, y = images()
    first = make().fit(x, y)
    assert_same_weights(first, make().fit(x, y))
    assert_same_weights(first, first.__class__(**first.get_params()).fit(x, y))
    assert_same_weights(
        make(random_state=np.random.RandomState(3)).fit(x, y), make(random_state=np.random.RandomState(3)).fit(x, y)
    )
    fits = []
    for _ in range(2):
        np.random.seed(4)
        fits.append(make(random_state=None).fit(x, y))
    assert_same_weights(*fits)
    other = make(random_state=1).fit(x, y)
    assert any((weights_of(other)[name] != array).any() for name, array in weights_of(first).items())


@pytest.mark.parametrize("make", [classifier, regressor])
def test_early_stopping_goes_back_to_the_best_epoch(make):
    x, _ = images(60)
    y = np.random.default_rng(0).permutation(60) % 2  # nothing to learn: the validation loss rises
    model = make(epochs=200, early_stopping=True, n_iter_no_change=3, validation_fraction=0.3, lr=0.02).fit(x, y)
    losses = model.history_.val_loss
    assert len(losses) == model.n_iter_ < 200
    assert np.argmin(losses) == len(losses) - 4
    again = make(epochs=len(losses) - 3, early_stopping=True, validation_fraction=0.3, lr=0.02).fit(x, y)
    assert_same_weights(model, again)


def test_classes_are_split_alike_for_validation():
    x, _ = images(40)
    y = np.array([0] * 36 + [1] * 4)
    with pytest.raises(ValueError, match=r"validation_fraction must leave samples .* got 0.01 of 40"):
        classifier(early_stopping=True, validation_fraction=0.01).fit(x, y)
    weight = np.arange(40) % 3
    model = classifier(early_stopping=True, validation_fraction=0.5, epochs=1).fit(x, y, sample_weight=weight)
    assert len(model.history_.val_loss) == 1


def test_warm_start_goes_on():
    x, y = images()
    model = classifier(warm_start=True, epochs=3).fit(x, y)
    network, before = model.network_, weights_of(model)
    model.set_params(lr=1e-9).fit(x, y)
    assert model.network_ is network
    assert model.n_iter_ == len(model.loss_curve_) == 6
    np.testing.assert_allclose(weights_of(model)["Conv1.W"], before["Conv1.W"], atol=1e-7)
    with pytest.raises(ValueError, match="warm_start needs the classes of the fit before in y, 0, 1, got 0, 2"):
        model.fit(x, 2 * y)
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.fit(x.reshape(-1, 32), np.tile(y, 2))
    model.set_params(warm_start=False).fit(x, y)
    assert model.network_ is not network and model.n_iter_ == 3


@pytest.mark.parametrize("make", [classifier, regressor])
def test_partial_fit_goes_on_with_optimizer_and_schedule(make):
    x, y = images()
    schedule = functools.partial(cconv.StepDecay, steps=1, gamma=0.5)
    model = make(schedule=schedule, lr=0.01)
    arguments = {"classes": [0, 1]} if make is classifier else {}
    model.partial_fit(x[:12], y[:12], **arguments)
    network = model.network_
    assert model.optimizer_.lr == 0.005
    copied = pickle.loads(pickle.dumps(model))
    for one in (model, copied):
        one.partial_fit(x[12:], y[12:])
        one.partial_fit(x, y)
        assert one.optimizer_.lr == 0.01 / 8
        assert one.n_iter_ == len(one.loss_curve_) == 3
        assert one.optimizer_.state["W1"]["step"] == 2 + 2 + 3
    assert model.network_ is network
    assert_same_weights(model, copied)
    model.fit(x, y)
    assert model.network_ is not network and model.n_iter_ == 8


def test_partial_fit_knows_all_classes_from_the_first_call():
    x, y = images()
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        classifier().partial_fit(x, y)
    with pytest.raises(ValueError, match="classes must be at least 2, got one class: 0"):
        classifier().partial_fit(x, y, classes=[0])
    with pytest.raises(ValueError, match="y must hold labels that are in classes, 0, 2, got 1"):
        classifier().partial_fit(x, y, classes=[0, 2])
    model = classifier().partial_fit(x[y == 0], y[y == 0], classes=[2, 0, 1])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    model.partial_fit(x[y == 1], y[y == 1], classes=[0, 1, 2], sample_weight=np.ones(12))
    assert model.predict_proba(x).shape == (24, 3)
    before = weights_of(model)
    with pytest.raises(ValueError, match="classes must be those of the first call, 0, 1, 2, got 0, 1"):
        model.partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match="got 5"):
        model.partial_fit(x, np.where(y, 5, 0))
    with pytest.raises(ValueError, match="class_weight must be a dict or None for partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(x, y)
    for other in (model.set_params(class_weight=None, early_stopping=True), regressor(early_stopping=True)):
        with pytest.raises(ValueError, match="early_stopping must be False for partial_fit"):
            other.partial_fit(x, y)
    for name, array in before.items():
        np.testing.assert_array_equal(weights_of(model)[name], array)


def test_weights_of_classes_are_those_of_their_samples():
    x, t = images()
    y = np.array(["a", "b"])[t]
    by_class = classifier(class_weight={"b": 3}).fit(x, y)
    assert_same_weights(by_class, classifier().fit(x, y, sample_weight=np.where(t, 3.0, 1.0)))
    few = np.flatnonzero(t)[:4].tolist() + np.flatnonzero(t == 0).tolist()
    balanced = classifier(class_weight="balanced").fit(x[few], y[few])
    by_hand = classifier(class_weight={"a": 16 / (2 * 12), "b": 16 / (2 * 4)}).fit(x[few], y[few])
    assert_same_weights(balanced, by_hand)
    with pytest.raises(ValueError, match="class_weight must hold finite numbers that are not negative"):
        classifier(class_weight={"a": -1}).fit(x, y)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_samples_without_weight_are_left_out(make):
    x, y = images()
    weight = (np.arange(len(x)) % 5 != 0).astype(float)
    weighed, rest = make().fit(x, y, sample_weight=weight), make().fit(x[weight > 0], y[weight > 0])
    for name, array in weights_of(rest).items():
        np.testing.assert_allclose(weights_of(weighed)[name], array, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="zero"):
        make().fit(x, y, sample_weight=np.zeros(len(x)))


def test_a_last_batch_too_small_for_batch_normalization_is_left_out():
    x, y = images(25)
    layers = [cconv.Affine(units=4), cconv.BatchNormalization(), cconv.Relu(), cconv.Affine(units=2)]
    model = classifier(network=layers, batch_size=8, epochs=2).fit(x, y)
    assert len(model.history_.step_loss) == 2 * 3
    assert len(classifier(batch_size=8, epochs=2).fit(x, y).history_.step_loss) == 2 * 4
    with pytest.raises(ValueError, match=r"batch_size must be at least 2, as batch norm.* batch_size=1"):
        classifier(network=layers, batch_size=1).fit(x, y)
    with pytest.raises(ValueError, match="n_samples = 1"):
        regressor(network=[cconv.BatchNormalization(), cconv.Affine(units=1)]).fit(x[:1].reshape(1, -1), y[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be .* got 0"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"lr": -1}, "lr must be a positive number"),
        ({"optimizer": "Newton"}, "optimizer must be one of"),
        ({"optimizer": None}, "optimizer must be one of"),
        ({"schedule": 3}, "schedule must be"),
        ({"augment": 3}, "augment must be"),
        ({"early_stopping": "yes"}, "early_stopping must be True or False"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be"),
        ({"validation_fraction": 1}, "validation_fraction must be above 0 and below 1, got 1"),
        ({"validation_fraction": "x"}, "validation_fraction must be a number"),
        ({"random_state": "x"}, "'x' cannot be used to seed"),
        ({"warm_start": None}, "warm_start must be True or False"),
    ],
)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_parameters_are_checked_in_fit(make, options, message):
    x, y = images()
    model = make(**options)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(x, y)
    assert not hasattr(model, "network_")


def test_an_interrupted_fit_leaves_what_was_trained():
    x, y = images()

    def augment(x, t, *, seed, epoch, indices):
        if epoch == 2:
            raise KeyboardInterrupt
        return x, t

    model = classifier(augment=augment)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y)
    assert model.n_iter_ == len(model.loss_curve_) == 2
    assert_same_weights(model, classifier(epochs=2, augment=lambda x, t, **_: (x, t)).fit(x, y))
    assert model.predict(x).shape == (24,)


# In scikit-learn's hands


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(n_class=4, return_X_y=True)
    return x[:240], y[:240]


def test_a_grid_search_over_a_pipeline_on_two_processes(digits):
    pipeline = make_pipeline(StandardScaler(), ConvNetClassifier(image_shape=(1, 8, 8), epochs=8, random_state=0))
    grid = {"convnetclassifier__lr": [1e-6, 3e-3], "convnetclassifier__optimizer": ["Adam", "SGD"]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(*digits)
    assert search.best_params_ == {"convnetclassifier__lr": 3e-3, "convnetclassifier__optimizer": "Adam"}
    assert search.best_score_ > 0.9
    assert search.score(*digits) > 0.95


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_cross_validation(digits, kind):
    x, y = digits
    model = kind("simple", epochs=10, lr=0.003, random_state=0)
    assert cross_val_score(model, (x / 16).reshape(-1, 1, 8, 8), y, cv=3).mean() > 0.8


def test_a_clone_is_not_fitted_and_has_the_same_parameters():
    x, y = images()
    layers = [cconv.Affine(units=2)]
    model = classifier(network=layers, optimizer=cconv.SGD(lr=0.1), lr=None).fit(x, y)
    copied = clone(model)
    assert not hasattr(copied, "network_")
    assert copied.network is not layers and copied.optimizer is not model.optimizer
    assert copied.get_params().keys() == model.get_params().keys()
    assert_same_weights(copied.fit(x, y), model)
    assert set(regressor().get_params()) == set(model.get_params()) - {"class_weight"}


def test_a_file_of_joblib_gives_the_same_answers(tmp_path):
    x, y = images()
    schedule = functools.partial(cconv.StepDecay, steps=1)
    model = classifier(network="simple", schedule=schedule).fit(x, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for mode in (None, "r"):
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
        assert loaded.loss_curve_ == model.loss_curve_
