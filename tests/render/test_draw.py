"""The differentiable drawing: the same picture as its parts, with true gradients to everything."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.render import (
    Texture,
    constant_light,
    decode_srgb,
    encode_srgb,
    harmonic_light,
    maps,
    render,
)
from flamehead.render.draw import draw
from flamehead.render.shade import Lighting

FLAT = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def texture(bust) -> Texture:
    """Noise, and a layout with a seam: the back of the head is a second island."""
    vertices, faces = bust
    flat = 0.25 + 2.2 * vertices[:, :2]
    uv = torch.cat([0.5 * flat, 0.5 + 0.5 * flat])
    back = vertices[faces, 2].mean(1) < 0
    return Texture.of(noise(64, 48, 3), uv, faces + len(vertices) * back[:, None])


@pytest.fixture
def light() -> torch.Tensor:
    out = constant_light(torch.tensor([0.7, 0.6, 0.5]))
    out[1:] += 0.1 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    return out


def test_without_light_it_shows_the_albedo_as_render_does(bust, front, texture):
    vertices, faces = bust
    for albedo in (texture, noise(len(vertices), 3)):
        drawn = draw(vertices, faces, front, albedo=albedo, smooth_edges=False)
        wanted = render(vertices, faces, front, colors=albedo, lighting=FLAT, supersample=1)
        np.testing.assert_allclose(drawn.image.numpy(), wanted.image, atol=1e-4)
        np.testing.assert_array_equal(drawn.alpha.numpy(), wanted.alpha)


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_light_times_albedo(bust, front, light, encoding):
    vertices, faces = bust
    grey = torch.full_like(vertices, 0.5)
    drawn = draw(vertices, faces, front, albedo=grey, light=light, encoding=encoding, smooth_edges=False)
    normals = maps(vertices, faces, front, want=["normals"], frame="world").normals
    lit = harmonic_light(torch.from_numpy(normals).flatten(0, 1), light).reshape(drawn.image.shape)
    wanted = encode_srgb(decode_srgb(grey[0]) * lit) if encoding == "srgb" else grey[0] * lit
    seen = drawn.fragments.covered
    torch.testing.assert_close(drawn.image[seen], wanted[seen], atol=2e-4, rtol=0)
    assert not drawn.image[~seen].any()


def test_light_at_vertices_is_close_to_light_at_pixels(bust, front, light, texture):
    vertices, faces = bust
    for albedo in (texture, torch.full_like(vertices, 0.5)):
        pixel, vertex = (
            draw(vertices, faces, front, albedo=albedo, light=light, shading=shading).image
            for shading in ("pixel", "vertex")
        )
        assert float((pixel - vertex).abs().mean()) < 2e-3


def test_outlines_are_blended_and_backgrounds_kept(bust, front, light):
    vertices, faces = bust
    behind = noise(80, 96, 3)
    hard, soft = (
        draw(vertices, faces, front, albedo=torch.ones_like(vertices), light=light, background=behind, smooth_edges=s)
        for s in (False, True)
    )
    between = (soft.alpha > 0) & (soft.alpha < 1)
    assert 50 < int(between.sum()) < 1000 and not ((hard.alpha > 0) & (hard.alpha < 1)).any()
    outside = soft.alpha == 0
    torch.testing.assert_close(soft.image[outside], behind[outside])
    assert float((soft.alpha.sum() - hard.alpha.sum()).abs() / hard.alpha.sum()) < 0.01


def test_batches_are_their_items(bust, front, light, texture):
    vertices, faces = bust
    both = torch.stack([vertices, 0.8 * vertices])
    lights = torch.stack([light, 0.5 * light])
    for albedo in (texture, noise(len(vertices), 3)):
        together = draw(both, faces, front, albedo=albedo, light=lights)
        for k in range(2):
            alone = draw(both[k], faces, front, albedo=albedo, light=lights[k])
            torch.testing.assert_close(together.image[k], alone.image, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(together.alpha[k], alone.alpha, atol=1e-6, rtol=1e-5)


def test_a_parallel_camera_draws_what_a_far_lens_sees(bust, front, light, texture):
    vertices, faces = bust
    scale = torch.tensor([260.0, 260.0])
    far = replace(front, translation=torch.tensor([0.0, 0.0, 200.0]), focal=200.0 * scale)
    flat = Camera(front.rotation, torch.zeros(3), scale, front.center, front.size, orthographic=True)
    one, two = (draw(vertices, faces, camera, albedo=texture, light=light).image for camera in (far, flat))
    assert float((one - two).abs().mean()) < 5e-3


def test_gradients_of_colours_are_those_of_finite_differences(bust, front, light, texture):
    """The picture is nearly linear in each, so large steps in random directions are exact enough in float32."""
    vertices, faces = bust
    image = texture.image
    weight = noise(80, 96, 3, seed=7)

    def loss(image: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        painted = Texture(image, texture.uv, texture.uv_faces)
        drawn = draw(vertices, faces, front, albedo=painted, light=coefficients)
        return (drawn.image.double() * weight).mean()

    inputs = [image.clone().requires_grad_(), light.clone().requires_grad_()]
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    for k, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(k))
        direction *= 0.01 / direction.abs().max()
        ends = []
        for sign in (1, -1):
            moved = [value.detach() + (sign * direction if j == k else 0) for j, value in enumerate(inputs)]
            ends.append(loss(*moved))
        found, wanted = float((gradient * direction).sum()), float(ends[0] - ends[1]) / 2
        assert found == pytest.approx(wanted, rel=2e-2, abs=1e-8)


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_the_compiled_step_is_its_parts_in_float64(bust, front, light, texture, encoding):
    weight = noise(80, 96, 3, seed=7)
    found = []
    for dtype in (torch.float32, torch.float64):
        vertices, image, coefficients = (
            v.detach().clone().to(dtype).requires_grad_() for v in (bust[0], texture.image, light)
        )
        pose = {name: getattr(front, name).to(dtype) for name in ("rotation", "translation", "focal", "center")}
        camera = replace(front, **pose)
        painted = Texture(image, texture.uv.to(dtype), texture.uv_faces)
        drawn = draw(vertices, bust[1], camera, albedo=painted, light=coefficients, encoding=encoding)
        loss = (drawn.image * weight.to(dtype)).sum()
        found.append((drawn.image, *torch.autograd.grad(loss, (vertices, image, coefficients))))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast.double(), plain, atol=2e-3 * float(plain.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("textured", [False, True])
def test_gradients_of_vertices_are_those_of_a_supersampled_picture(bust, front, light, texture, direction, textured):
    vertices, faces = bust
    large = Camera(front.rotation, front.translation, 2 * front.focal, 2 * front.center, (192, 160))
    ramp = torch.linspace(0, 1, 192).expand(160, 192)[..., None] * torch.tensor([1.0, 0.6, 0.3]) + 0.2
    albedo = texture if textured else 0.4 + 2.0 * vertices.abs()
    if isinstance(albedo, Texture):
        # Smooth, so that a finite step measures a slope.
        smooth = torch.linspace(0.2, 0.9, 64)[:, None, None] * torch.linspace(0.5, 1, 48)[:, None].expand(48, 3)
        albedo = Texture(smooth, albedo.uv, albedo.uv_faces)
    step = torch.tensor(direction)

    def loss(shift: torch.Tensor, camera: Camera, *, smooth_edges: bool) -> torch.Tensor:
        drawn = draw(vertices + shift * step, faces, camera, albedo=albedo, light=light, smooth_edges=smooth_edges)
        image = drawn.image.unflatten(0, (160, -1)).unflatten(2, (192, -1)).double().mean(dim=(1, 3))
        return (image * ramp).mean()

    shift = torch.zeros((), requires_grad=True)
    (found,) = torch.autograd.grad(loss(shift, large, smooth_edges=True), shift)
    fine = Camera(front.rotation, front.translation, 12 * front.focal, 12 * front.center, (1152, 960))
    size = 2e-3
    ends = [loss(torch.tensor(sign * size), fine, smooth_edges=False) for sign in (1, -1)]
    wanted = float(ends[0] - ends[1]) / (2 * size)
    assert float(found) == pytest.approx(wanted, rel=0.1, abs=0.02)


def test_nothing_in_view_is_an_empty_picture_with_gradients_of_zero(bust, front, light, texture):
    vertices, faces = bust
    away = (vertices + 50.0).requires_grad_()
    drawn = draw(away, faces, front, albedo=texture, light=light)
    assert not drawn.alpha.any() and not drawn.image.any()
    (gradient,) = torch.autograd.grad(drawn.image.sum() + drawn.alpha.sum(), away)
    assert not gradient.any()


def test_colours_of_another_mesh_get_one_sentence(bust, front, texture):
    vertices, faces = bust
    with pytest.raises(InputError, match="RGB row"):
        draw(vertices, faces, front, albedo=torch.ones(7, 3))
    with pytest.raises(InputError, match="texture of this mesh"):
        draw(vertices, faces, front, albedo=Texture(texture.image, texture.uv, texture.uv_faces[1:]))


@pytest.mark.parametrize(("kind", "what"), [("double", "albedo is torch.float32"), ("half", "float32 or float64")])
def test_numbers_of_another_kind_get_one_sentence(bust, front, light, texture, kind, what):
    vertices, faces = bust
    with pytest.raises(InputError, match=what):
        draw(getattr(vertices, kind)(), faces, front, albedo=texture, light=light)
