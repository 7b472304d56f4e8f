"""Data sets by name, and folders of images, as images of uint8."""

from functools import partial

import numpy as np

from ..data import ArrayDataset, ImageFolder
from ..data.image_folder import training_and_testing
from ..datasets import LOADERS

__all__ = ["NAMES", "for_testing", "for_training"]

DIGITS = "0 1 2 3 4 5 6 7 8 9"
CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
NAMES = {
    "mnist": (LOADERS["mnist"], DIGITS),
    "fashion": (LOADERS["fashion"], "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle_boot"),
    "kmnist": (LOADERS["kmnist"], "o ki su tsu na ha ma ya re wo"),
    "cifar10": (LOADERS["cifar10"], "airplane automobile bird cat deer dog frog horse ship truck"),
    "cifar100": (LOADERS["cifar100"], CIFAR100),
    "synthetic": (LOADERS["synthetic"], DIGITS),
}
SYNTHETIC = 10_000, 2_000  # images for training and testing


def for_training(name, *, size, color, samples=None, data_dir=None):
    """Return the data for training, and those for testing, None where a folder has none.

    Parameters
    ----------
    name : str
        Out of `NAMES`, or the path of a folder: of class folders, or of parts, as `training_and_testing` finds them.
    size : (int, int)
        To which the images of a folder are brought.
    color : {'rgb', 'grey'}
        Of the images of a folder.
    samples : int, optional
        At most so many of each.
    data_dir : str, optional
        Where the files of a data set by name are looked for first.
    """
    if name in NAMES:
        return _by_name(name, samples, data_dir)
    read = partial(ImageFolder, size=size, color=color)
    training, testing = training_and_testing(name)
    train, test = read(training), None
    if len(train.classes) < 2:
        raise ValueError(f"{name} must have a folder for each of two or more classes, got {train.classes} alone")
    if testing is not None:
        test = read(testing)
        if test.classes != train.classes:
            raise ValueError(f"{name} must have the same classes in each part, got {train.classes} and {test.classes}")
    return _some(train, samples), None if test is None else _some(test, samples)


def for_testing(name, *, size, color, samples=None, data_dir=None):
    """Return the data for testing; of a folder without such a part, all of it."""
    if name in NAMES:
        return _by_name(name, samples, data_dir)[1]
    training, testing = training_and_testing(name)
    return _some(ImageFolder(testing or training, size=size, color=color), samples)


def _by_name(name, samples, data_dir):
    function, classes = NAMES[name]
    options = {"normalize": False, "flatten": False}
    if name == "synthetic":
        counts = SYNTHETIC if samples is None else [min(samples, count) for count in SYNTHETIC]
        pairs = function(*counts, **options)
    else:
        pairs = function(**options, data_dir=data_dir)
    return [_some(ArrayDataset(x, t, classes=classes.split()), samples) for x, t in pairs]


def _some(data, samples):
    """Return at most so many samples, evenly out of all: a folder has them class by class."""
    if samples is None or samples >= len(data):
        return data
    indices = np.arange(samples) * len(data) // samples
    return ArrayDataset(*data[indices], classes=data.classes)
