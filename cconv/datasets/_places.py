"""Where the files of a data set are looked for, and what is trusted of them: a user's folders, the cache, mirrors."""

import os
from typing import NamedTuple

import numpy as np

from .._bars import progress_bar
from .._files import path_of, replacing

__all__ = ["DatasetNotFoundError"]

_TIMEOUT = (5, 30)  # seconds to connect to a mirror, seconds without a byte


class DatasetNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor could it be downloaded; the message says where was looked."""


class File(NamedTuple):
    """A file as mirrors and the cache have it, and what is known of it."""

    name: str
    size: int  # decompressed
    sha256: str | None = None  # of what it holds, which is the same however it was compressed
    md5: str | None = None  # of the compressed file, as it is published


class Source(NamedTuple):
    """What the places of a data set are called."""

    title: str
    cache: str  # its folder in the cache
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]  # below a user's folder, as others lay them out; "" where the names of files are its own
    files: str  # for the error message


def user_folders(source, data_dir):
    """The folders to look in: what a reader knows each by, the folder, and names of those in it, "" for itself."""
    from pathlib import Path

    places = []
    if data_dir is not None:
        value = path_of(data_dir, "data_dir")
        inside = source.folders if "" in source.folders else (*source.folders, "")
        places.append((f"data_dir={value!r}", Path(value).expanduser(), inside))
    if os.environ.get("CCONV_DATA"):
        value = os.environ["CCONV_DATA"]
        places.append((f"CCONV_DATA={value!r}", Path(value).expanduser(), source.folders))
    return places


def obtain(source, file, places, mirrors, find, read, read_fetched):
    """Return the path and the contents of one file, from the first place that has it.

    Parameters
    ----------
    source : Source
    file : File
    places : list
        From `user_folders`.
    mirrors : list of str
        Those that fail are moved to its end.
    find : callable
        ``find(folder)`` gives the path of the file in a user's folder, or None.
    read, read_fetched : callable
        ``read(path)`` gives what it holds, in a user's folder or from the cache and mirrors; ValueError if it is
        damaged or another file.
    """
    looked = []
    for place, folder, inside in places:
        for name in inside:
            path = find(folder / name)
            if path is not None:
                return path, read(path)
        below = ", ".join(name for name in inside if name)
        found = f"no such file in it, nor in {below} in it" if "" in inside else f"no such file in {below} in it"
        looked.append(f"{place}: {found if folder.is_dir() else 'not a folder'}")
    try:
        import pooch
    except ImportError:
        looked.append("cache and download: need pooch, which is not installed (pip install 'cconv[train]')")
    else:
        cache = pooch.os_cache("cconv") / source.cache
        path = cache / file.name
        try:
            return path, _fetched(source, file, path, read_fetched)
        except FileNotFoundError:
            looked.append(f"cache {cache}: no such file in it")
        except (OSError, ValueError) as error:
            looked.append(f"cache {cache}: damaged: {error}")
        for mirror in tuple(mirrors):
            try:
                return path, _download(pooch, source, mirror, file, path, read_fetched)
            except (OSError, ValueError) as error:  # every error of requests is an OSError
                looked.append(f"{mirror}: {type(error).__name__}: {error}")
                mirrors.append(mirrors.pop(0))  # the other files ask the mirror that answers first
    raise DatasetNotFoundError(
        f"{source.title}'s {file.name} was not found. Looked in:\n"
        + "".join(f"  - {line}\n" for line in looked)
        + f"Put {source.files} into a folder and name it by data_dir=... or by the environment variable CCONV_DATA"
        + ("" if "" in source.folders else f", there in a folder {source.folders[0]}")
        + "; load_synthetic_digits() needs no files."
    )


def _fetched(source, file, path, read):
    """Return what a file in the cache, or one that was downloaded, holds, if it is the one that was published."""
    if file.md5 is not None:
        import hashlib  # here, since it would slow the import of cconv

        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != file.md5:
            raise ValueError(f"{path}: not {source.title}'s {file.name}: expected MD5 {file.md5}, got {digest}")
    return read(path)


def check_counts(labels, counts, path, title):
    """Raise ValueError unless there are so many of each class."""
    found = np.bincount(labels, minlength=len(counts))
    wrong = np.flatnonzero(found != counts)
    if len(wrong):
        label = wrong[0]
        raise ValueError(f"{path}: not {title}'s: expected {counts[label]} images of class {label}, got {found[label]}")


def _reach(mirror):
    """Raise OSError unless the mirror takes a connection within its time, name service included.

    A download alone would give each of its host's addresses that time, and there may be a dozen: behind a firewall that
    drops packets nobody would wait for that. Where a proxy connects, it is the only address.
    """
    import queue  # these here, as the import of cconv should not pay for them
    import socket
    import threading

    from requests.utils import get_environ_proxies

    if get_environ_proxies(mirror):
        return
    from urllib.parse import urlsplit

    parts = urlsplit(mirror)
    address = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    outcome = queue.SimpleQueue()

    def connect():
        try:
            socket.create_connection(address, timeout=_TIMEOUT[0] / 3).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        error = outcome.get(timeout=_TIMEOUT[0])
    except queue.Empty:
        error = TimeoutError(f"no connection within {_TIMEOUT[0]} s")
    if error is not None:
        raise error


class _Bounded:
    """A binary file that refuses to grow past `limit`, for a mirror that never stops sending."""

    def __init__(self, stream, limit):
        self._stream, self._left = stream, limit
        self.flush = stream.flush

    def write(self, chunk):
        self._left -= len(chunk)
        if self._left < 0:
            raise ValueError("the mirror sends more bytes than the file has")
        return self._stream.write(chunk)


def _download(pooch, source, mirror, file, path, read):
    """Download one file, check it, and only then move it to `path`; what it holds."""
    _reach(mirror)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        with progress_bar(desc=path.name, total=file.size, unit="B", unit_scale=True) as bar:
            fetch = pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT)
            # Compressed or not, a file takes no more than its size and what gzip adds where it cannot compress.
            fetch(mirror + path.name, _Bounded(stream, file.size + file.size // 100 + 1000), None)
        stream.flush()
        return _fetched(source, file, stream.name, read)
