"""Pictures: the background survives, alpha is coverage, colours arrive, and a wireframe shows visible edges only."""

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.geometry.camera import project, world_to_camera
from flamehead.render import Lighting, linear_to_srgb, render, srgb_to_linear, wireframe

FLAT = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
"""Light that is the same everywhere: the picture is the surface's own colour."""

WALL = torch.tensor([[-5.0, -5.0, 1.0], [5.0, -5.0, 1.0], [-5.0, 5.0, 1.0], [5.0, 5.0, 1.0]])
WALL_FACES = torch.tensor([[0, 2, 1], [1, 2, 3]])


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(height, width, 3)).astype(np.float32)


def plain(size: tuple[int, int] = (20, 16), focal: float = 20.0) -> Camera:
    center = torch.tensor(size) / 2
    return Camera(torch.eye(3), torch.zeros(3), torch.tensor([focal, focal]), center, size)


def test_the_background_outside_is_kept_bit_for_bit(bust, front):
    behind = noise(80, 96)
    picture = render(bust[0], bust[1], front, background=behind)
    outside = picture.alpha == 0
    assert 0.2 < outside.mean() < 0.9
    np.testing.assert_array_equal(picture.image[outside], behind[outside])
    assert (np.abs(picture.image - behind)[picture.alpha == 1].max(axis=-1) > 0).mean() > 0.99
    assert picture.image.dtype == np.float32 and 0 <= picture.image.min() and picture.image.max() <= 1


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_full_cover_hides_the_background(supersample):
    one, two = (
        render(WALL, WALL_FACES, plain(), background=color, supersample=supersample)
        for color in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    )
    np.testing.assert_array_equal(one.image, two.image)
    assert (one.alpha == 1).all()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_opacity_blends_between_background_and_mesh(bust, front, alpha):
    behind = noise(80, 96)
    alone, over = render(bust[0], bust[1], front), render(bust[0], bust[1], front, background=behind, alpha=alpha)
    weight = alpha * alone.alpha[..., None]
    np.testing.assert_allclose(over.image, behind * (1 - weight) + alone.image * weight, atol=1e-6)
    np.testing.assert_allclose(over.alpha, alpha * alone.alpha, atol=1e-7)


def test_alpha_is_the_share_of_the_pixel_that_is_covered():
    # An edge that cuts pixels at 3/8 of their width.
    half = WALL.clone()
    half[[1, 3], 0] = 0.375 / 20.0
    picture = render(half, WALL_FACES, plain(), supersample=8)
    np.testing.assert_allclose(picture.alpha[:, 10], 0.375, atol=1e-6)
    assert (picture.alpha[:, :10] == 1).all() and (picture.alpha[:, 11:] == 0).all()


def test_colours_per_vertex_per_pixel_and_for_all_agree(bust, front):
    vertices, faces = bust
    colors = torch.rand(len(vertices), 3, generator=torch.Generator().manual_seed(0))
    linear = srgb_to_linear(colors.numpy())

    def look_up(face_ids, barycentric):
        return linear_to_srgb((linear[faces.numpy()[face_ids]] * barycentric[..., None]).sum(axis=1))

    by_vertex = render(vertices, faces, front, colors=colors).image
    np.testing.assert_allclose(render(vertices, faces, front, colors=look_up).image, by_vertex, atol=2e-3)
    grey = render(vertices, faces, front, colors=(0.5, 0.5, 0.5)).image
    np.testing.assert_allclose(
        render(vertices, faces, front, colors=torch.full_like(vertices, 0.5)).image, grey, atol=1e-4
    )


def test_a_flatly_lit_surface_shows_its_own_colour():
    color = (0.8, 0.4, 0.1)
    image = render(WALL, WALL_FACES, plain(), colors=color, lighting=FLAT).image
    np.testing.assert_allclose(image, np.broadcast_to(color, image.shape), atol=1e-5)


def test_edges_average_light_not_code_values():
    # Two faces, black and white, meet in the middle of a column of pixels.
    split = torch.cat([WALL, WALL])
    split[[1, 3], 0] = split[[4, 6], 0] = 0.5 / 20.0
    faces = torch.cat([WALL_FACES, WALL_FACES + 4])
    colors = torch.cat([torch.zeros(4, 3), torch.ones(4, 3)])
    image = render(split, faces, plain(), colors=colors, lighting=FLAT).image
    np.testing.assert_allclose(image[:, 10], linear_to_srgb(np.array(0.5)), atol=1e-5)


def test_insides_are_lit_like_outsides_unless_culled():
    out, back = (render(WALL, faces, plain()) for faces in (WALL_FACES, WALL_FACES.flip(1)))
    np.testing.assert_allclose(out.image, back.image, atol=1e-6)
    assert render(WALL, WALL_FACES, plain(), cull=True).alpha.all()
    assert not render(WALL, WALL_FACES.flip(1), plain(), cull=True).alpha.any()


def test_light_comes_from_the_upper_left(bust, front):
    image = render(bust[0], bust[1], front).image.mean(axis=-1)
    assert image[25:35, 30:44].mean() > image[45:55, 52:66].mean() + 0.03


def test_a_world_far_from_its_origin_gives_the_same_picture(bust, front):
    vertices, faces = bust
    away = torch.tensor([800.0, -300.0, 500.0], dtype=torch.float64)
    moved = Camera(
        front.rotation.double(),
        front.translation.double() - front.rotation.double() @ away,
        front.focal,
        front.center,
        front.size,
    )
    near, far = render(vertices, faces, front), render(vertices.double() + away, faces, moved)
    np.testing.assert_allclose(far.image, near.image, atol=0.02)


def test_nothing_in_view_is_an_empty_picture(bust, front):
    vertices, faces = bust
    picture = render(vertices + 50.0, faces, front, background=(0.2, 0.3, 0.4))
    assert not picture.alpha.any()
    np.testing.assert_allclose(
        picture.image, np.broadcast_to(np.array([0.2, 0.3, 0.4], np.float32), picture.image.shape)
    )
    assert render(torch.full_like(vertices, torch.nan), faces, front).image.max() == 0


def test_wrong_sizes_get_one_sentence(bust, front):
    vertices, faces = bust
    with pytest.raises(InputError, match="resize the background"):
        render(vertices, faces, front, background=noise(10, 10))
    with pytest.raises(InputError, match="RGB row"):
        render(vertices, faces, front, colors=torch.ones(7, 3))


def test_a_wireframe_lies_on_visible_edges_only(bust, front):
    vertices, faces = bust
    # Blow the nose's side up: few, large triangles would do, but the body has all sizes.
    large = Camera(front.rotation, front.translation, front.focal * 8, front.center * 8, (768, 640))
    black = np.zeros((640, 768, 3), dtype=np.float32)
    drawn = wireframe(black, vertices, faces, large)[..., 0]
    assert not drawn[render(vertices, faces, large).alpha == 0].any()
    pixels = project(world_to_camera(vertices, large.rotation, large.translation), large.focal, large.center).numpy()
    corners = pixels[faces.numpy()]
    edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front_facing = (edges[0][:, 0] * edges[1][:, 1] - edges[0][:, 1] * edges[1][:, 0]) < -200
    middles, centers = corners[front_facing][:, :2].mean(axis=1), corners[front_facing].mean(axis=1)

    def values(points):
        x, y = np.floor(points).astype(int).T
        return drawn[y, x]

    assert (values(middles) > 0.3).mean() > 0.95
    # The hidden side's edges would run through many of these.
    assert (values(centers) < 0.05).mean() > 0.95


def test_a_wireframe_keeps_the_rest_of_the_image(front):
    behind = noise(16, 20)
    drawn = wireframe(behind, WALL, WALL_FACES, plain())
    changed = (drawn != behind).any(axis=-1)
    # The only edge in view is the wall's diagonal.
    assert 0 < changed.sum() <= 3 * 20
    assert all(abs((x + 0.5 - 10) + (y + 0.5 - 8)) < 2.5 for y, x in zip(*changed.nonzero(), strict=True))
