"""Many Python threads compute at once, on any number of threads that others change meanwhile; processes fork as well.

    python tests/stress_threads.py --seconds 60 --seed 3

Each result must have the bits of one thread alone. `test_threads.py` runs this for a few seconds, and CONTRIBUTING.md
says how to run it under ThreadSanitizer.
"""

import argparse
import os
import random
import sys
import threading
import time
import traceback

import numpy as np

import cconv
from cconv import functional, kernels


def operations():
    """Functions that compute afresh and return all bytes of their results, over all modules of kernels."""
    rng = np.random.default_rng(0)

    def array(*shape):
        return rng.standard_normal(shape, np.float32)

    made = []

    def add(function, *arguments, **settings):
        made.append(lambda: flat(function(*arguments, **settings)))

    def gradients(network, n):
        x, t = array(n, 1, 28, 28), rng.integers(0, 10, n)
        made.append(lambda: flat(tuple(network(seed=0).gradient(x, t).values())))

    def update(values, gradient):
        p = values.copy()
        cconv.Adam().update({"p": p}, {"p": gradient})
        return p

    gradients(cconv.SimpleConvNet, 12)
    gradients(cconv.LeNet5, 3)
    for n in (1, 5, 40):
        x, W, dout = array(n, 4, 13, 13), array(8, 4, 3, 3), array(n, 8, 13, 13)
        add(functional.convolution, x, W, array(8), pad=1)
        add(functional.convolution_backward, dout, x, W, pad=1)
        add(functional.convolution, x, array(4, 1, 3, 3), groups=4)
        add(functional.convolution_backward, array(n, 4, 11, 11), x, array(4, 1, 3, 3), groups=4)
        add(functional.affine, array(n, 700), array(700, 90), array(90))
        add(functional.affine_backward, array(n, 90), array(n, 700), array(700, 90))
        add(functional.batch_normalization, x, array(4), array(4))
        add(functional.group_normalization, x, array(4), array(4), 2)
        add(functional.relu, x)
        add(functional.gelu, array(n, 5000))
        add(functional.max_pool, x, 2, return_argmax=True)
        add(functional.average_pool, x, 3, stride=1)
        add(functional.average_pool_backward, array(n, 4, 11, 11), x.shape, 3, stride=1)
        add(functional.adaptive_average_pool, x, 3)
        add(functional.upsample, x, 2, mode="bilinear")
        add(functional.zero_pad, x, 2)
        add(functional.im2col, x, 3, 3)
        add(functional.softmax_cross_entropy, array(n, 1000), rng.integers(0, 1000, n))
        add(functional.squared_error, x, x[::-1])
        add(update, array(n, 4000), array(n, 4000))
    return made


def flat(results):
    """Results of whatever shapes as one array of bytes."""
    results = results if isinstance(results, tuple) else (results,)
    return np.concatenate([np.ascontiguousarray(r).ravel().view(np.uint8) for r in results if r is not None])


class Stress:
    """What the threads of one process share."""

    def __init__(self, seed, seconds, forks):
        self.seed, self.forks = seed, forks
        self.until = time.monotonic() + seconds
        self.operations = operations()
        with cconv.threads(1):
            self.expected = [operation() for operation in self.operations]
        self.calls = self.children = 0
        self.errors = []

    def check(self, generator, count):
        for _ in range(count):
            index = generator.randrange(len(self.operations))
            with cconv.threads(generator.choice((1, 2, 3, 5, 16))):
                result = self.operations[index]()
            if not np.array_equal(result, self.expected[index]):
                raise AssertionError(f"operation {index} gave other bits")
            self.calls += 1

    def fork(self, generator):
        child = os.fork()
        if child == 0:
            try:
                self.check(generator, 5)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise AssertionError("a forked child failed")
        self.children += 1

    def work(self, number):
        generator = random.Random(f"{self.seed} {number}")
        try:
            while time.monotonic() < self.until and not self.errors:
                self.check(generator, 3)
                cconv.set_num_threads(generator.randint(1, 6))
                if self.forks and generator.random() < 0.05:
                    self.fork(generator)
        except BaseException:
            self.errors.append(traceback.format_exc())

    def run(self, callers):
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{self.calls} calls, {self.children} forked children, {len(self.errors)} errors")
        for error in self.errors:
            print(error, file=sys.stderr)
        return 1 if self.errors else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--no-forks", action="store_true")
    options = parser.parse_args()
    # However little work there is, it is shared.
    kernels.cpu.threads_for = lambda work: cconv.get_num_threads()
    forks = hasattr(os, "fork") and not options.no_forks
    return Stress(options.seed, options.seconds, forks).run(options.callers)


if __name__ == "__main__":
    sys.exit(main())
