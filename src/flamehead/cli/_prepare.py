"""Make ready what the first run on a machine lacks: the built-in head and the compiled kernels, side by side."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["built_in_head_coming", "compile_kernels", "compile_pixels", "compile_posing", "compile_tracking"]

_BUILD = "from flamehead.builtin import builtin_head; builtin_head()"


@contextmanager
def built_in_head_coming(*, wanted: bool) -> Iterator[Callable[[], None] | None]:
    """While the body runs, another process builds the built-in head, if it is wanted and the cache lacks it.

    The process needs numpy and scipy only, so it runs beside the imports and the compilation of this one. Yields a
    function that waits for it, or None when there is nothing to wait for; a body that does not wait ends the process.
    """
    if not wanted or _is_built():
        yield None
        return
    # A failure is not lost: whoever loads the head next builds it and meets the same error.
    # With -P no module is taken from the current folder, where the user's own files may bear any name.
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _BUILD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield lambda: _done(process)
        finally:
            process.kill()


def _is_built() -> bool:
    from flamehead.builtin import cache_file

    return cache_file().is_file()


def _done(process: subprocess.Popen[bytes]) -> None:
    process.wait()


def compile_kernels() -> None:
    """Compile the kernels that a fit needs, or load them from the cache."""
    from flamehead.render import warmup

    warmup()


def compile_posing() -> None:
    """Compile the kernels that pose heads, which one fit does without."""
    from flamehead.model._cpu import warmup

    warmup()


def compile_pixels() -> None:
    """Compile the kernels of the photometric fit, which needs the built-in head and its colours."""
    from flamehead.fit.warm import warmup

    warmup()


def compile_tracking() -> None:
    """Compile the kernels of the tracker, which needs the built-in head."""
    from flamehead.track.warm import warmup

    warmup()
