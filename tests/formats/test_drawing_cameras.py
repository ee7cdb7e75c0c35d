"""Cameras of drawing programs and of regressors: pixels by each one's own textbook formula, and round trips."""

from dataclasses import fields, replace

import pytest
import torch

from flamehead.errors import InputError
from flamehead.formats import cameras as C
from flamehead.formats import graphics_cameras as G
from flamehead.formats import weak_perspective as W
from flamehead.formats.gaussian_avatars import camera_to_transforms_entry


def assert_same(got, wanted):
    assert got.size == wanted.size and got.orthographic == wanted.orthographic
    for field in fields(got)[:4]:
        torch.testing.assert_close(getattr(got, field.name), getattr(wanted, field.name), rtol=0, atol=1e-9)


@pytest.fixture(params=[(640, 480), (300, 700)])
def scene(request, random_camera):
    camera = random_camera(1, size=request.param)
    generator = torch.Generator().manual_seed(2)
    seen = torch.randn(1000, 4, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 0.0, 5.0])
    return camera, (seen - camera.translation[:, None]) @ camera.rotation


def centered(camera):
    return replace(camera, center=(camera.center.new_tensor(camera.size) / 2).expand_as(camera.center))


def through(matrix, points):
    return torch.einsum("nij,nkj->nki", matrix[:, :3, :3], points) + matrix[:, None, :3, 3]


def gl_pixels(view, clip, points, size):
    """What glViewport(0, 0, W, H) makes of clip coordinates, with the origin moved to the upper left corner."""
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    out = torch.einsum("nij,njk,nlk->nli", clip, view, homogeneous)
    ndc = out[..., :3] / out[..., 3:]
    return torch.stack([(ndc[..., 0] + 1) / 2 * size[0], (1 - ndc[..., 1]) / 2 * size[1]], dim=-1), ndc[..., 2]


@pytest.mark.parametrize("orthographic", [False, True])
def test_opengl_matrices(scene, orthographic):
    camera, points = scene
    camera = replace(camera, orthographic=orthographic)
    view, clip = G.camera_to_opengl_matrices(camera, near=0.1, far=50.0)
    got, _ = gl_pixels(view, clip, points, camera.size)
    torch.testing.assert_close(got, camera.project(points))
    assert_same(G.opengl_matrices_to_camera(view, clip, size=camera.size), camera)
    # The near plane is at -1, the far plane at 1.
    planes = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 50.0]], dtype=torch.float64)
    world = (planes - camera.translation[:, None]) @ camera.rotation
    _, depth = gl_pixels(view, clip, world, camera.size)
    torch.testing.assert_close(depth, torch.tensor([-1.0, 1.0], dtype=torch.float64).expand_as(depth))


def test_opengl_matrices_of_another_kind_are_refused(scene):
    camera, _ = scene
    view, clip = G.camera_to_opengl_matrices(camera)
    with pytest.raises(InputError, match="transpose"):
        G.opengl_matrices_to_camera(view.mT, clip.mT, size=camera.size)
    skewed = clip.clone()
    skewed[:, 0, 1] = 0.1
    with pytest.raises(InputError, match="skew"):
        G.opengl_matrices_to_camera(view, skewed, size=camera.size)
    for near, far in ((0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="near"):
            G.camera_to_opengl_matrices(camera, near=near, far=far)


def test_pyrender_intrinsics(scene):
    camera, points = scene
    pose, focal, center = G.camera_to_pyrender_intrinsics(camera)
    x, y, z = through(torch.linalg.inv(pose), points).unbind(-1)
    u, v = center[:, :1] + focal[:, :1] * x / -z, center[:, 1:] - focal[:, 1:] * y / -z
    torch.testing.assert_close(torch.stack([u, v], -1), camera.project(points))
    assert_same(G.pyrender_intrinsics_to_camera(pose, focal, center, size=camera.size), camera)


def test_pyrender_field_of_view(scene):
    camera, points = scene
    camera = centered(camera)
    pose, yfov, aspect = G.camera_to_pyrender_fov(camera)
    x, y, z = through(torch.linalg.inv(pose), points).unbind(-1)
    # glFrustum's own rule: y / -z is 1 / tan(yfov / 2) at the upper edge, and x is `aspect` times wider.
    tangent = (yfov / 2).tan()[:, None]
    u = (1 + x / -z / (aspect[:, None] * tangent)) / 2 * camera.size[0]
    v = (1 - y / -z / tangent) / 2 * camera.size[1]
    torch.testing.assert_close(torch.stack([u, v], -1), camera.project(points))
    assert_same(G.pyrender_fov_to_camera(pose, yfov, aspect=aspect, size=camera.size), camera)
    square = G.pyrender_fov_to_camera(pose, yfov, size=camera.size)
    torch.testing.assert_close(square.focal[:, 0], square.focal[:, 1])
    with pytest.raises(InputError, match="middle"):
        G.camera_to_pyrender_fov(replace(camera, center=camera.center + 1))


def test_pyrender_orthographic(scene):
    camera, points = scene
    camera = replace(centered(camera), orthographic=True)
    pose, mags = G.camera_to_pyrender_orthographic(camera)
    x, y, _ = through(torch.linalg.inv(pose), points).unbind(-1)
    u, v = (1 + x / mags[:, :1]) / 2 * camera.size[0], (1 - y / mags[:, 1:]) / 2 * camera.size[1]
    torch.testing.assert_close(torch.stack([u, v], -1), camera.project(points))
    assert_same(G.pyrender_orthographic_to_camera(pose, mags, size=camera.size), camera)
    with pytest.raises(InputError, match="pinhole"):
        G.camera_to_pyrender_orthographic(replace(camera, orthographic=False))


@pytest.mark.parametrize("size", [(224, 224), (300, 200)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_weak_perspective(size, batch):
    generator = torch.Generator().manual_seed(4)
    weak = torch.rand(*batch, 3, generator=generator, dtype=torch.float64) * torch.tensor([10.0, 0.1, 0.1]) + 1e-3
    points = 0.1 * torch.randn(*batch, 50, 3, generator=generator, dtype=torch.float64)
    camera = W.weak_perspective_to_camera(weak, size=size)
    s, tx, ty = (weak[..., k, None] for k in range(3))
    n_x, n_y = s * (points[..., 0] + tx), -s * (points[..., 1] + ty)
    wanted = torch.stack([(n_x + 1) * size[0] / 2, (n_y + 1) * size[1] / 2], -1)
    torch.testing.assert_close(camera.project(points), wanted)
    torch.testing.assert_close(W.camera_to_weak_perspective(camera), weak)
    moved = replace(camera, center=camera.center + 3)
    again = W.weak_perspective_to_camera(W.camera_to_weak_perspective(moved), size=size)
    torch.testing.assert_close(again.project(points), wanted + 3)


def test_what_is_no_weak_perspective_is_refused():
    camera = W.weak_perspective_to_camera(torch.tensor([8.0, 0.0, 0.0]), size=(224, 224))
    for other, word in (
        (replace(camera, orthographic=False), "pinhole"),
        (replace(camera, rotation=torch.eye(3)), "turned"),
        (replace(camera, size=(224, 100)), "crop to a square"),
    ):
        with pytest.raises(InputError, match=word):
            W.camera_to_weak_perspective(other)


def test_a_flattened_camera_agrees_at_its_depth(scene):
    camera, _ = scene
    plane = torch.tensor([[0.3, -0.2, 2.5], [-1.0, 0.4, 2.5]], dtype=torch.float64)
    world = (plane - camera.translation[:, None]) @ camera.rotation
    torch.testing.assert_close(W.flatten_camera(camera, 2.5).project(world), camera.project(world))
    deep = torch.full((1000,), 2.5, dtype=torch.float64)
    torch.testing.assert_close(W.flatten_camera(camera, deep).project(world), camera.project(world))


@pytest.mark.parametrize("orthographic", [False, True])
def test_a_camera_follows_its_picture(scene, orthographic):
    camera, points = scene
    camera = replace(camera, focal=camera.focal[:, :1].expand(-1, 2), orthographic=orthographic)
    angle = torch.linspace(-3, 3, 1000, dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
    similarity = torch.cat([2.5 * turn, torch.tensor([[30.0], [-7.0]], dtype=torch.float64).expand(1000, 2, 1)], -1)
    mapped = W.map_camera(camera, similarity, size=(99, 77))
    wanted = torch.einsum("nij,nkj->nki", similarity[..., :2], camera.project(points)) + similarity[:, None, :, 2]
    torch.testing.assert_close(mapped.project(points), wanted)
    assert mapped.size == (99, 77)
    torch.testing.assert_close(torch.linalg.det(mapped.rotation), torch.ones(1000, dtype=torch.float64))
    with pytest.raises(InputError, match="similarity"):
        W.map_camera(camera, similarity * torch.tensor([[1.0], [-1.0]]), size=(9, 9))
    with pytest.raises(InputError, match="square"):
        W.map_camera(replace(camera, focal=camera.focal * torch.tensor([1.0, 2.0])), similarity, size=(9, 9))


def test_pytorch3d_orthographic(scene):
    camera, points = scene
    camera = replace(camera, orthographic=True)
    turn, shift, focal, principal = C.camera_to_pytorch3d_ndc(camera)
    view = points @ turn + shift[:, None]
    ndc = focal[:, None] * view[..., :2] + principal[:, None]
    middle = torch.tensor(camera.size, dtype=torch.float64) / 2
    torch.testing.assert_close(middle - min(camera.size) / 2 * ndc, camera.project(points))
    back = C.pytorch3d_ndc_to_camera(turn, shift, focal, principal, size=camera.size, orthographic=True)
    assert_same(back, camera)


def test_a_parallel_projection_is_not_written_as_a_pinhole(scene):
    camera = replace(scene[0], orthographic=True)
    writers = (
        C.camera_to_opencv,
        G.camera_to_pyrender_intrinsics,
        G.camera_to_pyrender_fov,
        camera_to_transforms_entry,
    )
    for write in writers:
        with pytest.raises(InputError, match="parallel projection"):
            write(camera)
