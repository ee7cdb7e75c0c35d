"""What is wrong with the words of a command rather than with the files it names."""

from flamehead.errors import InputError

__all__ = ["UsageError"]


class UsageError(InputError):
    """Arguments that make no sense together; the command ends with status 2."""
