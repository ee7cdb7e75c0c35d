"""Light: linear in albedo, brighter towards the lamp, equal to its formula; and the sRGB curves undo each other."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.render import STUDIO, DirectionalLight, Lighting, linear_to_srgb, shade, srgb_to_linear


def directions(n: int, seed: int = 0) -> np.ndarray:
    normals = np.random.default_rng(seed).normal(size=(n, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def by_formula(normals: np.ndarray, albedo: np.ndarray, lighting: Lighting) -> np.ndarray:
    up = np.array(lighting.up) / np.linalg.norm(lighting.up)
    blend = (0.5 + 0.5 * normals @ up)[:, None]
    out = albedo * (np.array(lighting.ground) * (1 - blend) + np.array(lighting.sky) * blend)
    for light in lighting.lights:
        assert isinstance(light, DirectionalLight)
        towards = np.array(light.towards) / np.linalg.norm(light.towards)
        half = (towards - [0, 0, 1]) / np.linalg.norm(towards - [0, 0, 1])
        diffuse = np.maximum((normals @ towards + light.wrap) / (1 + light.wrap), 0)[:, None]
        shine = lighting.gloss * np.maximum(normals @ half, 0)[:, None] ** 16 * (diffuse > 0)
        out = out + (albedo * diffuse + shine) * np.array(light.color)
    return out


def test_light_leaves_no_highlight_where_it_does_not_reach():
    # Half of light and viewer is the normal of a surface that neither the light nor the viewer is behind of.
    behind = Lighting((DirectionalLight((0.0, 0.6, 0.8), (1.0, 1.0, 1.0)),), (0.0,) * 3, (0.0,) * 3, gloss=1.0)
    normals = directions(500)
    found = shade(normals, np.zeros(3), behind)
    assert (found[normals @ (0.0, 0.6, 0.8) < -1e-6] == 0).all() and found.max() > 0


@pytest.mark.parametrize("rows", [(2, 3), (499, 3), (500,), (500, 1), (1, 4)])
def test_albedo_is_one_colour_or_one_for_each(rows):
    with pytest.raises(InputError, match="one albedo"):
        shade(directions(500), np.ones(rows))


@pytest.mark.parametrize("lighting", [STUDIO, Lighting((), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), up=(1.0, 1.0, 0.0))])
def test_shade_is_its_formula(lighting):
    normals, albedo = directions(500), np.random.default_rng(1).uniform(size=(500, 3))
    np.testing.assert_allclose(shade(normals, albedo, lighting), by_formula(normals, albedo, lighting), atol=2e-6)


def test_the_length_of_a_normal_does_not_matter():
    normals, albedo = directions(50), np.full((50, 3), 0.5)
    np.testing.assert_allclose(shade(3.7 * normals, albedo), shade(normals, albedo), atol=1e-6)
    assert np.isfinite(shade(np.zeros((1, 3)), albedo[:1])).all()


def test_one_albedo_serves_all_points():
    normals, color = directions(50), np.array([0.7, 0.5, 0.3])
    np.testing.assert_array_equal(shade(normals, color), shade(normals, np.tile(color, (50, 1))))


@pytest.mark.parametrize("wrap", [0.0, 0.3, 1.0])
def test_turning_away_from_the_lamp_never_brightens(wrap):
    black = (0.0, 0.0, 0.0)
    lamp = Lighting((DirectionalLight((0.0, 0.0, -1.0), (1.0, 1.0, 1.0), wrap=wrap),), black, black, gloss=0.1)
    angle = np.linspace(0, np.pi, 100)
    light = shade(np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], axis=1), np.ones(3), lamp)[:, 0]
    assert (np.diff(light) <= 1e-6).all()
    assert light[0] == pytest.approx(1.1) and light[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_brighter_surface_is_brighter_under_the_default_light():
    normals = directions(200)
    dark, bright = (shade(normals, np.full(3, value)) for value in (0.2, 0.6))
    assert (bright > dark).all() and (dark > 0).all()


def test_a_white_surface_under_the_default_light_keeps_its_shape():
    towards_viewer = directions(2000)
    towards_viewer = towards_viewer[towards_viewer[:, 2] < 0]
    light = shade(towards_viewer, np.full(3, 0.6))
    assert (light > 1.0).mean() < 0.01 and light.max() > 0.5 and light.min() < 0.15


def test_srgb_curves_undo_each_other_and_hit_known_values():
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    np.testing.assert_allclose(
        srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.214041, 1], atol=1e-6
    )
    np.testing.assert_allclose(linear_to_srgb(np.array([-1.0, 2.0])), [0.0, 1.0], atol=1e-7)
