"""A photo straight to FLAME parameters by the networks of other projects, whose weights the user provides."""

from flamehead.regress._engine import Engine
from flamehead.regress._scrfd import Scrfd
from flamehead.regress.checkpoint import Weights, check_checkpoint, read_weights
from flamehead.regress.deca import Deca, Encoded, encode, load_deca, telephoto, transfer
from flamehead.regress.deca_animate import animate, read_frames, save_animation
from flamehead.regress.deca_assets import DecaAssets, builtin_deca_assets, read_deca_assets
from flamehead.regress.deca_decode import Decoded, DenseMesh, decode
from flamehead.regress.deca_files import overview, save_decoded
from flamehead.regress.mica import KPT7, Identity, Mica, identify, identity_code, load_mica, median_identity
from flamehead.regress.mica_files import portrait, save_identity
from flamehead.regress.start import check_release, start_of

__all__ = [
    "KPT7",
    "Deca",
    "DecaAssets",
    "Decoded",
    "DenseMesh",
    "Encoded",
    "Engine",
    "Identity",
    "Mica",
    "Scrfd",
    "Weights",
    "animate",
    "builtin_deca_assets",
    "check_checkpoint",
    "check_release",
    "decode",
    "encode",
    "identify",
    "identity_code",
    "load_deca",
    "load_mica",
    "median_identity",
    "overview",
    "portrait",
    "read_deca_assets",
    "read_frames",
    "read_weights",
    "save_animation",
    "save_decoded",
    "save_identity",
    "start_of",
    "telephoto",
    "transfer",
]
