"""What commands share: the words of their options, and what is wrong with them rather than with the files they name."""

from pathlib import Path
from typing import Literal

from flamehead.errors import InputError

__all__ = ["FlameVariant", "UsageError", "check_variant"]

FlameVariant = Literal["unknown", "2017", "2019", "2020", "2023", "2023-no-jaw", "2023-open"]


class UsageError(InputError):
    """Arguments that make no sense together; the command ends with status 2."""


def check_variant(variant: FlameVariant, model: Path | None) -> None:
    """A release belongs to a model file.

    Raises:
        InputError: There is none.
    """
    if variant != "unknown" and model is None:
        raise InputError("--flame-variant says what a licensed model is; name the model with --model, or leave it out.")
