"""What commands share: the words of their options, and what is wrong with them rather than with the files they name."""

from typing import Literal

from flamehead.errors import InputError

__all__ = ["FlameVariant", "UsageError"]

FlameVariant = Literal["unknown", "2017", "2019", "2020", "2023", "2023-no-jaw", "2023-open"]


class UsageError(InputError):
    """Arguments that make no sense together; the command ends with status 2."""
