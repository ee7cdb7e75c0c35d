"""What can go wrong, each with one sentence that names the remedy."""

from collections.abc import Collection

__all__ = [
    "AssetNotFound",
    "FlameheadError",
    "InputError",
    "MissingExtra",
    "NoFaceFound",
    "UnsafeFile",
    "check_choice",
]


def check_choice(what: str, got: object, choices: Collection[object]) -> None:
    """Refuse an option that is none of the choices.

    Raises:
        InputError: It is not.
    """
    if got not in choices:
        listed = ", ".join(map(repr, choices))
        raise InputError(f"{what} is {got!r}; choose one of {listed}.")


class FlameheadError(Exception):
    """Base of every error that a user can mend; `str(error)` is one sentence and names the remedy."""


class InputError(FlameheadError, ValueError):
    """A value or a file that cannot be used as it is."""


class UnsafeFile(InputError):
    """A pickle that asks for something a FLAME file never needs; nothing of it was executed."""


class NoFaceFound(InputError):
    """The detector saw no face in an image."""


class AssetNotFound(FlameheadError, FileNotFoundError):
    """A licensed file that the user must provide is not where it was looked for."""


class MissingExtra(FlameheadError, ImportError):
    """An optional dependency is not installed; the message holds the install line."""
