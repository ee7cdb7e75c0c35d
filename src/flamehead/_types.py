"""Type names that several rooms share."""

from os import PathLike
from typing import TypeAlias

StrPath: TypeAlias = str | PathLike[str]
"""A file-system path as users pass it."""
