"""Amounts along named directions, as words of a command."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flamehead.cli._usage import UsageError

__all__ = ["parse_settings"]


_MOST = 100
"""Standard deviations or units of a turn, far beyond any face."""


def parse_settings(words: Sequence[str]) -> dict[str, float]:
    """`name=value` words as numbers.

    Raises:
        UsageError: A word is none.
    """
    out: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (name and equals and math.isfinite(value)):
            raise UsageError(f"Cannot understand {word!r} after --set; write NAME=NUMBER, for example smile=1.2.")
        if abs(value) > _MOST:
            raise UsageError(f"--set {word} is no head; give an amount from -{_MOST} to {_MOST}.")
        out[name] = value
    return out
