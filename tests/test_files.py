"""Files that are replaced whole: what they keep of the old one, what a killed or a failing writer leaves."""

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import cconv
from cconv import _files
from cconv._files import path_of, replacing, write
from cconv.serialization import load_params, save_checkpoint, save_params

posix = pytest.mark.skipif(os.name == "nt", reason="modes, pipes and locks are POSIX's")
LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.[0-9a-f]{16}\.tmp")


def leftovers(folder):
    return [name for name in os.listdir(folder) if LEFTOVER.fullmatch(name)]


@pytest.fixture
def umask():
    """Set this umask for a test."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def killed_while_writing(path):
    """Let a process write, and die when all but the renaming is done; return the temporary file that it left."""
    code = (
        "import os, signal, sys\n"
        "from cconv._files import write\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write(sys.argv[1], b'never seen')\n"
    )
    before = set(os.listdir(path.parent))
    environment = os.environ | {"PYTHONPATH": str(Path(cconv.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, env=environment, cwd=path.parent).returncode == -signal.SIGKILL
    (name,) = set(os.listdir(path.parent)) - before
    assert LEFTOVER.fullmatch(name)
    return path.parent / name


@posix
def test_the_next_writer_of_a_name_clears_what_a_killed_one_left_and_nothing_else(tmp_path):
    own = killed_while_writing(tmp_path / "p")
    other = killed_while_writing(tmp_path / "q")
    lookalikes = [own.with_suffix(".txt"), own.with_name(own.name + "2"), own.with_name(f"{own.name[:18]}x.tmp")]
    folder = own.with_name(own.name[:18] + "0" * 16 + ".tmp")
    link = own.with_name(own.name[:18] + "1" * 16 + ".tmp")
    for path in lookalikes:
        path.write_bytes(b"mine")
    folder.mkdir()
    link.symlink_to(lookalikes[0])
    write(str(tmp_path / "p"), b"new")
    assert (tmp_path / "p").read_bytes() == b"new"
    assert not own.exists()
    assert all(path.exists() for path in [other, *lookalikes, folder, link])
    write(str(tmp_path / "q"), b"new")
    assert not other.exists()


@posix
def test_the_temporary_file_of_a_writer_that_lives_stays(tmp_path):
    path = str(tmp_path / "p")
    with replacing(path) as file:
        file.write(b"first")
        write(path, b"second")
        assert (tmp_path / "p").read_bytes() == b"second"
        assert leftovers(tmp_path) == [os.path.basename(file.name)]
    assert (tmp_path / "p").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["p"]


@posix
def test_a_writer_whose_file_is_taken_for_a_leftover_before_it_is_locked_begins_again(tmp_path, monkeypatch):
    flock, removed = _files.fcntl.flock, []

    def late(file, operation):
        if not removed:
            removed.append(leftovers(tmp_path)[0])
            write(str(tmp_path / "p"), b"another")
        return flock(file, operation)

    monkeypatch.setattr(_files.fcntl, "flock", late)
    write(str(tmp_path / "p"), b"mine")
    assert removed and (tmp_path / "p").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["p"]


@posix
def test_a_writer_does_not_wait_for_a_lock_that_another_has_on_its_file(tmp_path, monkeypatch):
    flock, held = _files.fcntl.flock, []

    def late(file, operation):
        if not held:
            held.append(open(tmp_path / leftovers(tmp_path)[0], "rb"))
            flock(held[0], _files.fcntl.LOCK_EX)
        return flock(file, operation)

    monkeypatch.setattr(_files.fcntl, "flock", late)
    write(str(tmp_path / "p"), b"mine")
    held[0].close()
    assert (tmp_path / "p").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["p"]


@posix
def test_without_locks_nothing_is_taken_for_a_leftover(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    left = killed_while_writing(tmp_path / "p")
    monkeypatch.setattr(_files.fcntl, "flock", unsupported)
    write(str(tmp_path / "p"), b"new")
    assert (tmp_path / "p").read_bytes() == b"new" and left.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_writers_of_one_name_at_the_same_time_leave_one_whole_file(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(_files, "fcntl", None)
        monkeypatch.setattr(_files, "remove_leftovers", lambda *arguments: None)  # Windows refuses to remove open ones
    contents = [bytes([n]) * 10_000 for n in range(4)]

    def run(content):
        for _ in range(10):
            write(str(tmp_path / "p"), content)

    threads = [threading.Thread(target=run, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "p").read_bytes() in contents
    assert os.listdir(tmp_path) == ["p"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o700])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, umask, mode):
    path = tmp_path / "p"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(str(path), b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


@posix
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_the_umask_decides_the_mode_of_a_new_file(tmp_path, umask, mask):
    umask(mask)
    write(str(tmp_path / "p"), b"new")
    assert stat.S_IMODE((tmp_path / "p").stat().st_mode) == 0o666 & ~mask


@posix
def test_nobody_else_reads_a_private_file_while_it_is_written(tmp_path, umask):
    path = tmp_path / "p"
    path.write_bytes(b"old")
    path.chmod(0o600)
    umask(0)
    with replacing(str(path), os.stat(path)) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_root_replaces_keeps_its_owner(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(b"old")
    path.chmod(0o4640)
    os.chown(path, 65534, 65533)
    path.chmod(0o4640)
    write(str(path), b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65533, 0o4640)


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_its_target_is_replaced(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    if there:
        target.write_bytes(b"old")
        target.chmod(0o600)
    (tmp_path / "second").symlink_to("folder/target")
    (tmp_path / "first").symlink_to("second")
    write(str(tmp_path / "first"), b"new")
    assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert target.read_bytes() == b"new" and not target.is_symlink()
    assert not there or stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "folder") == ["target"]


@posix
def test_a_pipe_is_written_into_and_read_from(tmp_path):
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    params = {"W": np.arange(20_000.0), "b": np.zeros((0, 3), np.float32)}  # more than a pipe holds
    thread = threading.Thread(target=lambda: received.append(path.read_bytes()))
    thread.start()
    save_params(path, params, {"layers": "these"})
    thread.join()
    assert stat.S_ISFIFO(path.lstat().st_mode) and os.listdir(tmp_path) == ["pipe"]
    thread = threading.Thread(target=lambda: path.write_bytes(received[0]))
    thread.start()
    found = {name: np.full_like(value, -1) for name, value in params.items()}
    load_params(path, found, {"layers": "these"})
    thread.join()
    np.testing.assert_equal(found, params)


@posix
@pytest.mark.parametrize("cut", [5, 20, -1, None])
def test_what_comes_from_a_pipe_is_checked(tmp_path, cut):
    params = {"W": np.arange(4.0)}
    save_params(tmp_path / "p", params, {})
    data = (tmp_path / "p").read_bytes()
    data = data + b"x" if cut is None else data[:cut]
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    thread.start()
    found = {"W": np.zeros(4)}
    with pytest.raises(ValueError, match="pipe is .*damaged"):
        load_params(tmp_path / "pipe", found, {})
    thread.join()
    assert not found["W"].any()


@posix
def test_a_device_is_written_into(tmp_path, monkeypatch):
    """The end of a terminal stands for a device; nothing here may replace a real one."""
    first, second = os.openpty()
    try:
        path = os.ttyname(second)
        monkeypatch.setattr(os, "replace", lambda *paths: pytest.fail("a device must not be replaced"))
        write(path, b"to a terminal")
        assert os.read(first, 100) == b"to a terminal"
        assert stat.S_ISCHR(os.stat(path).st_mode)
    finally:
        os.close(first)
        os.close(second)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_device_is_an_error_that_names_it():
    with pytest.raises(OSError) as caught:
        write("/dev/full", b"x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs names of open files")
def test_an_open_file_that_was_removed_is_written_into(tmp_path):
    with open(tmp_path / "p", "w+b") as file:
        os.unlink(tmp_path / "p")
        write(f"/proc/self/fd/{file.fileno()}", b"new")
        assert file.read() == b"new"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("folder", IsADirectoryError),
        ("folder/", IsADirectoryError),
        (".", IsADirectoryError),
        ("..", IsADirectoryError),
        ("missing/", IsADirectoryError),
        ("missing/.", FileNotFoundError),
        ("missing/..", FileNotFoundError),
        ("missing/p", FileNotFoundError),
        ("", FileNotFoundError),
        ("file/p", NotADirectoryError),
        ("file/", NotADirectoryError),
        ("n" * 256, OSError),
        ("loop", OSError),
    ],
)
@posix
def test_what_is_no_file_is_refused_under_the_name_that_was_given(tmp_path, monkeypatch, name, error):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        write(name, b"new")
    assert caught.value.filename == name
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "loop"] and os.listdir("folder") == []
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("step", "there"), [("fsync", True), ("fsync", False), ("replace", True), ("replace", False), ("chmod", True)]
)
@posix
def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, step, there):
    path = tmp_path / "p"
    if there:
        path.write_bytes(b"old")
        path.chmod(0o640)

    def fail(first, *rest):
        raise OSError(errno.ENOSPC, "No space left on device", first, None, *rest)

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError) as caught:
        write(str(path), b"new")
    assert str(caught.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{path}'"
    assert os.listdir(tmp_path) == ["p"] * there
    assert not there or path.read_bytes() == b"old"


def test_an_interrupt_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "p").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(str(tmp_path / "p")) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["p"] and (tmp_path / "p").read_bytes() == b"old"


NAMES = ["😀" * 60, "é" * 127, "n" * 255, "\udcff", " ", "-", "a\nb", "*", "~"]


@posix
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_that_the_file_system_takes(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    save_params(kind(name), {"W": np.ones(2)}, {})
    assert os.listdir(tmp_path) == [name]
    params = {"W": np.zeros(2)}
    load_params(kind(name), params, {})
    assert params["W"].all()


@pytest.mark.parametrize("name", [1, True, None, 1.5, [], {}, object()], ids=lambda name: type(name).__name__)
def test_a_file_name_is_a_str_bytes_or_a_path(name):
    for call in (save_params, load_params):
        with pytest.raises(TypeError, match="file_name must be a str, bytes or a path, got"):
            call(name, {}, {})


def test_a_checkpoint_goes_into_a_file_by_its_name_alone(tmp_path):
    with open(tmp_path / "p", "wb") as file:
        with pytest.raises(TypeError, match="file_name must be a str, bytes or a path, got BufferedWriter"):
            save_checkpoint(file, {}, {}, {})
    with pytest.raises(ValueError, match="closed file"):
        save_params(file, {}, {})
    with open(tmp_path / "p", "w") as file:
        with pytest.raises(TypeError, match="file_name must be open for bytes, not for text"):
            save_params(file, {}, {})


@posix
@pytest.mark.parametrize("name", ["a\0b", b"a\0b", "\ud800"], ids=ascii)
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(ValueError, match="file_name must be a name that a file can have, got"):
        path_of(name)
