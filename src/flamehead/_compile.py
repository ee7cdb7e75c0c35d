"""Compilation that works where no folder can be written: read-only installations, users without a home folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

__all__ = ["compiled"]

_log = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` whose machine code is kept on disk where that is possible, and made by every process elsewhere."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError as error:
            # numba looks for a writable folder when it decorates, and gives up when there is none.
            if "no locator available" not in str(error):
                raise
            _warn_once()
            return njit(**options)(function)

    return decorate


@cache
def _warn_once() -> None:
    _log.warning(
        "Compiled kernels can be kept nowhere and are made at every start; set NUMBA_CACHE_DIR to a folder you may "
        "write to."
    )
