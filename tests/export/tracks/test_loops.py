"""Rims of a mesh are found from its edges, and a mouth is closed without new vertices."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.export._loops import boundary_loops, mouth_triangles, zip_loop
from flamehead.raster.edges import edges_of

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("FLAMEHEAD_DEV_DATA", ROOT.parent / "shared" / "data"))
TEMPLATE = DATA / "flame_files" / "head_template_mesh.obj"


def rims(faces):
    """How many triangles use each edge once."""
    return int((np.diff(edges_of(faces).starts) == 1).sum())


@pytest.fixture(scope="module")
def open_head():
    """The built-in head without the bag behind its lips: two rims, as FLAME's mesh has."""
    flame = load_flame()
    bag = np.isin(flame.faces.numpy(), flame.regions["lip_inside"]).all(axis=1)
    return flame, flame.faces[torch.from_numpy(~bag)].contiguous()


def test_the_built_in_head_has_a_neck_rim_and_a_closed_mouth():
    flame = load_flame()
    (loop,) = boundary_loops(flame.faces)
    assert flame.template[loop, 1].max() < -0.15
    assert len(mouth_triangles(flame.template.numpy(), flame.faces, flame.regions["lips"])) == 0
    assert len(mouth_triangles(flame.template.numpy(), flame.faces)) == 0


@pytest.mark.parametrize("told", [True, False])
def test_an_open_mouth_is_closed_by_two_triangles_less_than_its_rim_has_vertices(open_head, told):
    flame, faces = open_head
    vertices = flame.template.numpy()
    before = boundary_loops(faces)
    extra = mouth_triangles(vertices, faces, flame.regions["lips"] if told else None)
    rim = max((loop for loop in before if vertices[loop, 1].min() > -0.15), key=len)
    assert len(extra) == len(rim) - 2 and set(extra.ravel()) == set(rim.tolist())
    closed = torch.cat([torch.from_numpy(extra), faces])
    assert rims(closed) == rims(faces) - len(rim)
    assert int(np.diff(edges_of(closed).starts).max()) == 2
    a, b, c = (vertices[extra[:, k]] for k in range(3))
    # The jaw at rest holds the lips together, so only the sum of the areas has a clear direction.
    assert np.cross(b - a, c - a).sum(axis=0)[2] > 0


@pytest.mark.parametrize("count", [3, 4, 7, 32])
def test_any_loop_is_closed(count):
    angle = -2 * np.pi * np.arange(count) / count
    vertices = np.stack([np.cos(angle), 0.3 * np.sin(angle), 0 * angle], axis=1)
    triangles = zip_loop(vertices, np.arange(count))
    assert triangles.shape == (count - 2, 3)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)[:, 2]
    assert (area > 0).all()
    assert area.sum() / 2 == pytest.approx(0.3 * count / 2 * np.sin(2 * np.pi / count))


@pytest.mark.assets
@pytest.mark.skipif(not TEMPLATE.is_file(), reason="the development data folder is absent")
def test_the_official_template_has_two_rims_of_30_and_32():
    from flamehead.io import read_mesh

    mesh = read_mesh(TEMPLATE)
    faces = torch.from_numpy(mesh.faces)
    assert sorted(map(len, boundary_loops(faces))) == [30, 32]
    extra = mouth_triangles(mesh.vertices, faces)
    assert len(extra) == 30 and rims(torch.cat([torch.from_numpy(extra), faces])) == 30
    corners = {1594, 2730, 1572, 2708}
    assert corners <= set(extra.ravel())
