"""Where results go: what cannot be written is said before the work, and no input is written over."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from flamehead.errors import InputError

__all__ = ["check_file", "check_folder", "check_not_read"]


def check_folder(out: Path) -> None:
    """Fail before the work when a folder could not be made or filled; making a folder is the only reliable test.

    Raises:
        InputError: It is a file, or its place cannot be written.
    """
    try:
        base = out
        while not base.exists() and base != base.parent:
            base = base.parent
        if not base.is_dir():
            raise InputError(f"Cannot write into {out}: {base} is a file; name a folder with --out.")
        Path(tempfile.mkdtemp(prefix=".flamehead-", dir=base)).rmdir()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write into {out} ({reason}); name a folder you may write to with --out.") from error


def check_file(out: Path) -> None:
    """Fail before the work when a file could not be written.

    Raises:
        InputError: Its folder is missing or may not be written, or it is a folder itself.
    """
    if not out.parent.is_dir():
        raise InputError(f"Cannot write {out}: the folder {out.parent} does not exist; create it first.")
    if out.is_dir():
        raise InputError(f"Cannot write {out}: it is a folder; name a file in it.")
    try:
        Path(tempfile.mkdtemp(prefix=".flamehead-", dir=out.parent)).rmdir()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write {out} ({reason}); name a file in a folder you may write to.") from error


def check_not_read(out: Path, read: Iterable[Path | None], *, what: str) -> None:
    """Refuse to write over a file that the same command reads.

    Raises:
        InputError: It is one of them.
    """
    if any(path is not None and path.resolve() == out.resolve() for path in read):
        raise InputError(f"Writing {out} would replace {what}; name another file with --out.")
