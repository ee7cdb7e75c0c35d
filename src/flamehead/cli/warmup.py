"""`flamehead warmup`: do once what the first run would wait for."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Warmup"]


@dataclass(frozen=True)
class Warmup:
    """Compile and cache the kernels; build and cache the built-in head."""

    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        from flamehead.cli._prepare import (
            built_in_head_coming,
            compile_kernels,
            compile_pixels,
            compile_posing,
            compile_tracking,
        )

        start = time.perf_counter()
        with built_in_head_coming(wanted=True) as wait:
            compile_kernels()
            compile_posing()
            if wait is not None:
                wait()
        from flamehead.builtin import builtin_head, cache_file

        builtin_head()
        compile_pixels()
        compile_tracking()
        if not self.quiet:
            print(f"Kernels compiled, built-in head ready ({time.perf_counter() - start:.1f} s): {cache_file()}")
        return 0
