"""Official FLAME files: open safely, check, describe."""

from flamehead.assets.model_file import FlameArrays, LandmarkEmbedding

__all__ = ["FlameArrays", "LandmarkEmbedding"]
