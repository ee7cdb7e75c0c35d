"""The licence-free head in the FLAME format, built by code."""

from flamehead.builtin.head import RECIPE, BuiltinHead, builtin_head, cache_file

__all__ = ["RECIPE", "BuiltinHead", "builtin_head", "cache_file"]
