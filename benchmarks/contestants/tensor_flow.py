"""TensorFlow on the CPU: graphs of its operations for fixed sizes, images in NHWC, with or without XLA.

Networks are built of plain operations, so that no layer object costs time; Adam is its fused kernel. Results go back to
the layouts of the other contestants. The thread pool that runs operations beside each other has one thread: those of
these networks wait for one another.
"""

import itertools
import os

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only; read when it is imported
import tensorflow as tf

from .. import inputs
from . import Unavailable, Work

FILTERS, DEPTHWISE = (2, 3, 1, 0), (2, 3, 0, 1)  # the axes of filters (FN, C, FH, FW) in TensorFlow's order


class TensorFlow:
    def __init__(self, threads, variant):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self._options = {"autograph": False, "jit_compile": variant == "xla"}
        if variant == "xla":
            try:
                tf.function(lambda x: tf.sin(x) + 1, **self._options)(tf.zeros(100))
            except tf.errors.OpError as error:
                raise Unavailable(f"XLA does not work here: {error}") from error

    def step(self, dtype, batch, scale=1.0, lr=0.001):
        network = Network(inputs.simple_layers(), inputs.parameters(dtype).values(), (1, 28, 28))
        return self._step(network, inputs.digits(dtype, batch, inputs.BATCHES, scale), lr)

    hand_built_step = step

    def network_step(self, network, batch):
        """Training; what the layers before the first dropout return is compared."""
        told = inputs.NETWORKS[network]
        network, batches = Network(told.layers, told.arrays(), told.shape), told.batches(batch, inputs.BATCHES)
        features = told.layers.index(("dropout",)) if ("dropout",) in told.layers else None
        x = _nhwc(batches[0][0])
        return self._step(network, batches)._replace(outputs=lambda: network(x, features))

    def network_forward(self, network, batch):
        told = inputs.NETWORKS[network]
        ((x, _),) = told.batches(batch)
        return self._inference(told.layers, told.arrays(), told.shape, x)

    def forward(self, dtype, batch):
        ((x, _),) = inputs.digits(dtype, batch)
        return self._inference(inputs.simple_layers(), inputs.parameters(dtype).values(), (1, 28, 28), x)

    def _inference(self, layers, values, shape, x):
        x = _nhwc(x)
        network = Network(layers, values, shape, training=False)
        scores = tf.function(network, input_signature=[tf.TensorSpec(x.shape, x.dtype)], **self._options)
        scores = scores.get_concrete_function()
        return Work(lambda: scores(x))

    def _step(self, network, batches, lr=0.001):
        batches = [(_nhwc(x), tf.constant(t, tf.int32)) for x, t in batches]
        turn = itertools.cycle(batches)
        adam = Adam(network.variables, lr)
        signature = [tf.TensorSpec(value.shape, value.dtype) for value in batches[0]]

        def gradient(x, t):
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(t, network(x))
                loss = tf.reduce_mean(losses)
            return tape.gradient(loss, network.variables)

        def step(x, t):
            adam.update(gradient(x, t))

        step = tf.function(step, input_signature=signature, **self._options).get_concrete_function()
        return Work(lambda: step(*next(turn)), lambda: network.as_given(gradient(*batches[0])))


class Adam:
    """The kernel that the optimizers of TensorFlow 1 call, a single pass over each parameter."""

    def __init__(self, variables, lr, beta1=0.9, beta2=0.999, epsilon=1e-7):
        self._variables = variables
        self._moments = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
        self._settings = [tf.constant(value, variables[0].dtype) for value in (lr, beta1, beta2, epsilon)]
        self._powers = [tf.Variable(value) for value in self._settings[1:3]]

    def update(self, grads):
        (lr, beta1, beta2, epsilon), (power1, power2) = self._settings, self._powers
        for variable, (m, v), grad in zip(self._variables, self._moments, grads, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=power1.read_value(),
                beta2_power=power2.read_value(),
                lr=lr,
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                grad=grad,
            )
        power1.assign(power1 * beta1)
        power2.assign(power2 * beta2)


class Network:
    """A function of images in NHWC, made of a list of layers, and its parameters.

    Parameters
    ----------
    layers : list of tuple
    values : iterable of ndarray
        The parameters in order, in the layouts of the other contestants.
    shape : (int, int, int)
        Channels, height and width of an image.
    training : bool
        Outside training the parameters become constants of a graph, whose kernels may have them in their own order.
    """

    def __init__(self, layers, values, shape, training=True):
        self.variables, self._inverses, self._values, self._training = [], [], iter(values), training
        self._functions, _ = self._build(layers, (*shape[1:], shape[0]))

    def __call__(self, x, count=None):
        """Return what the first `count` layers make of images, all when not given."""
        return _run(self._functions[:count], x)

    def as_given(self, arrays):
        """Return one array per parameter in the layout in which that was given."""
        return [inverse(np.asarray(array)) for inverse, array in zip(self._inverses, arrays, strict=True)]

    def _parameter(self, there=lambda value: value, back=lambda value: value):
        value = np.ascontiguousarray(there(next(self._values)))
        if not self._training:
            return value
        self.variables.append(tf.Variable(value))
        self._inverses.append(back)
        return self.variables[-1]

    def _filters(self, axes):
        return self._parameter(lambda value: value.transpose(axes), lambda value: value.transpose(np.argsort(axes)))

    def _build(self, layers, shape):
        """Return a function for each layer, and the shape of what the last one returns."""
        functions, maps = [], None
        for kind, *sizes in layers:
            if kind == "biased_conv":
                filters, size, pad = sizes
                shape = (*(n + 2 * pad - size + 1 for n in shape[:2]), filters)
                functions.append(_biased_conv(self._filters(FILTERS), self._parameter(), pad))
            elif kind == "conv":
                filters, _, stride = sizes
                shape = (*(-(-n // stride) for n in shape[:2]), filters)
                functions.append(_conv(self._filters(FILTERS), stride))
            elif kind == "depthwise":
                _, stride = sizes
                shape = (*(-(-n // stride) for n in shape[:2]), shape[2])
                functions.append(_depthwise(self._filters(DEPTHWISE), stride))
            elif kind == "norm":
                functions.append(self._norm())
            elif kind == "residual":
                branches = [self._build(branch, shape) for branch in sizes]
                functions.append(_residual(*(branch for branch, _ in branches)))
                shape = branches[0][1]
            elif kind == "pool":
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
                functions.append(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"))
            elif kind == "flatten":
                maps, shape = shape, (int(np.prod(shape)),)
                functions.append(lambda x, size=shape[0]: tf.reshape(x, (-1, size)))
            elif kind == "mean":
                shape = shape[2:]
                functions.append(lambda x: tf.reduce_mean(x, (1, 2)))
            elif kind == "affine":
                functions.append(_affine(self._rows_of(maps) if maps else self._parameter(), self._parameter()))
                maps = None
            else:
                functions.append({"relu": tf.nn.relu, "dropout": self._dropout}[kind])
        return functions, shape

    def _dropout(self, x):
        return tf.nn.dropout(x, 0.5) if self._training else x

    def _norm(self):
        gamma, beta = self._parameter(), self._parameter()
        mean, variance = next(self._values), next(self._values)
        return (_norm if self._training else _known_norm)(gamma, beta, mean, variance)

    def _rows_of(self, maps):
        """Return the next parameter, a matrix whose rows are of the pixels of (C, H, W), in the order of (H, W, C)."""
        H, W, C = maps
        order = np.arange(H * W * C).reshape(C, H, W).transpose(1, 2, 0).ravel()
        inverse = np.argsort(order)
        return self._parameter(lambda value: value[order], lambda value: value[inverse])


def _run(functions, x):
    for function in functions:
        x = function(x)
    return x


def _biased_conv(W, b, pad):
    padding = [[0, 0], [pad, pad], [pad, pad], [0, 0]] if pad else "VALID"
    return lambda x: tf.nn.bias_add(tf.nn.conv2d(x, W, 1, padding), b)


def _conv(W, stride):
    return lambda x: tf.nn.conv2d(x, W, stride, "SAME")


def _depthwise(W, stride):
    return lambda x: tf.nn.depthwise_conv2d(x, W, (1, stride, stride, 1), "SAME")


def _affine(W, b):
    return lambda x: tf.nn.bias_add(tf.matmul(x, W), b)


def _residual(body, shortcut):
    return lambda x: _run(body, x) + _run(shortcut, x)


def _norm(gamma, beta, mean, variance):
    mean, variance = tf.Variable(mean), tf.Variable(variance)

    def run(x):
        # tf.nn's function raises epsilon to 1e-5.
        out, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=1e-6, is_training=True
        )
        mean.assign_sub(0.1 * (mean - batch_mean))
        variance.assign_sub(0.1 * (variance - batch_variance))
        return out

    return run


def _known_norm(gamma, beta, mean, variance):
    return lambda x: tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=1e-6, is_training=False
    )[0]


def _nhwc(x):
    return tf.constant(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
