"""The licence-free head in the FLAME format, built by code."""

from flamehead.builtin.head import RECIPE, SOURCE, BuiltinHead, builtin_head, cache_file
from flamehead.builtin.teeth import add_teeth

__all__ = ["RECIPE", "SOURCE", "BuiltinHead", "add_teeth", "builtin_head", "cache_file"]
