"""Keep the log lines that native libraries write straight to file descriptor 2 off the user's terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["native_chatter_dropped"]

# TensorFlow Lite's plain lines, glog/absl lines such as `W0000 00:00:1795.17 4247 file.cc:114] text`, and EGL's.
_CHATTER = re.compile(
    rb"(INFO|WARNING): (Created TensorFlow Lite|All log messages before absl)"
    rb"|[IWE]\d{4} \d\d:\d\d:[\d.]+\s+\d+ [\w.\-/]+:\d+\] "
    rb"|(libEGL|MESA)[ \w-]*: "
)


@contextlib.contextmanager
def native_chatter_dropped() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 inside the block, then write out all but known log lines.

    Nothing else is lost: Python's own output and that of other threads comes after the block, also when it raises.
    Blocks must not overlap in time; the caller holds a lock.
    """
    try:
        original = os.dup(2)
    except OSError:
        # Without a standard error stream, as under pythonw, there is nothing to keep clean.
        yield
        return
    with tempfile.TemporaryFile() as held, _closing(original):
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(original, 2)
            held.seek(0)
            _write_out(b"".join(line for line in held if not _CHATTER.match(line)))


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _flush() -> None:
    # `sys.stderr` may be absent or replaced by something closed; it is not ours to complain.
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sys.stderr.flush()


def _write_out(text: bytes) -> None:
    while text:
        text = text[os.write(2, text) :]
