"""Maps: each tells the truth about the surface point at the pixel's centre."""

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.render import depth_to_millimetres, face_regions, maps, normals_to_bytes, render

ALL = ("color", "alpha", "depth", "normals", "uv", "regions", "faces", "positions")


@pytest.fixture
def read(bust, front):
    vertices, faces = bust
    regions = {
        "all": np.arange(len(vertices)),
        "top": np.flatnonzero(vertices[:, 1] > 0.03),
        "left": np.flatnonzero(vertices[:, 0] > 0.0),
    }
    uv = (vertices[:, :2].numpy() * 5 + 0.5, faces.numpy())

    def call(want=ALL, camera: Camera = front, **options):
        return maps(vertices, faces, camera, want=want, uv=uv, regions=regions, **options)

    return call


def test_only_what_is_wanted_is_made(read):
    found = read(["depth", "faces"])
    assert found.depth is not None and found.faces is not None
    assert all(getattr(found, name) is None for name in set(ALL) - {"depth", "faces"})


def test_all_maps_agree_on_what_is_background(read):
    found = read()
    seen = found.faces >= 0
    assert 0.1 < seen.mean() < 0.9
    np.testing.assert_array_equal(found.alpha, seen.astype(np.float32))
    np.testing.assert_array_equal(np.isfinite(found.depth), seen)
    np.testing.assert_array_equal(np.isfinite(found.uv).all(-1), seen)
    np.testing.assert_array_equal(np.isfinite(found.positions).all(-1), seen)
    np.testing.assert_array_equal(found.normals.any(-1), seen)
    np.testing.assert_array_equal(found.regions >= 0, seen)
    assert not found.color[~seen].any()


@pytest.mark.parametrize("frame", ["camera", "world"])
def test_depth_reprojects_to_the_surface(read, front, bust, frame):
    found = read(frame=frame)
    row, column = np.nonzero(found.faces >= 0)
    z = found.depth[row, column]
    (fx, fy), (cx, cy) = front.focal.numpy(), front.center.numpy()
    in_camera = np.stack([(column + 0.5 - cx) / fx * z, (row + 0.5 - cy) / fy * z, z], axis=1)
    if frame == "world":
        in_camera = (in_camera - front.translation.numpy()) @ front.rotation.numpy()
    # Corners are snapped to 1/1024 of a pixel, here some 4 micrometres.
    np.testing.assert_allclose(found.positions[row, column], in_camera, atol=3e-5)


def test_normals_are_unit_face_the_viewer_and_turn_with_the_frame(read, front):
    camera, world = read(frame="camera"), read(frame="world")
    seen = camera.faces >= 0
    np.testing.assert_allclose(np.linalg.norm(camera.normals[seen], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(camera.normals[seen], world.normals[seen] @ front.rotation.numpy().T, atol=1e-5)
    ray = camera.positions[seen] / np.linalg.norm(camera.positions[seen], axis=1, keepdims=True)
    # Smooth normals may lean a little beyond the limb.
    assert ((camera.normals[seen] * ray).sum(1) < 0.1).all()
    assert ((camera.normals[seen] * ray).sum(1) < 0).mean() > 0.98


def test_uv_and_positions_are_those_of_the_same_point(read):
    found = read(frame="world")
    seen = found.faces >= 0
    np.testing.assert_allclose(found.uv[seen], found.positions[seen][:, :2] * 5 + 0.5, atol=1e-5)


def test_regions_are_those_of_the_face_that_is_hit(read, bust):
    vertices, faces = bust
    found = read()
    seen = found.faces >= 0
    corners = vertices.numpy()[faces.numpy()[found.faces[seen]]]
    top, left = (corners[..., 1] > 0.03).all(1), (corners[..., 0] > 0).all(1)
    sizes = {"top": (vertices[:, 1] > 0.03).sum(), "left": (vertices[:, 0] > 0).sum()}
    smaller, larger = sorted(sizes, key=lambda name: int(sizes[name]))
    inside = {"top": top, "left": left}
    wanted = np.where(inside[smaller], smaller, np.where(inside[larger], larger, "all"))
    np.testing.assert_array_equal(np.array(found.region_names)[found.regions[seen]], wanted)


def test_a_face_with_one_corner_outside_belongs_to_no_region():
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    of_face, names = face_regions(faces, {"a": np.array([0, 1, 2])})
    assert of_face.tolist() == [0, -1] and names == ("a",)


def test_color_is_the_rendered_one(read, bust, front):
    vertices, faces = bust
    wanted = render(vertices, faces, front, supersample=1).image
    np.testing.assert_allclose(read(["color"]).color, wanted, atol=1e-6)


def test_millimetres_are_whole_rounded_down_and_0_is_nothing():
    depth = np.array([0.0, 0.5, 0.9996, 1.0, np.float32(1.001), 1.0019, 65.5, 66.0, np.inf, np.nan, -1.0])
    assert depth_to_millimetres(depth).tolist() == [0, 500, 999, 1000, 1001, 1001, 65500, 0, 0, 0, 0]
    assert depth_to_millimetres(depth).dtype == np.uint16


def test_the_picture_of_normals_is_the_usual_one():
    normals = np.array([[[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 0.0]]])
    wanted = [[128, 128, 255], [255, 128, 128], [128, 255, 128], [0, 0, 0]]
    assert normals_to_bytes(normals)[0].tolist() == wanted
    assert normals_to_bytes(normals * [1, -1, -1], frame="world")[0].tolist() == wanted


def test_missing_inputs_get_one_sentence(bust, front):
    for want, words in (
        (["regions"], "regions=flame.regions"),
        (["uv"], "uv_faces"),
        (["colour"], "There are no maps"),
    ):
        with pytest.raises(InputError, match=words):
            maps(bust[0], bust[1], front, want=want)  # pyright: ignore[reportArgumentType]
