"""Parameters from state dicts of PyTorch's kind: without PyTorch, as NumPy's arrays are tensors enough."""

import numpy as np
import pytest
import safetensors.numpy

import cconv
from cconv import (
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    Dropout,
    GroupNormalization,
    LayerNormalization,
    Network,
    Relu,
    Residual,
    TransposedConvolution,
)

RNG = np.random.default_rng(0)


def small(seed=0, **options):
    layers = [
        Convolution(filters=4, size=3, bias=False),
        BatchNormalization(eps=1e-5),
        Relu(),
        Residual([Convolution(filters=4, size=3, pad=1), GroupNormalization(2)]),
        Dropout(),
        TransposedConvolution(filters=2, size=2, stride=2),
        LayerNormalization(axes=1),
        Affine(units=3),
    ]
    return Network(layers, (1, 6, 6), seed=seed, **options)


def state(**changes):
    """A state dict for `small`, with names of another model."""
    shapes = {
        "stem.weight": (4, 1, 3, 3),
        "bn.weight": (4,),
        "bn.bias": (4,),
        "bn.running_mean": (4,),
        "bn.running_var": (4,),
        "block.0.weight": (4, 4, 3, 3),
        "block.0.bias": (4,),
        "block.1.weight": (4,),
        "block.1.bias": (4,),
        "up.weight": (4, 2, 2, 2),
        "up.bias": (2,),
        "ln.weight": (8,),
        "ln.bias": (8,),
        "fc.weight": (3, 128),
        "fc.bias": (3,),
    }
    rng = np.random.default_rng(1)
    arrays = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    arrays["bn.num_batches_tracked"] = np.array(7)
    return {name: array for name, array in (arrays | changes).items() if array is not None}


EXPECTED = {
    "conv1.W": "stem.weight",
    "norm1.gamma": "bn.weight",
    "norm1.beta": "bn.bias",
    "norm1.running_mean": "bn.running_mean",
    "norm1.running_var": "bn.running_var",
    "residual1.body.conv1.W": "block.0.weight",
    "residual1.body.conv1.b": "block.0.bias",
    "residual1.body.norm1.gamma": "block.1.weight",
    "residual1.body.norm1.beta": "block.1.bias",
    "transposed1.W": "up.weight",
    "transposed1.b": "up.bias",
    "norm2.gamma": "ln.weight",
    "norm2.beta": "ln.bias",
    "affine1.b": "fc.bias",
}


def assert_loaded(network, given):
    own = network.state_dict()
    for name, theirs in EXPECTED.items():
        np.testing.assert_array_equal(own[name], given[theirs], err_msg=name)
    np.testing.assert_array_equal(own["affine1.W"], given["fc.weight"].T)


def copied(network):
    return {name: array.copy() for name, array in network.state_dict().items()}


def assert_unchanged(network, before):
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_modules_are_matched_by_order_and_shape_into_the_arrays_that_are_there():
    network = small()
    arrays, masks = network.state_dict(), copied(network)["dropout1.random_state"]
    assert cconv.torch.load_from(state(), network) is network
    assert_loaded(network, state())
    assert all(network.state_dict()[name] is array for name, array in arrays.items())
    np.testing.assert_array_equal(arrays["dropout1.random_state"], masks)
    wide = cconv.torch.load_from(state(), small(dtype="float64"))
    assert wide.params["W1"].dtype == np.float64
    assert_loaded(wide, state())


def test_a_safetensors_file_has_the_order_of_its_names_with_numbers_by_value(tmp_path):
    network = Network([Affine(units=4, bias=False) for _ in range(11)], (4,), seed=0)
    arrays = {f"layers.{n}.weight": np.full((4, 4), n, np.float32) for n in range(11)}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        cconv.torch.load_from(path, network)
        assert [layer.W[0, 0] for layer in network.layers.values()] == list(range(11))
    with pytest.raises(FileNotFoundError):
        cconv.torch.load_from(tmp_path / "missing", network)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc.weight": np.ones((4, 128))}, r"tensors for 'affine1' of weight \(3, 128\), bias \(3,\); .* 'fc' with"),
        ({"fc.bias": None}, "tensors for 'affine1' of .* the first is 'fc' with weight"),
        ({"stem.bias": np.ones(4)}, r"tensors for 'conv1' of weight \(4, 1, 3, 3\);"),
        ({"bn.running_var": None}, "tensors for 'norm1' of .*running_var"),
        ({"x.weight": np.ones(2)}, r"a layer for each module, got none for 'x' with weight \(2,\)"),
        ({"fc.scale": np.ones(2)}, "tensors for 'affine1'"),
        ({"up.weight": None, "up.bias": None, "fc.weight": None, "fc.bias": None}, "'transposed1' .* 'ln' with"),
        ({"fc.weight": np.full((3, 128), 1e300)}, "numbers that fit float32"),
        ({"fc.weight": np.ones((3, 128), int)}, "affine1.W must .* hold floats"),
        ({"fc.bias": np.array(["a", "b", "c"])}, "affine1.b must .* hold floats"),
    ],
)
def test_what_does_not_fit_changes_nothing(change, words):
    network = small()
    before = copied(network)
    with pytest.raises(ValueError, match=words):
        cconv.torch.load_from(state(**change), network)
    assert_unchanged(network, before)


def test_a_mapping_says_what_the_order_does_not():
    network = Network([Affine(units=4), Relu(), Affine(units=4), Relu(), Affine(units=4)], (4,), seed=0)
    given = {}
    for name in ("last", "first", "middle"):
        given |= {f"{name}.weight": RNG.random((4, 4)), f"{name}.bias": RNG.random(4)}
    tensors = {"affine2.W": "middle.weight", "affine2.b": "first.bias", "affine1.b": "middle.bias"}
    tensors |= {"affine1.W": "first.weight"}
    for mapping, names in (
        ({"affine1": "first", "affine3": "last"}, ["first", "middle", "last"]),
        ({"affine2": "last"}, ["first", "last", "middle"]),
        (tensors, ["first", "middle", "last"]),
        ({}, ["last", "first", "middle"]),
    ):
        cconv.torch.load_from(given, network, mapping=mapping)
        for number, name in enumerate(names, 1):
            own = network.layers[f"affine{number}"].W
            np.testing.assert_array_equal(own, given[f"{name}.weight"].T.astype(np.float32))
    np.testing.assert_array_equal(network.params["b1"], given["last.bias"].astype(np.float32))


@pytest.mark.parametrize(
    ("mapping", "error", "words"),
    [
        ([], TypeError, "mapping must be a mapping of names to names"),
        ({"conv9": "stem"}, ValueError, "mapping must have names of layers or arrays .*, got 'conv9'"),
        ({"relu1": "stem"}, ValueError, "mapping must have names .*, got 'relu1'"),
        ({"conv1.x": "stem.weight"}, ValueError, "mapping must have names .*, got 'conv1.x'"),
        ({3: "stem"}, ValueError, "mapping must have names .*, got 3"),
        ({"conv1": "stem.weight"}, ValueError, "mapping must give 'conv1' a name that is there .*, got 'stem.weight'"),
        ({"conv1": "bn"}, ValueError, r"mapping must give 'conv1' tensors of weight \(4, 1, 3, 3\), got weight \(4,\)"),
        ({"conv1": "stem", "affine1": "stem"}, ValueError, "not given twice, got 'stem'"),
        ({"affine1.W": "fc.weight"}, ValueError, r"mapping must give 'affine1' tensors of .*, got weight \(3, 128\)$"),
    ],
)
def test_a_mapping_that_does_not_fit_changes_nothing(mapping, error, words):
    network = small()
    before = copied(network)
    with pytest.raises(error, match=words):
        cconv.torch.load_from(state(), network, mapping=mapping)
    assert_unchanged(network, before)


def test_batch_normalization_without_an_affine_part_gets_ones_and_zeros():
    network = Network([BatchNormalization(eps=1e-5)], (4,), seed=0)
    network.layers["norm1"].gamma[:] = 3
    cconv.torch.load_from({"running_mean": np.ones(4), "running_var": np.full(4, 2.0)}, network)
    assert network.params["gamma1"].tolist() == [1] * 4 and network.params["beta1"].tolist() == [0] * 4
    assert network.layers["norm1"].running_var.tolist() == [2] * 4


def test_an_eps_that_no_state_dict_says_is_warned_of():
    network = Network([BatchNormalization()], (4,), seed=0)
    given = {name: np.ones(4) for name in ("weight", "bias", "running_mean", "running_var")}
    with pytest.warns(UserWarning, match="norm1 keep 1e-06, but PyTorch's default is 1e-05") as caught:
        cconv.torch.load_from(given, network)
    assert caught[0].filename == __file__


def test_other_arguments_are_refused():
    for source in (3, None, [], small(), {3: np.ones(2)}):
        with pytest.raises(TypeError, match="module_or_state_dict must be a module, a mapping of names to tensors"):
            cconv.torch.load_from(source, small())
    for call in (lambda network: cconv.torch.load_from(state(), network), cconv.torch.to_state_dict):
        with pytest.raises(TypeError, match="network must be a Network, got dict"):
            call({})

    class Gain(Relu):
        param_names = ("k",)
        k = np.ones(1)

    with pytest.raises(ValueError, match="layers that PyTorch has too, got 'concatenate1.branch1.gain1' of the class"):
        cconv.torch.load_from({}, Network([Concatenate([Gain()])], (4,), seed=0))


def test_it_is_there_after_the_import_and_nothing_is_imported_for_it(run_python):
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *args):\n"
        "        if name == 'torch': raise ImportError('blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import numpy as np, cconv\n"
        "assert 'cconv.torch' not in sys.modules\n"
        "network = cconv.Network([cconv.Affine(units=1, bias=False)], (2,), seed=0)\n"
        "cconv.torch.load_from({'weight': np.array([[1.0, 2.0]])}, network)\n"
        "print(network.params['W1'].tolist(), 'torch' in sys.modules)\n"
        "try: cconv.torch.to_state_dict(network)\n"
        "except ImportError as error: print(error)\n"
        "try: cconv.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "[[1.0], [2.0]] False"
    assert "cconv.torch.to_state_dict needs torch" in lines[1] and "pip install 'cconv[torch]'" in lines[1]
    assert lines[2] == "module 'cconv' has no attribute 'nothing'"
