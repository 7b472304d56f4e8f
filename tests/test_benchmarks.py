"""The benchmarks run, their contestants compute the same, and the results become tables and charts."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cconv

FOLDER = Path(__file__).parents[1] / "benchmarks"
# Loaded by its path: with the source tree on sys.path, an unbuilt cconv would hide the installed one.
SPEC = importlib.util.spec_from_file_location("numpy_chapter", FOLDER / "numpy_chapter.py")
numpy_chapter = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(numpy_chapter)


def test_the_chapters_network_has_the_same_gradients_and_steps():
    rng = np.random.default_rng(0)
    network = cconv.SimpleConvNet(dtype="float64", seed=0)
    chapter = numpy_chapter.SimpleConvNet({name: value.copy() for name, value in network.params.items()})
    x, t = rng.random((4, 1, 28, 28)), rng.integers(0, 10, 4)
    ours, theirs = cconv.Adam(), numpy_chapter.Adam()
    for _ in range(3):
        grads, expected = network.gradient(x, t), chapter.gradient(x, t)
        for name, value in expected.items():
            np.testing.assert_allclose(grads[name], value, rtol=1e-9, atol=1e-12)
        ours.update(network.params, grads)
        theirs.update(chapter.params, expected)
    np.testing.assert_allclose(network.predict(x), chapter.predict(x), rtol=1e-9)


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    """A function that runs the benchmarks on this very cconv, with arguments, and returns what they print.

    Modules are first looked for in the folder `first`, if there is one.
    """
    folder = tmp_path_factory.mktemp("benchmarks")
    shutil.copytree(FOLDER, folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "CCONV_DATA"}
    environment["PYTHONPATH"] = str(Path(cconv.__file__).parents[1])

    def run(*arguments, code=None, status=(0,), first=None):
        command = [sys.executable, *(["-m", "benchmarks", *map(str, arguments)] if code is None else ["-c", code])]
        paths = {"PYTHONPATH": os.pathsep.join(map(str, filter(None, (first, environment["PYTHONPATH"]))))}
        done = subprocess.run(command, cwd=folder, env=environment | paths, capture_output=True, text=True, timeout=600)
        assert done.returncode in status, done.stdout + done.stderr
        return done.stdout + done.stderr * (status != (0,))

    return run


@pytest.mark.parametrize(
    ("contestants", "needs"),
    [
        (("cconv", "NumPy"), ()),
        (
            ("cconv", "PyTorch", "PyTorch channels_last", "ONNX Runtime", "FMA loop"),
            ("torch", "onnx", "onnxruntime"),
        ),
        (("cconv", "TensorFlow", "TensorFlow XLA", "OpenVINO"), ("tensorflow", "onnx", "openvino")),
    ],
    ids=["numpy", "peers", "more peers"],
)
def test_every_section_runs_and_is_reported(benchmarks, contestants, needs, tmp_path):
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install '.[bench]'")
    path = tmp_path / "results.json"
    printed = benchmarks("--smoke", "--threads", 2, "--contestants", *contestants, "--json", path)
    results = json.loads(path.read_text("utf-8"))
    assert results["machine"]["threads"] == 2
    for name, section in results["sections"].items():
        assert f"\n{name}: {section['title']}" in printed
        assert section["rows"] or (name, section["notes"]) == ("wheel", ["no wheel was given (--wheel)"])
        for values in section["rows"].values():
            assert values["cconv"] and all(value > 0 for value in values["cconv"])
    assert len(results["sections"]) >= 19
    assert not results["absent"]
    rows = [row for section in results["sections"].values() for row in section["rows"].values()]
    assert all(any(name in row for row in rows) for name in contestants)
    assert "training step" in benchmarks("--markdown", path)


def test_layers_of_a_network_are_set_beside_what_bounds_them(benchmarks, tmp_path):
    path = tmp_path / "results.json"
    options = ("--contestants", "cconv", "FMA loop", "--section", "layers-of", "--network", "resnet8", "--json", path)
    printed = benchmarks("--smoke", *options)
    section = json.loads(path.read_text("utf-8"))["sections"]["layers-of"]
    forward, both = "forward", "both"
    conv, norm = "residual2.body.conv1 Convolution 16,32,32 -> 32,16,16, 3x3", "norm1 BatchNormalization 16,32,32 -> "
    rows = section["rows"]
    layers = 3 + 3 * (1 + 5 + 1) + 2 * 2 + 2  # first ones, blocks with relu, shortcuts that compute, last ones
    for direction in (forward, both):
        assert sum(row.endswith(f", {direction}") for row in rows) == 1 + layers
        assert list(rows[f"ResNet-8 as a whole, {direction}"]) == ["cconv"]
        assert list(rows[f"ResNet-8 {norm}16,32,32, {direction}"]) == ["cconv"]
        assert list(rows[f"ResNet-8 {conv}, {direction}"]) == ["cconv", "FMA loop"]
    least = [rows[f"ResNet-8 {conv}, {direction}"]["FMA loop"][0] for direction in (forward, both)]
    assert least[1] == pytest.approx(3 * least[0])
    machine, first, *lines = section["notes"]
    assert machine.startswith("ResNet-8, of ") and machine.endswith(" GB/s of the machine:")
    assert first.startswith("forward: ") and " layer by layer, the bounds " in first and " Convolution " in first
    assert f"  {first}\n  {lines[0]}\n" in printed
    assert any(line.startswith("both: ") for line in lines)


LOSSES = """
import numpy as np
from benchmarks.sections import networks

labels = ["a Relu 1 -> 1", "b Convolution 1 -> 1", "c Relu 1 -> 1", "d Affine 1 -> 1"]
seconds, computing, moving = (1e-3 * np.array(v) for v in ([9, 2, 8, 1, 0.02], [0, 4, 0, 0.01], [1.5, 1, 2, 0.01]))
print(*networks._losses("both", labels, seconds, computing, moving), sep=chr(10))
"""


def test_layers_that_lose_most_come_first(benchmarks):
    assert benchmarks(code=LOSSES).splitlines() == [
        "both: 9.00 ms as a whole, 11.02 layer by layer, the bounds 7.51; Convolution 8.00, Relu 3.00, Affine 0.02",
        "     4.000 ms lost of    8.000:  50% of the peak,  12% of the bandwidth  b Convolution 1 -> 1",
        "     0.500 ms lost of    2.000:   0% of the peak,  75% of the bandwidth  a Relu 1 -> 1",
    ]  # c is quicker than memory, and d loses too little


def test_layers_have_no_bounds_without_what_measures_them(benchmarks):
    printed = benchmarks("--smoke", "--contestants", "cconv", "--section", "layers-of", "--network", "simple")
    assert "\n  SimpleConvNet as a whole, both " in printed
    assert "  the FMA loop takes no part, which measures the machine's peak and bandwidth: no bounds\n" in printed


WATCH = """
import itertools
import numpy as np
import cconv
from benchmarks.contestants import own

layers = [cconv.Convolution(filters=4, size=3, pad=1), cconv.BatchNormalization(), cconv.Relu()]
layers += [cconv.Residual([cconv.Convolution(filters=4, size=1, bias=False)]), cconv.Pooling(2, 2, stride=2)]
network = cconv.Network([*layers, cconv.Affine(units=2)], (3, 6, 6), seed=0)
x, t = np.random.default_rng(0).random((5, 3, 6, 6)).astype("f"), np.array([0, 1, 0, 1, 0])
scores = network.predict(x)
ticks = itertools.count()
own.time.perf_counter = lambda: next(ticks)  # a layer takes as long as it asks for the time
watch = own.Watch(network.layers)
assert (network.predict(x) == scores).all()
print(*watch.labels(), sep=chr(10))
print(*watch.seconds.values())
print(*watch.work()[0])
print(*watch.work()[1])
watch.reset()
network.gradient(x, t)
print(*watch.seconds.values())
print(*watch.work()[0])
print(*watch.work()[1])
"""


def test_the_time_and_the_work_of_a_layer_are_its_own(benchmarks):
    *labels, seconds, products, sizes, seconds_both, products_both, sizes_both = benchmarks(code=WATCH).splitlines()
    assert labels == [
        "conv1 Convolution 3,6,6 -> 4,6,6, 3x3",
        "norm1 BatchNormalization 4,6,6 -> 4,6,6",
        "relu1 Relu 4,6,6 -> 4,6,6",
        "residual1 Residual 4,6,6 -> 4,6,6",
        "residual1.body.conv1 Convolution 4,6,6 -> 4,6,6, 1x1",
        "pool1 Pooling 4,6,6 -> 4,3,3",
        "affine1 Affine 4,3,3 -> 2",
    ]
    assert numbers(seconds) == [1, 1, 1, 2, 1, 1, 1]  # of the block's 3, one is of the layer inside
    assert numbers(seconds_both) == [2, 2, 2, 4, 2, 2, 2]
    conv, inside, affine = 5 * 36 * 4 * 27, 5 * 36 * 4 * 4, 5 * 36 * 2
    assert numbers(products) == [conv, 0, 0, 0, inside, 0, affine]
    assert numbers(products_both) == [2 * conv, 0, 0, 0, 3 * inside, 0, 3 * affine]  # the images have no gradient
    images, maps, pooled, scores = 5 * 3 * 36, 5 * 4 * 36, 5 * 36, 5 * 2
    filters, norm, filters_inside, matrix = 4 * 27 + 4, 2 * 4, 4 * 4, 36 * 2 + 2
    forward = [
        images + filters + maps,
        maps + norm + maps,
        maps + maps,
        3 * maps,  # two terms and their sum
        maps + filters_inside + maps,
        maps + pooled,
        pooled + matrix + scores,
    ]
    back = [
        maps + images + 2 * filters,
        3 * maps + 2 * norm,
        3 * maps,
        3 * maps,
        3 * maps + 2 * filters_inside,
        pooled + maps,
        scores + 2 * pooled + 2 * matrix,
    ]
    assert numbers(sizes) == [4 * values for values in forward]
    assert numbers(sizes_both) == [4 * (there + again) for there, again in zip(forward, back, strict=True)]


def numbers(line):
    return [float(word) for word in line.split()]


def test_contestants_whose_libraries_are_missing_are_named(benchmarks, tmp_path):
    for name in ("tensorflow", "openvino"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('there is no {name}')\n")
    contestants = ("cconv", "TensorFlow", "TensorFlow XLA", "OpenVINO")
    arguments = ("--smoke", "--section", "step", "forward", "--contestants", *contestants)
    printed = benchmarks(*arguments, first=tmp_path)
    assert "\nTensorFlow took no part: there is no tensorflow\n" in printed
    assert "\nTensorFlow XLA took no part: there is no tensorflow\n" in printed
    assert "\nOpenVINO took no part: " in printed  # without onnx, that is what it lacks
    assert "  batch 1 " in printed


SITUATIONS = [
    "beside one busy process",
    "beside two busy processes",
    "beside one nice'd busy process",
    "beside two nice'd busy processes",
    "beside a nice'd one with two threads",
    "beside the same training",
]


def test_training_beside_others_is_compared_with_training_alone(benchmarks, older, tmp_path):
    path = tmp_path / "results.json"
    options = ("--section", "company", "--contestants", "cconv", "--threads", 2, "--json", path, "--against", older)
    printed = benchmarks("--smoke", *options, status=(0, 1))
    section = json.loads(path.read_text("utf-8"))["sections"]["company"]
    situations = [text for text in SITUATIONS if hasattr(os, "nice") or "nice" not in text]
    names = [f"SimpleConvNet {text}{mean}" for text in ("alone", *situations) for mean in ("", ", mean")]
    assert list(section["rows"]) == names
    for row in section["rows"].values():
        assert list(row) == ["cconv", "cconv before"] and all(value > 0 for values in row.values() for value in values)
    for who in section["rows"][names[0]]:
        (note,) = (note for note in section["notes"] if note.startswith(f"SimpleConvNet, {who}: alone "))
        assert f"  {note}\n" in printed
        alone, ratios = section["rows"]["SimpleConvNet alone"][who][0], note.partition("times as long: ")[2].split(", ")
        for text, ratio in zip(situations, ratios, strict=True):
            value = section["rows"][f"SimpleConvNet {text}"][who][0]
            assert ratio.startswith(f"{text} {value / alone:.2f} / ")
    assert "steps in each: 2 or more" in printed
    assert "training beside two busy processes, alone, each: at most 3.00x" in printed


COMPANIONS = """
import os, signal, sys
from benchmarks import arena

class Worker(arena.Worker):
    def tell(self, *request):
        super().tell(*request)
        if request == ("accompany",):
            begun.append(self._process.pid)
            print(*begun[-1:], flush=True)

    def ask(self, *request):
        if request[0] == "steps":
            pid = self._process.pid
            for companion in begun:
                assert os.getsid(companion) == companion != os.getsid(0) and os.getsid(pid) == pid
            assert [os.getpriority(os.PRIO_PROCESS, companion) for companion in begun] == [0, 19, 19, 0]
            {event}
        return super().ask(*request)

arena.Worker, begun = Worker, []
companies = [(arena.Company("busy"), arena.Company("busy", nice=19), arena.Company("products", 2, 19), arena.Company())]
try:
    with arena.Arena(2, ["cconv"]) as open_arena:
        next(open_arena.beside(companies, "step", {{"dtype": "float32", "batch": 2}}, 2, 0))
        assert len(begun) == 4
except (KeyboardInterrupt, ZeroDivisionError):
    print("interrupted")
for companion in begun:
    try:
        os.kill(companion, 0)
    except ProcessLookupError:
        print("ended")
"""


@pytest.mark.skipif(os.name == "nt", reason="sessions, niceness and signals are those of POSIX")
@pytest.mark.parametrize("event", ["pass", "raise KeyboardInterrupt", "1 / 0"])
def test_companions_end_with_the_measurement(benchmarks, event):
    *_, ended = benchmarks(code=COMPANIONS.format(event=event)).partition("interrupted\n" if event != "pass" else "\n")
    assert ended.split().count("ended") == 4


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states of processes are read from /proc")
def test_companions_end_with_a_parent_that_is_killed(benchmarks):
    # Returns when nobody holds the standard error any more that the companions have got from their parent.
    code = COMPANIONS.format(event="os.kill(os.getpid(), signal.SIGKILL)")
    printed = benchmarks(code=code, status=(-9,))
    pids = printed.split()[:4]
    assert len(pids) == 4
    # A process closes its files some time before it counts as ended.
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # ended, and not yet seen by who has adopted it


def test_results_are_drawn(benchmarks, tmp_path):
    pytest.importorskip("matplotlib")
    for section in ("step", "batches"):
        benchmarks("--smoke", "--contestants", "cconv", "--section", section, "--plots", tmp_path)
        assert (tmp_path / f"{section}.png").read_bytes().startswith(b"\x89PNG")


def test_targets_are_judged_by_ratios_within_a_repeat(benchmarks, tmp_path):
    rows = {
        "float32": {"cconv": [1.0, 2.0, 4.0], "PyTorch": [9.0, 18.0, 20.0], "PyTorch channels_last": [6.0, 8.0, 16.0]}
    }
    section = {"title": "", "unit": "s", "notes": [], "rows": rows}
    path = tmp_path / "results.json"
    sections = {"step": section}
    own, other = {"cconv": [2.0] * 3}, {"cconv": [1.0] * 3, "FMA loop": [0.5] * 3}
    found = {
        "networks-forward": {"MobileNet, batch 1": own | {"ONNX Runtime": [1.0] * 3, "OpenVINO": [3.0] * 3}},
        "networks-step": {"ResNet-20": own | {"PyTorch": [9.0] * 3, "TensorFlow": [5.0] * 3}},
        "layers-of": {
            "MobileNet conv3 Convolution 16,32,32 -> 32,32,32, 1x1, forward": other,
            "MobileNet conv5 Convolution 32,16,16 -> 64,16,16, 1x1, forward": own | {"FMA loop": [1.0] * 3},
            "ResNet-20 conv Convolution 32,16,16 -> 64,16,16, 1x1, forward": own | {"FMA loop": [2.0] * 3},
        },
        "memory": {"ResNet-20, scores of 100 images": own | {"cconv before": [1.0] * 3}},
    }
    sections |= {name: {"title": "", "unit": "s", "notes": [], "rows": rows} for name, rows in found.items()}
    path.write_text(json.dumps({"machine": {"threads": 1}, "sections": sections}))
    table = benchmarks("--markdown", path)
    assert "| forward of MobileNet, one image, the best inference engine: at least 1.00x | 0.50x | no |" in table
    assert "| training step of ResNet-20, the best of PyTorch and TensorFlow: at least 2.00x | 2.50x | yes |" in table
    assert "| 1 x 1 convolutions of MobileNet on one thread, share of the peak: at least 40 % | 50 % | yes |" in table
    assert "| peak extra memory of scores of 100 images, cconv before, each: at most 1.00x | 2.00x | no |" in table
    assert "| scores of 1 image, MobileNet | 2,000 |" in table and "| training step of ResNet-20, 3x32x32, " in table
    assert "| training step, float32, PyTorch NCHW: at least 8.00x | 9.00x | yes |" in table
    assert "| training step, float32, PyTorch's best: at least 5.00x | 4.00x | no |" in table
    assert "| training step, batch 100 | 2,000 | 18,000 | 8,000 |" in table


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A folder with another cconv: this one, of another version, without two of its classes."""
    folder = tmp_path_factory.mktemp("older")
    package = Path(cconv.__file__).parent
    shutil.copytree(package, folder / "cconv", ignore=shutil.ignore_patterns("__pycache__", "*.pyx", "*.h"))
    version = folder / "cconv" / "_version.py"
    version.write_text(version.read_text("utf-8").replace(cconv.__version__, "0.0.1"), "utf-8")
    with open(folder / "cconv" / "__init__.py", "a", encoding="utf-8") as file:
        file.write("del MobileNet, Lion\n")
    return folder


def test_another_cconv_takes_part_wherever_cconv_does(benchmarks, older, tmp_path):
    path = tmp_path / "results.json"
    sections = (
        "step",
        "layer-by-layer",
        "networks-step",
        "networks-forward",
        "layers-of",
        "forward",
        "latency",
        "convolution-kinds",
        "optimizers",
        "memory",
        "imports",
    )
    options = ("--contestants", "cconv", "--threads", 2, "--repeat", 2, "--json", path, "--section", *sections)
    options += ("--network", "resnet8")
    printed = benchmarks("--smoke", *options, "--against", older, status=(0, 1))
    results = json.loads(path.read_text("utf-8"))
    assert results["machine"]["cconv before"] == f"0.0.1 {older / 'cconv' / '__init__.py'}"
    assert results["absent"].keys() == {"cconv before, network_step", "cconv before, network_forward"}
    assert all("no attribute 'MobileNet'" in reason for reason in results["absent"].values())
    changes = printed.partition("cconv before / cconv, of 2 runs; below 1 it is slower now:\n")[2].splitlines()
    for name in sections:
        section = results["sections"][name]
        assert section["rows"] or name == "memory"
        for row, values in section["rows"].items():
            there = not row.startswith(("MobileNet", "Lion"))
            assert list(values) == ["cconv", "cconv before"][: 1 + there], (name, row)
            lines = [line for line in changes if line.startswith(f"  {name} ") and f" {row} " in line]
            assert len(lines) == (there and section["unit"] == "s"), (name, row)


@pytest.mark.skipif(os.name == "nt", reason="the executable is a shell script")
def test_another_cconv_may_be_that_of_an_executables_environment(benchmarks, older, tmp_path):
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{older}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    printed = benchmarks("--smoke", "--section", "step", "--contestants", "cconv", "--against", path, status=(0, 1))
    assert f"cconv before: 0.0.1 {older / 'cconv' / '__init__.py'}\n" in printed
    assert "cconv before / cconv, of 1 run" in printed


CHANGES = """
from benchmarks import report
from benchmarks.results import Results

def run(**rows):
    rows = {name: {"cconv": [1.0, 2.0, 4.0], "cconv before": before} for name, before in rows.items()}
    return Results({"sections": {"step": {"unit": "s", "rows": rows}, "memory": {"unit": "B", "rows": rows}}})

good = {"faster": [2.0, 4.0, 8.0], "once": [1.0, 2.0, 4.0]}
bad = {"faster": [2.0, 4.0, 8.0], "once": [0.5, 1.0, 2.0]}
print(report.print_changes([run(**good), run(**bad)]), report.print_changes([run(**bad), run(**bad)]))
"""


def test_what_is_slower_in_every_run_is_slower(benchmarks):
    first, second = benchmarks(code=CHANGES).split("cconv before / cconv, of 2 runs")[1:]
    assert "once" in first and "1.00 0.50" in first and "slower in every run: 0" in first
    assert "0.50 0.50  slower" in second and "slower in every run: 1" in second
    assert "2.00 2.00\n" in second and second.splitlines()[-1] == "False True"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--against", "missing"),
            "--against: expected a Python executable or the folder of a built cconv, got missing",
        ),
        (("--against", "."), r"--against: the cconv of . must be imported from there, got that of "),
        (("--against", ".", "--contestants", "NumPy"), "argument --against: needs the contestant cconv"),
        (("--repeat", 0), "argument --repeat: must be at least 1, got 0"),
        (
            ("--network", "resnet21"),
            "argument --network: invalid choice: 'resnet21' (choose from 'simple', 'deep', 'resnet8', 'resnet20', ",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(benchmarks, arguments, words):
    assert words in benchmarks("--smoke", "--section", "step", *arguments, status=(1, 2))
