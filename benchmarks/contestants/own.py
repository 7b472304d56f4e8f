"""cconv, as its users call it."""

import functools
import itertools
import os
import tempfile
import time
from functools import partial

import numpy as np

import cconv
from cconv import augment, callbacks, kernels
from cconv import functional as F
from cconv.layers import Branches
from cconv.layers.stack import nested, param_names

from .. import inputs
from . import Work

BY_OUTPUT = ("relu", "sigmoid", "tanh")  # activations whose gradient is taken from their output


NETWORKS = {
    "SimpleConvNet": lambda: cconv.SimpleConvNet(),
    "DeepConvNet": lambda: cconv.DeepConvNet(seed=0),
    "ResNet-8": lambda: cconv.ResNet((3, 32, 32), depth=8, seed=0),
    "ResNet-20": lambda: cconv.ResNet((3, 32, 32), depth=20, seed=0),
    "MobileNet": lambda: cconv.MobileNet((3, 32, 32), seed=0),
}


def load(network, values):
    """Give a network these parameters and running statistics, in order, and return it."""
    arrays = [array for name, array in network.state_dict().items() if not name.endswith(".random_state")]
    for own, value in zip(arrays, values, strict=True):
        own[...] = value
    return network


def simple_conv_net(dtype):
    return load(cconv.SimpleConvNet(dtype=dtype), inputs.parameters(dtype).values())


def build(name):
    """Return a network that all contestants build, with their arrays; dropout scales in training, as theirs does."""
    made = load(NETWORKS[name](), inputs.NETWORKS[name].arrays())
    for layer in made.layers.values():
        if isinstance(layer, cconv.Dropout):
            layer.inverted = True
    return made


class LayerByLayer:
    """SimpleConvNet as a script of the chapter builds it: layers in a loop, nothing fused."""

    def __init__(self, params):
        self.params = params
        conv = cconv.Convolution(params["W1"], params["b1"])
        first, second = (cconv.Affine(params[f"W{n}"], params[f"b{n}"]) for n in (2, 3))
        self.layers = [conv, cconv.Relu(), cconv.Pooling(2, 2, stride=2), first, cconv.Relu(), second]
        self.owners = {"1": conv, "2": first, "3": second}
        self.last_layer = cconv.SoftmaxWithLoss()

    def gradient(self, x, t):
        for layer in self.layers:
            x = layer.forward(x)
        self.last_layer.forward(x, t)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers[1:]):
            dout = layer.backward(dout)
        self.layers[0].backward(dout, input_gradient=False)
        return {name: getattr(self.owners[name[1]], "d" + name[0]) for name in self.params}


class Watch:
    """Measures layers in the network that they are in, each without the layers inside of it.

    They have a `forward` and a `backward` of their own then, so that the network runs them one by one.
    """

    def __init__(self, layers):
        self._layers = dict(nested(layers))
        self._inside = 0.0  # seconds of the layers that have ended inside of the one that runs
        for name, layer in self._layers.items():
            for method in ("forward", "backward"):
                setattr(layer, method, self._watched(name, method, getattr(layer, method)))
        self.reset()

    def reset(self):
        self.seconds = dict.fromkeys(self._layers, 0.0)
        self._shapes = {name: {} for name in self._layers}  # of what a method takes and returns

    def _watched(self, name, method, run):
        @functools.wraps(run)
        def watched(x, *args, **options):
            outer, self._inside = self._inside, 0.0
            start = time.perf_counter()
            out = run(x, *args, **options)
            seconds = time.perf_counter() - start
            self.seconds[name] += seconds - self._inside
            self._inside = outer + seconds
            self._shapes[name][method] = x.shape, None if out is None else out.shape
            return out

        return watched

    def labels(self):
        """Return what a layer is, and the shapes of a sample before and after it."""
        return [self._label(name, layer) for name, layer in self._layers.items()]

    def _label(self, name, layer):
        before, after = (",".join(map(str, shape[1:])) for shape in self._shapes[name]["forward"])
        text = f"{name} {type(layer).__name__} {before} -> {after}"
        if isinstance(layer, cconv.Convolution):
            text += f", {'x'.join(map(str, layer.W.shape[2:]))}{', depthwise' if layer.groups > 1 else ''}"
        return text

    def work(self):
        """Return the multiply-adds of each layer in the last pass, and the bytes that it reads and writes at least.

        Each array counts as often as it is read or written by a layer for whose caches it is too large: going forward
        the input, the output and the parameters; going back the gradients of these, and once more the parameters and
        the input, which pooling does not look at. Of a residual block the sum and the gradients' count.
        """
        return tuple(zip(*(self._work(name, layer) for name, layer in self._layers.items()), strict=True))

    def _work(self, name, layer):
        shapes = self._shapes[name]
        before, after = map(np.prod, shapes["forward"])
        values = sum(getattr(layer, own).size for own in param_names(layer) if getattr(layer, own) is not None)
        back, goes_back = shapes.get("backward"), "backward" in shapes
        dx = before if goes_back and back[1] is not None else 0
        if isinstance(layer, Branches):
            return 0, 4 * (3 * after + 3 * dx)
        looks = 0 if "Pooling" in type(layer).__name__ else before
        count = layer.multiply_adds(shapes["forward"][0][1:]) * shapes["forward"][0][0]
        total = before + after + values + goes_back * (after + looks + dx + 2 * values)
        return count * (1 + goes_back + (dx > 0)), 4 * total


class Cconv:
    def __init__(self, threads):
        cconv.set_num_threads(threads)

    def step(self, dtype, batch, scale=1.0, lr=0.001, network=None):
        network = network or simple_conv_net(dtype)
        return _step(network, inputs.digits(dtype, batch, inputs.BATCHES, scale), lr)

    # What the FMA loop does of a step, its multiply-adds or its reading and writing, is compared with all of it.
    products_of_step = traffic_of_step = step

    def hand_built_step(self, dtype, batch):
        return self.step(dtype, batch, network=LayerByLayer(inputs.parameters(dtype)))

    def network_step(self, network, batch):
        return _scored_step(build(network), inputs.NETWORKS[network].batches(batch, inputs.BATCHES))

    def network_forward(self, network, batch):
        ((x, _),), network = inputs.NETWORKS[network].batches(batch), build(network)
        return Work(lambda: network.predict(x))

    def layers_of(self, network, batch, passes):
        """Take a network through passes outside training, and in training forward and backward.

        The result is what the layers are, and for both kinds of passes: the seconds of the network as it is, and behind
        them those of each layer, run one by one; each layer's multiply-adds; its bytes. Seconds are medians.
        """
        plain, watched = build(network), build(network)
        watch = Watch(watched.layers)
        ((x, t),) = inputs.NETWORKS[network].batches(batch)

        def of_pass(take):
            def timed(network):
                start = time.perf_counter()
                take(network)
                return time.perf_counter() - start

            seconds = []
            for _ in range(1 + passes):
                whole = timed(plain)
                watch.reset()
                timed(watched)
                seconds.append([whole, *watch.seconds.values()])
            return np.median(seconds[1:], axis=0), *watch.work()  # the first pass is to warm up

        def run():
            found = of_pass(lambda network: network.predict(x)), of_pass(lambda network: network.gradient(x, t))
            return [np.array(watch.labels()), *map(np.array, zip(*found, strict=True))]

        results = []
        return Work(lambda: results.append(run()), lambda: results[-1])

    def overhead(self):
        network = cconv.SimpleConvNet((1, 4, 4), inputs.LEAST, hidden_size=1, output_size=1)
        x = np.zeros((1, 1, 4, 4), np.float32)
        return Work(lambda: network.predict(x))

    def overhead_of_kernels(self):
        """What `overhead` calls in the end, with arrays at hand."""
        x, filters = np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 1, 3, 3), np.float32)
        matrix, bias, value = np.zeros((1, 1), np.float32), np.zeros(1, np.float32), np.zeros((1, 1), np.float32)
        pooled = np.zeros((1, 1, 1, 1), np.float32)
        affine, steps = kernels.gemm.affine, (1, 1, 0, 0, 1, 1)
        if hasattr(kernels.conv, "channels_pooled_output"):
            plan = kernels.conv.Plan((1, 4, 4), (1, 1, 3, 3), (1, 2, 2), steps, 1, 4)
            convolve = partial(kernels.conv.channels_pooled_output, plan, x, filters, bias, pooled, None, 1)
        else:  # an earlier build, to compare with
            convolve = partial(kernels.conv.forward_pooled, x, filters, bias, pooled, None, 2, 2, steps, 1, 1)

        def run():
            convolve()
            affine(value, matrix, bias, value, True, 1)
            affine(value, matrix, bias, value, False, 1)

        return Work(run)

    def forward(self, dtype, batch):
        network = simple_conv_net(dtype)
        ((x, _),) = inputs.digits(dtype, batch)
        return Work(lambda: network.predict(x))

    def epoch(self, x_train, t_train, x_test, t_test):
        network, optimizer = simple_conv_net("float32"), cconv.Adam()

        def run():
            for chosen in inputs.shuffled(len(x_train)):
                optimizer.update(network.params, network.gradient(x_train[chosen], t_train[chosen]))

        return Work(run, lambda: network.accuracy(x_test, t_test))

    def loop_epoch(self, network, batch, count):
        """Steps on batches that are at hand."""
        network, optimizer = build(network), cconv.Adam()
        batches = inputs.digits("float32", batch, count)

        def run():
            for x, t in batches:
                optimizer.update(network.params, network.gradient(x, t))

        run()
        return Work(run, lambda: None)

    def trainer_epoch(self, network, batch, count):
        """As many steps of a Trainer that augments and has callbacks; next to nothing is measured at the end."""
        x, t = map(np.concatenate, zip(*inputs.digits("float32", batch, count), strict=True))
        folder = tempfile.TemporaryDirectory()
        listening = [
            callbacks.EarlyStopping(1000),
            callbacks.LearningRateLog(),
            callbacks.CSVLog(os.path.join(folder.name, "history.csv")),
        ]
        options = {"optimizer": "Adam", "evaluate_sample_num_per_epoch": 1, "verbose": False, "seed": 0}
        options |= {"callbacks": listening, "mini_batch_size": batch}
        options["augment"] = augment.Compose([augment.RandomShift(0.1), augment.RandomRotation(10)])
        trainer = cconv.Trainer(build(network), x, t, **options)

        def run(_=folder):  # which is there as long as this is
            trainer.train(1)

        run()
        return Work(run, lambda: None)

    def convolution_forward(self, geometry, dtype):
        x, w, b, _ = geometry.arrays(dtype)
        if geometry.transposed:
            return Work(lambda: F.transposed_convolution(x, w, b, **options(geometry)))
        return Work(lambda: F.convolution(x, w, b, **options(geometry)))

    def convolution_backward(self, geometry, dtype, input_gradient=True):
        x, w, _, dout = geometry.arrays(dtype)
        settings = options(geometry) | {"input_gradient": input_gradient}
        if geometry.transposed:
            return Work(lambda: F.transposed_convolution_backward(dout, x, w, **settings))
        return Work(lambda: F.convolution_backward(dout, x, w, **settings))

    def convolution(self, geometry, dtype):
        """Forward and backward."""
        forward, backward = self.convolution_forward(geometry, dtype), self.convolution_backward(geometry, dtype)
        return Work(lambda: (forward.run(), backward.run()))

    def pool_forward(self, kind, shape, window, stride, dtype):
        (x,) = inputs.draw(dtype, shape)
        if kind == "average":
            return Work(lambda: F.average_pool(x, window, stride=stride))

        def run():
            return F.max_pool(x, window, stride=stride, return_argmax=True)

        return Work(run, lambda: run()[0])

    def pool_backward(self, kind, shape, window, stride, dtype):
        (x,) = inputs.draw(dtype, shape)
        if kind == "average":
            dout = F.average_pool(x, window, stride=stride)
            return Work(lambda: F.average_pool_backward(dout, shape, window, stride=stride))
        dout, argmax = F.max_pool(x, window, stride=stride, return_argmax=True)
        return Work(lambda: F.max_pool_backward(dout, argmax, shape, window, stride=stride))

    def pool(self, **options):
        """Forward and backward."""
        forward, backward = self.pool_forward(**options), self.pool_backward(**options)
        return Work(lambda: (forward.run(), backward.run()), backward.run)

    def activation_forward(self, name, shape, dtype):
        (x,) = inputs.draw(dtype, shape)
        activation = getattr(F, name)
        return Work(lambda: activation(x))

    def activation_backward(self, name, shape, dtype):
        x, dout = inputs.draw(dtype, shape, shape)
        kept = getattr(F, name)(x) if name in BY_OUTPUT else x
        gradient = getattr(F, f"{name}_backward")
        return Work(lambda: gradient(dout, kept))

    def affine_forward(self, N, D, M, dtype):
        x, w, b = inputs.draw(dtype, (N, D), (D, M), (M,))
        return Work(lambda: F.affine(x, w, b))

    def affine_backward(self, N, D, M, dtype):
        x, w, dout = inputs.draw(dtype, (N, D), (D, M), (N, M))
        return Work(lambda: F.affine_backward(dout, x, w))

    def softmax_loss(self, N, M, dtype):
        """Forward and backward."""
        layer = cconv.SoftmaxWithLoss()
        (x,) = inputs.draw(dtype, (N, M))
        t = np.arange(N) % M

        def run():
            return layer.forward(x, t), layer.backward()

        return Work(run, lambda: run()[1])

    def batch_normalization(self, shape, dtype):
        """Forward in training, and backward."""
        x, gamma, beta, dout = inputs.draw(dtype, shape, shape[1:2], shape[1:2], shape)
        layer = cconv.BatchNormalization(gamma, beta)

        def run():
            return layer.forward(x), layer.backward(dout), layer.dgamma, layer.dbeta

        return Work(run)

    def sample_normalization(self, groups, shape, dtype):
        """Layer normalization of whole images, or in groups of channels; forward and backward."""
        size = shape[1:2] if groups else shape[1:]
        x, gamma, beta, dout = inputs.draw(dtype, shape, size, size, shape)
        layer = cconv.GroupNormalization(groups, gamma, beta) if groups else cconv.LayerNormalization(gamma, beta)

        def run():
            return layer.forward(x), layer.backward(dout), layer.dgamma, layer.dbeta

        return Work(run)

    def dropout(self, shape, dtype):
        """Forward in training, and backward."""
        x, dout = inputs.draw(dtype, shape, shape)
        layer = cconv.Dropout(0.5, inverted=True, seed=0)
        return Work(lambda: (layer.forward(x), layer.backward(dout)))

    def optimizer(self, name, shape):
        if not hasattr(cconv, name):
            return None
        p, g = inputs.update(shape)
        before = p.copy()
        optimizer = getattr(cconv, name)(**inputs.OPTIMIZERS[name])
        params, grads = {"p": p}, {"p": g}

        def run():
            optimizer.update(params, grads)

        def change():
            run()
            return p - before

        return Work(run, change)


class CconvPredictor:
    def __init__(self, threads):
        cconv.set_num_threads(threads)

    def network_forward(self, network, batch):
        ((x, _),), predictor = inputs.NETWORKS[network].batches(batch), cconv.Predictor(build(network))
        return Work(lambda: predictor.predict(x))

    def forward(self, dtype, batch):
        ((x, _),), predictor = inputs.digits(dtype, batch), cconv.Predictor(simple_conv_net(dtype))
        return Work(lambda: predictor.predict(x))


def _step(network, batches, lr=0.001):
    """Return the work of training a network; its gradients are compared."""
    optimizer = cconv.Adam(lr=lr)
    turn = itertools.cycle(batches)

    def gradient(x, t):
        grads = network.gradient(x, t)
        return [grads[name] for name in network.params]

    def run():
        x, t = next(turn)
        optimizer.update(network.params, network.gradient(x, t))

    return Work(run, lambda: gradient(*batches[0]))


def _scored_step(network, batches):
    """Return the same work; what the layers before the first dropout return in training is compared.

    Where relu cuts, the last digits of a value decide whether a gradient passes: those of deep networks differ.
    """

    def scores():
        (x, _), *_ = batches
        for layer in itertools.takewhile(lambda layer: not isinstance(layer, cconv.Dropout), network.layers.values()):
            x = layer.forward(x)
        return x

    return _step(network, batches)._replace(outputs=scores)


def options(geometry):
    names = ("stride", "pad", "dilation", "groups")
    return {name: getattr(geometry, name) for name in names}
