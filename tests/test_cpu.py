"""CPU levels, the number of threads and flush-to-zero."""

import math
import os
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import cconv
from cconv import kernels
from cconv.kernels import cpu

LEVELS = ("baseline", "v3", "v4")


# CPU levels


def test_levels_are_ordered_and_the_best_is_chosen():
    assert kernels.levels() == tuple(level for level in LEVELS if level in kernels.levels())
    assert set(kernels.levels()) <= set(cpu.levels())
    wanted = os.environ.get("CCONV_CPU")
    assert (wanted or kernels.levels()[-1]) == kernels.LEVEL


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/cpuinfo")
def test_level_agrees_with_the_kernel():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((set(line.split(":")[1].split()) for line in file if line.startswith("flags")), set())
    expected = ["baseline"]
    if flags >= {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "sse4_2"}:
        expected.append("v3")
        if flags >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}:
            expected.append("v4")
    assert cpu.levels() == tuple(expected)


def test_every_level_has_the_same_modules_and_functions():
    def face(level):
        return {
            name: {key for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
            for name, module in vars(kernels.load(level)).items()
        }

    faces = {level: face(level) for level in kernels.levels()}
    assert all(face == faces[kernels.LEVEL] for face in faces.values())
    assert {"conv", "gemm"} <= set(faces[kernels.LEVEL])


def test_fixture_puts_a_levels_modules_in_place(cpu_level):
    assert cpu_level == kernels.LEVEL
    assert kernels.conv.__name__ == f"cconv.kernels_{cpu_level}._conv"


def test_kernels_are_pickled_by_the_name_of_the_chosen_level():
    assert pickle.loads(pickle.dumps(kernels.conv.finite)) is kernels.conv.finite
    assert kernels.conv.finite.__module__ == "cconv.kernels._conv"


@pytest.mark.parametrize("level", kernels.levels())
def test_environment_chooses_a_level(level, run_python):
    result = run_python("import cconv; print(cconv.show_config(mode='dicts')['cpu']['level'])", CCONV_CPU=level)
    assert result.stdout.strip() == level, result.stderr


def test_environment_level_that_is_unknown_is_refused(run_python):
    result = run_python("import cconv", CCONV_CPU="v5")
    assert result.returncode != 0
    assert "ImportError: CCONV_CPU must name a level that was built" in result.stderr
    assert f"{', '.join(kernels.levels())}; got 'v5'" in result.stderr


def test_level_above_the_machines_is_refused(monkeypatch):
    lowest = kernels.levels()[0]  # of those that were built, which may be one alone
    other = "v3" if lowest == "v4" else "v4"
    monkeypatch.setattr(kernels, "cpu", SimpleNamespace(levels=lambda: (lowest,)))
    with pytest.raises(ImportError, match=f"that this machine can run, out of {lowest}; got '{other}'"):
        kernels._choose(other)


def test_no_level_to_run_says_what_to_do(monkeypatch):
    monkeypatch.setattr(kernels, "cpu", SimpleNamespace(levels=lambda: ()))
    with pytest.raises(ImportError, match="Rebuild with CCONV_LEVELS unset"):
        kernels._choose(None)


# Threads


@pytest.fixture
def threads():
    """Set a number of threads for the duration of a test."""
    before = cconv.get_num_threads()
    yield cconv.set_num_threads
    cconv.set_num_threads(before)


needs_threads = pytest.mark.skipif(not cpu.pool, reason="built without threads")


@needs_threads
def test_set_num_threads(threads):
    for n in (1, 3, np.int64(2)):
        threads(n)
        assert cconv.get_num_threads() == n
    threads(10**9)
    assert cconv.get_num_threads() == 1024


@pytest.mark.skipif(cpu.pool, reason="built with threads")
def test_serial_build_has_one_thread(threads):
    threads(4)
    assert cconv.get_num_threads() == 1
    assert cpu.threads_for(1e9) == 1


@pytest.mark.parametrize("n", [0, -1])
def test_set_num_threads_refuses_less_than_one(n):
    with pytest.raises(ValueError, match=f"n must be at least 1, got {n}"):
        cconv.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None])
def test_set_num_threads_refuses_what_is_no_integer(n):
    with pytest.raises(TypeError, match=f"n must be an integer, got {type(n).__name__}"):
        cconv.set_num_threads(n)


@needs_threads
def test_threads_for(threads):
    threads(4)
    assert [cpu.threads_for(work) for work in (0, 7999, 8000, 12000, 15999, 16000, 1e9, math.inf)] == [
        1, 1, 2, 3, 3, 4, 4, 4,
    ]  # fmt: skip
    threads(1)
    assert cpu.threads_for(1e9) == 1


@needs_threads
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CCONV_NUM_THREADS": "3"}, 3),
        ({"CCONV_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"CCONV_NUM_THREADS": "9999"}, 1024),
        ({"CCONV_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_environment_sets_the_default(environment, expected, run_python):
    assert cpu._default_num_threads(environment) == expected
    result = run_python("import cconv; print(cconv.get_num_threads())", **environment)
    assert result.stdout.strip() == str(expected), result.stderr


@pytest.mark.parametrize("value", ["0", "-2", "two", "1.5"])
def test_environment_that_is_no_number_of_threads(value):
    with pytest.raises(ValueError, match=f"CCONV_NUM_THREADS must be a positive integer, got '{value}'"):
        cpu._default_num_threads({"CCONV_NUM_THREADS": value})


@pytest.mark.parametrize("value", ["", "0", "many"])
def test_omp_num_threads_that_openmp_ignores_is_ignored(value):
    assert cpu._default_num_threads({"OMP_NUM_THREADS": value}) == cpu._available_cpus()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_affinity_bounds_the_default(run_python):
    first = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{first}}}); import cconv; print(cconv.get_num_threads())"
    assert run_python(code).stdout.strip() == "1"


def write_files(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, math.inf),
        ({"proc/self/cgroup": "0::/\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n",
            },
            2.0,
        ),
        (  # a container that sees its own group as the root, though its path is the host's
            {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"},
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/job\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpuacct,cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
        ),
        ({"proc/self/cgroup": "nonsense\n0::/\n", "sys/fs/cgroup/cpu.max": "what is this\n"}, math.inf),
    ],
)
def test_cgroup_quota(tmp_path, files, expected):
    write_files(tmp_path, files)
    assert cpu._cgroup_quota(str(tmp_path)) == expected


def test_calls_from_several_python_threads(threads):
    from concurrent.futures import ThreadPoolExecutor

    threads(2)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 4, 20, 20)), rng.standard_normal((6, 4, 3, 3))

    def convolve(plan):
        out = kernels.memory.empty((8, 6, 18, 18), np.float64)
        kernels.conv.channels_output(plan, x, w, None, out, 2)
        return out

    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):  # what a plan has for an algorithm is made by whichever comes first, or by several at once
            plan = kernels.conv.Plan(x.shape[1:], w.shape, (6, 18, 18), (1, 1, 0, 0, 1, 1), 1, 8)
            results = list(pool.map(convolve, [plan] * 16))
            assert len(results) == 16
            assert {out.tobytes() for out in results} == {convolve(plan).tobytes()}


@needs_threads
def test_workers_of_joblib_share_the_cores(run_python):
    code = """
import joblib
import numpy as np
import cconv

def work(seed):
    network = cconv.SimpleConvNet(seed=0)
    scores = network.predict(np.random.default_rng(seed).random((200, 1, 28, 28), np.float32))
    return cconv.get_num_threads(), scores.tobytes()

if __name__ == "__main__":
    share = max(joblib.cpu_count() // 2, 1)
    threads, scores = zip(*joblib.Parallel(n_jobs=2)(joblib.delayed(work)(seed) for seed in range(4)))
    assert max(threads) <= share, (threads, share)
    assert scores == tuple(work(seed)[1] for seed in range(4))
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


# Flush-to-zero


def test_flush_to_zero_never_leaks_to_the_caller(cpu_level, num_threads):
    tiny = np.float32(1e-40)
    x = np.full((4, 2, 8, 8), tiny)
    out = np.empty((4, 3, 6, 6), np.float32)
    plan = kernels.conv.Plan((2, 8, 8), (3, 2, 3, 3), (3, 6, 6), (1, 1, 0, 0, 1, 1), 1, 4)
    kernels.conv.channels_output(plan, x, np.ones((3, 2, 3, 3), np.float32), None, out, num_threads)
    assert tiny / np.float32(2) > 0, "denormal numbers work again after a kernel"
    assert np.all(x + x > 0)


# Configuration


def test_show_config(capsys):
    assert cconv.show_config() is None
    printed = capsys.readouterr().out
    config = cconv.show_config(mode="dicts")
    assert config["cconv"] == cconv.__version__
    assert config["cpu"] == {"level": kernels.LEVEL, "levels": list(kernels.levels())}
    assert config["threads"] == {"pool": cpu.pool, "num_threads": cconv.get_num_threads()}
    assert {"compiler", "options", "levels", "pool", "debug"} <= set(config["build"])
    assert config["build"]["pool"] == cpu.pool
    for text in (cconv.__version__, kernels.LEVEL, "num_threads", config["build"]["options"]):
        assert text in printed


def test_show_config_refuses_another_mode():
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got 'yaml'"):
        cconv.show_config(mode="yaml")


def test_modules_are_imported_by_the_names_of_their_folders(run_python):
    code = (
        "import cconv.kernels.conv, cconv.kernels.im2col, cconv.kernels.pool\n"
        "from cconv import kernels\n"
        "kernels.conv.Plan, kernels.im2col.im2col, kernels.pool.max_pool"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
