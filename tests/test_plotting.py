"""Pictures: what they show and where they are saved."""

import copy
import sys

import numpy as np
import pytest

import cconv
from cconv import augment, filter_show, plot_accuracy, plotting
from cconv.gradient import numerical_gradient
from cconv.plotting.attribution import grad_cam, saliency


def network(channels=1, dtype="float64", classes=None, **options):
    layers = [
        cconv.Convolution(filters=3, size=3),
        cconv.BatchNormalization(),
        cconv.Relu(),
        cconv.Residual([cconv.Convolution(filters=3, size=3, pad="same"), cconv.Relu()]),
        cconv.Dropout(0.5),
        cconv.Pooling(2, 2, stride=2),
        cconv.Affine(units=4),
    ]
    return cconv.Network(layers, (channels, 10, 8), seed=0, dtype=dtype, classes=classes, **options)


def images(n, channels=1):
    return np.random.default_rng(0).random((n, channels, 10, 8))


X, T = images(6), np.array([0, 1, 2, 3, 0, 1])
PICTURES = {
    "plot_accuracy": lambda **options: plotting.plot_accuracy([0.5], [0.4], **options),
    "plot_augmented": lambda **options: plotting.plot_augmented(augment.RandomFlip(), X[:2], copies=2, **options),
    "plot_confusion_matrix": lambda **options: plotting.plot_confusion_matrix(T, T, **options),
    "plot_feature_maps": lambda **options: plotting.plot_feature_maps(network(), X[0], **options),
    "plot_filters": lambda **options: plotting.plot_filters(network(), **options),
    "plot_grad_cam": lambda **options: plotting.plot_grad_cam(network(), X[:2], **options),
    "plot_histograms": lambda **options: plotting.plot_histograms(network(), X, **options),
    "plot_history": lambda **options: plotting.plot_history(cconv.History(), **options),
    "plot_mistakes": lambda **options: plotting.plot_mistakes(network(), X, T, count=2, **options),
    "plot_saliency": lambda **options: plotting.plot_saliency(network(), X[:2], **options),
}
SINGLE = ("plot_accuracy", "plot_confusion_matrix", "plot_filters")


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_saved_and_drawn_where_it_is_wanted(name, tmp_path):
    from matplotlib.figure import Figure

    figure = PICTURES[name](file_name=tmp_path / "picture.png")
    assert isinstance(figure, Figure) and (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    mine = Figure(layout="constrained")
    left, right = mine.subfigures(1, 2)
    given = {"ax": left.add_subplot()} if name in SINGLE else {"figure": left}
    assert PICTURES[name](**given, file_name=tmp_path / "mine.svg") is mine
    assert left.axes and not right.axes
    assert len(left.axes) == len(figure.axes)
    assert b"<svg" in (tmp_path / "mine.svg").read_bytes()


def test_every_picture_is_tested():
    assert PICTURES.keys() | {"filter_show"} == set(plotting.__all__)


def titles(figure, where="center"):
    return [axes.get_title(where) for axes in figure.axes]


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def test_first_filters_are_drawn_in_colour_or_grey_and_inner_ones_by_their_channels():
    def extremes(figure):
        pixels = shown(figure.axes[0])
        return pixels.shape, bool((pixels[..., 0] == pixels[..., 1]).all())

    (shape, is_grey), figure = extremes(plotting.plot_filters(network(3))), plotting.plot_filters(network(3))
    assert shape == (3, 3 * 4 - 1, 3) and not is_grey and titles(figure) == ["conv1: 3 filters of 3 × 3 × 3"]
    W = network(3).layers["conv1"].W[0]
    np.testing.assert_allclose(shown(figure.axes[0])[:3, :3], ((W - W.min()) / (W.max() - W.min())).transpose(1, 2, 0))
    assert extremes(plotting.plot_filters(network(1)))[1]
    wide = cconv.Network([cconv.Convolution(filters=40, size=1)], (35, 4, 4), seed=0)
    figure = plotting.plot_filters(wide)
    assert titles(figure) == ["conv1: 40 filters of 35 × 1 × 1; the first 32 × 32 of them"]
    assert shown(figure.axes[0]).shape == (63, 63, 3)
    inner = plotting.plot_filters(network(), "residual1.body.conv1")
    assert titles(inner) == ["residual1.body.conv1: 3 filters of 3 × 3 × 3"]


def test_feature_maps_are_the_outputs_of_layers():
    net = network()
    figure = plotting.plot_feature_maps(net, X[0], ["relu1"])
    assert [title.split(";")[0] for title in titles(figure, "left")] == ["the image", "relu1: 3 × 8 × 6"]
    out = X[:1]
    for name in ("conv1", "norm1", "relu1"):
        out = net.layers[name].forward(out, *[False] * (name == "norm1"))
    np.testing.assert_allclose(shown(figure.axes[1])[:, :6, 0], (out[0, 0] - out.min()) / (out.max() - out.min()))


def test_a_confusion_matrix_has_numbers_names_and_shares():
    figure = plotting.plot_confusion_matrix([0, 0, 0, 1], [0, 0, 1, 1], classes=["cat", "dog", "cow"])
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["2", "1", "0", "0", "1", "0", "0", "0", "0"]
    np.testing.assert_allclose(shown(axes), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "cow"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    many = plotting.plot_confusion_matrix(np.arange(100), np.arange(100)).axes[0]
    assert not many.texts and len(many.get_xticklabels()) <= 40
    with pytest.raises(ValueError, match="classes must fit"):
        plotting.plot_confusion_matrix([0, 2], [0, 1], classes=["cat", "dog"])


def test_the_most_certain_mistakes_come_first():
    net = network(classes=["a", "b", "c", "d"])
    scores = net.predict(X)
    probabilities = cconv.softmax(scores)
    wrong = [n for n in range(6) if scores[n].argmax() != T[n]]
    wrong.sort(key=lambda n: -probabilities[n].max())
    figure = plotting.plot_mistakes(net, X, T, count=3)
    assert figure.get_suptitle() == f"{len(wrong)} of 6 images are answered wrong"
    for axes, n in zip(figure.axes, wrong, strict=False):
        np.testing.assert_array_equal(shown(axes), X[n, 0])
        said, true = axes.get_title().splitlines()
        assert said.startswith(f"says {'abcd'[scores[n].argmax()]} ({100 * probabilities[n].max() - 0.05:.1f}"[:-2])
        assert true == f"is {'abcd'[T[n]]}"
    data = cconv.data.ArrayDataset(X, scores.argmax(axis=1))
    figure = plotting.plot_mistakes(net, data)
    assert figure.get_suptitle() == "all 6 are right" and figure.axes == []


def test_mistakes_of_a_single_score_and_of_scores_that_are_nan():
    layers = [cconv.Flatten(), cconv.Affine(W=np.full((80, 1), 0.1), b=np.zeros(1))]
    net = cconv.Network(layers, (1, 10, 8), dtype="float64", last_layer=cconv.SigmoidWithLoss(), classes=["no", "yes"])
    x = np.stack([np.full((1, 10, 8), value) for value in (0.1, -0.2, 0.3)])
    figure = plotting.plot_mistakes(net, x, np.array([0, 1, 1]))
    assert [title.split(" (")[0] for title in titles(figure)] == ["says no", "says yes"]
    assert titles(figure)[0].splitlines()[1] == "is yes"
    figure = plotting.plot_mistakes(net, x * np.nan, np.array([0, 0, 0]))
    assert titles(figure) == ["says no class\nis no"] * 3


def test_saliency_is_the_gradient_of_the_score():
    net = network(3)
    x = images(1, 3)
    maps, _, _ = saliency(net, x, 2)
    expected = numerical_gradient(lambda changed: net.predict(changed)[0, 2], x.copy())
    np.testing.assert_allclose(maps[0], np.abs(expected).max(axis=1)[0], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("layer", ["conv1", "residual1", None])
def test_grad_cam_is_that_of_its_definition(layer):
    net, x = network(), images(2)
    maps, _, _ = grad_cam(net, x, [1, 3], layer)
    names = list(net.layers)
    end = names.index(layer or "residual1") + 1  # the last that has a convolution in it
    head, tail = (copy.deepcopy(dict(list(net.layers.items())[part])) for part in (slice(end), slice(end, None)))

    def run(layers, x):
        for inner in layers.values():
            x = inner.forward(x, False) if inner.takes_train_flg else inner.forward(x)
        return x

    outputs = run(head, x)
    for n, target in enumerate((1, 3)):
        gradient = numerical_gradient(lambda a, t=target: run(tail, a)[0, t], outputs[n : n + 1].copy())
        expected = np.maximum((gradient.mean(axis=(2, 3), keepdims=True) * outputs[n : n + 1]).sum(axis=1), 0)
        np.testing.assert_allclose(maps[n], expected[0], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", ["plot_feature_maps", "plot_grad_cam", "plot_histograms", "plot_saliency"])
def test_a_network_that_is_drawn_stays_as_it_is(name):
    net = network()
    out = X
    for layer in net.layers.values():  # in the middle of a step by hand
        out = layer.forward(out)
    saved = {name: layer._saved for name, layer in net.layers.items()}
    state = {name: value.copy() for name, value in net.state_dict().items()}
    flags = [(layer.training, layer.frozen) for layer in net.layers.values()]
    getattr(plotting, name)(net, X[:1])
    assert all(layer._saved is saved[name] for name, layer in net.layers.items())
    assert flags == [(layer.training, layer.frozen) for layer in net.layers.values()] and net.training
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[key])
    assert net.layers["conv1"].dW is None


def test_titles_tell_the_answer_and_what_was_asked():
    net = network(classes=["a", "b", "c", "d"])
    said = "abcd"[net.predict(X[:1]).argmax()]
    assert titles(plotting.plot_grad_cam(net, X[0]))[0].startswith(f"says {said} (")
    asked = titles(plotting.plot_grad_cam(net, X[:1], 2))[0]
    assert asked.startswith(f"for c\nsays {said} (")
    assert titles(plotting.plot_saliency(net, X[:2], [2, 0]))[1].startswith("for a\n")


def test_histograms_are_of_each_parameter_and_output_and_count_all_values():
    net = network()
    net.params["W1"][0, 0, 0, 0] = np.nan
    figure = plotting.plot_histograms(net)
    assert len(figure.axes) == len(net.params)
    assert titles(figure)[0].startswith("conv1.W, 3×1×3×3\nmean") and titles(figure)[0].endswith("\n1 not finite")
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 26
    many = cconv.Network([cconv.Affine(units=2) for _ in range(60)], (2,), seed=0)
    figure = plotting.plot_histograms(many)
    assert len(figure.axes) == 60 and figure.get_suptitle() == "60 of 120 arrays"


def test_augmented_images_are_those_of_the_epochs():
    change = augment.RandomRotation(30)
    figure = plotting.plot_augmented(change, X[:2].astype(np.float32), copies=3, seed=5)
    assert titles(figure)[:4] == ["the image", "epoch 1", "epoch 2", "epoch 3"]
    expected, _ = change(X[:2].astype(np.float32), np.zeros(2, int), seed=5, epoch=1, indices=[0, 1])
    np.testing.assert_allclose(shown(figure.axes[6]), np.clip(expected[1, 0], 0, 1))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plotting.plot_grad_cam(network(), X, layer="conv9"), "layer must be one of conv1, "),
        (lambda: plotting.plot_grad_cam(network(), X, layer="affine1"), "layer must be one whose outputs are images"),
        (lambda: plotting.plot_grad_cam(network(), X, 4), "target must be from 0 to 3, got 4"),
        (lambda: plotting.plot_grad_cam(network(), X, [1, 2]), "target must be a class index, or one for each of 6"),
        (lambda: plotting.plot_saliency(network(), np.zeros((101, 1, 10, 8))), "x must be 1 to 100 images, got 101"),
        (lambda: plotting.plot_saliency(3, X), "network must be a Network"),
        (lambda: plotting.plot_feature_maps(network(), X), "x must be one image, got 6"),
        (lambda: plotting.plot_feature_maps(network(), X[0], "affine1"), "layers must have outputs that are images"),
        (lambda: plotting.plot_filters(network(), "relu1"), "layer must be one of the convolutions conv1, residual1"),
        (lambda: plotting.plot_mistakes(network(), X, T + 1), "t must hold class indices from 0 to 3, got 4"),
        (lambda: plotting.plot_mistakes(network(), X, T, count=101), "count must be at most 100"),
        (lambda: plotting.plot_augmented(augment.RandomFlip(), X, copies=20), "copies must leave at most 100"),
        (lambda: plotting.plot_history(3), "history must be the History"),
        (lambda: plotting.plot_accuracy([1], [1], ax=3), "ax must be Axes"),
        (lambda: plotting.plot_history(cconv.History(), figure=3), "figure must be a Figure"),
        (
            lambda: plotting.plot_saliency(network(last_layer=cconv.MeanSquaredError()), X),
            "network must have classes, got one that ends with MeanSquaredError",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises((TypeError, ValueError), match=message):
        draw()


def test_values_that_are_not_finite_are_drawn_without_a_warning(tmp_path):
    odd = np.array([np.nan, np.inf, -np.inf, 1.0, 2.0, 3.0, 1e38, -1e38, 0.0]).reshape(1, 1, 3, 3).repeat(3, axis=0)
    layers = [cconv.Convolution(odd), cconv.Affine(units=4)]
    broken = cconv.Network(layers, (1, 10, 8), seed=0, dtype="float64")
    infinite = network(dtype="float32")
    infinite.params["W1"][0, 0, 0, 0] = np.inf
    curves = cconv.History()
    for value in (np.nan, np.inf):
        curves.record(loss=value, accuracy=value, lr=value, seconds=value)
    draw = {
        "filter_show": lambda: filter_show(odd),
        "history": lambda: plotting.plot_history(curves),
        "accuracy": lambda: plot_accuracy([np.nan], [np.inf]),
    }
    for number, net in enumerate((broken, infinite)):
        x = np.full((1, 1, 10, 8), [0.5, np.inf][number], net.dtype)
        draw[f"filters{number}"] = lambda net=net: plotting.plot_filters(net)
        draw[f"histograms{number}"] = lambda net=net: plotting.plot_histograms(net)
        for kind in ("plot_feature_maps", "plot_grad_cam", "plot_saliency"):
            draw[f"{kind}{number}"] = lambda kind=kind, net=net, x=x: getattr(plotting, kind)(net, x)
    for name, function in draw.items():
        function().savefig(tmp_path / f"{name}.png")


def test_an_augmentation_that_returns_something_else_is_refused():
    for made in (3, (X[:1], T[:2]), (X[:2, 0], T[:2])):
        with pytest.raises((TypeError, ValueError), match=r"augment\(x, t\) must"):
            plotting.plot_augmented(lambda x, t, made=made, **options: made, X[:2], copies=2)


def test_long_names_leave_room_for_the_matrix(tmp_path):
    plotting.plot_confusion_matrix([0, 1], [0, 1], classes=["a" * 200, "b"]).savefig(tmp_path / "matrix.png")


def test_names_with_dollars_are_no_formulas(tmp_path):
    names = ["$x^$", "US$ and A$", "$$", "\\$"]
    named = network(classes=names)
    layers = [cconv.Convolution(filters=3, size=3), cconv.Affine(units=4)]
    layers = cconv.Network(dict(zip(names, layers, strict=False)), (1, 10, 8), seed=0)
    for n, figure in enumerate(
        (
            plotting.plot_confusion_matrix(T, T, classes=names),
            plotting.plot_mistakes(named, X, T),
            plotting.plot_grad_cam(named, X, target=0),
            plotting.plot_saliency(named, X, target=1),
            plotting.plot_feature_maps(layers, X[0]),
            plotting.plot_filters(layers),
            plotting.plot_histograms(layers, X),
        )
    ):
        figure.savefig(tmp_path / f"{n}.png")


@pytest.mark.parametrize("name", [*PICTURES, "filter_show"])
def test_a_picture_is_written_whole_or_not_at_all(name, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def fails(figure, file, **options):
        (file if hasattr(file, "write") else open(file, "wb")).write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fails)
    draw = PICTURES.get(name, lambda **options: filter_show(np.ones((2, 1, 3, 3)), **options))
    (tmp_path / "picture.png").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        draw(file_name=tmp_path / "picture.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("picture.png", b"old")]


def test_a_picture_in_a_folder_that_is_not_there_is_an_error_and_without_an_ending_a_png(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        plot_accuracy([1], [1], file_name=tmp_path / "missing" / "picture.png")
    plot_accuracy([1], [1], file_name=tmp_path / "picture")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="'doc' is not supported"):
        plot_accuracy([1], [1], file_name=tmp_path / "picture.doc")


@pytest.mark.parametrize("shape", [(30, 1, 5, 5), (3, 3, 4, 2), (9, 2, 1, 1)])
def test_filters_are_drawn_one_by_one(shape, tmp_path):
    filters = np.random.default_rng(0).standard_normal(shape)
    figure = filter_show(filters, nx=8, margin=3, scale=10, file_name=tmp_path / "filters.png")
    (image,) = figure.axes[0].images
    pixels = image.get_array()
    assert pixels[0, 0].tolist() == [1, 1, 1] and len(set(pixels[2, 2])) == 1 and pixels[2, 2, 0] < 1  # a grey frame
    rows, columns = -(-shape[0] // 8), 8
    assert pixels.shape == (rows * (10 * shape[2] + 6), columns * (10 * shape[3] + 6), 3)
    first = pixels[3 : 3 + 10 * shape[2] : 10, 3 : 3 + 10 * shape[3] : 10]
    values = filters[0] if shape[1] == 3 else filters[0, :1]
    if values.size > 1:
        expected = (values - values.min()) / (values.max() - values.min())
        np.testing.assert_allclose(first[..., 0], expected[0])
    assert (tmp_path / "filters.png").read_bytes()[:4] == b"\x89PNG"


def test_accuracy_curves(tmp_path):
    figure = plot_accuracy([0.5, 0.8], [0.4, 0.7], file_name=tmp_path / "accuracy.png")
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"train": [[1, 0.5], [2, 0.8]], "test": [[1, 0.4], [2, 0.7]]}
    assert (tmp_path / "accuracy.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 5, 5)),), "filters must have shape"),
        ((np.zeros((1, 1, 2, 2)), 0), "nx must be at least 1"),
        ((np.zeros((1, 1, 2, 2)), 8, 0.5), "margin must be an integer"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        filter_show(*arguments)


@pytest.mark.parametrize(
    "draw",
    [
        lambda **options: filter_show(np.ones((2, 1, 3, 3)), **options),
        lambda **options: plot_accuracy([0.5], [0.4], **options),
    ],
    ids=["filters", "accuracy"],
)
@pytest.mark.parametrize("windows", [None, "qt"])
def test_without_a_file_the_picture_is_shown_where_there_are_windows(draw, windows, monkeypatch, tmp_path):
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    pyplot.switch_backend("agg")  # chosen now, before its canvas is made to look like a window
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", windows)
    draw(file_name=tmp_path / "picture.png")
    assert shown == pyplot.get_fignums() == []
    figure = draw()
    assert len(figure.axes) == 1
    assert shown == ([[1]] if windows else [])
    pyplot.close("all")


@pytest.mark.parametrize("file_name", [None, "accuracy.png"])
def test_without_matplotlib_the_error_names_the_extra(file_name, monkeypatch):
    for module in ("matplotlib.figure", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'cconv\[train\]'"):
        plot_accuracy([1], [1], file_name=file_name)
