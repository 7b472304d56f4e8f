"""The table of mutations.py is true of the kernels as they are; none is built here."""

import os
import sys

import mutations
import pytest


@pytest.mark.parametrize("name", mutations.MUTATIONS)
def test_a_mutation_changes_one_place(name):
    source, text, replacement = mutations.MUTATIONS[name]
    assert text != replacement and source in mutations.SOURCES
    assert mutations.broken(name, mutations.ROOT) != (mutations.ROOT / mutations.KERNELS / source).read_text("utf-8")


@pytest.mark.parametrize(("text", "count"), [("text that no kernel has", "0"), ("cdef", r"\d\d+")])
def test_a_mutation_whose_text_is_not_there_once_is_named(text, count, monkeypatch):
    monkeypatch.setitem(mutations.MUTATIONS, "another", ("conv/weights.pxd", text, ""))
    with pytest.raises(
        ValueError, match=f"'another': expected its text once in conv/weights.pxd, found it {count} times"
    ):
        mutations.broken("another", mutations.ROOT)


def test_modules_and_test_files_exist():
    for modules, files in mutations.SOURCES.values():
        assert all(any((mutations.ROOT / mutations.KERNELS).rglob(f"{module}.pyx")) for module in modules.split())
        assert all((mutations.ROOT / f"tests/test_{file}.py").is_file() for file in files.split())
    assert mutations.HIGHEST_ONLY <= set(mutations.MUTATIONS)


@pytest.mark.parametrize("source", ["elementwise/relu.h", "im2col/_im2col.pyx"])
def test_a_mutation_is_what_the_next_build_compiles(source, tmp_path):
    name = next(name for name, mutation in mutations.MUTATIONS.items() if mutation[0] == source)
    module = tmp_path / "build/lib/cconv/kernels_v4" / f"{mutations.SOURCES[source][0]}.so"
    other = module.with_name("_conv.so")
    place = tmp_path / mutations.KERNELS / source
    place.parent.mkdir(parents=True)
    place.write_bytes((mutations.ROOT / mutations.KERNELS / source).read_bytes())
    os.utime(place, (1, 1))
    module.parent.mkdir(parents=True)
    module.touch(), other.touch()
    mutations.put(name, tmp_path)
    header = source.endswith(".h")
    assert place.read_text("utf-8") == mutations.broken(name, mutations.ROOT)
    # A header's time, which all modules go by, stays: the one module that must be built again is gone.
    assert (place.stat().st_mtime == 1, module.exists(), other.exists()) == (header, not header, True)


PROGRAM = """
import os, time, pytest

@pytest.mark.parametrize("value", ["a b"])
def test_one(value):
    """


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended as POSIX does it")
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("pass", None),
        ("assert value != 'a b'", "tests/test_one.py::test_one[a b]"),
        ("os.abort()", "tests/test_one.py::test_one[a b] (SIGABRT)"),
        ("time.sleep(100)", "(no end after 2 s)"),
    ],
)
def test_what_found_a_mutation_is_named(body, found, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_one.py").write_text(PROGRAM + body)
    actual, _ = mutations.test("one", tmp_path, "v4", 2 if "sleep" in body else 60)
    assert actual == found or "sleep" in body and actual.endswith(found)


def test_tests_that_cannot_run_find_nothing(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_one.py").write_text("a syntax error")
    with pytest.raises(RuntimeError, match="pytest ended with 2"):
        mutations.test("one", tmp_path, "v4", 60)
