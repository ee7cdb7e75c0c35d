"""A USD rig does what the model does, evaluated by Pixar's own UsdSkel; skipped where usd-core is not installed."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.errors import InputError, MissingExtra
from flamehead.export import build_rig, motion_of, write_usd
from flamehead.io import UvMap


@pytest.fixture
def layout():
    from flamehead.builtin import builtin_head

    head = builtin_head()
    return UvMap(head.uv, head.uv_faces, np.full((8, 8, 3), 0.5, dtype=np.float32))


def posed(path, code):
    """The mesh's points at a time code, as UsdSkel moves them."""
    Usd, UsdGeom, UsdSkel, Vt = (importlib.import_module(f"pxr.{name}") for name in ("Usd", "UsdGeom", "UsdSkel", "Vt"))
    stage = Usd.Stage.Open(str(path))
    root, mesh = UsdSkel.Root(stage.GetPrimAtPath("/head")), UsdGeom.Mesh(stage.GetPrimAtPath("/head/mesh"))
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath("/head/skeleton")))
    skinning = cache.GetSkinningQuery(mesh.GetPrim())
    points = Vt.Vec3fArray(mesh.GetPointsAttr().Get())
    shapes = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(mesh.GetPrim()))
    weights = skinning.GetBlendShapeMapper().Remap(skeleton.GetAnimQuery().ComputeBlendShapeWeights(code))
    shares, ids, subs = shapes.ComputeSubShapeWeights(weights)
    assert shapes.ComputeDeformedPoints(
        shares, ids, subs, shapes.ComputeBlendShapePointIndices(), shapes.ComputeSubShapePointOffsets(), points
    )
    assert skinning.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(code), points, code)
    return np.array(points)


@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usdz"])
def test_every_frame_is_the_models(flame, moving, tmp_path, layout, suffix):
    usd = pytest.importorskip("pxr.Usd")
    times = np.arange(12) / 25.0
    rig = build_rig(flame, moving)
    written = write_usd(tmp_path / f"head{suffix}", rig, motion_of(rig, moving, times=times), uv_map=layout)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    vertices = flame(moving).vertices.numpy()
    for k in (0, 5, 11):
        assert np.abs(posed(written[-1], usd.TimeCode(k)) - vertices[k]).max() < 1e-6


def test_a_still_pose_and_its_description(flame, tmp_path):
    usd = pytest.importorskip("pxr.Usd")
    params = replace(flame.zeros(), jaw=torch.tensor([0.3, 0.0, 0.0]), neck=torch.tensor([0.1, 0.4, 0.0]))
    rig = build_rig(flame, params)
    write_usd(tmp_path / "still.usda", rig, motion_of(rig, params))
    assert np.abs(posed(tmp_path / "still.usda", usd.TimeCode.Default()) - flame(params).vertices.numpy()).max() < 1e-6
    stage = usd.Stage.Open(str(tmp_path / "still.usda"))
    assert stage.GetDefaultPrim().GetCustomDataByKey("flamehead:fingerprint") == flame.fingerprint


def test_uneven_times_stay_uneven(flame, moving, tmp_path):
    usd = pytest.importorskip("pxr.Usd")
    rig = build_rig(flame, moving)
    times = np.array([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13]) / 30.0
    write_usd(tmp_path / "track.usdc", rig, motion_of(rig, moving, times=times))
    stage = usd.Stage.Open(str(tmp_path / "track.usdc"))
    codes = stage.GetPrimAtPath("/head/animation").GetAttribute("rotations").GetTimeSamples()
    np.testing.assert_allclose(np.array(codes) / stage.GetTimeCodesPerSecond(), times, atol=1e-9)


def test_wrong_names_and_layouts_are_refused(flame, tmp_path, layout):
    rig = build_rig(flame, flame.zeros())
    motion = motion_of(rig, flame.zeros())
    with pytest.raises(InputError, match=r"wanted \.usdz"):
        write_usd(tmp_path / "head.fbx", rig, motion)
    with pytest.raises(InputError, match="UV layout of this mesh"):
        write_usd(tmp_path / "head.usdc", rig, motion, uv_map=replace(layout, faces=layout.faces[:3]))
    assert not list(tmp_path.iterdir())


def test_without_usd_core_the_install_line_is_said(flame, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    monkeypatch.setitem(sys.modules, "pxr.Usd", None)
    rig = build_rig(flame, flame.zeros())
    with pytest.raises(MissingExtra, match=r"pip install flamehead\[usd\]"):
        write_usd(tmp_path / "head.usdc", rig, motion_of(rig, flame.zeros()))
