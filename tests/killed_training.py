"""A training is killed at random instants, and each time a new process goes on, with another number of threads.

    python tests/killed_training.py --kills 50 --seed 3

It augments, averages, follows a schedule, has callbacks, stops early if it must, puts back the best epoch and writes a
checkpoint every second step. When it is done, its parameters and all else that it goes on from must have the bytes of a
training that nobody has disturbed. `test_training.py` runs this with a few kills.
"""

import argparse
import hashlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import cconv
from cconv import _checkpoint, augment, kernels

BEGUN = "begun"
THREADS = (1, 2, 3)


def trainer(folder):
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 256, (120, 2, 12, 12), np.uint8), rng.integers(0, 3, 120)
    layers = [
        cconv.Scale(),
        cconv.Convolution(filters=8, size=3, pad=1),
        cconv.BatchNormalization(),
        cconv.Relu(),
        cconv.Pooling(2, 2, stride=2),
        cconv.Dropout(0.3, seed=3),
        cconv.Affine(units=3),
    ]
    network = cconv.Network(layers, (2, 12, 12), seed=1)
    moved = [augment.RandomShift(0.2), augment.RandomRotation(20), augment.ElasticDistortion()]
    return cconv.Trainer(
        network,
        x,
        t,
        epochs=5,
        mini_batch_size=10,
        optimizer="Adam",
        verbose=False,
        seed=2,
        schedule=lambda optimizer: cconv.OneCycle(optimizer, 0.01, 60, momentum=(0.8, 0.9)),
        average=0.99,
        validation=0.2,
        augment=augment.Compose([*moved, augment.Mixup(num_classes=3)]),
        class_weight="balanced",
        early_stopping=50,
        restore_best=True,
        callbacks=[cconv.callbacks.LearningRateLog()],
        checkpoint_dir=folder,
        checkpoint_every=2,
        keep=2,
        resume=True,
        log_dir=folder,
    )


def digest(run):
    """Return a hash of all that a training goes on from, but for how long it took."""
    found = hashlib.sha256()

    def add(name, value):
        if isinstance(value, dict):
            for key in sorted(value):
                add(f"{name}.{key}", value[key])
        elif not name.endswith(".seconds"):
            data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            found.update(f"{name}\0".encode() + data)

    add("arrays", run.network.state_dict())
    add("rest", _checkpoint.contents(run))
    return found.hexdigest()


def work(folder):
    """Go on from what is in the folder; say when that begins, and print the hash at the end."""
    kernels.cpu.threads_for = lambda work: cconv.get_num_threads()  # however little work there is, it is shared
    print(BEGUN, flush=True)
    run = trainer(folder)
    run.train()
    print(digest(run), run.current_iter, flush=True)


def start(folder, threads):
    """Start a process that trains; return it when it has imported all."""
    environment = os.environ | {"CCONV_NUM_THREADS": str(threads), "PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    command = [sys.executable, __file__, "--work", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    if process.stdout.readline().strip() != BEGUN:
        raise RuntimeError("a training did not begin")
    return process


def finish(process):
    out, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"a training ended with {process.returncode}")
    return out


def run(kills, seed):
    """Kill trainings so many times; return whether each, when it was done, was like the one left alone."""
    chance = random.Random(seed)
    threads = itertools.cycle(THREADS)
    with tempfile.TemporaryDirectory() as root:
        process, begun = start(os.path.join(root, "whole"), 1), time.monotonic()
        whole = finish(process)
        seconds = time.monotonic() - begun
        print(f"undisturbed: {whole.split()[1]} steps in {seconds:.2f} s", flush=True)
        killed = resumed = wrong = trainings = 0
        while killed < kills:
            folder = os.path.join(root, str(trainings))
            trainings += 1
            while True:
                process = start(folder, next(threads))
                if killed < kills:
                    try:  # a quarter of the whole, so that some steps are left for the next
                        process.wait(chance.uniform(0, seconds / 4))
                    except subprocess.TimeoutExpired:
                        process.kill()
                out, _ = process.communicate()
                if process.returncode == 0:
                    break
                if process.returncode != -9:
                    raise RuntimeError(f"a training ended with {process.returncode}")
                killed += 1
                resumed += any(Path(folder).glob("*.safetensors"))
            wrong += out != whole
    print(f"{killed} kills, {resumed} of them with a checkpoint there, {trainings} trainings, {wrong} of them wrong")
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return 0
    return 0 if run(options.kills, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
