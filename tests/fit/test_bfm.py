"""Basel meshes to FLAME, on correspondences of the official shape and meshes whose heads are known."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.spatial.transform import Rotation

from flamehead import load_flame
from flamehead.assets import BfmCorrespondence, BfmModel, BfmTexels, BfmToFlame, InpaintingSpace, read_bfm_albedo
from flamehead.errors import InputError
from flamehead.fit import _bfm_system as bfm_system
from flamehead.fit.bfm import bfm_vertices, convert_bfm, prepare_bfm, recognize_bfm
from flamehead.fit.bfm_colors import convert_bfm_colors
from flamehead.geometry.similarity import Similarity

COUNTS = {"BFM2017": 53149, "BFM2009": 53490, "BFM2009_cropped": 53215}


@pytest.fixture(scope="module")
def flame():
    return load_flame(dtype=torch.float64)


@pytest.fixture(scope="module")
def correspondence(flame):
    rng = np.random.default_rng(0)
    maps = {}
    for name, count in COUNTS.items():
        corners = rng.permutation(count)[: 3 * 5023].reshape(5023, 3)
        rows, weights = np.repeat(np.arange(5023), 3), rng.dirichlet(np.ones(3), 5023)
        matrix = scipy.sparse.csr_matrix((weights.ravel(), (rows, corners.ravel())), shape=(5023, count))
        maps[name] = BfmToFlame(matrix, np.zeros((9, 3), int), flame.faces.numpy())
    return BfmCorrespondence(maps, np.asarray(flame.regions["face"]))


@pytest.fixture(scope="module")
def converters(correspondence, flame):
    return {name: prepare_bfm(correspondence, name, flame) for name in COUNTS}


def basel(correspondence, name, head, seed):
    """A Basel-shaped mesh, ragged but for the points that correspond to a head."""
    matrix = correspondence.maps[name].matrix
    noise = np.random.default_rng(seed).normal(size=(matrix.shape[1], 3)) * head.std()
    # Every Basel vertex is in one row at most, so the rows are orthogonal.
    gap = (head - matrix @ noise) / np.asarray(matrix.multiply(matrix).sum(axis=1))
    return noise + matrix.T @ gap


def posed(flame, seed, *, strength, jaw=0.0):
    rng = np.random.default_rng(seed)
    return flame(
        replace(
            flame.zeros(),
            shape=torch.tensor(strength * rng.normal(size=flame.n_shape)),
            expression=torch.tensor(strength * rng.normal(size=flame.n_expression)),
            jaw=torch.tensor([jaw, 0.02 * (jaw > 0), 0.0], dtype=torch.float64),
        )
    ).vertices.numpy()


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6])
def test_the_mean_head_comes_back_with_its_place_and_unit(flame, correspondence, converters, name, unit):
    head = posed(flame, 0, strength=0.0)
    turn, shift = Rotation.from_rotvec([2.0, -1.0, 0.5]).as_matrix(), np.array([0.3, -2.0, 1.0])
    moved = unit * (head @ turn.T + shift)
    found = convert_bfm(basel(correspondence, name, moved, 1), converters[name])
    assert found.status.converged and found.scale == pytest.approx(1.0 / unit, rel=1e-6)
    assert np.abs(found.vertices - moved).max() < 1e-6 * unit
    assert found.errors.max() < 1e-6


@pytest.mark.parametrize("jaw", [0.0, 0.3])
def test_a_strange_head_with_an_open_mouth_is_found_in_the_face(flame, correspondence, converters, jaw):
    head = posed(flame, 3, strength=0.7, jaw=jaw)
    found = convert_bfm(basel(correspondence, "BFM2017", 1e3 * head, 2), converters["BFM2017"])
    errors = np.linalg.norm(found.vertices - 1e3 * head, axis=1)[correspondence.flame_ids]
    assert found.status.iterations <= 8 and errors.mean() < 0.3 and errors.max() < 2.0
    assert float(found.params.jaw[0]) == pytest.approx(jaw, abs=0.07)
    np.testing.assert_allclose(1e3 * found.errors, errors * (found.scale * 1e3), atol=1e-6)
    again = flame(found.params).vertices.numpy() / found.scale
    np.testing.assert_allclose(again, found.vertices, atol=1e-9)


def test_the_normal_equations_are_those_of_the_residuals(converters):
    system, rng = converters["BFM2009"].system, np.random.default_rng(0)
    targets = system.template + 0.002 * rng.normal(size=system.template.shape)
    placed = Similarity(1.1, Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(), np.array([0.01, 0.02, 0.03]))
    count = system.n_coefficients
    state = bfm_system.BfmState(placed, np.array([0.2, 0.05, -0.03]), 0.3 * rng.normal(size=count))
    target = bfm_system._target(system, targets)
    here = bfm_system._evaluate(system, target, state)
    linear, residuals = bfm_system._linearize(system, target, here), here.residuals
    columns = [*range(10), 10, 60, 10 + count // 2, 9 + count]
    jacobian = []
    for column in columns:
        step = np.zeros(10 + count)
        step[column] = 1e-6
        ends = [bfm_system._retract(state, sign * step, targets.mean(axis=0)) for sign in (1, -1)]
        ahead, behind = (bfm_system._evaluate(system, target, end).residuals for end in ends)
        jacobian.append((ahead - behind) / 2e-6)
    rows = np.array(jacobian)
    prior = np.concatenate([np.zeros(7), np.full(3, 1e-8), system.prior])
    values = np.concatenate([np.zeros(7), state.jaw, state.coefficients])
    normal = rows @ rows.T + np.diag(prior[columns])
    np.testing.assert_allclose(linear.normal[np.ix_(columns, columns)], normal, atol=1e-7 * np.abs(normal).max())
    gradient = rows @ residuals + (prior * values)[columns]
    np.testing.assert_allclose(linear.gradient[columns], gradient, atol=1e-7 * np.abs(gradient).max())


def test_meshes_are_recognised_and_others_named(flame, correspondence, converters):
    for name, count in COUNTS.items():
        assert recognize_bfm(correspondence, n_vertices=count, n_faces=1) == name
    with pytest.raises(InputError, match="28588 vertices, but the correspondence knows BFM2017 53149"):
        recognize_bfm(correspondence, n_vertices=28588)
    with pytest.raises(InputError, match=r"wanted \(53149, 3\)"):
        convert_bfm(np.zeros((5, 3)), converters["BFM2017"])
    other = correspondence.maps["BFM2017"]
    wrong = BfmToFlame(other.matrix, other.input_faces, np.random.default_rng(0).integers(0, 5023, (9976, 3)))
    with pytest.raises(InputError, match="--model"):
        prepare_bfm(BfmCorrespondence({"BFM2017": wrong}, correspondence.flame_ids), "BFM2017", flame)


@pytest.fixture
def small_model():
    rng = np.random.default_rng(0)
    a, b, c, d, e, f = (rng.normal(size=(60, 3, *k)).astype(np.float32) for k in ((), (4,), (), (5,), (), (2,)))
    return BfmModel("2017", a, b, c, d, e, f, np.zeros((1, 3), int))


def test_coefficient_vectors_are_per_standard_deviation(small_model):
    rng = np.random.default_rng(1)
    alpha, delta = rng.normal(size=4), rng.normal(size=2)
    expected = (
        small_model.shape_mean
        + small_model.shape_basis @ alpha
        + small_model.expression_mean
        + small_model.expression_basis @ delta
    )
    np.testing.assert_allclose(bfm_vertices(small_model, alpha, delta), expected, atol=1e-6)
    np.testing.assert_allclose(
        bfm_vertices(small_model, alpha[:2]), bfm_vertices(small_model, np.r_[alpha[:2], 0, 0]), atol=1e-12
    )
    with pytest.raises(InputError, match="5 shape coefficients"):
        bfm_vertices(small_model, np.zeros(5))
    old = replace(small_model, release="2009", expression_mean=None, expression_basis=None)
    with pytest.raises(InputError, match="2009 has no expressions"):
        bfm_vertices(old, alpha, delta)


@pytest.fixture
def table():
    """Half of 512 x 512 texels, listed column by column as in the official file."""
    rng = np.random.default_rng(2)
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(512), np.arange(512), indexing="ij"))
    ids = rng.permutation(512 * 512)[:3000]
    return BfmTexels((512, 512), x, y, ids, rng.integers(0, 60, (3000, 3)), rng.dirichlet(np.ones(3), 3000))


def test_colours_of_any_person_are_those_of_the_vertices(tmp_path, small_model, table):
    path, rng = tmp_path / "albedo.npz", np.random.default_rng(3)
    convert_bfm_colors(path, small_model, table)
    with np.load(path) as stored:
        assert stored["MU"].shape == (786432,) and stored["PC"].shape == (786432, 5)
        assert stored["MU"].dtype == stored["PC"].dtype == np.float64
        gamma = rng.normal(size=5)
        image = (stored["MU"] + stored["PC"] @ gamma).reshape(512, 512, 3)[..., ::-1]
    colors = small_model.color_mean + small_model.color_basis @ gamma
    column, row = table.texel_ids // 512, table.texel_ids % 512
    expected = np.einsum("nk,nkc->nc", table.barycentric, colors[table.vertex_ids])
    np.testing.assert_allclose(image[row, column], expected, atol=1e-5)
    image[row, column] = 0.0
    assert not image.any()
    space = read_bfm_albedo(path)
    assert space.n_stored == 5 and space.mean[row[0], column[0]] == pytest.approx(
        table.barycentric[0] @ small_model.color_mean[table.vertex_ids[0]], abs=1e-5
    )


def test_uncovered_texels_are_filled_smoothly(tmp_path, small_model, table):
    ramp = np.broadcast_to(np.arange(16.0)[:, None, None], (16, 16, 3)).astype(np.float32)
    filling = InpaintingSpace(ramp, np.repeat(ramp[..., None], 5, axis=-1), 5)
    convert_bfm_colors(tmp_path / "albedo.npz", small_model, table, inpainting=filling)
    with np.load(tmp_path / "albedo.npz") as stored:
        mean = stored["MU"].reshape(512, 512, 3)[..., 0]
    expected = np.clip((np.arange(512) + 0.5) / 32 - 0.5, 0, 15)
    free = np.ones((512, 512), dtype=bool)
    free[table.texel_ids % 512, table.texel_ids // 512] = False
    np.testing.assert_allclose(mean[free], np.broadcast_to(expected[:, None], (512, 512))[free], atol=1e-6)


def test_a_table_of_another_model_is_named(tmp_path, small_model, table):
    with pytest.raises(InputError, match="Basel vertex 60, but this model has 60"):
        convert_bfm_colors(tmp_path / "a.npz", small_model, replace(table, vertex_ids=table.vertex_ids + 1))
    with pytest.raises(InputError, match="not of 2009"):
        convert_bfm_colors(tmp_path / "a.npz", replace(small_model, release="2009"), table)
    assert not list(tmp_path.iterdir())
