"""The plain NumPy method of the chapter, for comparison: im2col, matrix products, col2im.

Written to be fair: it keeps float32, pads correctly and multiplies with whatever BLAS NumPy has. It is what a careful
reader of the chapter ends up with, one image batch at a time and nothing compiled but NumPy itself.
"""

import numpy as np


def im2col(x, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = x.shape
    out_h, out_w = (H + 2 * pad - filter_h) // stride + 1, (W + 2 * pad - filter_w) // stride + 1
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else x
    col = np.empty((N, C, filter_h, filter_w, out_h, out_w), x.dtype)
    for i in range(filter_h):
        for j in range(filter_w):
            col[:, :, i, j] = x[:, :, i : i + stride * out_h : stride, j : j + stride * out_w : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(col, shape, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = shape
    out_h, out_w = (H + 2 * pad - filter_h) // stride + 1, (W + 2 * pad - filter_w) // stride + 1
    col = col.reshape(N, out_h, out_w, C, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros((N, C, H + 2 * pad + stride - 1, W + 2 * pad + stride - 1), col.dtype)
    for i in range(filter_h):
        for j in range(filter_w):
            x[:, :, i : i + stride * out_h : stride, j : j + stride * out_w : stride] += col[:, :, i, j]
    return x[:, :, pad : pad + H, pad : pad + W]


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x):
        FN, _, FH, FW = self.W.shape
        out_h = (x.shape[2] + 2 * self.pad - FH) // self.stride + 1
        out_w = (x.shape[3] + 2 * self.pad - FW) // self.stride + 1
        self.shape = x.shape
        self.col = im2col(x, FH, FW, self.stride, self.pad)
        out = self.col @ self.W.reshape(FN, -1).T + self.b
        return out.reshape(len(x), out_h, out_w, FN).transpose(0, 3, 1, 2)

    def backward(self, dout):
        FN, _, FH, FW = self.W.shape
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = rows.sum(axis=0)
        self.dW = (self.col.T @ rows).T.reshape(self.W.shape)
        return col2im(rows @ self.W.reshape(FN, -1), self.shape, FH, FW, self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h, pool_w, stride):
        self.pool_h, self.pool_w, self.stride = pool_h, pool_w, stride

    def forward(self, x):
        N, C, H, W = self.shape = x.shape
        out_h, out_w = (H - self.pool_h) // self.stride + 1, (W - self.pool_w) // self.stride + 1
        col = im2col(x, self.pool_h, self.pool_w, self.stride).reshape(-1, self.pool_h * self.pool_w)
        self.argmax = col.argmax(axis=1)
        return col.max(axis=1).reshape(N, out_h, out_w, C).transpose(0, 3, 1, 2)

    def backward(self, dout):
        dout = dout.transpose(0, 2, 3, 1)
        values = np.zeros((dout.size, self.pool_h * self.pool_w), dout.dtype)
        values[np.arange(dout.size), self.argmax] = dout.ravel()
        return col2im(values.reshape(dout.size // dout.shape[3], -1), self.shape, self.pool_h, self.pool_w, self.stride)


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, np.zeros((), x.dtype), x)

    def backward(self, dout):
        return np.where(self.mask, np.zeros((), dout.dtype), dout)


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.shape)


class SoftmaxWithLoss:
    def forward(self, x, t):
        y = np.exp(x - x.max(axis=1, keepdims=True))
        self.y, self.t = y / y.sum(axis=1, keepdims=True), t
        return -np.log(self.y[np.arange(len(t)), t] + 1e-7).mean()

    def backward(self):
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx / len(self.t)


class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2, self.step = lr, beta1, beta2, 0
        self.m, self.v = {}, {}

    def update(self, params, grads):
        self.step += 1
        lr = self.lr * np.sqrt(1 - self.beta2**self.step) / (1 - self.beta1**self.step)
        for key, p in params.items():
            m, v = self.m.setdefault(key, np.zeros_like(p)), self.v.setdefault(key, np.zeros_like(p))
            m += (1 - self.beta1) * (grads[key] - m)
            v += (1 - self.beta2) * (grads[key] ** 2 - v)
            p -= (lr * m / (np.sqrt(v) + 1e-7)).astype(p.dtype)


class SimpleConvNet:
    """The chapter's network over given parameters W1, b1, W2, b2, W3, b3."""

    def __init__(self, params):
        self.params = params
        self.conv = Convolution(params["W1"], params["b1"])
        self.affine1, self.affine2 = Affine(params["W2"], params["b2"]), Affine(params["W3"], params["b3"])
        self.layers = [self.conv, Relu(), Pooling(2, 2, 2), self.affine1, Relu(), self.affine2]
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def gradient(self, x, t):
        self.last_layer.forward(self.predict(x), t)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        owners = {"1": self.conv, "2": self.affine1, "3": self.affine2}
        return {name: getattr(owners[name[1]], "d" + name[0]) for name in self.params}
