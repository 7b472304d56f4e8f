"""ARCHITECTURE.md is true of the tree: the files and functions that it names are there, imports go as it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cconv"
KERNELS = PACKAGE / "kernels"
PAGE = ROOT / "ARCHITECTURE.md"
if not (PAGE.exists() and PACKAGE.exists()):
    pytest.skip("not in a source tree", allow_module_level=True)

DOCUMENTS = [PAGE, ROOT / "CONTRIBUTING.md", *sorted(KERNELS.glob("*/README.md"))]
SOURCES = [path for path in sorted(KERNELS.glob("*/*")) if path.suffix in (".pyx", ".pxd", ".h")]
TEXT = PAGE.read_text("utf-8")
ENDINGS = "py pyx pxd pyi h md c json toml yml supp".split()
FOLDERS = [ROOT, PACKAGE, KERNELS, ROOT / "tests"]  # where paths begin, beside the folder of the document
BASES = {"vector", "runtime"}  # rooms of kernels that others may use


def spans(text):
    """The pieces of text that are set as code, in lines or in blocks of commands."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    inside = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    return [*inside, *(word for block in blocks for word in re.findall(r"(?<!\S)(?:tests|docs|cconv)/[\w./*]+", block))]


def is_path(word):
    if "..." in word or not re.fullmatch(r"[\w.*/-]*[\w*/]", word):
        return False
    return "/" in word or "." in word[1:] and word.rpartition(".")[2] in ENDINGS


def exists(word, document):
    places = [document.parent] if word.startswith("..") else [document.parent, *FOLDERS]
    return any(any(place.glob(word.rstrip("/"))) or (place / word).exists() for place in places)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_folders_that_are_named_exist(document):
    paths = [word for word in spans(document.read_text("utf-8")) if is_path(word)]
    assert paths
    assert [word for word in paths if not exists(word, document)] == []


def test_functions_and_fields_that_are_named_exist():
    sources = [path for ending in ("py", "pyx", "pxd", "h") for path in PACKAGE.rglob(f"*.{ending}")]
    sources += [ROOT / "setup.py", *(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    words = {word for path in sources for word in re.findall(r"\w+", path.read_text("utf-8"))}
    named = [word for word in spans(TEXT) if re.fullmatch(r"[\w.]+", word) and "..." not in word and not is_path(word)]
    assert len(named) > 50
    assert [word for word in named if not set(word.strip(".").split(".")) - {"pxd", "h"} <= words] == []


def test_each_file_of_a_room_of_kernels_is_in_its_index():
    for path in SOURCES:
        text = (path.parent / "README.md").read_text("utf-8")
        beside = re.search(rf"`{path.stem}\.\w+`[^|\n]*`{path.suffix}`", text)  # `name.h`, `.pxd`
        assert f"`{path.name}`" in text or beside, path


def test_each_folder_is_named():
    folders = [path for place in (PACKAGE, KERNELS) for path in place.iterdir() if (path / "__init__.py").exists()]
    folders += [path.parent for path in SOURCES]
    assert len(folders) > 20
    for folder in folders:
        assert f"`{folder.name}/`" in TEXT or folder.name in ROOM, folder.name


# ---- who imports whom


def rooms():
    """The rooms by name, each with its line in the list of the page, from 0 at the top."""
    block = re.search(r"^## Rooms\n.*?^```\n(.*?)^```$", TEXT, re.M | re.S).group(1)
    lines = [re.split(r"\s{4,}", line)[0].split() for line in block.splitlines()]
    return {name: number for number, line in enumerate(lines) for name in line}


ROOM = rooms()


def exceptions():
    """What may be imported upwards, but not when a module is loaded, as the page says it."""
    text = re.search(r"^- An import inside of a function.*?(?=\. `)", TEXT, re.M | re.S).group()
    return set(re.findall(r"`(\w+)`\s+to\s+`(\w+)`", text))


def imports(path):
    """Yield the rooms of cconv that a module imports, and whether that happens when it is loaded."""
    package = ["cconv", *path.relative_to(PACKAGE).parent.parts]

    def visit(node, loaded):
        for child in ast.iter_child_nodes(node):
            later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            later = later or isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            names = []
            if isinstance(child, ast.Import):
                names = [alias.name.split(".") for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                above = package[: len(package) - child.level + 1] if child.level else []
                module = above + (child.module.split(".") if child.module else [])
                names = [[*module, alias.name] for alias in child.names]
            yield from ((name[1], loaded) for name in names if name[0] == "cconv" and len(name) > 1)
            yield from visit(child, loaded and not later)

    return visit(ast.parse(path.read_text("utf-8")), True)


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


# What modules of all rooms may import.
SHARED = set(re.findall(r"`(\w+)`", re.search(r"They import each other, (.*?)\bonly", TEXT, re.S).group(1)))
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) not in ("__init__", "__main__")]


def test_the_page_lists_each_room():
    found = {room_of(path) for path in MODULES}
    assert {name for name in found if not name.startswith(("_", "kernels_"))} == ROOM.keys()


def test_imports_go_down():
    upward, used = [], set()
    for path in MODULES:
        source = room_of(path)
        for target, loaded in imports(path):
            if target == source or target.startswith("_") or target not in ROOM:
                continue
            if source.startswith("_"):
                allowed = target in SHARED
            elif source.startswith("kernels"):
                allowed = target == "kernels"
            else:
                allowed = ROOM[target] > ROOM[source]
            if not allowed and not loaded and (source, target) in exceptions():
                used.add((source, target))
            elif not allowed:
                upward.append((path.relative_to(ROOT).as_posix(), target))
    assert upward == []
    assert used == exceptions()


def test_rooms_of_kernels_use_what_the_page_says():
    assert "`vector/` uses `runtime/`; the others use `vector/` and `runtime/`, never each other" in TEXT
    for path in SOURCES:
        text = path.read_text("utf-8")
        used = set(re.findall(r"^\s*(?:from|cimport|import) +cconv\.kernels\.(\w+)", text, re.M))
        used |= set(re.findall(r'(?:#include|extern from) "(\w+)/', text)) - {"numpy"}
        room = path.parent.name
        allowed = {"runtime": set(), "vector": {"runtime"}, "reference": set()}.get(room, BASES)
        assert used - {room, "plans"} <= allowed, path.relative_to(ROOT)
        # A module of a level would bind to the baseline's build of another one.
        assert not re.search(r"cconv\.kernels\.(?!runtime\.)\w+\._\w+ +cimport", text), path
