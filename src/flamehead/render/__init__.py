"""Meshes, cameras and light become pictures; what carries gradients says so."""

from flamehead.render.draw import Drawing, draw
from flamehead.render.fields import (
    EVEN,
    UNLIT,
    ColorMap,
    distance_chart,
    field_colors,
    region_colors,
    region_paint,
    with_legend,
)
from flamehead.render.grid import grid
from flamehead.render.harmonics import HARMONIC_CONSTANTS, constant_light, harmonic_light, harmonics, turn_light
from flamehead.render.maps import Maps, depth_to_millimetres, face_regions, maps, normals_to_bytes
from flamehead.render.marks import links, marks
from flamehead.render.picture import CLAY, Background, Colors, Picture, blend, render
from flamehead.render.sampling import Pyramid, build_pyramid, sample_image
from flamehead.render.screen import to_screen
from flamehead.render.shade import STUDIO, DirectionalLight, Lighting, PointLight, linear_to_srgb, shade, srgb_to_linear
from flamehead.render.sheet import overlay_sheet
from flamehead.render.srgb import decode_srgb, encode_srgb
from flamehead.render.texture import Texture, sample_texture, texture_level
from flamehead.render.timeline import Band, Curve, timeline
from flamehead.render.turntable import orbit_camera, swing, tile, turntable
from flamehead.render.views import Crop, side_view
from flamehead.render.warm import warmup
from flamehead.render.wireframe import wireframe

__all__ = [
    "CLAY",
    "EVEN",
    "HARMONIC_CONSTANTS",
    "STUDIO",
    "UNLIT",
    "Background",
    "Band",
    "ColorMap",
    "Colors",
    "Crop",
    "Curve",
    "DirectionalLight",
    "Drawing",
    "Lighting",
    "Maps",
    "Picture",
    "PointLight",
    "Pyramid",
    "Texture",
    "blend",
    "build_pyramid",
    "constant_light",
    "decode_srgb",
    "depth_to_millimetres",
    "distance_chart",
    "draw",
    "encode_srgb",
    "face_regions",
    "field_colors",
    "grid",
    "harmonic_light",
    "harmonics",
    "linear_to_srgb",
    "links",
    "maps",
    "marks",
    "normals_to_bytes",
    "orbit_camera",
    "overlay_sheet",
    "region_colors",
    "region_paint",
    "render",
    "sample_image",
    "sample_texture",
    "shade",
    "side_view",
    "srgb_to_linear",
    "swing",
    "texture_level",
    "tile",
    "timeline",
    "to_screen",
    "turn_light",
    "turntable",
    "warmup",
    "wireframe",
    "with_legend",
]
