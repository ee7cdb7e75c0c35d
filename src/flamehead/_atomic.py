"""Files and folders that are whole or absent: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flamehead._types import StrPath
from flamehead.errors import FlameheadError, InputError

__all__ = ["atomic_folder", "atomic_path", "disk_errors_explained"]


@contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` on success and vanishes on any failure.

    The temporary file exists, is empty, and keeps the suffix, so that writers which look at the suffix behave the
    same. A reader sees the old file or the new one, never a part of it.

    Args:
        path: The file to write; its folder must exist.

    Raises:
        InputError: The folder is missing or not writable, `path` is a folder, or the disk refused the rename.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"Cannot write {target}: it is a folder; give a file name.")
    if not target.parent.is_dir():
        raise InputError(f"Cannot write {target}: the folder {target.parent} does not exist; create it first.")
    # Long names are cut so that the temporary name stays within the file system's limit of 255 bytes.
    temporary = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(4)}{target.suffix}")
    # Creating the file is the only reliable test of whether a folder can be written.
    with _writing(target.parent):
        temporary.touch(exist_ok=False)
    try:
        yield temporary
        with _replacing(target):
            temporary.replace(target)
    finally:
        # After a successful rename there is nothing left to remove. This also runs on KeyboardInterrupt.
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: StrPath) -> Iterator[Path]:
    """Yield an empty temporary folder; its files move into `folder` on success and vanish on any failure.

    A folder that does not exist appears with all of its files at once, its missing parents with it. In an existing one
    files of the same names are replaced, others stay.

    Raises:
        InputError: `folder` is a file, it or its nearest existing parent is not writable, or a file in it cannot be
            replaced.
    """
    target = Path(folder)
    with _writing(target):
        base = target
        while not base.exists() and base != base.parent:
            base = base.parent
    if not base.is_dir():
        raise InputError(f"Cannot write into {target}: {base} is a file; name a folder.")
    stage = base / f".{target.name[:40]}-{secrets.token_hex(4)}"
    with _writing(base):
        stage.mkdir()
    try:
        yield stage
        with _replacing(target):
            if base == target:
                for item in sorted(stage.iterdir()):
                    item.replace(target / item.name)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                stage.rename(target)
    finally:
        if stage.exists():
            shutil.rmtree(stage)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write into the folder {folder} ({reason}); name one you may write to.") from error


@contextmanager
def _replacing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot replace {target} ({reason}); close programs that use it and try again.") from error


@contextmanager
def disk_errors_explained(folder: StrPath) -> Iterator[None]:
    """Errors of the system while results are written become one sentence.

    Raises:
        InputError: The disk is full, or refuses for another reason.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FlameheadError):
            raise
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(
            f"Cannot write the results into {folder} ({reason}); free some space or choose another folder."
        ) from error
