"""Official FLAME files: open safely, check, describe."""

from flamehead.assets.embeddings import MEDIAPIPE_105, read_embedding
from flamehead.assets.find import WANTED, Beside, WantedAsset, doctor, find_beside, missing
from flamehead.assets.folders import asset_folders, user_cache_folder, user_data_folder
from flamehead.assets.identify import AssetKind, FoundAsset
from flamehead.assets.masks import read_masks
from flamehead.assets.model_file import FlameArrays, LandmarkEmbedding
from flamehead.assets.read_model import read_model
from flamehead.assets.safe_numpy import read_npy, read_npz
from flamehead.assets.safe_pickle import read_pickle

__all__ = [
    "AssetKind",
    "Beside",
    "FlameArrays",
    "FoundAsset",
    "LandmarkEmbedding",
    "MEDIAPIPE_105",
    "WANTED",
    "WantedAsset",
    "asset_folders",
    "doctor",
    "find_beside",
    "missing",
    "read_embedding",
    "read_masks",
    "read_model",
    "read_npy",
    "read_npz",
    "read_pickle",
    "user_cache_folder",
    "user_data_folder",
]
