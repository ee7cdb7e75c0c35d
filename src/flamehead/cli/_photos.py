"""What the commands that go through photos one by one have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamehead.cli._outputs import check_folder
from flamehead.cli._usage import UsageError
from flamehead.cli.fit import _folders_of, _progress
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.data import Observation
    from flamehead.model import Flame
    from flamehead.regress import Engine

__all__ = ["Job", "device_of", "each_photo", "engine_for", "open_model", "photos_in", "see_photo"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})

_MANY = 16
"""Photos from which a session of onnxruntime has paid for its opening."""

Job = tuple[Path, Path]
"""A photo and the folder for its files."""


def photos_in(paths: Sequence[Path]) -> list[Path]:
    """The photos that a command names; a folder stands for those in it, in the order of their names.

    Raises:
        UsageError: nothing was named.
        InputError: a folder holds no photo.
    """
    if not paths:
        raise UsageError("No photo was given; name photos or folders of photos before --out.")
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if item.suffix.lower() in _SUFFIXES and item.is_file())
            if not inside:
                raise InputError(f"The folder {path} holds no photos (JPEG, PNG, WebP, TIFF, BMP, GIF); name another.")
            found += inside
        else:
            found.append(path)
    return found


def each_photo(
    photos: Sequence[Path], out: Path, work: Callable[[Path, Path], str], *, what: str, quiet: bool, single: bool
) -> int:
    """Do one thing to every photo, say what came of each, and give the exit status; a bad photo does not stop others.

    Args:
        photos: the photos.
        out: the folder for all results.
        work: from a photo and the folder for its files to the line that is printed.
        what: for the progress bar, such as "Encoding".
        quiet: print nothing but errors.
        single: put the files of the one photo into `out` itself.
    """
    check_folder(out)
    failed: list[tuple[Path, str]] = []
    folders = [out] if single else _folders_of(photos, out)
    with _progress(len(photos), quiet=quiet, what=what) as advance:
        for photo, folder in zip(photos, folders, strict=True):
            try:
                line = work(photo, folder)
            # Only what is wrong with this photo: what is wrong with the machine meets the next one as well.
            except InputError as error:
                failed.append((photo, str(error)))
            else:
                if not quiet:
                    print(line, flush=True)
            advance()
    if failed and len(photos) == 1:
        raise InputError(failed[0][1])
    for photo, sentence in failed:
        named = "" if str(photo) in sentence else f"{photo}: "
        print(f"flamehead: {named}{sentence}", file=sys.stderr)
    if failed:
        rest = "the others are in" if len(failed) < len(photos) else "nothing was written into"
        print(f"flamehead: {len(failed)} of {len(photos)} photos failed, see above; {rest} {out}.", file=sys.stderr)
    return 1 if failed else 0


def open_model(path: Path) -> Flame:
    """A licensed model by its path, or by its bare name in the folders where assets are looked for."""
    from flamehead.assets import asset_folders
    from flamehead.model import load_flame

    if not path.exists() and path.name == str(path):
        path = next((folder / path for folder in asset_folders() if (folder / path).is_file()), path)
    return load_flame(path)


def engine_for(count: int) -> Engine:
    """What runs the networks: torch opens at once, and onnxruntime is faster per photo where it is installed."""
    return "auto" if count >= _MANY else "torch"


def device_of(name: str) -> str:
    """The device of the networks.

    Raises:
        InputError: there is none of this name on this machine.
    """
    import torch

    if name != "cpu" and not (name.split(":")[0] == "cuda" and torch.cuda.is_available()):
        raise InputError(f"There is no device {name!r} here; give cpu, or cuda where torch finds a graphics card.")
    return name


def see_photo(photo: Path, landmarks: Path | None, *, detect: bool = True) -> tuple[Any, Observation | None]:
    """The photo's pixels, and its landmarks: from a file, from the detector, or none where neither is wanted."""
    from flamehead.detect import detect_face
    from flamehead.io import read_image, read_landmarks

    pixels = read_image(photo)
    if landmarks is not None:
        return pixels, read_landmarks(landmarks, size=(pixels.shape[1], pixels.shape[0]))
    return pixels, detect_face(pixels) if detect else None
