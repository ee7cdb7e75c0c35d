"""Laws of the built-in head: counts, symmetry, row sums, rigid parts, caching."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from flamehead.builtin import builtin_head, cache_file
from flamehead.builtin.fields import rigid_fields

HEAD, BALL = 3931, 546


@pytest.fixture(scope="module")
def head():
    return builtin_head()


def edges_of(faces):
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return Counter(map(tuple, np.sort(pairs, axis=1).tolist()))


def mirror_map(template):
    from scipy.spatial import KDTree

    distance, twin = (np.asarray(out) for out in KDTree(template).query(template * [-1.0, 1.0, 1.0]))
    assert distance.max() < 1e-12
    return twin


def test_has_the_counts_that_flame_programs_rely_on(head):
    a = head.arrays
    assert a.template.shape == (5023, 3) and a.faces.shape == (9976, 3)
    assert a.shape_basis.shape == (5023, 3, 300) and a.expression_basis.shape == (5023, 3, 100)
    assert a.pose_basis.shape == (5023, 3, 36) and a.skin_weights.shape == (5023, 5)
    assert a.joint_regressor.shape == (5, 5023) and a.parents == (-1, 0, 1, 1, 1)
    for field in fields(a):
        value = getattr(a, field.name)
        if isinstance(value, np.ndarray):
            assert np.isfinite(value).all(), field.name


def test_is_three_closed_shells_but_for_the_neck_ring(head):
    faces = head.arrays.faces
    assert Counter(edges_of(faces).values()) == {2: 14934, 1: 60}
    for first, last, euler in ((0, HEAD, 1), (HEAD, HEAD + BALL, 2), (HEAD + BALL, 5023, 2)):
        part = faces[((faces >= first) & (faces < last)).all(1)]
        assert len(np.unique(part)) == last - first
        assert last - first - len(edges_of(part)) + len(part) == euler
    assert len(faces[(faces < HEAD).all(1)]) == 7800


def test_faces_are_counter_clockwise_and_no_slivers(head):
    t, f = head.arrays.template, head.arrays.faces
    normal = np.cross(t[f[:, 1]] - t[f[:, 0]], t[f[:, 2]] - t[f[:, 0]])
    for ball in (slice(HEAD, HEAD + BALL), slice(HEAD + BALL, 5023)):
        mine = np.isin(f[:, 0], np.arange(5023)[ball])
        outward = t[f[mine]].mean(1) - t[ball].mean(0)
        assert ((normal[mine] * outward).sum(1) > 0).all()
    assert (t[f[:, 0]] * normal).sum() / 6 > 3e-3  # Cubic metres: a head of more than three litres.
    edges = sum(((t[f[:, i]] - t[f[:, j]]) ** 2).sum(1) for i, j in ((0, 1), (1, 2), (2, 0)))
    quality = 2 * np.sqrt(3) * np.linalg.norm(normal, axis=1) / edges
    assert quality.min() > 0.02 and np.median(quality) > 0.8


def test_template_is_mirror_symmetric_with_the_left_side_at_positive_x(head):
    t = head.arrays.template
    twin = mirror_map(t)
    assert (twin[twin] == np.arange(5023)).all()
    np.testing.assert_array_equal(np.sort(twin[HEAD : HEAD + BALL]), np.arange(HEAD + BALL, 5023))
    assert (t[HEAD : HEAD + BALL, 0] > 0).all()
    np.testing.assert_allclose(head.arrays.skin_weights[twin][:, [0, 1, 2, 4, 3]], head.arrays.skin_weights, atol=1e-9)


def test_has_human_size(head):
    t = head.arrays.template
    skull = np.ptp(t[:HEAD], axis=0)
    assert 0.15 < skull[0] < 0.20 and 0.19 < skull[2] < 0.23
    eyes = t[HEAD : HEAD + BALL].mean(0) - t[HEAD + BALL :].mean(0)
    assert 0.055 < eyes[0] < 0.070 and abs(eyes[1]) < 1e-9


def test_weights_and_regressor_are_partitions_of_unity(head):
    a = head.arrays
    np.testing.assert_allclose(a.skin_weights.sum(1), 1.0, atol=1e-12)
    assert a.skin_weights.min() >= 0.0
    np.testing.assert_allclose(a.joint_regressor.sum(1), 1.0, atol=1e-12)
    assert (a.skin_weights[HEAD : HEAD + BALL, 3] == 1).all() and (a.skin_weights[HEAD + BALL :, 4] == 1).all()
    joints = a.joint_regressor @ a.template
    np.testing.assert_allclose(joints[:3, 0], 0.0, atol=1e-9)
    radius = np.linalg.norm(a.template[HEAD : HEAD + BALL] - joints[3], axis=1)
    np.testing.assert_allclose(radius, 0.0125, atol=1e-8)


def test_identity_moves_eyeballs_rigidly_and_holds_no_rigid_motion(head):
    a = head.arrays
    rigid = np.linalg.qr(rigid_fields(a.template))[0]
    columns = a.shape_basis.reshape(-1, 300)
    assert np.abs(rigid.T @ columns).max() < 1e-5 * np.linalg.norm(columns, axis=0).max()
    moved = a.template + a.shape_basis @ np.random.default_rng(0).normal(size=300)
    before = np.linalg.norm(a.template[HEAD + 1 : HEAD + BALL] - a.template[HEAD], axis=1)
    after = np.linalg.norm(moved[HEAD + 1 : HEAD + BALL] - moved[HEAD], axis=1)
    # Scaling the head scales the eyes; nothing else may bend them.
    np.testing.assert_allclose(after / before, (after / before).mean(), rtol=0.06)


def test_identity_space_is_as_wide_as_people_differ_and_has_full_rank(head):
    basis = head.arrays.shape_basis
    total = np.sqrt((basis**2).sum(1).mean(0).sum())
    assert 0.006 <= total < 0.010  # Metres, root mean square over vertices at one sigma.
    flat = basis.reshape(-1, 300) / np.linalg.norm(basis.reshape(-1, 300), axis=0)
    assert np.linalg.matrix_rank(flat, tol=1e-3) == 300
    assert len(head.shape_names) == 300 and len(set(head.shape_names)) == 300


def test_expression_leaves_the_eyeballs_and_the_back_alone(head):
    basis = head.arrays.expression_basis
    assert np.abs(basis[HEAD:]).max() == 0.0
    back = head.arrays.template[:, 2] < -0.08
    assert np.abs(basis[back]).max() < 1e-4
    flat = basis.reshape(-1, 100) / np.linalg.norm(basis.reshape(-1, 100), axis=0)
    assert np.linalg.matrix_rank(flat, tol=1e-3) == 100
    assert len(set(head.expression_names)) == 100


def test_left_and_right_expressions_mirror_each_other(head):
    twin = mirror_map(head.arrays.template)
    for k, name in enumerate(head.expression_names):
        if name.endswith("_left"):
            other = head.expression_names.index(name.removesuffix("_left") + "_right")
            mirrored = head.arrays.expression_basis[twin][..., other] * [-1.0, 1.0, 1.0]
            np.testing.assert_allclose(mirrored, head.arrays.expression_basis[..., k], atol=1e-7)


def test_blink_closes_the_eye(head):
    from flamehead.geometry.landmark_sets import LEFT_EYE_RING

    table = head.embeddings["mediapipe468"]
    ids = (head.arrays.faces[table.face_ids] * (table.barycentric == 1)).sum(1)
    upper, lower = ids[LEFT_EYE_RING[[3, 4, 5]]], ids[LEFT_EYE_RING[[13, 12, 11]]]
    open_gap = (head.arrays.template[upper] - head.arrays.template[lower])[:, 1]
    blink = head.arrays.expression_basis[..., head.expression_names.index("blink_left")]
    closed_gap = open_gap + (blink[upper] - blink[lower])[:, 1]
    assert (open_gap > 0.007).all() and (np.abs(closed_gap) < 0.0025).all()


def test_landmarks_lie_on_the_mesh_in_mediapipe_order(head):
    table = head.embeddings["mediapipe478"]
    points = (head.arrays.template[head.arrays.faces[table.face_ids]] * table.barycentric[..., None]).sum(1)
    assert points.shape == (478, 3)
    assert points[263, 0] > 0.04 > -0.04 > points[33, 0]  # 263 is the subject's left eye corner.
    assert points[473, 0] > 0 > points[468, 0]
    assert points[1, 2] > points[152, 2] and points[10, 1] > points[1, 1] > points[152, 1]
    np.testing.assert_allclose(np.linalg.norm(points[33] - points[263]), 0.089, atol=1e-6)
    assert len(head.embeddings["ibug68"].face_ids) == 68 and len(head.embeddings["mediapipe105"].face_ids) == 105


def test_ids_that_flame_programs_hard_code_mean_the_same_points(head):
    t, f = head.arrays.template, head.arrays.faces
    for first, ids, face in (
        (HEAD, [4051, 3996, 3964, 3932, 4028], 4053),
        (HEAD + BALL, [4597, 4542, 4510, 4603, 4570], 4628),
    ):
        center = t[first : first + BALL].mean(0)
        pole, right, top, left, bottom = t[ids] - t[first : first + BALL][:, None].mean(0)
        assert f[face, 1] == ids[0]
        np.testing.assert_allclose(pole[:2], 0.0, atol=1e-9)
        assert pole[2] == (t[first : first + BALL] - center)[:, 2].max()
        assert right[0] > 0.005 and left[0] < -0.005 and top[1] > 0.005 and bottom[1] < -0.005
        np.testing.assert_allclose(np.hypot(*(t[ids[1:]] - t[ids[0]])[:, :2].T), 0.006, atol=5e-5)


def test_regions_have_the_official_names_and_valid_ids(head):
    names = "face eye_region left_eye_region right_eye_region forehead nose lips left_ear right_ear neck scalp boundary"
    assert set(names.split()) | {"left_eyeball", "right_eyeball"} <= set(head.regions)
    for name, ids in head.regions.items():
        assert len(ids) and 0 <= ids.min() and ids.max() < 5023 and (np.diff(ids) > 0).all(), name
    assert np.isin(head.regions["lips"], head.regions["face"]).mean() > 0.9


def test_paint_agrees_with_the_vertex_colors(head):
    faces = np.arange(0, 9976, 7)
    corner = np.tile([1.0, 0.0, 0.0], (len(faces), 1))
    painted = head.paint(faces, corner)
    same_part = (head.part[head.arrays.faces[faces]] == head.part[head.arrays.faces[faces, 0]][:, None]).all(1)
    np.testing.assert_allclose(painted[same_part], head.colors[head.arrays.faces[faces, 0]][same_part], atol=1e-5)
    assert painted.min() >= 0 and painted.max() <= 1


DUMP = """
import sys, numpy as np
from flamehead.builtin.head import _build
np.savez(sys.argv[1], **_build())
"""


@pytest.mark.slow
def test_two_processes_build_the_same_head_and_threads_change_nothing(tmp_path):
    tables = []
    for name, threads in (("a", "1"), ("b", "1"), ("c", "2")):
        env = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", DUMP, str(tmp_path / f"{name}.npz")], env=env, check=True)
        with np.load(tmp_path / f"{name}.npz") as file:
            tables.append(dict(file))
    for name, table in tables[0].items():
        np.testing.assert_array_equal(table, tables[1][name], err_msg=name)
        if table.dtype.kind == "f":
            np.testing.assert_allclose(table, tables[2][name], atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(table, tables[2][name], err_msg=name)


def test_a_damaged_or_unwritable_cache_is_no_obstacle(tmp_path, caplog):
    from flamehead.builtin._cache import cached

    def build():
        return {"template": np.zeros(3)}

    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\x03\x04 torn")
    assert set(cached(damaged, build)) == {"template"} and "damaged" in caplog.text
    assert set(cached(Path(os.devnull) / "sub" / "head.npz", build)) == {"template"}
    assert "cannot be kept" in caplog.text
    cached(tmp_path / "new" / "head.npz", build)
    kept = cached(tmp_path / "new" / "head.npz", lambda: pytest.fail("built again"))
    assert set(kept) == {"template"}


def test_the_cache_is_keyed_by_content(head):
    assert cache_file().name.startswith("builtin_head_") and len(cache_file().stem) == len("builtin_head_") + 16
