"""Files that are whole or absent: written under a temporary name beside the target, then renamed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flamehead._types import StrPath
from flamehead.errors import InputError

__all__ = ["atomic_path"]


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
    temporary = _reserve(target)
    try:
        yield temporary
        _rename(temporary, target)
    finally:
        # After a successful rename there is nothing left to remove. This also runs on KeyboardInterrupt.
        temporary.unlink(missing_ok=True)


def _reserve(target: Path) -> Path:
    """Create the empty temporary file; the only reliable test of whether a folder can be written."""
    if target.is_dir():
        raise InputError(f"Cannot write {target}: it is a folder; give a file name.")
    if not target.parent.is_dir():
        raise InputError(f"Cannot write {target}: the folder {target.parent} does not exist; create it first.")
    # Long names are cut so that the temporary name stays within the file system's limit of 255 bytes.
    temporary = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(4)}{target.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"Cannot write into the folder {target.parent} ({reason}); choose a folder you may write to."
        ) from error
    return temporary


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot replace {target} ({reason}); close programs that use it and try again.") from error
