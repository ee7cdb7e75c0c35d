"""Meshes, cameras and light become pictures; no gradients."""

from flamehead.render.marks import links, marks
from flamehead.render.paints import UNLIT, depth_paint, normal_paint, region_paint, texture_paint, uv_paint
from flamehead.render.picture import CLAY, Background, Colors, Picture, blend, render, warmup
from flamehead.render.shade import STUDIO, DirectionalLight, Lighting, linear_to_srgb, shade, srgb_to_linear
from flamehead.render.sheet import overlay_sheet
from flamehead.render.turntable import orbit_camera, swing, tile, turntable
from flamehead.render.views import Crop, side_view
from flamehead.render.wireframe import wireframe

__all__ = [
    "CLAY",
    "STUDIO",
    "UNLIT",
    "Background",
    "Colors",
    "Crop",
    "DirectionalLight",
    "Lighting",
    "Picture",
    "blend",
    "depth_paint",
    "linear_to_srgb",
    "links",
    "marks",
    "normal_paint",
    "orbit_camera",
    "overlay_sheet",
    "region_paint",
    "render",
    "shade",
    "side_view",
    "srgb_to_linear",
    "swing",
    "texture_paint",
    "tile",
    "turntable",
    "uv_paint",
    "warmup",
    "wireframe",
]
