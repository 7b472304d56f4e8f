"""PyTorch on the CPU, with images in NCHW or channels_last, or compiled.

Single operations are called as autograd calls them, through torch.ops.aten, so that its own bookkeeping costs nothing.
"""

import itertools

import numpy as np
import torch
from torch.nn import functional as F

from .. import inputs
from . import Unavailable, Work

aten = torch.ops.aten
ACTIVATIONS = {  # cconv's names: the function of x, and its gradient of dout, x and y
    "relu": (F.relu, lambda dout, x, y: aten.threshold_backward(dout, y, 0)),
    "leaky_relu": (F.leaky_relu, lambda dout, x, y: aten.leaky_relu_backward(dout, x, 0.01, False)),
    "elu": (F.elu, lambda dout, x, y: aten.elu_backward(dout, 1, 1, 1, False, x)),
    "gelu": (F.gelu, lambda dout, x, y: aten.gelu_backward(dout, x)),
    "silu": (F.silu, lambda dout, x, y: aten.silu_backward(dout, x)),
    "sigmoid": (torch.sigmoid, lambda dout, x, y: aten.sigmoid_backward(dout, y)),
    "tanh": (torch.tanh, lambda dout, x, y: aten.tanh_backward(dout, y)),
    "softplus": (F.softplus, lambda dout, x, y: aten.softplus_backward(dout, x, 1, 20)),
    "hard_swish": (F.hardswish, lambda dout, x, y: aten.hardswish_backward(dout, x)),
}

SIMPLE = {  # modules that have no arrays, by the kinds of `inputs.resnet_layers`
    "relu": lambda: torch.nn.ReLU(inplace=True),
    "pool": lambda: torch.nn.MaxPool2d(2),
    "flatten": torch.nn.Flatten,
    "dropout": torch.nn.Dropout,
}


class Residual(torch.nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class PyTorch:
    def __init__(self, threads, variant):
        torch.set_num_threads(threads)
        self._variant = variant
        if variant == "compile":
            try:
                torch.compile(lambda x: x.sin() + 1)(torch.zeros(100))
            except Exception as error:  # no compiler, no Python headers, a Python that is too new
                raise Unavailable(f"torch.compile does not work here: {type(error).__name__}: {error}") from error
        self._single = variant != "compile"  # whether single operations are worth measuring

    def step(self, dtype, batch, scale=1.0, lr=0.001):
        return self._step(self._network(dtype), dtype, batch, scale, lr)

    hand_built_step = step

    def network_step(self, network, batch):
        """Training; what the layers before the first dropout return is compared."""
        plain, batches = self._build(network), inputs.NETWORKS[network].batches(batch, inputs.BATCHES)
        work, x = self._training(self._laid_out(plain), batches), self._tensor(batches[0][0])
        kinds = [type(module) for module in plain]
        before = plain[: kinds.index(torch.nn.Dropout)] if torch.nn.Dropout in kinds else plain
        scored = self._laid_out(before)
        return work._replace(outputs=lambda: scored(x))

    def network_forward(self, network, batch):
        ((x, _),) = inputs.NETWORKS[network].batches(batch)
        return self._inference(self._laid_out(self._build(network).eval()), x)

    @staticmethod
    def _build(network):
        network = inputs.NETWORKS[network]
        return _described(network.layers, iter(network.arrays()))

    def _inference(self, model, x):
        x = self._tensor(x)

        @torch.inference_mode()
        def run():
            return model(x)

        return Work(run)

    def _step(self, model, dtype, batch, scale=1.0, lr=0.001):
        return self._training(model, inputs.digits(dtype, batch, inputs.BATCHES, scale), lr)

    def _training(self, model, batches, lr=0.001):
        adam = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
        batches = [(self._tensor(x), torch.from_numpy(t)) for x, t in batches]
        turn = itertools.cycle(batches)

        def gradient(x, t):
            adam.zero_grad()
            F.cross_entropy(model(x), t).backward()
            return [p.grad.T if p.ndim == 2 else p.grad for p in model.parameters()]

        def run():
            gradient(*next(turn))
            adam.step()

        return Work(run, lambda: gradient(*batches[0]))

    def overhead(self):
        conv, pool, linear = torch.nn.Conv2d(1, 1, 3), torch.nn.MaxPool2d(2), torch.nn.Linear(1, 1)
        relu, last = torch.nn.ReLU(), torch.nn.Linear(1, 1)
        model = self._laid_out(torch.nn.Sequential(conv, relu, pool, torch.nn.Flatten(), linear, relu, last))
        x = self._tensor(np.zeros((1, 1, 4, 4), np.float32))

        @torch.inference_mode()
        def run():
            return model(x)

        return Work(run)

    def forward(self, dtype, batch):
        ((x, _),) = inputs.digits(dtype, batch)
        return self._inference(self._network(dtype), x)

    def epoch(self, x_train, t_train, x_test, t_test):
        model = self._network("float32")
        adam = torch.optim.Adam(model.parameters(), fused=True)
        x_train, t_train = self._tensor(x_train), torch.from_numpy(t_train).long()

        def run():
            for chosen in inputs.shuffled(len(x_train)):
                chosen = torch.from_numpy(chosen)
                adam.zero_grad()
                F.cross_entropy(model(x_train[chosen]), t_train[chosen]).backward()
                adam.step()

        @torch.inference_mode()
        def accuracy():
            return (model(self._tensor(x_test)).argmax(1).numpy() == t_test).mean()

        return Work(run, accuracy)

    def convolution_forward(self, geometry, dtype):
        if not self._single:
            return None
        x, w, b, _ = map(self._tensor, geometry.arrays(dtype))
        options = _options(geometry)
        convolve = F.conv_transpose2d if geometry.transposed else F.conv2d

        @torch.inference_mode()
        def run():
            return convolve(x, w, b, **options)

        return Work(run)

    def convolution_backward(self, geometry, dtype, input_gradient=True):
        if not self._single:
            return None
        x, w, b, dout = map(self._tensor, geometry.arrays(dtype))
        stride, pad, dilation = map(inputs.pair, (geometry.stride, geometry.pad, geometry.dilation))
        sizes = (b.shape, stride, pad, dilation, geometry.transposed, (0, 0), geometry.groups)

        @torch.inference_mode()
        def run():
            return aten.convolution_backward(dout, x, w, *sizes, (input_gradient, True, True))

        return Work(run)

    def convolution(self, geometry, dtype):
        """Forward and backward."""
        forward, backward = self.convolution_forward(geometry, dtype), self.convolution_backward(geometry, dtype)
        return forward and Work(lambda: (forward.run(), backward.run()))

    def pool_forward(self, kind, shape, window, stride, dtype):
        x = self._draw(dtype, shape)
        if not self._single:
            return None
        if kind == "average":
            return Work(lambda: F.avg_pool2d(x, window, stride))
        return Work(lambda: F.max_pool2d(x, window, stride))

    def pool_backward(self, kind, shape, window, stride, dtype):
        x = self._draw(dtype, shape)
        if not self._single:
            return None
        window, stride = inputs.pair(window), inputs.pair(stride)
        if kind == "average":
            dout = F.avg_pool2d(x, window, stride)
            return Work(lambda: aten.avg_pool2d_backward(dout, x, window, stride, (0, 0), False, True, None))
        out, where = F.max_pool2d(x, window, stride, return_indices=True)
        sizes = (window, stride, (0, 0), (1, 1), False)
        return Work(lambda: aten.max_pool2d_with_indices_backward(out, x, *sizes, where))

    def pool(self, **options):
        """Forward and backward."""
        forward, backward = self.pool_forward(**options), self.pool_backward(**options)
        return forward and Work(lambda: (forward.run(), backward.run()), backward.run)

    def activation_forward(self, name, shape, dtype):
        x = self._draw(dtype, shape)
        activation, _ = ACTIVATIONS[name]
        return Work(lambda: activation(x)) if self._single else None

    def activation_backward(self, name, shape, dtype):
        x, dout = (self._tensor(array) for array in inputs.draw(dtype, shape, shape))
        activation, gradient = ACTIVATIONS[name]
        y = activation(x)
        return Work(lambda: gradient(dout, x, y)) if self._single else None

    def affine_forward(self, N, D, M, dtype):
        x, w, b = map(torch.from_numpy, inputs.draw(dtype, (N, D), (D, M), (M,)))
        w = w.T.contiguous()
        return Work(lambda: F.linear(x, w, b)) if self._variant == "plain" else None

    def affine_backward(self, N, D, M, dtype):
        x, w, dout = map(torch.from_numpy, inputs.draw(dtype, (N, D), (D, M), (N, M)))
        w = w.T.contiguous()

        def run():
            return dout @ w, dout.T @ x, dout.sum(0)

        def outputs():
            dx, dw, db = run()
            return dx, dw.T, db

        return Work(run, outputs) if self._variant == "plain" else None

    def softmax_loss(self, N, M, dtype):
        """Forward and backward."""
        (x,) = map(torch.from_numpy, inputs.draw(dtype, (N, M)))
        t = torch.arange(N) % M

        def run():
            y = torch.log_softmax(x, 1)
            loss, weight = aten.nll_loss_forward(y, t, None, 1, -100)
            dy = aten.nll_loss_backward(loss.new_ones(()), y, t, None, 1, -100, weight)
            return aten._log_softmax_backward_data(dy, y, 1, y.dtype)

        return Work(run) if self._variant == "plain" else None

    def batch_normalization(self, shape, dtype):
        """Forward in training, and backward."""
        if not self._single:
            return None
        x, gamma, beta, dout = map(self._tensor, inputs.draw(dtype, shape, shape[1:2], shape[1:2], shape))
        mean, var = torch.zeros_like(gamma), torch.zeros_like(gamma)

        @torch.inference_mode()
        def run():
            out, batch_mean, batch_scale = aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-6)
            saved = (mean, var, batch_mean, batch_scale, True, 1e-6, (True, True, True))
            return out, *aten.native_batch_norm_backward(dout, x, gamma, *saved)

        return Work(run)

    def sample_normalization(self, groups, shape, dtype):
        """Layer normalization of whole images, or in groups of channels; forward and backward."""
        if not self._single:
            return None
        size = shape[1:2] if groups else shape[1:]
        x, gamma, beta, dout = inputs.draw(dtype, shape, size, size, shape)
        x, dout, gamma, beta = self._tensor(x), self._tensor(dout), torch.from_numpy(gamma), torch.from_numpy(beta)
        pixels, wanted = int(np.prod(shape[2:])), (True, True, True)

        @torch.inference_mode()
        def run():
            if groups:
                sizes = (*shape[:2], pixels, groups)
                out, mean, scale = aten.native_group_norm(x, gamma, beta, *sizes, 1e-5)
                return out, *aten.native_group_norm_backward(dout, x, mean, scale, gamma, *sizes, wanted)
            out, mean, scale = aten.native_layer_norm(x, size, gamma, beta, 1e-5)
            return out, *aten.native_layer_norm_backward(dout, x, size, mean, scale, gamma, beta, wanted)

        return Work(run)

    def dropout(self, shape, dtype):
        """Forward in training, and backward."""
        if not self._single:
            return None
        x, dout = (self._tensor(array) for array in inputs.draw(dtype, shape, shape))

        @torch.inference_mode()
        def run():
            out, mask = aten.native_dropout(x, 0.5, True)
            return out, aten.native_dropout_backward(dout, mask, 2.0)

        return Work(run)

    def optimizer(self, name, shape):
        if self._variant != "plain":
            return None
        p, g = map(torch.from_numpy, inputs.update(shape))
        before, parameter = p.clone(), torch.nn.Parameter(p)
        parameter.grad = g
        options = inputs.OPTIMIZERS[name]
        if name == "RMSprop":
            step = torch.optim.RMSprop([parameter], **options, foreach=True).step  # it has no fused one
        else:
            own_name = {"Momentum": "SGD", "AdaGrad": "Adagrad"}.get(name, name)
            step = getattr(torch.optim, own_name)([parameter], **options, fused=True).step

        def change():
            step()
            return parameter.detach() - before

        return Work(step, change)

    def _network(self, dtype):
        return self._laid_out(_described(inputs.simple_layers(), iter(inputs.parameters(dtype).values())))

    def _laid_out(self, model):
        if self._variant == "channels_last":
            return model.to(memory_format=torch.channels_last)
        if self._variant == "compile":
            torch.compiler.reset()  # sizes that changed would make it give up on code for one size
            return torch.compile(model, dynamic=False)
        return model

    def _tensor(self, array):
        tensor = torch.from_numpy(array)
        if self._variant == "channels_last" and tensor.ndim == 4:
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def _draw(self, dtype, shape):
        return self._tensor(*inputs.draw(dtype, shape))


def _described(layers, values):
    """Return a module of layers that are told as in `inputs.resnet_layers`, with the next of these arrays."""
    modules = []
    for kind, *sizes in layers:
        arrays = [torch.from_numpy(next(values)) for _ in range(inputs.ARRAYS.get(kind, 0))]
        if kind in ("conv", "depthwise"):
            filters, channels, size, _ = arrays[0].shape
            stride, groups = sizes[-1], filters if kind == "depthwise" else 1
            if size > 1 and stride == 2:  # the odd one of the padding belongs to the bottom and to the right
                modules.append(torch.nn.ZeroPad2d((0, 1, 0, 1)))
            pad = size // 2 if stride == 1 else 0
            modules.append(torch.nn.Conv2d(channels * groups, filters, size, stride, pad, groups=groups, bias=False))
        elif kind == "biased_conv":
            filters, channels, size, _ = arrays[0].shape
            modules.append(torch.nn.Conv2d(channels, filters, size, padding=sizes[-1]))
        elif kind == "affine":
            modules.append(torch.nn.Linear(*arrays[0].shape))
        elif kind == "norm":
            modules.append(torch.nn.BatchNorm2d(len(arrays[0]), eps=1e-6))
        elif kind == "residual":
            modules.append(Residual(*(_described(branch, values) for branch in sizes)))
        elif kind == "mean":
            modules += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        else:
            modules.append(SIMPLE[kind]())
        if arrays:
            module = modules[-1].to(arrays[0].dtype)
            for own, value in zip(module.state_dict().values(), arrays, strict=False):  # it counts batches at last
                own.copy_(value.T if value.ndim == 2 else value)
    return torch.nn.Sequential(*modules)


def _options(geometry):
    names = {"stride": "stride", "pad": "padding", "dilation": "dilation", "groups": "groups"}
    return {theirs: getattr(geometry, ours) for ours, theirs in names.items()}
