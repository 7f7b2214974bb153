"""Images: read from any of the usual files, upright and as RGB, with guards."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .media_files import Facts

KIND = "image"  # in messages
SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
# Pillow can read many more, some of them by other programs; these are what images come in
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000  # 0.3 GB as RGB; a small file may claim any size
NEARLY_ONE_COLOUR = 4  # of 255, between the darkest and the brightest pixel


def check_image(file: BinaryIO) -> tuple[int, int]:
    """Read the header; return width and height in pixels as they are shown.

    Raises ValueError saying what is wrong with the file.
    """
    with open_image(file) as image:
        # of a PNG whose header has no EXIF data, Pillow would decode all to look behind it
        known = image.format != "PNG" or "exif" in image.info
        try:
            turned = known and image.getexif().get(0x0112) in (5, 6, 7, 8)  # on its side
        except Exception as error:
            raise ValueError(f"is no whole image ({error})") from None
        return (image.height, image.width) if turned else image.size


def decode_image(file: BinaryIO) -> np.ndarray:
    """The image upright, as RGB: (H, W, 3), uint8; of an animation the first picture.

    Raises ValueError saying what is wrong with the file.
    """
    with open_image(file) as image:
        try:
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))
        except Exception as error:  # a damaged file: decoders raise whatever they stumble over
            raise ValueError(f"is no whole image ({error})") from None


def describe(file: BinaryIO) -> Facts:
    """What `--inspect` tells of a file. Raises ValueError for a damaged one."""
    with open_image(file) as image:
        kinds = {"format": str(image.format), "mode": image.mode}
        sizes = {"Width in pixels": image.width, "Height in pixels": image.height}
    file.seek(0)
    contrast = np.ptp(decode_image(file), axis=(0, 1)).max()
    return Facts(kinds, sizes, "of one colour" if contrast < NEARLY_ONE_COLOUR else None)


def open_image(file: BinaryIO, max_pixels: float | None = None) -> Image.Image:
    """Read the header alone. Raises ValueError saying what is wrong with the file."""
    max_pixels = min(max_pixels or MAX_PIXELS, MAX_PIXELS)
    too_large = f"has more than {max_pixels / 1e6:g} megapixels; scale it down"
    try:
        image = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(too_large) from None
    except UnidentifiedImageError:
        raise ValueError(f"is no image of a kind that is read ({', '.join(FORMATS)})") from None
    except Exception as error:
        raise ValueError(f"is no whole image ({error})") from None
    if image.width * image.height > max_pixels:
        raise ValueError(too_large)
    if image.mode == "F":
        raise ValueError("has fractions for pixels; save it with 8 bits a colour")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    """RGB of 8 bits: 16 bits are scaled down, what is transparent becomes white."""
    if image.mode.startswith("I"):  # a plain conversion would cut off at 255
        return Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
