"""A rig as USD: UsdSkel with blend shapes, the pose correctives among them, and the motion as time samples.

Follows Pixar's UsdSkel schemas: points are moved by blend shapes first, then by linear blend skinning, as in FLAME.
Vertices keep the model's number and order, because texture coordinates are stored by corner.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from flamehead._atomic import atomic_path
from flamehead._types import StrPath
from flamehead.errors import InputError, MissingExtra
from flamehead.export.rig import JOINT_NAMES, Rig
from flamehead.export.rig_motion import Motion
from flamehead.io import UvMap
from flamehead.io.textured import CLAY, png_bytes

__all__ = ["USD_SUFFIXES", "write_usd"]

USD_SUFFIXES = (".usdz", ".usdc", ".usda", ".usd")
_STILL = 1e-9
"""Points that a blend shape moves by less, metres, are left out of it."""


def write_usd(path: StrPath, rig: Rig, motion: Motion, *, uv_map: UvMap | None = None) -> list[Path]:
    """Write a rig and its motion as USD; a picture becomes NAME.png beside the file, or goes into a `.usdz`.

    Args:
        path: Ending in .usdz (one package), .usdc (binary), .usda (text) or .usd.
        rig: Of `build_rig`.
        motion: Of `motion_of`.
        uv_map: Texture coordinates with or without a picture.

    Returns:
        The files written.

    Raises:
        MissingExtra: usd-core is not installed.
        InputError: Another suffix, texture coordinates of another mesh, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in USD_SUFFIXES:
        raise InputError(f"Cannot write {path}: the suffix is {path.suffix!r}, wanted {', '.join(USD_SUFFIXES)}.")
    if uv_map is not None and uv_map.faces.shape != rig.faces.shape:
        raise InputError(
            f"Cannot write {path}: the texture coordinates have {len(uv_map.faces)} triangles and the mesh "
            f"{len(rig.faces)}; give the UV layout of this mesh."
        )
    _pxr("Usd")
    picture = None if uv_map is None or uv_map.picture is None else png_bytes(path, uv_map.picture)
    if path.suffix.lower() == ".usdz":
        _package(path, rig, motion, uv_map, picture)
        return [path]
    stage = _stage(rig, motion, uv_map, None if picture is None else f"{path.stem}.png")
    written = []
    if picture is not None:
        written.append(path.with_suffix(".png"))
        with atomic_path(written[0]) as temporary:
            temporary.write_bytes(picture)
    with atomic_path(path) as temporary:
        stage.GetRootLayer().Export(str(temporary))
    return [*written, path]


def _pxr(name: str) -> Any:
    """A module of usd-core, which has no types of its own."""
    try:
        return importlib.import_module(f"pxr.{name}")
    except ImportError as error:
        raise MissingExtra("USD files need usd-core; install it with `pip install flamehead[usd]`.") from error


def _package(path: Path, rig: Rig, motion: Motion, uv_map: UvMap | None, picture: bytes | None) -> None:
    """One .usdz with the scene and the picture."""
    Sdf, UsdUtils = _pxr("Sdf"), _pxr("UsdUtils")

    with tempfile.TemporaryDirectory() as folder:
        if picture is not None:
            (Path(folder) / "head.png").write_bytes(picture)
        scene = str(Path(folder) / "head.usdc")
        # The layer lives as long as its stage, which a name must hold.
        stage = _stage(rig, motion, uv_map, None if picture is None else "head.png")
        stage.GetRootLayer().Export(scene)
        package = Path(folder) / "head.usdz"
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(scene), str(package)):
            raise InputError(f"USD could not make the package {path}; write a .usdc instead.")
        with atomic_path(path) as temporary:
            shutil.copyfile(package, temporary)


def _stage(rig: Rig, motion: Motion, uv_map: UvMap | None, picture_name: str | None) -> Any:
    """The scene in memory."""
    Usd, UsdGeom, UsdSkel = _pxr("Usd"), _pxr("UsdGeom"), _pxr("UsdSkel")

    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdSkel.Root.Define(stage, "/head")
    stage.SetDefaultPrim(root.GetPrim())
    root.GetPrim().SetCustomDataByKey("flamehead:fingerprint", rig.fingerprint)
    root.GetPrim().SetCustomDataByKey("flamehead:model", rig.source)
    mesh = _mesh(stage, rig, uv_map)
    _skeleton(stage, rig, motion)
    names = _blend_shapes(stage, mesh, rig)
    _animation(stage, rig, motion, names)
    _material(stage, mesh, picture_name)
    return stage


def _mesh(stage: Any, rig: Rig, uv_map: UvMap | None) -> Any:
    Sdf, UsdGeom, UsdSkel, Vt = _pxr("Sdf"), _pxr("UsdGeom"), _pxr("UsdSkel"), _pxr("Vt")

    mesh = UsdGeom.Mesh.Define(stage, "/head/mesh")
    points = rig.vertices.astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(0), points.max(0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(rig.faces), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(rig.faces.reshape(-1).astype(np.int32)))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    if uv_map is not None:
        kind, corners = Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
        primvar = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", kind, corners)
        primvar.Set(Vt.Vec2fArray.FromNumpy(uv_map.uv.astype(np.float32)))
        primvar.SetIndices(Vt.IntArray.FromNumpy(uv_map.faces.reshape(-1).astype(np.int32)))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    width = rig.skin_weights.shape[1]
    joints = np.tile(np.arange(width, dtype=np.int32), len(points))
    weights = rig.skin_weights / rig.skin_weights.sum(1, keepdims=True)
    binding.CreateJointIndicesPrimvar(False, width).Set(Vt.IntArray.FromNumpy(joints))
    binding.CreateJointWeightsPrimvar(False, width).Set(Vt.FloatArray.FromNumpy(weights.reshape(-1).astype(np.float32)))
    binding.CreateSkeletonRel().SetTargets([Sdf.Path("/head/skeleton")])
    return mesh


def _joint_paths(rig: Rig) -> list[str]:
    """USD names a joint by its path from the root."""
    paths: list[str] = []
    for name, parent in zip(JOINT_NAMES, rig.parents, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _skeleton(stage: Any, rig: Rig, motion: Motion) -> None:
    Gf, Sdf, UsdSkel, Vt = _pxr("Gf"), _pxr("Sdf"), _pxr("UsdSkel"), _pxr("Vt")

    skeleton = UsdSkel.Skeleton.Define(stage, "/head/skeleton")
    skeleton.CreateJointsAttr(_joint_paths(rig))
    local = [rig.joints[j] - (rig.joints[parent] if parent >= 0 else 0.0) for j, parent in enumerate(rig.parents)]

    def moved(places: Any) -> Any:
        return Vt.Matrix4dArray([Gf.Matrix4d(1.0).SetTranslate(Gf.Vec3d(*map(float, place))) for place in places])

    skeleton.CreateBindTransformsAttr(moved(rig.joints))
    skeleton.CreateRestTransformsAttr(moved(local))
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([Sdf.Path("/head/animation")])


def _blend_shapes(stage: Any, mesh: Any, rig: Rig) -> list[str]:
    """One prim for each morph target, with the points that it moves."""
    UsdSkel, Vt = _pxr("UsdSkel"), _pxr("Vt")

    paths = []
    for morph in rig.morphs:
        path = mesh.GetPath().AppendChild(morph.name)
        shape = UsdSkel.BlendShape.Define(stage, path)
        ids = np.flatnonzero(np.abs(morph.offsets).max(1) > _STILL)
        shape.CreateOffsetsAttr(Vt.Vec3fArray.FromNumpy(morph.offsets[ids].astype(np.float32)))
        shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(ids.astype(np.int32)))
        paths.append(path)
    names = [morph.name for morph in rig.morphs]
    if names:
        binding = UsdSkel.BindingAPI(mesh.GetPrim())
        binding.CreateBlendShapesAttr(names)
        binding.CreateBlendShapeTargetsRel().SetTargets(paths)
    return names


def _animation(stage: Any, rig: Rig, motion: Motion, names: list[str]) -> None:
    """Default values for a still pose, time samples for a motion; time codes are frames where these are even."""
    Usd, UsdSkel, Vt = _pxr("Usd"), _pxr("UsdSkel"), _pxr("Vt")

    animation = UsdSkel.Animation.Define(stage, "/head/animation")
    animation.CreateJointsAttr(_joint_paths(rig))
    animation.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(np.ones((len(rig.joints), 3), dtype=np.float16)))
    translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
    weights = animation.CreateBlendShapeWeightsAttr()
    if names:
        animation.CreateBlendShapesAttr(names)
    count = len(motion.times)
    rate = (count - 1) / float(motion.times[-1]) if count > 1 else 25.0
    if count > 1:
        stage.SetTimeCodesPerSecond(rate)
        stage.SetFramesPerSecond(rate)
        stage.SetStartTimeCode(0.0)
        stage.SetEndTimeCode(float(count - 1))
    for k in range(count):
        code = Usd.TimeCode(float(motion.times[k] * rate)) if count > 1 else Usd.TimeCode.Default()
        translations.Set(Vt.Vec3fArray.FromNumpy(motion.translations[k].astype(np.float32)), code)
        rotations.Set(_quaternions(motion.rotations[k]), code)
        weights.Set(Vt.FloatArray.FromNumpy(motion.weights[k].astype(np.float32)), code)


def _quaternions(rotations: np.ndarray) -> Any:
    Gf, Vt = _pxr("Gf"), _pxr("Vt")

    return Vt.QuatfArray([Gf.Quatf(float(w), float(x), float(y), float(z)) for x, y, z, w in rotations])


def _material(stage: Any, mesh: Any, picture_name: str | None) -> None:
    Gf, Sdf, UsdShade = _pxr("Gf"), _pxr("Sdf"), _pxr("UsdShade")

    material = UsdShade.Material.Define(stage, "/head/skin")
    surface = UsdShade.Shader.Define(stage, "/head/skin/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.6)
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if picture_name is None:
        color.Set(Gf.Vec3f(*CLAY[:3]))
    else:
        reader = UsdShade.Shader.Define(stage, "/head/skin/uv")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        picture = UsdShade.Shader.Define(stage, "/head/skin/picture")
        picture.CreateIdAttr("UsdUVTexture")
        picture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(picture_name)
        picture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        found = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        picture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(found)
        color.ConnectToSource(picture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    shaded = surface.CreateOutput("surface", Sdf.ValueTypeNames.Token)
    material.CreateSurfaceOutput().ConnectToSource(shaded)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
