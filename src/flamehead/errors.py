"""What can go wrong, each with one sentence that names the remedy."""

__all__ = ["AssetNotFound", "FlameheadError", "InputError", "MissingExtra", "NoFaceFound", "UnsafeFile"]


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
