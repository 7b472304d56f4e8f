"""Photographs in a folder for each class, read into one array of small images."""

from __future__ import annotations

import os
import stat
import warnings
from typing import Literal

import numpy as np

from .._bars import progress_bar
from .._checks import choice
from .._extras import require
from .._files import path_of, replacing
from .._typing import FileName, IntPair
from ..geometry import pair
from .dataset import ArrayDataset

__all__ = ["ImageFolder"]

# Formats of pixels, of Pillow's that there are: some of the others run programs, or are not of images.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ENDINGS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
_MODES = {"rgb": ("RGB", 3), "grey": ("L", 1)}  # Pillow's name, and channels
_NOT_OF_THE_USER = ("thumbs.db", "desktop.ini", "__macosx")  # what systems leave beside what is hidden by a dot
_LARGEST = 1 << 14  # pixels along a side
_SHOWN = 10  # files that a warning names
_TESTING = ("test", "val", "valid", "validation")
_MARK = "cconv.ImageFolder"  # in a cache
_VERSION = 1  # of how images are read and kept


class ImageFolder(ArrayDataset):
    """Images in class folders, all brought to one size.

    Each folder in `path` is a class, in the order of the folders' names; its images are those in it and in the folders
    below it, in the order of their names. What lies in `path` beside the class folders is not looked at, nor are hidden
    files and folders and what systems leave (``Thumbs.db``). Links to files and to class folders are followed, links to
    folders below a class are not.

    An image is rotated as its EXIF orientation says, made smaller or larger so that it just covers `size`, and what
    juts out is cut off evenly on both sides. Of an animation it is the first picture. What is transparent lies on
    white; 16 bits per pixel become 8; palettes, CMYK and grey images become the colour that is asked for. Formats are
    those of AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF and WebP, as far as Pillow has them, whatever a file's ending says.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The folder of the class folders.
    size : int or (int, int), keyword only
        Height and width of the images.
    color : {'rgb', 'grey'}, keyword only
        Three channels, or one.
    cache : str, bytes or os.PathLike, optional, keyword only
        An .npy file that keeps the images, for sets larger than memory and to be there at once the next time. It is
        written whole or not at all, and mapped. Where it is there already it is used if it was made of the same files,
        by their names, sizes and times of change, in the same size and colour; otherwise it is written anew.
    on_error : {'warn', 'raise'}, keyword only
        What happens where a file is damaged, larger than Pillow allows (``PIL.Image.MAX_IMAGE_PIXELS``), or no image by
        its ending: it is left out and a warning names it, or it is an error.

    Attributes
    ----------
    x : ndarray or numpy.memmap of uint8, shaped (n, channels, height, width)
        Mapped, and not to be written to, where there is a `cache`.
    t, labels : ndarray of int64, shaped (n,)
    classes : list of str
    files : list of str
        The file of each image.
    unreadable : dict of str to str
        What was wrong with each file that was left out.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    TypeError, ValueError
        If an argument is not what it must be, `path` is no folder or has no class folder, or one has no images or none
        that can be read; with ``on_error='raise'`` if a file is damaged. The message names the path. Also where `cache`
        is a file that was not written here, which is left as it is.
    OSError
        If a folder cannot be read or the cache cannot be written.
    MemoryError
        If the images do not fit in memory and there is no cache.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp())
    >>> for name, color in (("sky", "blue"), ("leaf", "green")):
    ...     (path / name).mkdir()
    ...     Image.new("RGB", (40, 30), color).save(path / name / "photo.png")
    >>> data = cconv.data.ImageFolder(path, size=(8, 8))
    >>> data.x.shape, data.classes, data.t
    ((2, 3, 8, 8), ['leaf', 'sky'], array([0, 1]))
    >>> data.x[:, :, 4, 4]
    array([[  0, 128,   0],
           [  0,   0, 255]], dtype=uint8)
    """

    files: list[str]
    unreadable: dict[str, str]

    def __init__(
        self,
        path: FileName,
        *,
        size: IntPair,
        color: Literal["rgb", "grey"] = "rgb",
        cache: FileName | None = None,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        path = os.path.expanduser(path_of(path, "path"))
        height, width = pair(size, "size", 1)
        if max(height, width) > _LARGEST:
            raise ValueError(f"size must be at most {_LARGEST} pixels, got {(height, width)}")
        mode, channels = _MODES[choice(color, "color", tuple(_MODES))]
        strict = choice(on_error, "on_error", ("warn", "raise")) == "raise"
        if cache is not None:
            cache = os.path.expanduser(path_of(cache, "cache"))

        names, others = _listed(path)
        reading = _Reading(path, names, mode, (channels, height, width), strict)
        for name in others:
            reading.leave_out(name, "no image by its ending")
        if cache is None:
            images = reading.to_memory()
        else:
            record = {_MARK: _VERSION, "size": [height, width], "color": color, "files": _status(path, names)}
            images = reading.from_cache(cache, record)
            if images is None:
                images = reading.to_cache(cache, record)
        names = [name for name in names if name not in reading.left_out]
        classes = sorted({_class(name) for name in names})
        labels = {name: label for label, name in enumerate(classes)}
        super().__init__(images, np.array([labels[_class(name)] for name in names]), classes=classes)
        self.files = [_joined(path, name) for name in names]
        self.unreadable = {_joined(path, name): reason for name, reason in reading.left_out.items()}
        if self.unreadable:
            shown = [f"\n  {file}: {reason}" for file, reason in list(self.unreadable.items())[:_SHOWN]]
            if len(self.unreadable) > _SHOWN:
                shown.append(f"\n  and {len(self.unreadable) - _SHOWN} more, which are in `unreadable`")
            count = f"{len(self.unreadable)} file{'s' if len(self.unreadable) > 1 else ''}"
            warnings.warn(f"{path}: left out {count}:{''.join(shown)}", stacklevel=2)


def training_and_testing(path):
    """Return the folder of class folders for training in a folder, and the one for testing, None where there is none.

    A folder is split where it has a folder ``train`` and beside it nothing but some of ``test``, ``val``, ``valid`` and
    ``validation``, of which the first that is there is for testing; else its folders are classes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("train", "val"):
    ...     (path / name).mkdir()
    >>> [os.path.relpath(part, path) for part in training_and_testing(path)]
    ['train', 'val']
    """
    with os.scandir(path) as entries:
        names = {entry.name for entry in entries if entry.is_dir() and not _is_hidden(entry.name)}
    if "train" not in names or names - {"train", *_TESTING}:
        return path, None
    testing = next((os.path.join(path, name) for name in _TESTING if name in names), None)
    return os.path.join(path, "train"), testing


class _Reading:
    """Images of these names, in memory or in a cache, and what is left out of them, with the reasons."""

    def __init__(self, path, names, mode, shape, strict):
        self.path, self.names, self.mode, self.shape, self.strict = path, names, mode, shape, strict
        self.left_out = {}

    def leave_out(self, name, reason):
        if self.strict:
            raise ValueError(f"{_joined(self.path, name)}: {reason}")
        self.left_out[name] = reason

    def to_memory(self):
        images = np.empty((len(self.names), *self.shape), np.uint8)
        n = 0
        for image in self._images():
            images[n] = image
            n += 1
        return images[:n]

    def to_cache(self, cache, record):
        """Write the cache, an .npy file with a record behind the array, and map it."""
        import json  # here, since it would slow the import of cconv

        if not os.path.isdir(os.path.dirname(os.path.abspath(cache))):
            raise FileNotFoundError(f"cache must be a file in a folder that is there, got {cache!r}")
        others = dict(self.left_out)
        with replacing(cache) as file:
            file.write(_header(0, self.shape))
            n = 0
            for image in self._images():
                file.write(image.tobytes())
                n += 1
            damaged = {name: reason for name, reason in self.left_out.items() if name not in others}
            file.write(json.dumps(record | {"unreadable": damaged}).encode())
            file.seek(0)
            file.write(_header(n, self.shape))
        return np.load(cache, mmap_mode="r")

    def from_cache(self, cache, record):
        """Map the cache if there is one of this record, but for what could not be read."""
        import json

        if not os.path.exists(cache):
            return None
        try:
            images = np.lib.format.open_memmap(cache, mode="r")
            with open(cache, "rb") as file:
                file.seek(images.offset + images.nbytes)
                found = json.load(file)
            damaged = dict(found.pop("unreadable"))
            found[_MARK]
        except (ValueError, LookupError, AttributeError, TypeError, IsADirectoryError):
            raise ValueError(
                f"cache must be a file that ImageFolder wrote, or one that is not there yet, got {cache!r}"
            ) from None
        if found != record or images.shape != (len(self.names) - len(damaged), *self.shape):
            return None
        for name, reason in damaged.items():
            self.leave_out(name, reason)
        return images

    def _images(self):
        """Yield one image after the other; where a class has none, raise in the end."""
        with progress_bar(total=len(self.names), desc="images", unit="file", leave=False) as bar:
            for name in self.names:
                try:
                    image = read_image(_joined(self.path, name), self.mode, self.shape)
                except (MemoryError, ImportError):
                    raise
                except Exception as error:  # Pillow's readers raise nearly anything for a damaged file
                    self.leave_out(name, f"{type(error).__name__}: {error}")
                else:
                    yield image
                bar.update()
        there = {_class(name) for name in self.names if name not in self.left_out}
        for name in self.names:
            if _class(name) not in there:
                raise ValueError(
                    "path must have images that can be read in each class folder, got none in "
                    f"{_joined(self.path, _class(name))!r}, where {_joined(self.path, name)!r} is {self.left_out[name]}"
                )


def _listed(path):
    """Return the names of all files that may be images, class by class, and of all others: class/name."""
    if not os.path.isdir(path):
        raise ValueError(f"path must be a folder with a folder for each class, got {path!r}, which is no folder")
    with os.scandir(path) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir() and not _is_hidden(entry.name))
    if not classes:
        raise ValueError(f"path must be a folder with a folder for each class, got {path!r}, which has no folder in it")
    names, others = [], []
    for name in classes:
        found = sorted(f"{name}/{below}" for below in _below(os.path.join(path, name)))
        images = [file for file in found if file.lower().endswith(_ENDINGS)]
        if not images:
            raise ValueError(f"path must have images in each class folder, got none in {_joined(path, name)!r}")
        names += images
        others += [file for file in found if not file.lower().endswith(_ENDINGS)]
    return names, others


def _below(folder):
    """Yield the files of a folder and of those in it, by their names from there on."""

    def refuse(error):
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in files:
            if not _is_hidden(name):
                yield os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/")


def _is_hidden(name):
    return name.startswith(".") or name.lower() in _NOT_OF_THE_USER


def _class(name):
    return name.partition("/")[0]


def _joined(path, name):
    return os.path.join(path, *name.split("/"))


def _status(path, names):
    """What tells whether files have changed: the size and time of each, if it is there."""
    found = []
    for name in names:
        try:
            status = os.stat(_joined(path, name))
            found.append([name, status.st_size, status.st_mtime_ns])
        except OSError:
            found.append([name, None, None])
    return found


def _header(n, shape):
    """Return the header of an .npy file of n images, of the same length for any n."""
    entries = {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)}
    return b"\x93NUMPY\x01\x00v\x00" + f"{entries}".ljust(117).encode() + b"\n"  # v: 118 bytes follow, 128 in all


def read_image(path, mode, shape):
    """Return the image in a file as an array of this shape."""
    Image, ImageOps = (require(f"PIL.{name}", "ImageFolder") for name in ("Image", "ImageOps"))
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    Image.init()
    _, height, width = shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata that is not looked at, for instance
        with Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
            # A large JPEG is decoded in a fraction of its size, at least twice what is asked for in any orientation.
            image.draft(None, (2 * max(height, width),) * 2)
            upright = _opaque(Image, ImageOps.exif_transpose(image), image.format)
            fitted = ImageOps.fit(upright.convert(mode), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(height, width, -1).transpose(2, 0, 1)


def _opaque(Image, image, format):
    """Return an image in 8 bits per channel, on white where it is transparent."""
    if image.mode.startswith("I;16") or (image.mode == "I" and format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits per pixel have no white and no black")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
