"""Laws of the albedo space: colours stay colours, components do what their names say, the cache changes nothing."""

from dataclasses import fields

import numpy as np
import pytest

from flamehead.builtin import albedo_space
from flamehead.builtin.albedo import Look, Paint, make_paint, to_srgb
from flamehead.builtin.albedo_space import albedo_tables, decode, from_tables
from flamehead.builtin.mesh import build_mesh
from flamehead.builtin.regions import vertex_regions
from flamehead.builtin.texture import PART_OF_ISLAND, nearest_rows, texel_table, texels_on_head
from flamehead.builtin.uv import uv_layout
from flamehead.errors import InputError

# The whole space is painted anew, in place of what the cache holds.
pytestmark = pytest.mark.slow


def tables_of(mesh, layout, paint):
    part = PART_OF_ISLAND[layout.island]
    return albedo_tables(mesh.vertices, mesh.faces, part, layout.uv, layout.faces, paint)


@pytest.fixture(scope="module")
def built():
    mesh = build_mesh()
    layout = uv_layout(mesh)
    paint = make_paint(mesh)
    return mesh, layout, paint, tables_of(mesh, layout, paint)


@pytest.fixture(scope="module")
def albedo(built):
    return from_tables(built[3])


@pytest.fixture(scope="module")
def regions(built):
    """Texels of a few regions."""
    mesh, layout, _, _ = built
    table = texel_table(layout.uv, layout.faces, 512)
    named = vertex_regions(mesh, np.zeros(len(mesh.vertices), bool))
    rows = nearest_rows(table.valid)

    def texels(ids):
        inside = np.isin(mesh.faces[table.face_ids], ids).all(1)
        return inside[rows] & table.valid

    balls = np.concatenate([named["left_eyeball"], named["right_eyeball"]])
    return {
        "lips": texels(named["lips"]),
        "nose": texels(named["nose"]),
        "neck": texels(named["neck"]),
        "eyes": texels(balls),
        "all": table.valid,
    }


def component(albedo, name):
    return albedo.diffuse_basis[..., albedo.names.index(name)]


def strength(change, where):
    return np.sqrt((change[where] ** 2).mean())


def test_has_the_shapes_of_the_public_albedo_models(albedo):
    count = len(albedo.names)
    assert count >= 30 and len(set(albedo.names)) == count
    assert albedo.mean_diffuse.shape == albedo.mean_specular.shape == (512, 512, 3)
    assert albedo.diffuse_basis.shape == albedo.specular_basis.shape == (512, 512, 3, count)
    assert albedo.uv_faces.shape == (9976, 3) and albedo.uv_faces.max() == len(albedo.uv) - 1
    for array in (albedo.mean_diffuse, albedo.mean_specular, albedo.diffuse_basis, albedo.specular_basis):
        assert array.dtype == np.float32 and np.isfinite(array).all()


def test_the_mean_is_a_plausible_albedo(albedo):
    assert albedo.mean_diffuse.min() >= 0.004 and albedo.mean_diffuse.max() <= 0.9
    assert albedo.mean_specular.min() >= 0.02 and albedo.mean_specular.max() <= 0.12
    red, green, blue = albedo.mean_diffuse[256, 256]
    assert red > green > blue


@pytest.mark.parametrize("amount", [-2.0, 2.0])
def test_two_sigma_of_each_component_are_still_colours(albedo, amount):
    for k, name in enumerate(albedo.names):
        for mean, basis in (
            (albedo.mean_diffuse, albedo.diffuse_basis),
            (albedo.mean_specular, albedo.specular_basis),
        ):
            moved = mean + amount * basis[..., k]
            assert ((moved < 0) | (moved > 1)).any(-1).mean() < 0.01, name


def test_random_looks_within_two_sigma_are_still_colours(albedo):
    rng = np.random.default_rng(0)
    for _ in range(8):
        c = np.clip(rng.standard_normal(len(albedo.names)), -2, 2).astype(np.float32)
        moved = albedo.mean_diffuse + albedo.diffuse_basis @ c
        assert ((moved < 0) | (moved > 1)).any(-1).mean() < 0.01


def test_components_do_what_their_names_say(albedo, regions):
    skin = regions["nose"]
    # Nostrils are dark in any skin.
    assert np.percentile(component(albedo, "lightness")[skin], 10, axis=0).min() > 0.05
    red = component(albedo, "redness")[skin].mean(0)
    assert red[0] > red[1] and red[0] > red[2]
    yellow = component(albedo, "yellowness")[skin].mean(0)
    assert yellow[2] < min(yellow[0], yellow[1])
    blue = component(albedo, "eye_blueness")[regions["eyes"]].mean(0)
    assert blue[2] > blue[1] > blue[0]
    for name, here in (("lip_redness", "lips"), ("lip_darkness", "lips"), ("nose_redness", "nose")):
        change = component(albedo, name)
        assert strength(change, regions[here]) > 8 * strength(change, regions["neck"]), name
    for name in ("stubble", "brow_darkness", "freckles", "moles", "eye_bags", "lash_darkness", "hair_density", "tan"):
        change = component(albedo, name)
        dark = change[np.abs(change).max(-1) > 0.25 * np.abs(change).max()]
        assert (dark.mean(-1) < 0).mean() > 0.97, name
    assert np.abs(component(albedo, "gloss")).max() == 0.0
    assert albedo.specular_basis[..., albedo.names.index("gloss")][skin].min() > 0.0


def test_all_components_are_seen_and_none_repeats_the_others(albedo):
    both = np.concatenate([albedo.diffuse_basis[::4, ::4], 4 * albedo.specular_basis[::4, ::4]]).astype(np.float64)
    flat = both.reshape(-1, len(albedo.names))
    flat = flat / np.linalg.norm(flat, axis=0)
    assert np.linalg.svd(flat, compute_uv=False).min() > 0.1
    assert np.abs(both).max((0, 1, 2)).min() > 0.01


def test_odd_fields_change_sides(built, albedo):
    rows = built[3]["mean_diffuse"].shape[0]
    middle = slice(rows // 3, 2 * rows // 3)
    for name, sign in (("field_1", 1), ("field_2", 1), ("field_5", -1), ("field_6", -1)):
        change = component(albedo, name).mean(-1)[middle, rows // 4 : 3 * rows // 4]
        agreement = (change * change[:, ::-1]).sum() / (change**2).sum()
        assert agreement * sign > 0.6, name


def test_a_component_is_the_change_of_the_paint(built, albedo):
    mesh, layout, paint, _ = built
    table = texel_table(layout.uv, layout.faces, 512)
    layers = paint.layers(
        *texels_on_head(table, mesh.vertices, mesh.faces, PART_OF_ISLAND[layout.island]), with_spots=True
    )
    for field in fields(Look):
        look = Look(**{field.name: 1.0})
        change = component(albedo, field.name)[table.valid]
        painted = paint.diffuse(layers, look) - paint.diffuse(layers, Look())
        np.testing.assert_allclose(change, painted, atol=2e-4)
        shine = albedo.specular_basis[..., albedo.names.index(field.name)][table.valid]
        wanted = paint.specular(layers, look) - paint.specular(layers, Look())
        np.testing.assert_allclose(shine, np.repeat(wanted[:, None], 3, 1), atol=2e-5)


def test_the_paint_does_not_depend_on_how_many_points_are_asked_at_once(built):
    mesh, _, paint, _ = built
    rng = np.random.default_rng(3)
    points = mesh.vertices[rng.integers(0, 3931, 40_000)]
    part = np.zeros(len(points), int)
    whole = paint(points, part)
    np.testing.assert_allclose(whole[17:400], paint(points[17:400], part[17:400]), atol=1e-6)
    assert whole.min() > 0 and whole.max() < 1
    empty = paint(np.zeros((0, 3)), np.zeros(0, int))
    assert empty.shape == (0, 3)


def test_paint_needs_nothing_but_its_outlines(built):
    # `BuiltinHead.paint` makes it anew from the cached outlines.
    mesh, _, paint, _ = built
    again = Paint(dict(paint.contours), paint.eye_center)
    part = np.zeros(3931, int)
    np.testing.assert_array_equal(again(mesh.vertices[:3931], part), paint(mesh.vertices[:3931], part))


def test_is_built_from_the_cached_head(albedo):
    public = albedo_space.builtin_albedo()
    assert public.names == albedo.names
    np.testing.assert_allclose(public.uv, albedo.uv, atol=1e-8)
    np.testing.assert_array_equal(public.uv_faces, albedo.uv_faces)
    for mine, other in ((public.mean_diffuse, albedo.mean_diffuse), (public.diffuse_basis, albedo.diffuse_basis)):
        assert (np.abs(mine - other) > 2e-3).mean() < 1e-3


def test_decode_gives_srgb(albedo):
    mean = decode(albedo, np.zeros(0))
    np.testing.assert_allclose(mean, to_srgb(albedo.mean_diffuse), atol=1e-6)
    moved = decode(albedo, np.array([1.0, 0.0, -0.5]))
    linear = albedo.mean_diffuse + albedo.diffuse_basis[..., 0] - 0.5 * albedo.diffuse_basis[..., 2]
    np.testing.assert_allclose(moved, to_srgb(linear), atol=1e-5)
    assert moved.dtype == np.float32 and moved.min() >= 0 and moved.max() <= 1
    with pytest.raises(InputError, match="albedo coefficients"):
        decode(albedo, np.zeros(len(albedo.names) + 1))


def test_is_the_same_every_time(built):
    mesh, layout, paint, tables = built
    again = tables_of(mesh, layout, paint)
    for name, table in tables.items():
        np.testing.assert_array_equal(again[name], table)


def test_the_cache_changes_nothing(built, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path / "new"))
    calls = []

    def build():
        calls.append(1)
        return built[3]

    monkeypatch.setattr(albedo_space, "_build", build)
    first = albedo_space.builtin_albedo.__wrapped__()
    second = albedo_space.builtin_albedo.__wrapped__()
    assert len(calls) == 1
    np.testing.assert_array_equal(first.diffuse_basis, second.diffuse_basis)
    np.testing.assert_array_equal(first.mean_specular, second.mean_specular)
    assert first.names == second.names
    (file,) = (tmp_path / "new").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    albedo_space.builtin_albedo.__wrapped__()
    assert len(calls) == 2 and "damaged" in caplog.text
