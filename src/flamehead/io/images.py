"""Pictures as float RGB in [0, 1], upright, and the focal length a camera wrote into them."""

from __future__ import annotations

import codecs
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt16

from flamehead._atomic import atomic_path
from flamehead.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BROKEN_EXIF", "open_picture", "read_focal", "read_image", "write_grey16", "write_image"]

MAX_PIXELS = 170_000_000
"""Beyond this a picture is refused: as float32 RGB it would take more than 2 GB."""

BACKGROUND = 128
"""Grey put behind transparent pixels: it has no strong edge against either hair or skin."""

_SUPPORTED = "JPEG, PNG, WebP, TIFF, BMP or GIF"
_WRITABLE = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_FILM_DIAGONAL = math.hypot(36.0, 24.0)
_EXIF_IFD = 0x8769
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_MAGIC = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x1aE\xdf\xa3": "a video",
    b"\xff\xd8\xff": "a JPEG that is cut off or damaged",
    b"\x89PNG": "a PNG that is cut off or damaged",
}
BROKEN_EXIF = (ValueError, TypeError, KeyError, SyntaxError, OSError, EOFError, IndexError, ArithmeticError)


def read_image(path: str | Path) -> Float[np.ndarray, "H W 3"]:
    """Read a picture as float32 RGB in [0, 1], turned upright as its EXIF orientation says.

    Grey pictures are repeated to three channels, 16-bit grey keeps its depth, transparent pixels are laid over mid
    grey, CMYK is converted, and of an animation the first frame is taken. Colour profiles are not applied.

    Raises:
        InputError: The file is missing, unreadable, incomplete, too large or no picture that can be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "red.png"
        >>> write_image(path, np.full((2, 3, 3), [1.0, 0.0, 0.0]))
        >>> read_image(path).shape
        (2, 3, 3)
    """
    path = Path(path)
    with warnings.catch_warnings():
        # Pillow warns about large pictures and odd metadata; `_open` states our own limit as an error.
        warnings.simplefilter("ignore")
        with open_picture(path) as image:
            _decode(image, path)
            return _to_float(_upright(image), path)


def read_focal(path: str | Path) -> float | None:
    """Read the focal length in pixels from a picture's EXIF data; None where it is absent or not credible.

    The 35 mm equivalent is taken by the image diagonal, `f = f35 / 43.27 mm * hypot(W, H)`; without it the focal length
    in mm times the pixels per mm of the sensor. A picture cropped after it was taken (its aspect differs from the
    recorded one) gives None, because its crop is unknown.

    Raises:
        InputError: As for `read_image`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_picture(Path(path)) as image:
            try:
                tags = image.getexif().get_ifd(_EXIF_IFD)
                focal = _focal_from_tags(tags, image.size)
            except BROKEN_EXIF:
                return None
    if focal is None or not 0.3 * max(image.size) < focal < 30 * max(image.size):
        return None
    return focal


def write_image(path: str | Path, image: Float[np.ndarray, "H W 3"]) -> None:
    """Write float RGB in [0, 1] as an 8-bit picture; the suffix names the format, values outside are clipped.

    Raises:
        InputError: Wrong shape, values that are not finite, an unknown suffix or a folder that cannot be written.
    """
    path = Path(path)
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype.kind != "f":
        raise InputError(
            f"Cannot write {path}: got an array of shape {pixels.shape} and type {pixels.dtype}, "
            "wanted float RGB of shape (height, width, 3) with values in [0, 1]."
        )
    if not np.isfinite(pixels).all():
        raise InputError(f"Cannot write {path}: the image holds NaN or infinite values; replace them first.")
    if path.suffix.lower() not in _WRITABLE:
        raise InputError(f"Cannot write {path}: the suffix {path.suffix!r} is none of {', '.join(_WRITABLE)}.")
    from PIL import Image

    bytes_ = np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
    options: dict[str, Any] = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    with atomic_path(path) as temporary:
        Image.fromarray(bytes_).save(temporary, **options)


def write_grey16(path: str | Path, values: UInt16[np.ndarray, "H W"]) -> None:
    """Write whole numbers as a 16-bit grey PNG or TIFF, such as depth in millimetres.

    Raises:
        InputError: Another shape or type, another suffix, or a folder that cannot be written.
    """
    path = Path(path)
    if values.ndim != 2 or 0 in values.shape or values.dtype != np.uint16:
        raise InputError(
            f"Cannot write {path}: got an array of shape {values.shape} and type {values.dtype}, wanted uint16 "
            "of shape (height, width)."
        )
    if path.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise InputError(f"Cannot write 16 bits to {path}: the suffix is {path.suffix!r}, wanted .png, .tif or .tiff.")
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary)


def open_picture(path: Path) -> Image.Image:
    """Open without decoding the pixels, after every check that needs no decoding."""
    from PIL import Image, UnidentifiedImageError

    _check_file(path)
    try:
        image = Image.open(path)
    except UnidentifiedImageError as error:
        raise InputError(f"Cannot read the image {path}: it is {_describe(path)}; give {_SUPPORTED}.") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"The image {path} has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller first."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError) as error:
        raise _damaged(path, error) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise InputError(
            f"The image {path} has {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS // 1_000_000} million; make it smaller first."
        )
    return image


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"Cannot read the image {path}: it is a folder; give one picture file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"Cannot read the image {path}: the file is empty; copy or download it again.")
    except FileNotFoundError as error:
        raise InputError(f"Image file not found: {path}; check the path.") from error
    except PermissionError as error:
        raise InputError(f"Not allowed to read the image {path}; change its permissions.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read the image {str(path)!r} ({error}); check the path.") from error


def _decode(image: Image.Image, path: Path) -> None:
    try:
        image.load()
    except MemoryError as error:
        raise InputError(f"Not enough memory for the image {path} {image.size}; make it smaller first.") from error
    except Exception as error:  # Pillow's decoders raise many kinds; all of them mean damaged data.
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return InputError(f"The image {path} is incomplete or damaged ({reason}); copy or download it again.")


def _describe(path: Path) -> str:
    """Say in words what a file that Pillow does not know seems to be."""
    with path.open("rb") as file:
        head = file.read(512)
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "a HEIC picture, which cannot be read here, so convert it to JPEG"
    if brand:
        return f"a file of type {brand.decode('ascii', 'replace').strip()!r}, perhaps a video"
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    return "text, not a picture" if _is_text(head) else "no picture format that is known here"


def _is_text(head: bytes) -> bool:
    # The last character of a longer file may be cut off; an incremental decoder waits for its rest.
    try:
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except BROKEN_EXIF:
        # The pixels are already decoded, so only the metadata are broken: take the picture as stored.
        return image


def _to_float(image: Image.Image, path: Path) -> Float[np.ndarray, "H W 3"]:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_deep_grey(image, path)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (BACKGROUND,) * 3 + (255,))
        image.alpha_composite(layer)
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    pixels *= np.float32(1 / 255)
    return pixels


def _deep_grey(image: Image.Image, path: Path) -> Float[np.ndarray, "H W"]:
    """16-bit integers scale by 65535; floats are taken as they are when they lie in [0, 1]."""
    grey = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        grey *= np.float32(1 / 65535)
    if not (np.isfinite(grey).all() and grey.min() >= 0 and grey.max() <= 1):
        raise InputError(
            f"The image {path} holds {image.mode!r} values outside the range of a picture; save it as 8 or 16 bit."
        )
    return grey


def _focal_from_tags(tags: Any, size: tuple[int, int]) -> float | None:
    """`size` may be stored sideways: only the diagonal and the longer side are used."""
    recorded = sorted(int(tags.get(tag, 0)) for tag in (0xA002, 0xA003))
    short, long = sorted(size)
    if recorded[0] > 0 and abs(recorded[0] / recorded[1] - short / long) > 0.03:
        return None
    film = float(tags.get(0xA405, 0))
    if 4 <= film <= 2000:
        return film / _FILM_DIAGONAL * math.hypot(*size)
    focal, density = float(tags.get(0x920A, 0)), float(tags.get(0xA20E, 0))
    unit = _MM_PER_UNIT.get(int(tags.get(0xA210, 2)))
    if not (focal > 0 and density > 0 and unit):
        return None
    # The density counts the pixels as taken; a picture made smaller afterwards has fewer.
    return focal * density / unit * (long / recorded[1] if recorded[1] > 0 else 1.0)
