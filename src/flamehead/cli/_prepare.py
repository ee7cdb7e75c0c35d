"""Make ready what the first run on a machine lacks: the built-in head and the compiled kernels, side by side."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["built_in_head_coming", "compile_kernels"]

_BUILD = "from flamehead.builtin import builtin_head; builtin_head()"


@contextmanager
def built_in_head_coming(*, wanted: bool) -> Iterator[bool]:
    """While the body runs, another process builds the built-in head if the cache lacks it; wait for it at the end.

    The process needs numpy and scipy only, so it runs beside the imports and the compilation of this one. Yields whether
    it was started.
    """
    from flamehead.builtin import cache_file

    if not wanted or cache_file().is_file():
        yield False
        return
    # A failure is not lost: whoever loads the head next builds it and meets the same error.
    with subprocess.Popen(
        [sys.executable, "-c", _BUILD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield True
        except BaseException:
            process.kill()
            raise
        process.wait()


def compile_kernels() -> None:
    """Compile the kernels that a fit needs, or load them from the cache."""
    from flamehead.render import warmup

    warmup()
