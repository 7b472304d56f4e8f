"""Scripts of the book's kind: what they import, how they are built and what they call is what its chapters' do."""

HEAD = """
import sys, os
sys.path.append(os.pardir)
import numpy as np
"""

SCRIPTS = {
    "ch05/buy.py": """
from layer_naive import *

price, number, tax = 100, 2, 1.1
goods, total = MulLayer(), MulLayer()
print("cost", total.forward(goods.forward(price, number), tax))
d_goods, d_tax = total.backward(1)
print("gradients", *goods.backward(d_goods), d_tax)
both = AddLayer()
print("sum", both.forward(price, 150), *both.backward(tax))
""",
    "ch05/gradient_check.py": HEAD
    + """
from dataset.mnist import load_mnist
from two_layer_net import TwoLayerNet

(x_train, t_train), _ = load_mnist(normalize=True, one_hot_label=True)
network = TwoLayerNet(input_size=784, hidden_size=8, output_size=10)
x_batch, t_batch = x_train[:3], t_train[:3]
numerical = network.numerical_gradient(x_batch, t_batch)
backprop = network.gradient(x_batch, t_batch)
for key in numerical.keys():
    print(key, np.average(np.abs(backprop[key] - numerical[key])))
""",
    "ch05/train_neuralnet.py": HEAD
    + """
from dataset.mnist import load_mnist
from two_layer_net import TwoLayerNet

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot_label=True)
network = TwoLayerNet(input_size=784, hidden_size=50, output_size=10)
losses = []
for i in range(100):
    batch_mask = np.random.choice(x_train.shape[0], 50)
    grad = network.gradient(x_train[batch_mask], t_train[batch_mask])
    for key in ('W1', 'b1', 'W2', 'b2'):
        network.params[key] -= 0.1 * grad[key]
    losses.append(network.loss(x_train[batch_mask], t_train[batch_mask]))
print("losses", losses[0], losses[-1])
print("accuracy", network.accuracy(x_test, t_test), type(network.lastLayer).__name__)
""",
    "ch06/optimizer_compare_naive.py": HEAD
    + """
from collections import OrderedDict
from common.optimizer import *

optimizers = OrderedDict()
optimizers["SGD"] = SGD(lr=0.95)
optimizers["Momentum"] = Momentum(lr=0.1)
optimizers["AdaGrad"] = AdaGrad(lr=1.5)
optimizers["Adam"] = Adam(lr=0.3)
for key in optimizers:
    params = {'x': -7.0, 'y': 2.0}
    grads = {'x': 0, 'y': 0}
    for i in range(30):
        grads['x'], grads['y'] = params['x'] / 10.0, 2.0 * params['y']
        optimizers[key].update(params, grads)
    print(key, params['x'], params['y'])
""",
    "ch06/optimizer_compare_mnist.py": HEAD
    + """
import matplotlib.pyplot as plt
from dataset.mnist import load_mnist
from common.util import smooth_curve
from common.multi_layer_net import MultiLayerNet
from common.optimizer import *

(x_train, t_train), _ = load_mnist(normalize=True)
optimizers = {'SGD': SGD(), 'Momentum': Momentum(), 'AdaGrad': AdaGrad(), 'Adam': Adam()}
networks, train_loss = {}, {}
for key in optimizers.keys():
    networks[key] = MultiLayerNet(input_size=784, hidden_size_list=[30, 30], output_size=10)
    train_loss[key] = []
for i in range(60):
    batch_mask = np.random.choice(len(x_train), 64)
    for key in optimizers.keys():
        grads = networks[key].gradient(x_train[batch_mask], t_train[batch_mask])
        optimizers[key].update(networks[key].params, grads)
        train_loss[key].append(networks[key].loss(x_train[batch_mask], t_train[batch_mask]))
for key in optimizers.keys():
    plt.plot(np.arange(60), smooth_curve(train_loss[key]), label=key)
    print(key, train_loss[key][0], train_loss[key][-1])
plt.legend()
plt.savefig("curves.png")
""",
    "ch06/weight_init_compare.py": HEAD
    + """
from dataset.mnist import load_mnist
from common.util import smooth_curve
from common.multi_layer_net import MultiLayerNet
from common.optimizer import SGD

(x_train, t_train), _ = load_mnist(normalize=True)
optimizer = SGD(lr=0.05)
for name, std in {'std=0.01': 0.01, 'Xavier': 'sigmoid', 'He': 'relu'}.items():
    network = MultiLayerNet(784, [50, 50, 50], 10, weight_init_std=std)
    losses = []
    for i in range(40):
        batch_mask = np.random.choice(x_train.shape[0], 100)
        optimizer.update(network.params, network.gradient(x_train[batch_mask], t_train[batch_mask]))
        losses.append(network.loss(x_train[batch_mask], t_train[batch_mask]))
    print(name, losses[-1], len(smooth_curve(losses)), network.params['W2'].std())
""",
    "ch06/batch_norm.py": HEAD
    + """
from dataset.mnist import load_mnist
from common.multi_layer_net_extend import MultiLayerNetExtend
from common.optimizer import SGD, Adam

(x_train, t_train), _ = load_mnist(normalize=True, one_hot_label=True)
network = MultiLayerNetExtend(input_size=784, hidden_size_list=[5, 5], output_size=10, use_batchnorm=True)
x_batch, t_batch = x_train[:1], t_train[:1]
backprop = network.gradient(x_batch, t_batch)
numerical = network.numerical_gradient(x_batch, t_batch)
for key in ('W1', 'b1', 'gamma1', 'W3', 'b3'):
    print(key, np.average(np.abs(backprop[key] - numerical[key])))
for use in (True, False):
    network = MultiLayerNetExtend(784, [30] * 3, 10, weight_init_std=0.05, use_batchnorm=use)
    optimizer = SGD(lr=0.1)
    for i in range(60):
        batch_mask = np.random.choice(x_train.shape[0], 100)
        grads = network.gradient(x_train[batch_mask], t_train[batch_mask])
        optimizer.update(network.params, grads)
    print("with" if use else "without", network.accuracy(x_train, t_train))
""",
    "ch06/overfit.py": HEAD
    + """
from dataset.mnist import load_mnist
from common.multi_layer_net import MultiLayerNet
from common.multi_layer_net_extend import MultiLayerNetExtend
from common.optimizer import SGD
from common.trainer import Trainer

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
x_train, t_train = x_train[:100], t_train[:100]
network = MultiLayerNet(784, [20] * 3, 10, weight_decay_lambda=0.1)
optimizer = SGD(lr=0.01)
before = np.sum(network.params['W1'] ** 2)
for i in range(50):
    optimizer.update(network.params, network.gradient(x_train, t_train))
print("decayed", before > np.sum(network.params['W1'] ** 2))
network = MultiLayerNetExtend(input_size=784, hidden_size_list=[50] * 3, output_size=10,
                              use_dropout=True, dropout_ration=0.2)
trainer = Trainer(network, x_train, t_train, x_test, t_test, epochs=3, mini_batch_size=50,
                  optimizer='sgd', optimizer_param={'lr': 0.01}, verbose=True)
trainer.train()
train_acc_list, test_acc_list = trainer.train_acc_list, trainer.test_acc_list
print("lists", len(trainer.train_loss_list), len(train_acc_list), len(test_acc_list))
""",
    "ch06/hyperparameter_optimization.py": HEAD
    + """
from dataset.mnist import load_mnist
from common.multi_layer_net import MultiLayerNet
from common.util import shuffle_dataset
from common.trainer import Trainer

(x_train, t_train), _ = load_mnist(normalize=True)
x_train, t_train = shuffle_dataset(x_train[:200], t_train[:200])
x_val, t_val, x_train, t_train = x_train[:40], t_train[:40], x_train[40:], t_train[40:]
found = {}
for _ in range(3):
    decay, lr = 10 ** np.random.uniform(-8, -4), 10 ** np.random.uniform(-3, -1)
    network = MultiLayerNet(784, [20, 20], 10, weight_decay_lambda=decay)
    trainer = Trainer(network, x_train, t_train, x_val, t_val, epochs=2, mini_batch_size=40,
                      optimizer='sgd', optimizer_param={'lr': lr}, verbose=False)
    trainer.train()
    found[lr, decay] = trainer.test_acc_list
print("best", max(accuracies[-1] for accuracies in found.values()))
""",
    "ch07/train_convnet.py": HEAD
    + """
import matplotlib.pyplot as plt
from dataset.mnist import load_mnist
from simple_convnet import SimpleConvNet
from common.trainer import Trainer

(x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)
max_epochs = 5
network = SimpleConvNet(input_dim=(1,28,28),
                        conv_param={'filter_num': 8, 'filter_size': 5, 'pad': 0, 'stride': 1},
                        hidden_size=30, output_size=10, weight_init_std=0.1)
trainer = Trainer(network, x_train, t_train, x_test, t_test, epochs=max_epochs, mini_batch_size=20,
                  optimizer='Adam', optimizer_param={'lr': 0.005}, evaluate_sample_num_per_epoch=50)
trainer.train()
network.save_params("params.pkl")
markers = {'train': 'o', 'test': 's'}
plt.plot(np.arange(max_epochs), trainer.train_acc_list, marker='o', label='train', markevery=2)
plt.plot(np.arange(max_epochs), trainer.test_acc_list, marker='s', label='test', markevery=2)
plt.savefig("accuracy.png")
print("accuracies", trainer.test_acc_list[-1], len(trainer.train_acc_list))
other = SimpleConvNet(conv_param={'filter_num': 8, 'filter_size': 5, 'pad': 0, 'stride': 1}, hidden_size=30)
other.load_params("params.pkl")
print("loaded", (other.predict(x_test) == network.predict(x_test)).all())
""",
    "ch07/visualize_filter.py": """
import pickle
import numpy as np
import matplotlib.pyplot as plt
from simple_convnet import SimpleConvNet
from common.layers import *

def show(filters, nx=8):
    FN, C, FH, FW = filters.shape
    figure = plt.figure()
    for i in range(FN):
        axis = figure.add_subplot(int(np.ceil(FN / nx)), nx, i + 1, xticks=[], yticks=[])
        axis.imshow(filters[i, 0], cmap=plt.cm.gray_r, interpolation='nearest')
    plt.show()

with open("params.pkl", "wb") as f:  # as the book's own network writes it
    shapes = {'W1': (30, 1, 5, 5), 'b1': (30,), 'W2': (4320, 100), 'b2': (100,), 'W3': (100, 10), 'b3': (10,)}
    pickle.dump({key: np.random.randn(*shape) for key, shape in shapes.items()}, f)
network = SimpleConvNet()
before = network.params['W1'].copy()
network.load_params("params.pkl")
show(network.params['W1'])
print("changed", (before != network.params['W1']).all())
w, b = network.params['W1'], 0  # network.params['b1']
img = np.random.rand(1, 1, 40, 50).astype(np.float16)
out = Convolution(w, b).forward(img)
print("convolved", *out.shape, *Pooling(2, 2).forward(out).shape)
""",
    "ch08/train_deepnet.py": HEAD
    + """
from dataset.mnist import load_mnist
from deep_convnet import DeepConvNet
from common.trainer import Trainer

(x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)
network = DeepConvNet(hidden_size=20)
trainer = Trainer(network, x_train, t_train, x_test, t_test, epochs=2, mini_batch_size=50, optimizer='Adam',
                  optimizer_param={'lr':0.001}, evaluate_sample_num_per_epoch=50)
trainer.train()
network.save_params("deep_convnet_params.pkl")
print("losses", trainer.train_loss_list[0], trainer.train_loss_list[-1])
print("layers", len(network.layers), *(network.layers[i].W.shape for i in (0, 2, 5, 7, 10, 12, 15, 18)))
""",
    "ch08/use_deepnet.py": HEAD
    + """
import pickle
from deep_convnet import DeepConvNet
from dataset.mnist import load_mnist

_, (x_test, t_test) = load_mnist(normalize=True, flatten=False)
trained = DeepConvNet()
with open("deep_convnet_params.pkl", "wb") as f:  # as the book's own network writes it
    pickle.dump({key: value for key, value in trained.params.items()}, f)
network = DeepConvNet()
network.load_params("deep_convnet_params.pkl")
classified_ids, acc, batch_size = [], 0.0, 20
for i in range(int(x_test.shape[0] / batch_size)):
    tx, tt = x_test[i*batch_size:(i+1)*batch_size], t_test[i*batch_size:(i+1)*batch_size]
    y = np.argmax(network.predict(tx, train_flg=False), axis=1)
    classified_ids.append(y)
    acc += np.sum(y == tt)
print("one by one", acc / x_test.shape[0])
print("float64", network.accuracy(x_test, t_test))
x_test = x_test.astype(np.float16)
for param in network.params.values():
    param[...] = param.astype(np.float16)
print("float16", network.accuracy(x_test, t_test))
""",
    "ch07/own_network.py": HEAD
    + """
from collections import OrderedDict
import pickle
from common.layers import *
from common.gradient import numerical_gradient
from common.trainer import Trainer
from dataset.mnist import load_mnist

class ConvNet:
    def __init__(self, input_dim=(1, 28, 28), filter_num=6, filter_size=5, hidden_size=20, output_size=10, std=0.01):
        conv_size = input_dim[1] - filter_size + 1
        pool_size = int(filter_num * (conv_size / 2) * (conv_size / 2))
        self.params = {}
        self.params['W1'] = std * np.random.randn(filter_num, input_dim[0], filter_size, filter_size)
        self.params['b1'] = np.zeros(filter_num)
        self.params['W2'] = std * np.random.randn(pool_size, hidden_size)
        self.params['b2'] = np.zeros(hidden_size)
        self.params['W3'] = std * np.random.randn(hidden_size, output_size)
        self.params['b3'] = np.zeros(output_size)
        self.layers = OrderedDict()
        self.layers['Conv1'] = Convolution(self.params['W1'], self.params['b1'], 1, 0)
        self.layers['Relu1'] = Relu()
        self.layers['Pool1'] = Pooling(pool_h=2, pool_w=2, stride=2)
        self.layers['Affine1'] = Affine(self.params['W2'], self.params['b2'])
        self.layers['Relu2'] = Relu()
        self.layers['Affine2'] = Affine(self.params['W3'], self.params['b3'])
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last_layer.forward(self.predict(x), t)

    def accuracy(self, x, t, batch_size=100):
        acc = 0.0
        for i in range(int(x.shape[0] / batch_size)):
            tx, tt = x[i*batch_size:(i+1)*batch_size], t[i*batch_size:(i+1)*batch_size]
            acc += np.sum(np.argmax(self.predict(tx), axis=1) == tt)
        return acc / x.shape[0]

    def gradient(self, x, t):
        self.loss(x, t)
        dout = 1
        dout = self.last_layer.backward(dout)
        layers = list(self.layers.values())
        layers.reverse()
        for layer in layers:
            dout = layer.backward(dout)
        grads = {}
        for i, key in enumerate(['Conv1', 'Affine1', 'Affine2']):
            grads['W' + str(i+1)], grads['b' + str(i+1)] = self.layers[key].dW, self.layers[key].db
        return grads

    def save_params(self, file_name="params.pkl"):
        params = {}
        for key, val in self.params.items():
            params[key] = val
        with open(file_name, 'wb') as f:
            pickle.dump(params, f)

    def load_params(self, file_name="params.pkl"):
        with open(file_name, 'rb') as f:
            params = pickle.load(f)
        for key, val in params.items():
            self.params[key] = val
        for i, key in enumerate(['Conv1', 'Affine1', 'Affine2']):
            self.layers[key].W = self.params['W' + str(i+1)]
            self.layers[key].b = self.params['b' + str(i+1)]

(x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)
network = ConvNet()
trainer = Trainer(network, x_train, t_train, x_test, t_test, epochs=int(sys.argv[1]), mini_batch_size=100,
                  optimizer='Adam', optimizer_param={'lr': 0.001}, evaluate_sample_num_per_epoch=1000)
trainer.train()
network.save_params("own.pkl")
other = ConvNet()
other.load_params("own.pkl")
print("losses", trainer.train_loss_list[0], trainer.train_loss_list[-1], network.params['W1'].dtype)
print("loaded", (other.predict(x_test) == network.predict(x_test)).all())
""",
}
