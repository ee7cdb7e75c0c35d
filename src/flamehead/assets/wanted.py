"""The files that make more possible than the built-in head alone, where to get them, and where programs keep them."""

from __future__ import annotations

from dataclasses import dataclass

from flamehead.assets.identify import AssetKind

__all__ = ["LAYOUTS", "WANTED", "WantedAsset"]

_FLAME_SITE = "the FLAME site (free sign-up, accept its licence)"


@dataclass(frozen=True)
class WantedAsset:
    """A file that the user can get."""

    kind: AssetKind
    name: str
    """Name of the file or archive as published."""
    enables: str
    where: str
    """Who hands it out, and under which terms."""


WANTED = (
    WantedAsset(
        "model",
        "flame2023_Open.pkl",
        "licensed FLAME geometry, also for products",
        f"{_FLAME_SITE}: `FLAME 2023 Open`, the one release that is plainly CC-BY-4.0; treat every other one as "
        "non-commercial and not redistributable",
    ),
    WantedAsset(
        "landmarks",
        "landmark_embedding.npy",
        "fits to 68 landmarks with a licensed model",
        "the published code of DECA or of MICA (non-commercial licences)",
    ),
    WantedAsset(
        "landmarks",
        "mediapipe_landmark_embedding.npz",
        "fits to MediaPipe landmarks with a licensed model",
        f"{_FLAME_SITE}: `MediaPipe Landmark Embedding`",
    ),
    WantedAsset(
        "masks", "FLAME_masks.pkl", "named regions of the official mesh", f"{_FLAME_SITE}: `FLAME Vertex Masks`"
    ),
    WantedAsset(
        "texture",
        "FLAME_texture.npz",
        "a face texture in photometric fits",
        f"{_FLAME_SITE}: `FLAME texture space`, CC-BY-NC-SA-4.0, 1.3 GB",
    ),
    WantedAsset(
        "texture",
        "albedoModel2020_FLAME_albedoPart.npz",
        "a face albedo in photometric fits",
        "the releases of the AlbedoMM project (academic research only)",
    ),
    WantedAsset(
        "eyelid",
        "l_eyelid.npy",
        "closing the eyelids of a licensed model, with r_eyelid.npy",
        "the published code of metrical-tracker (non-commercial licence)",
    ),
    WantedAsset(
        "template",
        "head_template_mesh.obj",
        "official UV coordinates, to paint a licensed model",
        "the published code of metrical-tracker, of DECA (as head_template.obj) or of VHAP (non-commercial licences)",
    ),
    WantedAsset(
        "checkpoint",
        "mica.tar",
        "a metric face shape from one photo",
        "the published code of MICA, whose installer asks for a FLAME login (non-commercial licence)",
    ),
    WantedAsset(
        "checkpoint",
        "deca_model.tar",
        "a head with expression from one photo",
        "the published code of DECA (non-commercial licence)",
    ),
    WantedAsset(
        "bfm",
        "model2017-1_bfm_nomouth.h5",
        "converting faces of the Basel Face Model",
        "the site of the Basel Face Model (request form, research only)",
    ),
    WantedAsset(
        "bfm conversion",
        "BFM_to_FLAME_corr.npz",
        "converting faces of the Basel Face Model",
        f"{_FLAME_SITE}: the data of BFM_to_FLAME",
    ),
)
"""What makes more possible than the built-in head alone; nothing of it is needed to begin."""

LAYOUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("FLAME_PyTorch", ("model",)),
    ("MICA", ("data/FLAME2020", "data/pretrained", "data")),
    ("DECA", ("data",)),
    ("metrical-tracker", ("data/FLAME2020", "data", "flame/mediapipe", "flame/blendshapes")),
    ("VHAP", ("asset/flame", "asset")),
    ("smplx", ("models/flame", "flame")),
)
"""Programs that people have, and the folders in which they keep FLAME files."""
