"""The page on a training: what is in it, that it loads nothing, and that a browser shows it."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

import cconv
from cconv import augment
from cconv.history import History
from cconv.report import write_report

pytest.importorskip("matplotlib")
SETTINGS = 'data = "synthetic"\nnetwork = "simple"\nepochs = 1\nlr = 0.001\n'


def network(classes=None):
    layers = [cconv.Convolution(filters=4, size=5), cconv.Relu(), cconv.Pooling(2, 2, stride=2), cconv.Affine(units=10)]
    return cconv.Network(layers, (1, 28, 28), seed=0, classes=classes)


def digits():
    return cconv.load_synthetic_digits(60, 30, flatten=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The path of the page of a trainer that has all that a page can show."""
    (x, t), (x_test, t_test) = digits()
    options = {"validation": 0.2, "augment": augment.RandomRotation(10), "optimizer": "adam"}
    net = network(classes=[f"<digit {n}>" for n in range(10)])
    trainer = cconv.Trainer(net, x, t, x_test, t_test, 2, 20, verbose=False, seed=0, **options)
    trainer.train()
    return write_report(trainer, tmp_path_factory.mktemp("run") / "report.html")


class Page(HTMLParser):
    """The elements of a page; each that is opened must be closed."""

    def __init__(self, path):
        super().__init__()
        self.figures, self.loaded, self.text, self.open, self.items = {}, [], [], [], 0
        with open(path, encoding="utf-8") as file:
            self.source = file.read()
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loaded += [value for name, value in attributes.items() if name in ("src", "href", "srcset", "data")]
        assert tag not in ("script", "link", "iframe", "object")
        if tag == "figure":
            self.figures[attributes["id"]] = None
        if tag == "img":
            name = next(reversed(self.figures))
            self.figures[name] = attributes
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


FIGURES = {
    "history",
    "confusion",
    "mistakes",
    "filters",
    "grad-cam",
    "saliency",
    "feature-maps",
    "histograms",
    "augmented",
}


def test_a_page_of_a_trainer_has_each_figure_and_loads_nothing(page):
    import base64

    found = Page(page)
    assert found.figures.keys() == FIGURES
    for image in found.figures.values():
        kind, _, data = image["src"].partition(";base64,")
        beginnings = {"data:image/png": b"\x89PNG", "data:image/svg+xml": b"<?xml"}
        assert base64.b64decode(data).startswith(beginnings[kind]) and image["alt"]
    assert all(address.startswith("data:") for address in found.loaded)
    style = re.search("<style>(.*?)</style>", found.source, re.S)[1]
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert "<digit 3>" in found.text and "<digit" not in found.source  # names are escaped


def test_a_page_tells_the_summary_the_settings_the_versions_and_the_machine(page):
    text = Page(page).text
    for part in ("conv1 Convolution (4, 24, 24)", "optimizer Adam()", "augmentation RandomRotation", "epochs 2"):
        assert part in text
    for name in ("cconv", "Python", "NumPy", "matplotlib", "processor", "kernels", "threads"):
        assert f" {name} " in text
    assert f"cconv {cconv.__version__}" in text and f"NumPy {np.__version__}" in text
    assert "parameters" in text and "time of training" in text and "right, of 30" in text
    assert "Left out" not in text


@pytest.fixture
def run(tmp_path):
    """The folder of a run as the command line leaves it."""
    folder = tmp_path / "run1"
    folder.mkdir()
    (folder / "settings.toml").write_text(SETTINGS)
    history = History()
    history.record(loss=0.7, accuracy=0.8, lr=0.1, seconds=2.0)
    history.to_csv(folder / "history.csv")
    network().save(folder / "best.cconv")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Have few synthetic digits, and pictures that are not drawn to the end."""
    monkeypatch.setattr(cconv.report, "inline", lambda figure, alt, kind="png": '<img alt="" src="data:,">')
    monkeypatch.setitem(
        cconv.report.LOADERS, "synthetic", lambda **options: cconv.load_synthetic_digits(10, 30, **options)
    )


def test_a_page_of_a_folder_has_what_is_there(run, quick):
    assert write_report(run) == str(run / "report.html")
    found = Page(run / "report.html")
    assert found.figures.keys() == FIGURES - {"augmented"}
    assert "Run run1" in found.text and "lr 0.001" in found.text and "with best.cconv" in found.text
    assert found.text.count("Left out augmented images") == 1


@pytest.mark.parametrize(
    ("gone", "figures", "reason"),
    [
        ("history.csv", {"history"}, "there is no history.csv"),
        ("settings.toml", {"confusion", "mistakes", "grad-cam", "saliency", "feature-maps"}, "there is no settings"),
        ("best.cconv", FIGURES - {"history"}, "neither best.cconv nor model.cconv"),
    ],
)
def test_what_is_not_there_is_left_out_and_the_page_says_so(run, quick, gone, figures, reason):
    (run / gone).unlink()
    found = Page(write_report(run))
    assert found.figures.keys() == FIGURES - {"augmented"} - figures
    assert reason in found.text


def test_data_that_cannot_be_read_are_left_out_and_given_data_are_used(run, quick):
    (run / "settings.toml").write_text('data = "no folder"\n')
    assert "its data cannot be read" in Page(write_report(run)).text
    x, t = digits()[1]
    found = Page(write_report(run, run / "other.html", data=(x, t)))
    assert "data that were given: 30 samples" in found.text and "confusion" in found.figures
    assert "cannot be read" not in found.text
    found = Page(write_report(run, data=cconv.data.ArrayDataset(x, t)))
    assert "30 samples" in found.text


def test_images_of_a_folder_are_those_for_testing_or_else_said_to_be_trained_on(run, tmp_path):
    from PIL import Image

    for name, count in (("train", 3), ("val", 2)):
        for digit in range(10):
            os.makedirs(tmp_path / "split" / name / str(digit))
            for n in range(count):
                Image.new("L", (28, 28), 20 * digit).save(tmp_path / "split" / name / str(digit) / f"{n}.png")
    network(classes=list("0123456789")).save(run / "best.cconv")
    for folder, says in (("split", "for testing: 20 samples"), ("split/train", "trained on: 30 samples")):
        (run / "settings.toml").write_text(f'data = "{tmp_path / folder}"\n')
        assert says in Page(write_report(run)).text


def test_of_many_images_some_are_measured(run, quick, monkeypatch):
    monkeypatch.setattr(cconv.report, "MOST", 7)
    x, t = digits()[1]
    assert "7 of 30 samples" in Page(write_report(run, data=(x, t))).text


def test_networks_of_features_regressions_and_no_networks_have_pages(quick, tmp_path):
    x = np.random.default_rng(0).random((20, 3), np.float32)
    regression = cconv.Network([cconv.Affine(units=1)], (3,), seed=0, last_layer=cconv.MeanSquaredError())
    trainer = cconv.Trainer(regression, x, x[:, :1], x, x[:, :1], 1, 10, verbose=False)
    assert "no epoch is complete" in Page(write_report(trainer, tmp_path / "a.html")).text
    trainer.train()
    assert Page(write_report(trainer, tmp_path / "a.html")).figures.keys() == {"history", "histograms"}
    labels = np.arange(20) % 2
    features = cconv.Network([cconv.Affine(units=1)], (3,), seed=0, last_layer=cconv.SigmoidWithLoss())
    trainer = cconv.Trainer(features, x, labels[:, None], x, labels, 1, 10, verbose=False)
    trainer.train()
    found = Page(write_report(trainer, tmp_path / "b.html"))
    assert found.figures.keys() == {"history", "histograms", "confusion"}

    class Other:
        params = {"W": np.zeros(3)}

        def gradient(self, x, t):
            return {"W": np.zeros(3)}

        def loss(self, x, t):
            return 1.0

        def accuracy(self, x, t):
            return 0.5

    trainer = cconv.Trainer(Other(), x, labels, epochs=1, mini_batch_size=10, verbose=False)
    trainer.train()
    found = Page(write_report(trainer, tmp_path / "c.html"))
    assert found.figures.keys() == {"history"} and "it is no Network" in found.text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: 3, TypeError, "run must be a str"),
        (lambda folder: folder / "none", NotADirectoryError, "run must be a Trainer or the folder of a run"),
        (lambda folder: folder, FileNotFoundError, "has no settings.toml"),
    ],
)
def test_what_is_no_run_is_refused(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        write_report(make(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "epoch,loss\n", "epoch,lr\n2,0.5\n", "epoch,lr\n1,x\n", "epoch,lr\n1\n", "\0"]
)
def test_a_file_that_holds_no_history_is_refused(text, run):
    (run / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv does not hold a history"):
        write_report(run)


def test_a_history_comes_back_out_of_its_file(tmp_path):
    history = History()
    for loss in (0.1 + 0.2, float("nan")):
        history.record(loss=loss, lr=0.1, seconds=2.0)
    history.to_csv(tmp_path / "history.csv")
    again = History.from_csv(tmp_path / "history.csv")
    assert repr(vars(again)) == repr(vars(history))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page(page, scheme, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium on PATH")
    picture = tmp_path / "page.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,5000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", f"file://{page}"]
    command += ["--blink-settings=preferredColorScheme=" + {"dark": "0", "light": "1"}[scheme]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert picture.exists(), done.stderr
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    assert (pixels[5, 5].mean() > 0.9) == (scheme == "light")  # the page's own background
    assert np.unique(pixels[::7, ::7].reshape(-1, 3), axis=0).shape[0] > 50  # and pictures on it
