"""Pictures: what they show and where they are saved."""

import sys

import numpy as np
import pytest

from cconv import filter_show, plot_accuracy


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
