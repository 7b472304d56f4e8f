"""The table of mutations.py is true of the kernels as they are; none is built here."""

import mutations
import pytest


@pytest.mark.parametrize("name", mutations.MUTATIONS)
def test_a_mutation_changes_one_place(name):
    source, text, replacement = mutations.MUTATIONS[name]
    assert text != replacement and source in mutations.SOURCES
    assert mutations.broken(name, mutations.ROOT) != (mutations.ROOT / mutations.KERNELS / source).read_text("utf-8")


def test_a_mutation_whose_text_is_not_there_once_is_named(monkeypatch):
    for text, count in (("text that no kernel has", 0), ("cdef inline void add_", 3)):
        monkeypatch.setitem(mutations.MUTATIONS, "another", ("conv_weights.pxd", text, ""))
        with pytest.raises(
            ValueError, match=f"'another': expected its text once in conv_weights.pxd, found it {count}"
        ):
            mutations.broken("another", mutations.ROOT)


def test_modules_and_test_files_exist():
    for modules, files in mutations.SOURCES.values():
        assert all((mutations.ROOT / mutations.KERNELS / f"{module}.pyx").is_file() for module in modules.split())
        assert all((mutations.ROOT / f"tests/test_{file}.py").is_file() for file in files.split())
    assert mutations.HIGHEST_ONLY <= set(mutations.MUTATIONS)
