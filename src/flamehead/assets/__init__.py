"""Official FLAME files: open safely, check, describe."""

from flamehead.assets.converted import write_converted
from flamehead.assets.embeddings import MEDIAPIPE_105, read_contour, read_embedding
from flamehead.assets.find import Beside, doctor, find_beside, missing
from flamehead.assets.folders import asset_folders, user_cache_folder, user_data_folder
from flamehead.assets.identify import AssetKind, FoundAsset
from flamehead.assets.kinds import (
    AlbedoSpace,
    Asset,
    BfmAlbedo,
    BfmCorrespondence,
    BfmModel,
    BfmTexels,
    BfmToFlame,
    Checkpoint,
    DisplacementMap,
    EyelidOffsets,
    ImageLandmarks,
    InpaintingSpace,
    LandmarkFile,
    PickedPoints,
    Regions,
    ScanLandmarks,
    Segmentation,
    Template,
    TexelTable,
    TextureSpace,
    UvMaskImage,
    UvMasks,
)
from flamehead.assets.masks import read_masks
from flamehead.assets.model_file import VARIANTS, ContourEmbedding, FlameArrays, LandmarkEmbedding, Variant
from flamehead.assets.open_asset import open_asset
from flamehead.assets.read_bfm import read_bfm, read_bfm_correspondence
from flamehead.assets.read_checkpoint import read_checkpoint
from flamehead.assets.read_model import read_model
from flamehead.assets.read_templates import read_template
from flamehead.assets.read_textures import read_albedo, read_bfm_albedo, read_texture
from flamehead.assets.safe_numpy import read_npy, read_npz
from flamehead.assets.safe_pickle import read_pickle
from flamehead.assets.wanted import WANTED, WantedAsset

__all__ = [
    "AlbedoSpace",
    "Asset",
    "AssetKind",
    "Beside",
    "BfmAlbedo",
    "BfmCorrespondence",
    "BfmModel",
    "BfmTexels",
    "BfmToFlame",
    "Checkpoint",
    "ContourEmbedding",
    "DisplacementMap",
    "EyelidOffsets",
    "FlameArrays",
    "FoundAsset",
    "ImageLandmarks",
    "InpaintingSpace",
    "LandmarkEmbedding",
    "LandmarkFile",
    "MEDIAPIPE_105",
    "PickedPoints",
    "Regions",
    "ScanLandmarks",
    "Segmentation",
    "Template",
    "TexelTable",
    "TextureSpace",
    "UvMaskImage",
    "UvMasks",
    "VARIANTS",
    "Variant",
    "WANTED",
    "WantedAsset",
    "asset_folders",
    "doctor",
    "find_beside",
    "missing",
    "open_asset",
    "read_albedo",
    "read_bfm",
    "read_bfm_albedo",
    "read_bfm_correspondence",
    "read_checkpoint",
    "read_contour",
    "read_embedding",
    "read_masks",
    "read_model",
    "read_npy",
    "read_npz",
    "read_pickle",
    "read_template",
    "read_texture",
    "user_cache_folder",
    "user_data_folder",
    "write_converted",
]
