"""Folders of images: what is read, how it is brought to one size and colour, what is left out, and the cache."""

import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import cconv
from cconv.data import ImageFolder, image_folder

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(path, color=RED, size=(12, 10), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two classes, three images."""
    save(tmp_path / "photos" / "cat" / "2.jpg", RED)
    save(tmp_path / "photos" / "cat" / "1.png", GREEN)
    save(tmp_path / "photos" / "dog" / "0.PNG", BLUE)
    return tmp_path / "photos"


def one(folder, image, color="rgb", size=(4, 6), ending=".png", **options):
    """What is read of one image."""
    path = folder / "cat" / f"0{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    data = ImageFolder(folder, size=size, color=color, on_error="raise")
    return data.x[data.files.index(str(path))]


def test_classes_and_files_are_in_the_order_of_their_names(folder):
    data = ImageFolder(folder, size=(4, 6))
    assert data.classes == ["cat", "dog"]
    assert data.files == [str(folder / name) for name in ("cat/1.png", "cat/2.jpg", "dog/0.PNG")]
    assert data.x.shape == (3, 3, 4, 6) and data.x.dtype == np.uint8 and data.x.flags.c_contiguous
    assert data.t.tolist() == [0, 0, 1] and data.t.dtype == np.int64
    assert data.labels.tolist() == [0, 0, 1]
    assert data.x[0, :, 2, 2].tolist() == [0, 255, 0] and data.x[2, :, 2, 2].tolist() == [0, 0, 255]
    assert abs(data.x[1, :, 2, 2].astype(int) - RED).max() < 5
    assert data.unreadable == {}
    x, t = data[[2, 0]]
    np.testing.assert_array_equal(x, data.x[[2, 0]])
    assert t.tolist() == [1, 0] and len(data) == 3 and cconv.data.as_dataset(data, None) is data
    rest, part = data.split(0.34, seed=0)
    assert rest.classes == ["cat", "dog"] and len(part) == 1 and {*rest.labels} == {0, 1}


def test_paths_of_any_kind(folder, monkeypatch):
    expected = ImageFolder(folder, size=5).x
    for path in (str(folder), os.fsencode(folder)):
        np.testing.assert_array_equal(ImageFolder(path, size=(5, 5)).x, expected)
    monkeypatch.setenv("HOME", str(folder.parent))
    np.testing.assert_array_equal(ImageFolder("~/photos", size=5, cache="~/cache.npy").x, expected)
    assert (folder.parent / "cache.npy").is_file()
    with pytest.raises(TypeError, match="path must be a str, bytes or a path, got int"):
        ImageFolder(1, size=5)


def test_folders_below_a_class_belong_to_it(folder):
    save(folder / "dog" / "puppies" / "small" / "a.png", GREEN)
    save(folder / "dog" / ".thumbnails" / "a.png", GREEN)
    data = ImageFolder(folder, size=4)
    assert data.files[2:] == [str(folder / "dog/0.PNG"), str(folder / "dog/puppies/small/a.png")]
    assert data.t.tolist() == [0, 0, 1, 1]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_to_files_and_classes_are_followed_and_loops_are_not(folder, tmp_path):
    save(tmp_path / "elsewhere" / "bird.png", GREEN)
    (folder / "bird").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "3.png").symlink_to(tmp_path / "elsewhere" / "bird.png")
    (folder / "cat" / "again").symlink_to(folder / "cat")
    data = ImageFolder(folder, size=4, on_error="raise")
    assert data.classes == ["bird", "cat", "dog"] and data.t.tolist() == [0, 1, 1, 1, 2]


def test_what_systems_leave_is_passed_over(folder):
    for name in (".DS_Store", "cat/.DS_Store", "cat/._1.png", "dog/Thumbs.db", "dog/desktop.ini", "labels.csv"):
        (folder / name).write_bytes(b"\0\1")
    for name in (".git", "__MACOSX", ".ipynb_checkpoints"):
        (folder / name).mkdir()
    assert len(ImageFolder(folder, size=4, on_error="raise")) == 3


def test_images_are_cropped_in_the_middle(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)  # red, green and blue beside each other
    pixels[:, :20], pixels[:, 20:40], pixels[:, 40:] = RED, GREEN, BLUE
    for image in (pixels, pixels.transpose(1, 0, 2).copy()):
        found = one(tmp_path, Image.fromarray(image), size=10)[:, 1:-1, 1:-1]  # the border is interpolated
        assert (found == np.reshape(GREEN, (3, 1, 1))).all()
    wide = one(tmp_path, Image.fromarray(pixels), size=(10, 30))
    assert [wide[:, 5, column].tolist() for column in (2, 15, 27)] == [list(c) for c in (RED, GREEN, BLUE)]


def test_images_that_are_smaller_are_enlarged(tmp_path):
    assert (one(tmp_path, Image.new("RGB", (1, 1), GREEN), size=(9, 7)) == np.reshape(GREEN, (3, 1, 1))).all()
    assert (one(tmp_path, Image.new("RGB", (1, 3000), GREEN), size=(9, 7)) == np.reshape(GREEN, (3, 1, 1))).all()
    assert (one(tmp_path, Image.new("RGB", (3000, 1), GREEN), size=(9, 7)) == np.reshape(GREEN, (3, 1, 1))).all()


QUARTERS = np.array([[10, 80], [150, 240]], np.uint8)  # what an upright image shows


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, ending):
    upright = np.kron(QUARTERS, np.ones((64, 64), np.uint8))
    # As a camera held in that way would store it: the inverse of what shows it upright.
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, 3),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if ending == ".tif" else {"exif": exif.tobytes()}
    if ending == ".tif":
        options["tiffinfo"] = {0x0112: orientation}
    found = one(tmp_path, Image.fromarray(stored.copy()), "grey", 8, ending, **options)
    assert found.shape == (1, 8, 8)
    assert abs(found[0, 1::4, 1::4].astype(int) - QUARTERS).max() < 8


def test_a_rotated_photograph_keeps_its_proportions(tmp_path):
    pixels = np.zeros((300, 600), np.uint8)
    pixels[:, 300:] = 255  # a landscape stored with its right half white, which is the lower half when it is upright
    exif = Image.Exif()
    exif[0x0112] = 6
    found = one(tmp_path, Image.fromarray(pixels), "grey", (16, 8), ".jpg", exif=exif.tobytes())
    assert found[0, :7].max() < 10 and found[0, 9:].min() > 245


def palette(transparent=None):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*BLUE, *GREEN, *RED] + [0] * 759)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


MODES = {
    "RGB": (Image.new("RGB", (8, 8), GREEN), ".png", GREEN, 150),
    "L": (Image.new("L", (8, 8), 77), ".png", (77,) * 3, 77),
    "1": (Image.new("1", (8, 8), 1), ".png", WHITE, 255),
    "P": (palette(), ".png", GREEN, 150),
    "P, another colour transparent": (palette(0), ".png", GREEN, 150),
    "P, transparent": (palette(1), ".png", WHITE, 255),
    "P, transparent bytes": (palette(b"\xff\x00\xff"), ".png", WHITE, 255),
    "GIF": (palette(), ".gif", GREEN, 150),
    "RGBA": (Image.new("RGBA", (8, 8), (*GREEN, 255)), ".png", GREEN, 150),
    "RGBA, transparent": (Image.new("RGBA", (8, 8), (9, 9, 9, 0)), ".png", WHITE, 255),
    "RGBA, half": (Image.new("RGBA", (8, 8), (0, 0, 0, 128)), ".png", (127,) * 3, 127),
    "LA": (Image.new("LA", (8, 8), (77, 255)), ".png", (77,) * 3, 77),
    "LA, transparent": (Image.new("LA", (8, 8), (77, 0)), ".png", WHITE, 255),
    "CMYK": (Image.new("CMYK", (8, 8), (255, 0, 255, 0)), ".jpg", GREEN, 150),
    "CMYK, TIFF": (Image.new("CMYK", (8, 8), (255, 0, 255, 0)), ".tif", GREEN, 150),
    "YCbCr": (Image.new("RGB", (8, 8), GREEN).convert("YCbCr"), ".jpg", GREEN, 150),
    "16 bits": (Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)), ".png", (77,) * 3, 77),
    "16 bits, TIFF": (Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)), ".tif", (77,) * 3, 77),
    "16 bits, PGM": (Image.fromarray(np.full((8, 8), 77 * 257, np.uint16)), ".pgm", (77,) * 3, 77),
    "RGB, TIFF": (Image.new("RGB", (8, 8), GREEN), ".tiff", GREEN, 150),
    "BMP": (Image.new("RGB", (8, 8), GREEN), ".bmp", GREEN, 150),
    "PPM": (Image.new("RGB", (8, 8), GREEN), ".ppm", GREEN, 150),
}


@pytest.mark.parametrize("kind", MODES)
def test_images_of_every_mode(tmp_path, kind):
    image, ending, rgb, grey = MODES[kind]
    rgb = np.broadcast_to(np.reshape(rgb, (3, 1, 1)), (3, 4, 6))
    assert abs(one(tmp_path, image, "rgb", ending=ending).astype(int) - rgb).max() <= 2
    found = one(tmp_path, image, "grey", ending=ending)
    assert found.shape == (1, 4, 6) and abs(found.astype(int) - grey).max() <= 2


def test_of_an_animation_the_first_picture(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in (GREEN, RED, BLUE)]
    for ending in (".gif", ".png", ".tif"):
        found = one(tmp_path, frames[0], ending=ending, save_all=True, append_images=frames[1:])
        assert found[:, 2, 2].tolist() == list(GREEN), ending


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path):
    y, x = np.mgrid[:1024, :2048]
    pixels = np.stack([x // 8, y // 4, 255 - x // 8], -1).astype(np.uint8)
    small = one(tmp_path, Image.fromarray(pixels), size=(32, 64), ending=".jpg", quality=95)
    full = one(tmp_path, Image.fromarray(pixels), size=(32, 64), ending=".png")
    assert abs(small.astype(int) - full).max() < 6


def test_contents_count_and_not_the_ending(tmp_path):
    path = save(tmp_path / "cat" / "0.png", GREEN)
    path.rename(path.with_suffix(".jpg"))
    assert ImageFolder(tmp_path, size=4, on_error="raise").x[0, :, 2, 2].tolist() == list(GREEN)


def damaged(folder):
    """Damaged files, beside good ones: each with what a message says of it."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "good.jpg")
    good = (folder / "cat" / "good.jpg").read_bytes()
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"
    contents = {
        "cat/cut.jpg": (good[: len(good) // 2], "OSError: image file is truncated"),
        "cat/empty.png": (b"", "UnidentifiedImageError"),
        "cat/program.png": (text.encode(), "UnidentifiedImageError"),
        "cat/text.jpg": (b"<html>not found</html>", "UnidentifiedImageError"),
        "dog/bomb.ppm": (b"P6 30000 30000 255\n", "DecompressionBombError"),
        "dog/notes.txt": (b"Rex, 2019", "no image by its ending"),
        "dog/photo.heic": (b"\0\0\0\x18ftypheic", "no image by its ending"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    Image.new("F", (4, 4), 0.5).save(folder / "dog" / "float.tif")
    reasons = {name: reason for name, (_, reason) in contents.items()}
    return reasons | {"dog/float.tif": "ValueError: 32 bits per pixel have no white and no black"}


@pytest.mark.parametrize("cached", [False, True])
def test_damaged_files_are_left_out_and_named(folder, tmp_path, cached):
    cache = tmp_path / "cache.npy" if cached else None
    reasons = damaged(folder)
    expected = ["cat/1.png", "cat/2.jpg", "cat/good.jpg", "dog/0.PNG"]
    for _ in range(1 + cached):  # with a cache, the second time too
        with pytest.warns(UserWarning, match="left out 8 files") as caught:
            data = ImageFolder(folder, size=4, cache=cache)
        assert len(caught) == 1 and caught[0].filename == __file__
        for name, reason in reasons.items():
            assert re.search(f"{re.escape(str(folder / name))}: {reason}", str(caught[0].message))
            assert data.unreadable[str(folder / name)].startswith(reason)
        assert len(data.unreadable) == len(reasons)
        assert data.files == [str(folder / name) for name in expected]
        assert len(data.x) == 4 and data.t.tolist() == [0, 0, 0, 1]
        assert data.x[3, :, 2, 2].tolist() == list(BLUE) and data.x[0, :, 2, 2].tolist() == list(GREEN)


def test_a_warning_is_no_longer_than_one_reads(folder):
    for i in range(30):
        (folder / "cat" / f"broken{i:02}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out 30 files") as caught:
        data = ImageFolder(folder, size=4)
    assert str(caught[0].message).count("broken") == 10 + 10  # Pillow names each once more
    assert "and 20 more, which are in `unreadable`" in str(caught[0].message) and len(data.unreadable) == 30


def test_damaged_files_are_errors_if_wanted(folder, tmp_path):
    cache = tmp_path / "cache.npy"
    (folder / "dog" / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / 'dog' / 'empty.png'))}: UnidentifiedImageError"):
        ImageFolder(folder, size=4, cache=cache, on_error="raise")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    with pytest.warns(UserWarning, match="left out 1 file:"):
        ImageFolder(folder, size=4, cache=cache)
    with pytest.raises(ValueError, match=r"empty\.png: UnidentifiedImageError"):
        ImageFolder(folder, size=4, cache=cache, on_error="raise")
    (folder / "dog" / "empty.png").rename(folder / "dog" / "notes.md")
    with pytest.raises(ValueError, match=r"notes\.md: no image by its ending"):
        ImageFolder(folder, size=4, on_error="raise")


def test_files_damaged_anywhere_are_read_or_left_out(tmp_path):
    rng = np.random.default_rng(0)
    save(tmp_path / "a" / "good.png")
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    for ending, mode in ((".jpg", "RGB"), (".png", "P"), (".gif", "P"), (".tif", "CMYK"), (".webp", "RGB")):
        path = tmp_path / "a" / f"whole{ending}"
        image.convert(mode).save(path)
        for number in range(20):
            data = bytearray(path.read_bytes())
            for place in rng.integers(min(len(data), 120), size=4):
                data[place] = rng.integers(256)
            path.with_name(f"{number}{ending}").write_bytes(data[: rng.integers(60, 2 * len(data))])
    with pytest.warns(UserWarning, match="left out .* files") as caught:
        data = ImageFolder(tmp_path, size=8)
    assert len(caught) == 1 and len(data) + len(data.unreadable) == 106 and len(data) >= 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes that have names are POSIX's")
def test_what_is_no_file_is_not_waited_for(folder):
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "gone.png").symlink_to("nowhere")
    with pytest.warns(UserWarning, match="left out 2 files"):
        data = ImageFolder(folder, size=4)
    reasons = {os.path.basename(name): reason for name, reason in data.unreadable.items()}
    assert reasons["pipe.png"] == "ValueError: not a regular file"
    assert reasons["gone.png"].startswith("FileNotFoundError")


def test_folders_that_hold_nothing_are_named(folder, tmp_path):
    cache = tmp_path / "cache.npy"
    for path in (tmp_path / "missing", folder / "cat" / "1.png"):
        with pytest.raises(
            ValueError, match=f"path must be a folder .*{re.escape(repr(str(path)))}, which is no folder"
        ):
            ImageFolder(path, size=4, cache=cache)
    with pytest.raises(ValueError, match=f"path must .*{re.escape(repr(str(folder / 'cat')))}, which has no folder in"):
        ImageFolder(folder / "cat", size=4, cache=cache)
    (folder / "bird").mkdir()
    for name in (None, "notes.txt", ".hidden.png"):
        if name is not None:
            (folder / "bird" / name).write_bytes(b"x")
        with pytest.raises(
            ValueError, match=f"path must have images .*none in {re.escape(repr(str(folder / 'bird')))}"
        ):
            ImageFolder(folder, size=4, cache=cache)
    (folder / "bird" / "0.png").write_bytes(b"x")
    with pytest.raises(
        ValueError, match=r"images that can be read .* none in .*bird', where .*0\.png' is Unidentified"
    ):
        ImageFolder(folder, size=4, cache=cache)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]  # no cache, nor a part of one


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(folder):
    (folder / "cat" / "locked").mkdir(mode=0)
    with pytest.raises(PermissionError, match="locked"):
        ImageFolder(folder, size=4)
    (folder / "cat" / "locked").chmod(0o700)


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are decoded."""
    names = []
    read = image_folder.read_image
    monkeypatch.setattr(
        image_folder, "read_image", lambda path, *rest: names.append(os.path.basename(path)) or read(path, *rest)
    )
    return names


def test_a_cache_is_mapped_and_used_again(folder, tmp_path, reads):
    cache = tmp_path / "cache.npy"
    fresh = ImageFolder(folder, size=(4, 6))
    made = ImageFolder(folder, size=(4, 6), cache=cache)
    assert len(reads) == 6
    again = ImageFolder(folder, size=(4, 6), cache=str(cache))
    assert len(reads) == 6
    for data in (made, again):
        assert type(data.x) is np.memmap and not data.x.flags.writeable
        np.testing.assert_array_equal(data.x, fresh.x)
        np.testing.assert_array_equal(data.t, fresh.t)
        assert data.files == fresh.files and data.classes == fresh.classes
        assert type(cconv.data.as_dataset(data, None).x) is np.memmap
    np.testing.assert_array_equal(np.load(cache), fresh.x)  # an .npy file like any other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.npy", "photos"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_names_that_are_no_text(folder, tmp_path, reads):
    name = os.fsdecode(b"caf\xe9")
    save(folder / name / f"{name}.png", GREEN)
    for _ in range(2):
        data = ImageFolder(folder, size=4, cache=tmp_path / "cache.npy")
        assert data.classes == [name, "cat", "dog"] and len(reads) == 4


def test_a_folder_that_moved_keeps_its_cache(folder, tmp_path, reads):
    ImageFolder(folder, size=4, cache=tmp_path / "cache.npy")
    folder.rename(tmp_path / "moved")
    data = ImageFolder(tmp_path / "moved", size=4, cache=tmp_path / "cache.npy")
    assert len(reads) == 3 and data.files[0] == str(tmp_path / "moved" / "cat" / "1.png")


def touched(folder):
    os.utime(folder / "cat" / "1.png", ns=(0, 10**18))


CHANGES = {
    "new": lambda folder: save(folder / "cat" / "0.png", BLUE),
    "removed": lambda folder: (folder / "cat" / "1.png").unlink(),
    "renamed": lambda folder: (folder / "cat" / "1.png").rename(folder / "cat" / "9.png"),
    "moved to another class": lambda folder: (folder / "cat" / "1.png").rename(folder / "dog" / "1.png"),
    "touched": touched,
    "another size": lambda folder: (folder / "cat" / "1.png").write_bytes(
        (folder / "cat" / "1.png").read_bytes() + b"\0"
    ),
    "class renamed": lambda folder: (folder / "cat").rename(folder / "lynx"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_of_other_files_is_written_anew(folder, tmp_path, change):
    cache = tmp_path / "cache.npy"
    ImageFolder(folder, size=4, cache=cache)
    before = cache.read_bytes()
    CHANGES[change](folder)
    data = ImageFolder(folder, size=4, cache=cache)
    fresh = ImageFolder(folder, size=4)
    np.testing.assert_array_equal(data.x, fresh.x)
    assert (data.files, data.classes) == (fresh.files, fresh.classes) and cache.read_bytes() != before


@pytest.mark.parametrize("settings", [{"size": (4, 5)}, {"size": 4, "color": "grey"}, {"size": (2, 8)}], ids=str)
def test_a_cache_in_another_form_is_written_anew(folder, tmp_path, reads, settings):
    ImageFolder(folder, size=4, cache=tmp_path / "cache.npy")
    data = ImageFolder(folder, **settings, cache=tmp_path / "cache.npy")
    np.testing.assert_array_equal(data.x, ImageFolder(folder, **settings).x)
    assert len(reads) == 9


def test_a_cache_of_another_version_is_written_anew(folder, tmp_path, monkeypatch, reads):
    ImageFolder(folder, size=4, cache=tmp_path / "cache.npy")
    monkeypatch.setattr(image_folder, "_VERSION", 2)
    ImageFolder(folder, size=4, cache=tmp_path / "cache.npy")
    assert len(reads) == 6


@pytest.mark.parametrize("n", [0, 1, 999, 10**12])
def test_the_header_has_one_length(n, tmp_path):
    header = image_folder._header(n, (3, 16384, 16384))
    assert len(header) == 128
    with open(tmp_path / "x.npy", "wb+") as file:
        file.write(header)
        file.seek(8)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        assert file.tell() == 128
    assert (shape, fortran, dtype) == ((n, 3, 16384, 16384), False, np.uint8)


def write_array(path):
    np.save(path, np.arange(6))


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "photo": lambda path: save(path, format="PNG"),
    "array": write_array,
    "objects": lambda path: np.save(path, np.array([{}, None])),
    "array and text": lambda path: (write_array(path), path.write_bytes(path.read_bytes() + b"more"))[0],
    "array and JSON": lambda path: (write_array(path), path.write_bytes(path.read_bytes() + b'{"unreadable": {}}'))[0],
    "array and a list": lambda path: (write_array(path), path.write_bytes(path.read_bytes() + b"[1]"))[0],
    "cut": lambda path: path.write_bytes(image_folder._header(3, (3, 4, 4)) + bytes(20)),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_cache_is_not_overwritten(folder, tmp_path, kind):
    cache = tmp_path / "mine.npy"
    FOREIGN[kind](cache)
    before = cache.is_file() and cache.read_bytes()
    with pytest.raises(
        ValueError, match=f"cache must be a file that ImageFolder wrote, .*{re.escape(repr(str(cache)))}"
    ):
        ImageFolder(folder, size=4, cache=cache)
    assert before == (cache.is_file() and cache.read_bytes())


def test_an_interrupt_leaves_the_old_cache(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache.npy"
    ImageFolder(folder, size=4, cache=cache)
    before = cache.read_bytes()
    save(folder / "dog" / "1.png", RED)
    read = image_folder.read_image

    def interrupted(path, *rest):
        if path.endswith("1.png") and "dog" in path:
            raise KeyboardInterrupt
        return read(path, *rest)

    monkeypatch.setattr(image_folder, "read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ImageFolder(folder, size=4, cache=cache)
    assert cache.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.npy", "photos"]


def test_a_cache_in_no_folder_is_refused_before_anything_is_read(folder, tmp_path, reads):
    with pytest.raises(FileNotFoundError, match="cache must be a file in a folder that is there"):
        ImageFolder(folder, size=4, cache=tmp_path / "missing" / "cache.npy")
    assert reads == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "size"),
        ({"size": (4, 5, 6)}, ValueError, "size"),
        ({"size": 4.5}, TypeError, "size"),
        ({"size": 20000}, ValueError, r"size must be at most 16384 pixels, got \(20000, 20000\)"),
        ({"color": "bgr"}, ValueError, "color must be 'rgb' or 'grey', got 'bgr'"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'warn' or 'raise', got 'ignore'"),
        ({"cache": 3}, TypeError, "cache must be a str, bytes or a path, got int"),
    ],
)
def test_arguments_are_refused_by_name(folder, arguments, error, message):
    with pytest.raises(error, match=message):
        ImageFolder(folder, **{"size": 4} | arguments)


def test_without_pillow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=re.escape("ImageFolder needs PIL, which cannot be imported")) as error:
        ImageFolder(folder, size=4)
    assert "pip install 'cconv[train]'" in str(error.value)


def test_the_pictures_that_the_example_draws(tmp_path):
    path = Path(__file__).parents[1] / "examples" / "draw_photos.py"
    spec = importlib.util.spec_from_file_location("draw_photos", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    broken, sideways = example.draw_folder(tmp_path, 12)
    with pytest.warns(
        UserWarning, match=rf"left out 1 file:\n  {re.escape(str(broken))}: OSError: image file is trunc"
    ):
        data = ImageFolder(tmp_path, size=(32, 32))
    assert data.classes == ["circle", "square", "triangle"] and np.bincount(data.t).tolist() == [12, 12, 13]
    endings = {Path(file).suffix for file in data.files}
    assert endings == {".jpg", ".jpeg", ".png", ".PNG"}
    with Image.open(sideways) as image:
        assert image.getexif()[0x0112] == 6
        upright = ImageOps.fit(image.transpose(Image.Transpose.ROTATE_270), (32, 32))
    found = data.x[data.files.index(str(sideways))].transpose(1, 2, 0)
    assert abs(found.astype(int) - np.asarray(upright)).max() < 3


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_bar_on_a_terminal_alone(folder, monkeypatch, capsys):
    ImageFolder(folder, size=4)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    ImageFolder(folder, size=4)
    assert "images" in terminal.text and "3 [" in terminal.text


class Closed(Terminal):
    def isatty(self):
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [None, Closed(), object()], ids=["none", "closed", "no isatty"])
def test_a_stream_that_is_not_there_is_left_alone(folder, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert len(ImageFolder(folder, size=4)) == 3


def test_warnings_of_metadata_are_not_the_users(tmp_path):
    path = save(tmp_path / "cat" / "0.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ImageFolder(path.parents[1], size=4).unreadable == {}
