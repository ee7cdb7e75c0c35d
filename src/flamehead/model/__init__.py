"""FLAME parameters to vertices, joints and landmarks."""

from flamehead.model.flame import Flame, FlameOutput, Paint, load_flame

__all__ = ["Flame", "FlameOutput", "Paint", "load_flame"]
