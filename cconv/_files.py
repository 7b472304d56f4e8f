"""Files that appear under their names whole or not at all."""

import errno
import os
import re
import stat
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

__all__ = ["expect_writable", "locked", "path_of", "remove_leftovers", "replacing", "write"]


def path_of(value: Any, name: str = "file_name") -> str:
    """Return the argument of this name, a str, bytes or path, as a str.

    Examples
    --------
    >>> path_of(b"params")
    'params'
    """
    try:
        path = os.fsdecode(value)
    except TypeError:
        raise TypeError(f"{name} must be a str, bytes or a path, got {type(value).__name__}") from None
    try:
        held = path != "" and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        held = False
    if not held:
        raise ValueError(f"{name} must be a name that a file can have, got {path!r}")
    return path


def write(path, data):
    """Write a file: a new one, or in place of a regular one, all of it or nothing; else into what is there.

    Parameters
    ----------
    path : str
        A link stays one. A file that is replaced hands on its mode and, as far as the process may give files away, its
        owner and group.
    data : bytes

    Raises
    ------
    OSError
        If the file cannot be written: it names `path`, and a regular file that was there is left as it was.
    """
    try:
        try:
            old = os.stat(path)
        except FileNotFoundError:
            old = None
        if _is_replaceable(path, old):
            with replacing(path, old) as file:
                file.write(data)
        else:  # a pipe, a device; what is none of a file's, as a folder, is refused here
            with open(path, "wb") as file:
                file.write(data)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None


def expect_writable(path):
    """Refuse the name of a file that cannot be written, as far as can be seen without writing it.

    Raises
    ------
    OSError
        If its folder is not there, it is a folder itself, or the process may not write there.
    """
    folder = os.path.dirname(os.path.realpath(path))
    try:
        is_own = _is_replaceable(path, os.stat(path))
    except FileNotFoundError:
        os.stat(folder)
        is_own = True
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    target = folder if is_own else path
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)


def _is_replaceable(path, old):
    """Say whether a file of this name may be renamed to `path`, of which `old` is the status, if it is there."""
    if old is None:
        return os.path.basename(path) not in ("", os.curdir, os.pardir)
    # The name of an open file that was removed (/proc/self/fd/3) leads to no place.
    return stat.S_ISREG(old.st_mode) and os.path.exists(os.path.realpath(path))


@contextmanager
def replacing(path, old=None):
    """Open a temporary file beside `path` for binary writing; rename it to `path` when the ``with`` block ends well.

    Whoever looks finds the old file or the new, never a part. After an exception the temporary file is removed. One
    that a killed process left is removed when the same `path` is written next: the lock on it tells whether its process
    lives. Where the file system has no locks it stays.

    Parameters
    ----------
    path : str or path
    old : os.stat_result, optional
        The status of the file that is replaced, whose mode and owner are kept. Without it the umask decides.
    """
    from hashlib import blake2b  # here, since it would slow the import of cconv

    path = os.path.realpath(path)  # through a link, which would be replaced itself
    folder, name = os.path.split(path)
    # A digest, as a name may be as long as the file system allows.
    prefix = f".{blake2b(os.fsencode(name), digest_size=8).hexdigest()}."
    remove_leftovers(folder, prefix)
    mode = 0o666 if old is None else 0o600  # nobody reads it before it has the mode of the old one
    while True:
        temporary = os.path.join(folder, f"{prefix}{os.urandom(8).hex()}.tmp")
        with ExitStack() as stack:
            file = open(temporary, "xb", opener=partial(os.open, mode=mode))
            stack.callback(_remove, temporary)
            stack.enter_context(file)
            if not _is_held(file):
                continue
            yield file
            file.flush()
            os.fsync(file.fileno())
            if old is not None:
                _take_over(temporary, old)
            if fcntl is None:
                file.close()  # Windows does not rename an open file; elsewhere the lock holds until it is renamed
            os.replace(temporary, path)
            _sync_folder(folder)
            return


@contextmanager
def locked(folder):
    """Keep a folder from other processes that ask for it; where there are no locks this does nothing.

    Raises
    ------
    BlockingIOError
        If another process has it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _is_locked(descriptor):
            raise BlockingIOError(errno.EWOULDBLOCK, "another process has it", folder)
        yield
    finally:
        os.close(descriptor)


def _is_locked(file):
    """Lock an open file or folder, where there are locks; say whether no other process had done so."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # no locks here
    return True


def _sync_folder(folder):
    """Let a name that is new in a folder outlast a loss of power, where the system can say so."""
    if fcntl is None:
        return
    with suppress(OSError):  # some file systems have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_held(file):
    """Lock a new file; say whether it has not been taken for a leftover before."""
    return fcntl is None or (_is_locked(file) and os.path.exists(file.name))


def _remove(path):
    with suppress(OSError):
        os.unlink(path)


def _take_over(path, old):
    """Give a file the owner, group and mode of another one."""
    if hasattr(os, "chown"):
        for ids in ((-1, old.st_gid), (old.st_uid, -1)):
            with suppress(PermissionError):  # only root gives files away
                os.chown(path, *ids)
    mode = stat.S_IMODE(old.st_mode)
    if stat.S_IMODE(os.stat(path).st_mode) != mode:  # a file system without modes refuses to set one
        os.chmod(path, mode)


def remove_leftovers(folder, prefix=None):
    """Remove the temporary files whose processes have ended: those of this prefix, or all when none is given."""
    pattern = re.compile((r"\.[0-9a-f]{16}\." if prefix is None else re.escape(prefix)) + r"[0-9a-f]{16}\.tmp")
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), ExitStack() as stack:
                    if fcntl is not None:
                        file = stack.enter_context(open(entry.path, "rb+"))
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
