"""Docstrings: complete, and their examples run and give what they say."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap

import numpy as np
import pytest

import cconv
from cconv import augment, callbacks, data, functional, initializers, metrics, plotting

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cconv.__path__, "cconv.")
    if module.name != "cconv.__main__" and not module.name.startswith("cconv.kernels_")
)
# A module whose classes are those of another package is there with that alone.
ESTIMATORS = (cconv.sklearn,) if importlib.util.find_spec("sklearn") else ()
PUBLIC = {
    name: value
    for module in (
        *(cconv, augment, callbacks, data, functional, functional.reference, initializers, metrics, plotting),
        *(cconv.onnx, cconv.report),
        *ESTIMATORS,
    )
    for name, value in ((f"{module.__name__}.{name}", getattr(module, name)) for name in module.__all__)
    if callable(value)
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if not inspect.isclass(value)}
METHODS = {
    f"{name}.{key}": method
    for name, value in PUBLIC.items()
    if inspect.isclass(value)
    for key, method in vars(value).items()
    if inspect.isfunction(method) and key[0] != "_" and method.__doc__
}
LAYERS = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and issubclass(value, cconv.Layer) and value is not cconv.Layer
}
OPERATIONS = {name: value for name, value in FUNCTIONS.items() if name.startswith("cconv.functional.")}
# What the compiled functions return: their source is not Python's.
COMPILED = {"cconv.empty_cache": False, "cconv.get_num_threads": True, "cconv.set_num_threads": False}


# Modules whose examples need another package.
EXTRAS = {"cconv.onnx": "onnx", "cconv.sklearn": "sklearn"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    extra = EXTRAS.get(".".join(name.split(".")[:2]))
    if extra is not None:
        pytest.importorskip(extra)
    module = importlib.import_module(name)
    names = {key: getattr(cconv, key) for key in cconv.__all__} | vars(module) | {"np": np, "cconv": cconv}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def sections(text):
    """The sections of a numpydoc docstring: {heading: lines}; what stands before the first has the heading ''."""
    found = {"": []}
    heading = ""
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and re.fullmatch("-+", following) and len(following) == len(line):
            heading = line
            assert heading not in found, f"two sections {heading}"
            found[heading] = []
        elif not (heading and not found[heading] and re.fullmatch("-+", line)):
            found[heading].append(line)
    return found


def headings(value):
    return sections(inspect.getdoc(value)).keys()


def described(value):
    """The names that the section Parameters describes, in its order."""
    entries = [line for line in sections(inspect.getdoc(value)).get("Parameters", []) if line and line[0] != " "]
    return [name for entry in entries for name in entry.partition(" : ")[0].split(", ")]


def parameters(value):
    """The names of a signature, but for self, as the section Parameters writes them."""
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:  # an exception, which has no signature
        return []
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(parameter.kind, "") + parameter.name for parameter in found if parameter.name != "self"]


def statements(function, kind):
    """The statements of a kind in the body of a function, not in those of functions inside of it."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    pending, found = list(tree.body), []
    while pending:
        node = pending.pop()
        if isinstance(node, kind):
            found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return found


def returns(name, function):
    """Whether a function returns anything but None."""
    if name in COMPILED:
        return COMPILED[name]
    values = [node.value for node in statements(function, ast.Return)]
    return any(value is not None and not (isinstance(value, ast.Constant) and value.value is None) for value in values)


def test_the_parser_sees_what_is_wrong():
    def function(b, a, *rest):
        """Do nothing.

        Parameters
        ----------
        a, b : int
            The x of all.

        Returns
        -------
        int
        """
        if rest:
            return a
        raise ValueError(b)

    assert described(function) == ["a", "b"]
    assert parameters(function) == ["b", "a", "*rest"]
    assert list(headings(function)) == ["", "Parameters", "Returns"]
    assert returns("function", function)
    assert len(statements(function, ast.Raise)) == 1
    assert not returns("nothing", test_the_parser_sees_what_is_wrong)


def test_everything_public_has_a_docstring():
    assert [name for name, value in PUBLIC.items() if not inspect.getdoc(value)] == []
    for name, value in PUBLIC.items():
        if inspect.isclass(value):
            methods = inspect.getmembers(value, lambda method: inspect.isfunction(method))
            assert [key for key, method in methods if key[0] != "_" and not documented(value, key)] == [], name


def documented(cls, name):
    """Whether a method, or the one that it overrides, has a docstring."""
    return any(vars(base)[name].__doc__ for base in cls.__mro__ if name in vars(base))


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_are_described_in_their_order(name):
    assert described(PUBLIC[name]) == parameters(PUBLIC[name])


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "Parameters" in headings(method)])
def test_parameters_of_methods_are_described_in_their_order(name):
    assert described(METHODS[name]) == parameters(METHODS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_functions_return_is_described(name):
    assert ("Returns" in headings(FUNCTIONS[name])) == returns(name, FUNCTIONS[name])


def entries(text):
    """The entries of a section, each with what is said of it: {names: text}."""
    found = {}
    for line in text:
        if line and line[0] != " ":
            names, _, rest = line.partition(" : ")
            found[names] = rest
        elif found:
            found[names] += " " + line.strip()
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_the_shapes_of_a_layers_input_output_and_parameters_are_described(name):
    layer = LAYERS[name]
    found = entries(sections(inspect.getdoc(layer))["Shape"])
    names = {each for key in found for each in key.split(", ")}
    targets = {"t"} & inspect.signature(layer.forward).parameters.keys()
    assert {"x", "out", *layer.param_names} | targets <= names
    assert all(found.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_shapes_of_an_operations_arrays_are_described(name):
    parts = sections(inspect.getdoc(OPERATIONS[name]))
    arrays = {
        f"{heading}: {key}": text
        for heading in ("Parameters", "Returns")
        for key, text in entries(parts[heading]).items()
        if "ndarray" in key + text or "array_like" in key + text
    }
    assert arrays and [key for key, text in arrays.items() if "shape" not in key + text] == []


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "Returns" in headings(method)])
def test_methods_return_what_they_say(name):
    assert returns(name, METHODS[name])


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_raised_is_described(name):
    """Whatever takes arguments refuses some, but for one that hands on anything."""
    takes = bool(parameters(PUBLIC[name])) and name != "cconv.identity_function"
    assert ("Raises" in headings(PUBLIC[name])) == takes


@pytest.mark.parametrize("name", METHODS)
def test_what_methods_raise_is_described(name):
    def word(node):
        return node.exc.func.id if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) else ""

    raised = {word(node) for node in statements(METHODS[name], ast.Raise)} - {"", "NotImplementedError"}
    text = "\n".join(sections(inspect.getdoc(METHODS[name])).get("Raises", []))
    assert [kind for kind in raised if kind not in text] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_has_an_example(name):
    abstract = {"cconv.Layer", "cconv.Optimizer", "cconv.Branches", "cconv.DatasetNotFoundError"}
    abstract |= {"cconv.initializers.Initializer"}
    assert "Examples" in headings(PUBLIC[name]) or name in abstract
    assert ">>>" in inspect.getdoc(PUBLIC[name]) or name in abstract
