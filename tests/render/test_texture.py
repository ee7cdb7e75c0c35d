"""Textures on meshes: in place, without seams, averaged when small, and as easy to pass as colours."""

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.raster import interpolate, rasterize
from flamehead.render import Lighting, Texture, encode_srgb, render, sample_texture, texture_level

FLAT = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
"""Shows the albedo itself."""
WALL = torch.tensor([[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [-1.0, 1.0, 2.0], [1.0, 1.0, 2.0]])
WALL_FACES = torch.tensor([[0, 2, 1], [1, 2, 3]])
WALL_UV = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])


def camera(size: int, *, turn: float = 0.0) -> Camera:
    """Sees the wall, two metres away, exactly fill a square picture."""
    c, s = np.cos(turn), np.sin(turn)
    rotation = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]], dtype=torch.float32)
    shift = torch.tensor([0.0, 0.0, 2.0]) - rotation @ torch.tensor([0.0, 0.0, 2.0])
    return Camera(rotation, shift, torch.full((2,), float(size)), torch.full((2,), size / 2), (size, size))


def picture(size: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(size, size, 3, generator=torch.Generator().manual_seed(seed))


def test_a_texture_of_the_pictures_size_is_the_picture():
    image = picture(32)
    shown = render(
        WALL, WALL_FACES, camera(32), colors=Texture(image, WALL_UV, WALL_FACES), lighting=FLAT, supersample=1
    )
    np.testing.assert_allclose(shown.image, image.numpy(), atol=2e-3)


@pytest.mark.parametrize("size", [4, 8])
def test_a_minified_texture_is_the_mean_of_its_light(size):
    image = picture(64)
    texture = Texture(image, WALL_UV, WALL_FACES)
    shown = render(WALL, WALL_FACES, camera(size), colors=texture, lighting=FLAT, supersample=1)
    blocks = texture.linear().image.reshape(size, 64 // size, size, 64 // size, 3).mean(dim=(1, 3))
    np.testing.assert_allclose(shown.image, encode_srgb(blocks).numpy(), atol=2e-3)


@pytest.mark.parametrize("turn", [0.0, 0.5, 1.1])
def test_the_level_is_that_of_finite_differences(turn):
    size, step = 64, 1e-3
    view = camera(size, turn=turn)
    points = (WALL @ view.rotation.T + view.translation).double()
    flat = size * points[:, :2] / points[:, 2:] + size / 2
    screen = torch.cat([flat, points[:, 2:]], dim=1).float()
    fragments = rasterize(screen, WALL_FACES, view.size)
    uv = interpolate(WALL_UV, WALL_FACES, fragments)
    texture = Texture(picture(512), WALL_UV, WALL_FACES)
    level = texture_level(texture, screen, WALL_FACES, fragments.face_ids, fragments.depth, uv)
    assert torch.equal(level.isnan(), ~fragments.covered)

    def uv_at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        # Where the ray through a pixel meets the wall.
        ray = torch.stack([(x - size / 2) / size, (y - size / 2) / size, torch.ones_like(x)], dim=-1).double()
        turned, origin = ray @ view.rotation.double(), -(view.translation.double() @ view.rotation.double())
        hit = origin + turned * ((2.0 - origin[2]) / turned[..., 2:])
        return torch.stack([0.5 + 0.5 * hit[..., 0], 0.5 - 0.5 * hit[..., 1]], dim=-1)

    y, x = fragments.covered.nonzero().double().add(0.5).unbind(1)
    torch.testing.assert_close(uv_at(x, y).float(), uv[fragments.covered], atol=1e-3, rtol=0)
    right, down = (512 * (uv_at(*at) - uv_at(x, y)).norm(dim=-1) / step for at in ((x + step, y), (x, y + step)))
    wanted = torch.maximum(right, down).log2().clamp(min=0).float()
    torch.testing.assert_close(level[fragments.covered], wanted, atol=2e-2, rtol=0)


def test_corners_of_a_seam_have_uv_of_their_own():
    # Both triangles show the whole of their own half; between the halves lies a red column that nobody shows.
    image = torch.zeros(8, 9, 3)
    image[:, :4], image[:, 5:], image[:, 4] = 0.25, 0.75, torch.tensor([1.0, 0.0, 0.0])
    uv = torch.tensor([[0.1, 0.9], [0.1, 0.1], [0.35, 0.9], [0.65, 0.9], [0.65, 0.1], [0.9, 0.1]])
    texture = Texture(image, uv, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    shown = render(WALL, WALL_FACES, camera(32), colors=texture, lighting=FLAT, supersample=1).image
    assert set(np.unique(np.round(shown, 3))) == {0.25, 0.75}


def test_bytes_and_arrays_become_textures():
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    texture = Texture.of(image, WALL_UV.numpy().astype(np.float64), WALL_FACES.numpy().astype(np.int32))
    np.testing.assert_allclose(texture.image.numpy(), image[..., :3] / 255, atol=1e-7)
    assert texture.uv.dtype == texture.image.dtype == torch.float32 and texture.uv_faces.dtype == torch.int64


def test_linear_textures_are_not_decoded():
    uv = torch.rand(20, 2)
    linear = Texture(picture(8), WALL_UV, WALL_FACES).linear()
    assert linear.linear() is linear
    coded = Texture(encode_srgb(linear.image), WALL_UV, WALL_FACES)
    torch.testing.assert_close(sample_texture(coded, uv), sample_texture(linear, uv), atol=1e-5, rtol=0)


def test_gradients_reach_image_and_uv():
    image = picture(8).double().requires_grad_()
    uv = (0.2 + 0.6 * torch.rand(10, 2, generator=torch.Generator().manual_seed(1)).double()).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda i, x: sample_texture(Texture(i, WALL_UV, WALL_FACES), x), (image, uv), atol=1e-5
    )


def test_wrong_shapes_get_one_sentence():
    with pytest.raises(InputError, match=r"\(H, W, 3\)"):
        Texture.of(np.zeros((4, 4)), WALL_UV, WALL_FACES)
    with pytest.raises(InputError, match="uv per corner"):
        Texture.of(np.zeros((4, 4, 3)), WALL, WALL_FACES)
    with pytest.raises(InputError, match="count from 0"):
        Texture.of(np.zeros((4, 4, 3)), WALL_UV, WALL_FACES + 1)
    with pytest.raises(InputError, match="texture of this mesh"):
        render(WALL, WALL_FACES, camera(8), colors=Texture(picture(4), WALL_UV, WALL_FACES[:1]))
