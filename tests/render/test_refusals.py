"""What makes no picture is refused in a sentence; nothing wrong is drawn without a word."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.errors import InputError
from flamehead.raster import paint, rasterize
from flamehead.render import (
    Texture,
    decode_srgb,
    distance_chart,
    draw,
    encode_srgb,
    field_colors,
    harmonic_light,
    maps,
    orbit_camera,
    render,
    sample_image,
    side_view,
    swing,
    texture_level,
    tile,
    wireframe,
    with_legend,
)
from flamehead.render.sampling import build_pyramid
from flamehead.render.screen import to_screen

Mesh = tuple[torch.Tensor, torch.Tensor]
WHITE = torch.ones(4, 4, 3)


def flat_uv(bust) -> tuple[torch.Tensor, torch.Tensor]:
    vertices, faces = bust
    return torch.rand(len(vertices), 2, generator=torch.Generator().manual_seed(0)), faces


@pytest.mark.parametrize("rows", [(2, 3), (7,)])
def test_a_function_of_colors_returns_rgb_for_each_point(bust: Mesh, front, rows):
    with pytest.raises(InputError, match="RGB for each point"):
        render(*bust, front, colors=lambda ids, weights: np.ones(rows))


@pytest.mark.parametrize(
    "option, value",
    [
        ("alpha", 2.0),
        ("alpha", float("nan")),
        ("background", np.full((80, 96, 3), 255, np.uint8)),
        ("background", np.full((80, 96, 3), 255.0)),
        ("background", np.full((80, 96, 3), np.nan)),
        ("background", "#ffffff"),
        ("background", (255, 255, 255)),
        ("colors", np.full((1500, 3), 255, np.uint8)),
        ("colors", torch.full((1500, 3), torch.nan)),
        ("colors", "red"),
    ],
)
def test_colours_lie_between_0_and_1(bust: Mesh, front, option, value):
    with pytest.raises(InputError, match=r"0 to 1|white"):
        render(*bust, front, **{option: value})


def test_a_picture_needs_one_mesh_and_one_camera(bust: Mesh, front):
    vertices, faces = bust
    for wrong in (vertices[None], vertices[:, :2]):
        with pytest.raises(InputError, match="one camera"):
            render(wrong, faces, front)
    with pytest.raises(InputError, match="one camera"):
        render(vertices, faces, replace(front, rotation=front.rotation.expand(2, 3, 3)))


def test_a_texture_is_checked_however_it_is_made():
    uv, faces = torch.rand(3, 2), torch.tensor([[0, 1, 2]])
    for image, places, corners in (
        (WHITE[..., :1], uv, faces),
        (WHITE, uv, faces + 1),
        (WHITE, uv, faces - 1),
        (WHITE, uv, faces[:, :2]),
        (WHITE, uv, faces.double()),
        (WHITE, uv[:, :1], faces),
        (WHITE.int(), uv, faces),
    ):
        with pytest.raises(InputError, match=r"texture|uv_faces|whole numbers"):
            Texture(image, places, corners)
    with pytest.raises(InputError, match="choose one of"):
        Texture(WHITE, uv, faces, "rgb")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers_become_shares_of_their_largest(dtype):
    image = np.full((4, 4, 3), np.iinfo(dtype).max, dtype)
    found = Texture.of(image, np.zeros((3, 2)), np.array([[0, 1, 2]]))
    torch.testing.assert_close(found.image, torch.ones(4, 4, 3))


def test_texture_level_refuses_faces_that_are_not_there(bust: Mesh, front):
    vertices, faces = bust
    texture, points = Texture(WHITE, *flat_uv(bust)), to_screen(vertices, front)
    for ids in (torch.tensor([len(faces)]), torch.tensor([-2])):
        with pytest.raises(InputError, match="one mesh"):
            texture_level(texture, points, faces, ids, torch.ones(1), torch.zeros(1, 2))
    with pytest.raises(InputError, match="depth"):
        texture_level(texture, points, faces, torch.tensor([0, 1]), torch.ones(1), torch.zeros(1, 2))


def test_writes_through_numpy_are_seen_by_textures(bust: Mesh, front):
    vertices, faces = bust
    uv, corners = flat_uv(bust)
    rows = corners.numpy().copy()
    texture = Texture(torch.rand(8, 8, 3), uv, torch.from_numpy(rows))
    light = torch.rand(9, 3)
    before = draw(vertices, faces, front, albedo=texture, light=light).image
    rows[:] = rows[::-1].copy()
    after = draw(vertices, faces, front, albedo=texture, light=light).image
    anew = replace(texture, uv_faces=texture.uv_faces.clone())
    torch.testing.assert_close(after, draw(vertices, faces, front, albedo=anew, light=light).image)
    assert not torch.equal(before, after)
    rows[0, 0] = 10**8
    with pytest.raises(InputError, match="rows"):
        draw(vertices, faces, front, albedo=texture, light=light)


@pytest.mark.parametrize(
    "option",
    [
        {"encoding": "rgb"},
        {"shading": "pixl"},
        {"background": torch.ones(3, 4, 3)},
        {"light": torch.ones(9, 3, dtype=torch.float64)},
        {"light": torch.ones(3, 9, 3)},
    ],
)
def test_draw_refuses_what_does_not_fit(bust: Mesh, front, option):
    vertices, faces = bust
    with pytest.raises(InputError, match=r"choose one of|wanted|\.dtype"):
        draw(vertices, faces, front, albedo=torch.ones_like(vertices), **option)


@pytest.mark.parametrize(
    "option",
    [
        {"frame": "wrld"},
        {"uv": (np.zeros((3, 2)), np.zeros((5000, 3), int))},
        {"uv": (np.zeros((3, 2)), np.zeros((2996, 2), int))},
        {"regions": {"a": np.ones(1500, bool)}},
        {"regions": {"a": np.array([10**6])}},
        {"regions": {"a": np.array([-1])}},
    ],
)
def test_maps_refuse_what_does_not_fit(bust: Mesh, front, option):
    given = {"uv": (np.zeros((3, 2)), np.zeros(bust[1].shape, int)), "regions": {}} | option
    with pytest.raises(InputError, match=r"choose one of|uv_faces|vertex|vertices|whole"):
        maps(*bust, front, want=["uv", "regions", "normals"], **given)


@pytest.mark.parametrize("camera", [orbit_camera, side_view])
def test_cameras_are_framed_on_something(bust: Mesh, camera):
    vertices, _ = bust
    with pytest.raises(InputError, match="at least 1"):
        camera(vertices, (0, 0))
    broken = vertices.clone()
    broken[3, 1] = torch.nan
    for wrong in (broken, vertices[:0]):
        with pytest.raises(InputError, match="vertices"):
            camera(wrong, (64, 64))


def test_pictures_that_cannot_be_arranged(bust: Mesh, front):
    with pytest.raises(InputError, match="columns"):
        tile([np.ones((4, 4, 3))], columns=0)
    with pytest.raises(InputError, match="components"):
        next(swing(torch.zeros(3), [7], frames=4, reach=1.0))
    with pytest.raises(InputError, match="equal"):
        wireframe(np.ones((8, 8, 3)), *bust, front)
    with pytest.raises(InputError, match="limits"):
        with_legend(np.ones((80, 80, 3)), limits=(1.0, 1.0))
    with pytest.raises(InputError, match="legend"):
        with_legend(np.ones((8, 8, 3)), limits=(0.0, 1.0))
    with pytest.raises(InputError, match="choose one of"):
        field_colors(np.ones(3), limits=(0.0, 1.0), colormap="jet")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="above 0"):
        distance_chart(np.ones(3), 0.0, title="", unit="mm")


def test_backends_are_chosen_by_name():
    with pytest.raises(InputError, match="choose one of"):
        harmonic_light(torch.ones(2, 3), torch.ones(9, 3), backend="numa")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="choose one of"):
        sample_image(WHITE, torch.zeros(1, 2), backend="numa")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "job",
    [
        decode_srgb,
        encode_srgb,
        lambda x: harmonic_light(x, torch.ones(9, 3)),
        lambda x: build_pyramid(x[None]).texels,
        lambda x: sample_image(x[None], torch.rand(5, 2)),
    ],
)
def test_kernels_say_that_they_have_first_derivatives_only(job):
    values = torch.rand(4, 3, requires_grad=True)
    (slope,) = torch.autograd.grad((job(values) ** 2).sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("curve", [decode_srgb, encode_srgb])
def test_second_derivatives_of_the_curves_are_right(curve):
    values = torch.tensor([0.001, 0.02, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(curve, values)


@pytest.mark.parametrize("shape", [(1500, 2), (1500, 1), (4500,), (1500, 4)])
@pytest.mark.parametrize("textured", [True, False])
def test_draw_wants_vertices_in_space(bust: Mesh, front, shape, textured):
    uv, corners = flat_uv(bust)
    vertices = torch.rand(shape)
    albedo = Texture(WHITE, uv, corners) if textured else torch.ones(1500, 3)
    with pytest.raises(InputError, match="shape"):
        draw(vertices, bust[1], front, albedo=albedo, light=torch.zeros(9, 3))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"camera": None}, "side_view"),
        ({"albedo": None}, "Texture"),
        ({"albedo": np.ones((1500, 3))}, "as_tensor"),
        ({"albedo": lambda ids, weights: weights}, "Texture"),
        ({"light": np.zeros((9, 3), np.float32)}, "as_tensor"),
        ({"background": (1.0, 1.0, 1.0)}, "as_tensor"),
        ({"vertices": torch.rand(1500, 3, dtype=torch.float64), "albedo": torch.ones(1500, 3).double()}, "camera.to"),
    ],
)
def test_draw_says_of_what_kind_things_are(bust: Mesh, front, change, match):
    given = {"vertices": bust[0], "camera": front, "albedo": torch.ones(1500, 3), "light": torch.zeros(9, 3)}
    with pytest.raises(InputError, match=match):
        draw(faces=bust[1], **(given | change))


def test_textures_and_paint_take_tensors(bust: Mesh):
    vertices, faces = bust
    uv, corners = flat_uv(bust)
    with pytest.raises(InputError, match=r"Texture\.of"):
        Texture(WHITE.numpy(), uv, corners)  # pyright: ignore[reportArgumentType]
    points = vertices + torch.tensor([0.0, 0.0, 1.0])
    seen = rasterize(points, faces, (4, 4))
    with pytest.raises(InputError, match="as_tensor"):
        paint(vertices.numpy(), points, faces, seen)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="as_tensor"):
        paint(vertices, points.numpy(), faces, seen)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="rasterize"):
        paint(vertices, points, faces, None)  # pyright: ignore[reportArgumentType]
