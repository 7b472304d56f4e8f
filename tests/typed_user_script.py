"""What a user writes who checks types: strict type checkers find nothing in it, and it runs in seconds.

`mypy --strict` and `basedpyright --level error` are run on it.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

import cconv
from cconv import (
    AdamW,
    Affine,
    BatchNormalization,
    Concatenate,
    Convolution,
    CosineDecay,
    Dropout,
    GlobalAveragePooling,
    Layer,
    Network,
    Pooling,
    Relu,
    Residual,
    SoftmaxWithLoss,
    Trainer,
    augment,
    metrics,
)
from cconv.callbacks import Callback, EarlyStopping, LearningRateLog, TimeLimit
from cconv.data import ArrayDataset, Dataset
from cconv.functional import batch_normalization, convolution, convolution_backward, im2col, max_pool, relu
from cconv.initializers import He

Floats = NDArray[np.floating]


class Double(Layer):
    """A layer of one's own, with cconv's as its base."""

    def forward(self, x: ArrayLike) -> Floats:
        return np.asarray(x, np.float32) * 2

    def backward(self, dout: ArrayLike, *, input_gradient: bool = True) -> Floats | None:
        return np.asarray(dout, np.float32) * 2 if input_gradient else None


class Negative:
    """A layer that is none of cconv's: anything with the two methods."""

    def forward(self, x: Floats) -> Floats:
        return -x

    def backward(self, dout: Floats) -> Floats:
        return -dout


class Squares(Dataset):
    """A data set of one's own: images whose grey is that of their class."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, indices: Sequence[int]) -> tuple[Floats, NDArray[np.int64]]:
        t = np.asarray(indices, np.int64) % 2
        return np.ones((len(t), 1, 8, 8), np.float32) * t[:, None, None, None], t


class Count(Callback):
    """A callback of one's own."""

    def __init__(self) -> None:
        self.steps: int = 0

    def on_step_end(self, trainer: Trainer) -> None:
        self.steps = trainer.current_iter


def by_hand(x: Floats, t: NDArray[np.int64]) -> float:
    """Layers that are made of arrays, in a loop of one's own."""
    rng = np.random.default_rng(0)
    params = {"W1": rng.standard_normal((4, 1, 3, 3)).astype(np.float32), "b1": np.zeros(4, np.float32)}
    params |= {"W2": rng.standard_normal((4 * 3 * 3, 2)).astype(np.float32), "b2": np.zeros(2, np.float32)}
    conv, affine = Convolution(params["W1"], params["b1"]), Affine(params["W2"], params["b2"])
    layers: list[Layer] = [conv, Relu(), Pooling(2, 2, stride=(2, 2)), affine]
    loss, optimizer = SoftmaxWithLoss(label_smoothing=0.1), cconv.Momentum(lr=0.01, clip_norm=1.0)
    out = x
    for layer in layers:
        out = layer.forward(out)
    value = loss.forward(out, t)
    dout = loss.backward()
    for layer in reversed(layers):
        dout = layer.backward(dout)
    optimizer.update(params, {"W1": conv.dW, "b1": conv.db, "W2": affine.dW, "b2": affine.db})
    return value


def functions(x: Floats) -> tuple[int, ...]:
    """The operations without layers."""
    W = np.ones((2, 1, 3, 3), np.float32)
    out = convolution(x, W, stride=(1, 1), pad="same")
    pooled, argmax = max_pool(relu(out), 2, return_argmax=True)
    dx, dW, db = convolution_backward(np.ones_like(out), x, W, pad="same")
    normal = batch_normalization(pooled, np.ones(2, np.float32), np.zeros(2, np.float32))
    assert dx.shape == x.shape and dW.shape == W.shape and db.shape == (2,)
    assert argmax.dtype == np.uint8 and normal.shape == pooled.shape
    return im2col(x, 3, 3).shape


def network_of_layers() -> Network:
    block = [Convolution(filters=4, size=3, pad="same", init=He()), BatchNormalization(), Relu()]
    beside = Concatenate([Pooling(3, 3, pad=1)], [("narrow", Convolution(filters=2, size=1))])
    end = [GlobalAveragePooling(), Dropout(0.1), Double(), Affine(units=2)]
    around = Residual([Convolution(filters=4, size=3, pad=((1, 1), (1, 1)))])
    return Network([*block, around, beside, *end], (1, 8, 8), seed=0)


def train(network: Network, folder: Path) -> float:
    data = ArrayDataset(*Squares()[range(40)], classes=["dark", "light"])
    rest, kept = data.split(0.25, seed=0)
    optimizer = AdamW(lr=0.01, weight_decay=0.01, exclude=["b1"])
    assert optimizer.eps < optimizer.weight_decay < optimizer.beta1 < optimizer.beta2
    count, rates = Count(), LearningRateLog()
    trainer = Trainer(
        network,
        rest,
        epochs=2,
        mini_batch_size=10,
        optimizer=optimizer,
        schedule=CosineDecay(optimizer, total_steps=6),
        validation=kept,
        augment=augment.Compose([augment.RandomShift(0.1), augment.RandomFlip()]),
        callbacks=[count, rates, TimeLimit(60.0)],
        early_stopping=EarlyStopping(5, monitor="val_loss"),
        average=0.9,
        log_dir=folder,
        verbose=False,
        seed=0,
    )
    trainer.train()
    trainer.save_checkpoint(folder / "checkpoint.safetensors")
    assert count.steps == len(rates.lr) == trainer.max_iter
    best: float = min(trainer.history.val_loss)
    return best


def save_and_load(network: Network, x: Floats, folder: Path) -> Floats:
    network.classes = ["dark", "light"]
    network.save(folder / "squares.cconv")
    network.save_params(io.BytesIO())
    state = network.state_dict()
    loaded = cconv.load(folder / "squares.cconv", custom={"Double": Double})
    missing, unexpected, mismatched = loaded.load_state_dict(state, strict=False)
    assert not missing and not unexpected and not mismatched and loaded.classes == ["dark", "light"]
    first = loaded.layers["conv1"]
    assert isinstance(first, Convolution) and first.W.shape == (4, 1, 3, 3)
    gradients = loaded.eval().freeze("conv1").unfreeze().gradient(x, np.zeros(len(x), np.int64))
    assert gradients.keys() == loaded.trainable_params.keys()
    scores = loaded.predict(x, batch_size=4)
    largest: float = float(np.abs(scores - network.predict(x)).max())
    assert largest == 0.0
    return scores


def elsewhere(x: Floats, t: NDArray[np.int64], folder: Path) -> list[str]:
    """What extras are for; each is left out where it is not installed."""
    done: list[str] = []
    network = cconv.ResNet((1, 8, 8), output_size=2, seed=0)
    try:
        cconv.onnx.export(network, folder / "resnet.onnx", opset=18, softmax=True)
        again: Network = cconv.onnx.load(folder / "resnet.onnx")
        assert np.allclose(again.predict(x), network.predict(x), atol=1e-5)
        done.append("onnx")
    except ImportError as error:
        print(error)
    try:
        other: cconv.ResNet = cconv.torch.load_from(cconv.torch.to_state_dict(network), network)
        assert other is network
        done.append("torch")
    except ImportError as error:
        print(error)
    try:
        classifier = cconv.sklearn.ConvNetClassifier(image_shape=(1, 8, 8), epochs=1, optimizer="Adam", random_state=0)
        chances = classifier.fit(x.reshape(len(x), -1), t).predict_proba(x.reshape(len(x), -1))
        assert chances.shape == (len(x), 2)
        done.append("sklearn")
    except ImportError as error:
        print(error)
    return done


def main(folder: Path) -> None:
    x, t = Squares()[range(20)]
    print(f"{by_hand(x, t):.3f}", functions(x))
    network = network_of_layers()
    print(network.summary().splitlines()[0])
    print(f"{train(network, folder):.3f}")
    scores = save_and_load(network, x, folder)
    share: float = metrics.accuracy(t, scores)
    each = metrics.precision(t, scores, average=None)
    print(share, each.shape, metrics.confusion_matrix(t, scores).sum())
    turned = Network([Negative(), Affine(units=2)], (3,), seed=0)
    print(turned.predict(np.ones((1, 3), np.float32)).shape, elsewhere(x, t, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
