"""A photo on the texture: its own colours where it is seen, its mirror image or the model elsewhere."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera, Fit, Observation
from flamehead.errors import InputError
from flamehead.fit.appearance import load_appearance
from flamehead.fit.painted import even_light, paint_head, pixel_error
from flamehead.fit.pixels import linear_about, texture_space
from flamehead.fit.unwrap import merge_photos, unwrap_photo
from flamehead.model import load_flame
from flamehead.solve import Status

TURN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
CAMERA = Camera(TURN, torch.zeros(3), torch.full((2,), 600.0), torch.full((2,), 128.0), (256, 256))


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def appearance(flame):
    return load_appearance(flame)


def make_fit(flame, yaw: float) -> Fit:
    params = replace(flame.zeros(), root=torch.tensor([0.0, yaw, 0.0]), translation=torch.tensor([0.0, 0.0, -0.6]))
    points = np.full((478, 2), np.nan)
    return Fit(
        params, CAMERA, Status("cost", 1), 0.0, Observation(points, "mediapipe478", (256, 256)), points,
        flame.fingerprint,
    )  # fmt: skip


def test_a_photo_of_the_model_gives_its_albedo_back(flame, appearance):
    fit, albedo = make_fit(flame, 0.5), np.full(31, 0.4)
    photo = paint_head(flame, fit.params, CAMERA, appearance.space, albedo, region=None).image
    found = unwrap_photo(flame, photo, fit, appearance, albedo, even_light(), size=256)
    assert found.image.shape == (256, 256, 3) and found.image.min() >= 0 and found.image.max() <= 1
    assert (found.photo + found.mirror <= 1 + 1e-6).all()
    # The cheek that looks away is borrowed from the other one.
    assert 0.1 < found.photo.mean() < 0.6 and found.mirror.max() > 0.9
    wanted = appearance.picture(albedo).reshape(256, 2, 256, 2, 3).mean((1, 3))
    error = np.abs(found.image - wanted).max(-1)
    assert np.median(error[found.photo > 0.9]) < 0.02
    assert np.median(error[found.photo + found.mirror == 0]) < 0.03


def test_photos_from_both_sides_make_one_albedo(flame, appearance):
    fits, albedo = [make_fit(flame, yaw) for yaw in (-0.6, 0.6)], np.linspace(-0.5, 0.5, 31)
    lights = [even_light(0.7), even_light(0.8)]
    lights[0][1], lights[1][1] = 0.25, -0.2
    photos = [
        paint_head(flame, fit.params, CAMERA, appearance.space, albedo, light, region=None).image
        for fit, light in zip(fits, lights, strict=True)
    ]
    both = merge_photos(flame, photos, fits, appearance, albedo, lights, size=256)
    one = unwrap_photo(flame, photos[0], fits[0], appearance, albedo, lights[0], size=256)
    assert both.photo.mean() > 1.3 * one.photo.mean() and both.photo.max() <= 1
    wanted = appearance.picture(albedo).reshape(256, 2, 256, 2, 3).mean((1, 3))
    error = np.abs(both.image - wanted).max(-1)
    # Neither photo's light is left in it, nor a seam between them.
    assert np.median(error[both.photo > 0.9]) < 0.02 and np.percentile(error[both.photo > 0.9], 95) < 0.12
    assert np.median(np.abs(one.image - wanted).max(-1)[one.photo > 0.9]) > 0.03
    nothing = [np.zeros((256, 256), dtype=bool)] * 2
    hidden = merge_photos(flame, photos, fits, appearance, albedo, lights, size=128, masks=nothing)
    assert not hidden.photo.any()


def test_what_a_mask_hides_is_not_taken(flame, appearance):
    fit, photo = make_fit(flame, 0.0), np.zeros((256, 256, 3), np.float32)
    photo[..., 1] = 1.0
    mask = np.zeros((256, 256), dtype=bool)
    hidden = unwrap_photo(flame, photo, fit, appearance, np.zeros(31), even_light(), size=128, mask=mask)
    assert not hidden.photo.any() and not hidden.mirror.any()
    shown = unwrap_photo(flame, photo, fit, appearance, np.zeros(31), even_light(), size=128)
    green = shown.image[shown.photo > 0.99]
    assert len(green) > 500 and np.allclose(green, [0, 1, 0], atol=0.02)


def test_shading_off_shows_the_albedo(flame, appearance):
    fit, albedo = make_fit(flame, 0.2), np.linspace(-1, 1, 31)
    off = paint_head(flame, fit.params, CAMERA, appearance.space, albedo)
    dim = paint_head(flame, fit.params, CAMERA, appearance.space, albedo, even_light(0.5))
    soft = paint_head(flame, fit.params, CAMERA, appearance.space, albedo, samples=2)
    assert off.inside.any() and (dim.image[off.inside] < off.image[off.inside]).all()
    assert set(np.unique(soft.alpha * 4)) == {0, 1, 2, 3, 4}
    inner = soft.alpha == 1
    assert pixel_error(off.image, soft.image, inner & off.inside).l1 < 0.02


def test_pixel_errors_are_the_usual_ones():
    image, inside = np.full((4, 4, 3), 0.5), np.eye(4, dtype=bool)
    found = pixel_error(image, image + 0.1, inside)
    assert found.l1 == pytest.approx(0.1) and found.psnr == pytest.approx(20.0) and found.pixels == 4
    assert np.isnan(pixel_error(image, image, np.zeros((4, 4), dtype=bool)).l1)


def test_encoded_spaces_are_exact_where_they_are_decoded():
    rng = np.random.default_rng(0)
    mean, basis = 0.5 + 0.3 * rng.random((6, 5, 3)), 0.05 * rng.standard_normal((6, 5, 3, 4))
    space = texture_space(mean, basis, np.zeros((3, 2)), np.array([[0, 1, 2]]), encoded=True)
    c = rng.standard_normal(4)
    about = linear_about(space, c)
    wanted = ((mean + basis @ c + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(about.mean + about.basis @ c, wanted, atol=1e-5)
    step = 1e-3 * rng.standard_normal(4)
    ahead = ((mean + basis @ (c + step) + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(about.basis @ step, ahead - wanted, atol=1e-6)
    assert linear_about(about, c) is about


@pytest.fixture(scope="module")
def licensed(flame):
    """The built-in head as if it were a file of somebody else."""
    other = copy(flame)
    other.arrays = replace(flame.arrays, fingerprint="f" * 16, source="other head")
    return other


def test_colours_of_another_mesh_are_refused(flame, licensed, tmp_path):
    with pytest.raises(InputError, match="name a texture space of FLAME"):
        load_appearance(licensed)
    with pytest.raises(InputError, match="laid out for FLAME's mesh"):
        load_appearance(flame, tmp_path / "FLAME_texture.npz")
