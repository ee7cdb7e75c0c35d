from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.fit._so3 import exp, left_jacobian, log
from flamehead.fit.landmark_model import (
    HeadState,
    bake,
    build_landmark_model,
    compiled_landmarks,
    landmark_points,
    landmark_positions,
)
from flamehead.model import load_flame

SEEDS = range(4)


def random_embedding(rng, n_faces, count=60):
    return LandmarkEmbedding(rng.integers(0, n_faces, count), rng.dirichlet([1, 1, 1], count))


def random_state(rng, n_shape, n_expression, size=1.0):
    return HeadState(
        shape=rng.normal(size=n_shape),
        expression=rng.normal(size=n_expression),
        neck=0.3 * size * rng.normal(size=3),
        jaw=0.3 * size * rng.normal(size=3),
        eyes=0.3 * size * rng.normal(size=(2, 2)),
        root=Rotation.from_rotvec(size * rng.normal(size=3)).as_matrix(),
        translation=rng.normal(size=3),
        log_focal=0.0,
    )


def naive_vertices(arrays, state):
    """The forward pass of FLAME, step by step, with 4 x 4 matrices and loops."""
    n_shape, n_expression = len(state.shape), len(state.expression)
    shaped = arrays.template + arrays.shape_basis[..., :n_shape] @ state.shape
    shaped = shaped + arrays.expression_basis[..., :n_expression] @ state.expression
    joints = arrays.joint_regressor @ shaped
    eyes = np.column_stack([state.eyes, np.zeros(2)])
    local = [state.root, *(Rotation.from_rotvec(r).as_matrix() for r in (state.neck, state.jaw, *eyes))]
    feature = np.concatenate([(r - np.eye(3)).ravel() for r in local[1:]])
    posed = shaped + arrays.pose_basis @ feature
    world = []
    for j, parent in enumerate(arrays.parents):
        g = np.eye(4)
        g[:3, :3], g[:3, 3] = local[j], joints[j] - (joints[parent] if parent >= 0 else 0.0)
        world.append(g if parent < 0 else world[parent] @ g)
    out = np.zeros_like(posed)
    for j, g in enumerate(world):
        moved = (posed - joints[j]) @ g[:3, :3].T + g[:3, 3]
        out += arrays.skin_weights[:, j : j + 1] * moved
    return out + state.translation


def embed(vertices, faces, embedding):
    return np.einsum("lk,lkx->lx", embedding.barycentric, vertices[faces[embedding.face_ids]])


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-5, 0.9e-3, 1.1e-3, 0.5, 3.0, 6.0])
def test_rotation_exponential_and_its_derivative(angle):
    r = angle * np.array([2.0, -1.0, 2.0]) / 3.0
    np.testing.assert_allclose(exp(r), Rotation.from_rotvec(r).as_matrix(), atol=2e-15)
    h = 1e-6
    slope = [(exp(r + h * e) - exp(r - h * e)) @ exp(r).T / (2 * h) for e in np.eye(3)]
    numeric = np.stack([[s[2, 1], s[0, 2], s[1, 0]] for s in slope], axis=1)
    np.testing.assert_allclose(left_jacobian(r), numeric, atol=1e-9)
    if angle <= 3.0:
        np.testing.assert_allclose(log(exp(r)), r, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_landmarks_are_those_of_the_skinned_mesh(head, seed):
    rng = np.random.default_rng(seed)
    embedding = random_embedding(rng, len(head.arrays.faces))
    state = random_state(rng, 25, 10)
    model = build_landmark_model(head.arrays, embedding, n_shape=25, n_expression=10)
    expected = embed(naive_vertices(head.arrays, state), head.arrays.faces, embedding)
    np.testing.assert_allclose(landmark_positions(model, state), expected, atol=1e-14)
    np.testing.assert_allclose(landmark_points(model, state)[0], expected, atol=1e-14)


def test_more_components_than_the_model_has_are_cut(head):
    model = build_landmark_model(head.arrays, head.embeddings["ibug68"], n_shape=999, n_expression=999)
    assert model.columns.n_shape == head.arrays.shape_basis.shape[2]
    assert model.columns.n_expression == head.arrays.expression_basis.shape[2]


BLOCKS = ["shape", "expression", "jaw", "eyes", "root", "translation", "neck"]


def moved(state, block, step):
    if block == "root":
        return replace(state, root=exp(step) @ state.root)
    value = getattr(state, block)
    return replace(state, **{block: value + step.reshape(value.shape)})


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [0.0, 1.0])
@pytest.mark.parametrize("block", BLOCKS)
def test_jacobian_agrees_with_central_differences(head, block, size, seed):
    rng = np.random.default_rng(seed)
    model = build_landmark_model(head.arrays, random_embedding(rng, len(head.arrays.faces)), n_shape=12, n_expression=6)
    state = random_state(rng, 12, 6, size)
    jacobian = landmark_points(model, state)[1][..., getattr(model.columns, block)]
    h = 1e-5
    numeric = np.empty_like(jacobian)
    for i, e in enumerate(np.eye(jacobian.shape[2])):
        ahead = landmark_positions(model, moved(state, block, h * e))
        behind = landmark_positions(model, moved(state, block, -h * e))
        numeric[..., i] = (ahead - behind) / (2 * h)
    np.testing.assert_allclose(jacobian, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("seed", SEEDS)
def test_baking_freezes_coefficients_without_moving_landmarks(head, seed):
    rng = np.random.default_rng(seed)
    model = build_landmark_model(head.arrays, head.embeddings["mediapipe105"], n_shape=12, n_expression=6)
    state = random_state(rng, 12, 6)
    points, jacobian = landmark_points(model, state)
    identity = bake(model, shape=state.shape)
    some = replace(state, shape=np.zeros(0))
    np.testing.assert_allclose(landmark_points(identity, some)[0], points, atol=1e-14)
    np.testing.assert_allclose(landmark_points(identity, some)[1], jacobian[..., 12:], atol=1e-14)
    rigid = bake(model, shape=state.shape, expression=state.expression)
    none = replace(some, expression=np.zeros(0))
    np.testing.assert_allclose(landmark_points(rigid, none)[0], points, atol=1e-14)
    np.testing.assert_allclose(landmark_points(rigid, none)[1], jacobian[..., 18:], atol=1e-14)


def flat_chain(arrays, rng):
    """The same head with a longer chain of joints, and every joint in every landmark."""
    weights = rng.dirichlet([1.0] * 5, len(arrays.template))
    return replace(arrays, parents=(-1, 0, 1, 2, 3), skin_weights=weights)


@pytest.fixture(scope="module")
def heads(head):
    """A random head, one with another chain, and the built-in one."""
    rng = np.random.default_rng(11)
    builtin = load_flame()
    return {
        "random": (head.arrays, random_embedding(rng, len(head.arrays.faces))),
        "chain": (flat_chain(head.arrays, rng), random_embedding(rng, len(head.arrays.faces))),
        "vertices": (head.arrays, head.embeddings["mediapipe478"]),
        "builtin": (builtin.arrays, builtin.embeddings["mediapipe478"]),
    }


@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("baked", ["nothing", "identity", "all"])
@pytest.mark.parametrize("name", ["random", "chain", "vertices", "builtin"])
def test_compiled_landmarks_are_the_plain_ones(heads, name, baked, size):
    arrays, embedding = heads[name]
    rng = np.random.default_rng(3)
    model, state = build_landmark_model(arrays, embedding, n_shape=12, n_expression=6), random_state(rng, 12, 6, size)
    if baked == "identity":
        model, state = bake(model, shape=state.shape), replace(state, shape=np.zeros(0))
    elif baked == "all":
        model = bake(model, shape=state.shape, expression=state.expression)
        state = replace(state, shape=np.zeros(0), expression=np.zeros(0))
    compiled = compiled_landmarks(model)
    points, jacobian = landmark_points(model, state)
    found, found_jacobian = landmark_points(compiled, state)
    np.testing.assert_allclose(found, points, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found_jacobian, jacobian, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(landmark_positions(compiled, state), found)


def test_a_compiled_model_is_evaluated_anew_once_it_is_baked(head):
    rng = np.random.default_rng(4)
    model = build_landmark_model(head.arrays, head.embeddings["ibug68"], n_shape=12, n_expression=6)
    state = random_state(rng, 12, 6)
    baked = bake(compiled_landmarks(model), shape=state.shape)
    points = landmark_positions(baked, replace(state, shape=np.zeros(0)))
    np.testing.assert_allclose(points, landmark_positions(model, state), rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [1e-12, 1e-6, 0.9e-3, 1.1e-3, 0.3, 1.5, 2.09, 2.1, 3.0, np.pi - 1e-3, np.pi - 1e-6])
def test_the_logarithm_undoes_the_exponential(angle):
    for axis in np.random.default_rng(0).normal(size=(20, 3)):
        r = angle * axis / np.linalg.norm(axis)
        np.testing.assert_allclose(log(exp(r)), r, rtol=0, atol=2e-15 + 1e-14 * angle)


def test_the_logarithm_of_a_half_turn_is_one_of_both():
    for axis in np.random.default_rng(1).normal(size=(20, 3)):
        r = np.pi * axis / np.linalg.norm(axis)
        found = log(exp(r))
        assert min(np.abs(found - r).max(), np.abs(found + r).max()) < 1e-7
        np.testing.assert_allclose(exp(found), exp(r), rtol=0, atol=1e-12)
