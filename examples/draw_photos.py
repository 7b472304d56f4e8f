"""Draw a folder of pictures like photographs, with all that real folders have: for examples/photos.py and for tests.

python examples/draw_photos.py photos

Bright circles, squares and triangles, a folder for each, on dark, patchy backgrounds: JPG and PNG, in many sizes,
upright and sideways, in colour, grey, with a palette, with transparency and with 16 bits per pixel. One file is cut
short, and one is stored sideways, which its EXIF orientation tells.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CORNERS = {"circle": 60, "square": 4, "triangle": 3}


def draw(kind, rng):
    """Return one picture."""
    width, height = (int(side) for side in rng.integers(60, 260, 2))
    background, foreground = rng.integers(0, 100, 3), rng.integers(150, 256, 3)
    patches = rng.integers(-20, 21, (height // 8 + 1, width // 8 + 1, 3))
    pixels = np.clip(background + np.kron(patches, np.ones((8, 8, 1), int))[:height, :width], 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    centre = np.array([width, height]) * rng.uniform(0.44, 0.56, 2)
    angles = np.arange(CORNERS[kind]) / CORNERS[kind] * 2 * np.pi + rng.uniform(-0.4, 0.4)
    radius = min(width, height) * rng.uniform(0.25, 0.42)
    corners = centre + radius * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=tuple(int(c) for c in foreground))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def save(image, stem, number):
    """Save a picture in one of the forms that cameras and programs leave; return its path."""
    forms = {
        0: (lambda image: image, ".jpg"),
        1: (lambda image: image, ".png"),
        2: (lambda image: image.convert("L"), ".jpg"),
        3: (lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE), ".png"),
        4: (lambda image: image.convert("RGBA"), ".PNG"),
        5: (lambda image: image.convert("CMYK"), ".jpeg"),
        6: (lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), ".png"),
    }
    change, ending = forms[number % 12 if number % 12 in forms else number % 2]
    path = stem.with_name(f"{stem.name}{ending}")
    change(image).save(path)
    return path


def draw_folder(path, count=120, seed=0):
    """Draw `count` pictures of each kind into `path`; return the files that are cut short and stored sideways."""
    rng = np.random.default_rng(seed)
    for kind in CORNERS:
        (path / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save(draw(kind, rng), path / kind / f"{number:04}", number)
    broken = path / "circle" / "broken.jpg"
    draw("circle", rng).save(broken)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    sideways = path / "triangle" / "sideways.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    draw("triangle", rng).transpose(Image.Transpose.ROTATE_90).save(sideways, exif=exif)
    return broken, sideways


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="where to draw; the folder is made")
    parser.add_argument("--count", type=int, default=120, help="of each class, default: 120")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    broken, sideways = draw_folder(arguments.path, arguments.count, arguments.seed)
    print(f"Drew {len(CORNERS)} classes of {arguments.count} pictures, {broken} (damaged) and {sideways} (by EXIF).")


if __name__ == "__main__":
    main()
