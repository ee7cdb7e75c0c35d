import numpy as np
import pytest

from flamehead.errors import AssetNotFound
from flamehead.fit._correspondence import OUTER_EYE_CORNERS, correspond, mesh_ids, rows_of
from flamehead.geometry.landmark_sets import FACE_OVAL, IBUG68_IN_MEDIAPIPE, MEDIAPIPE_105

SCHEMES = ("mediapipe478", "mediapipe468", "mediapipe105", "ibug68")


@pytest.mark.parametrize("seen", SCHEMES)
@pytest.mark.parametrize("model", [*SCHEMES, "ibug51"])
def test_paired_points_are_the_same_point_of_the_face_mesh(seen, model):
    pairs = correspond(seen, (model,), source="test")
    assert pairs.scheme == model
    np.testing.assert_array_equal(mesh_ids(seen)[pairs.seen_rows], mesh_ids(model)[pairs.model_rows])
    np.testing.assert_array_equal(mesh_ids(seen)[pairs.seen_rows], pairs.mesh_ids)
    assert set(pairs.mesh_ids) == set(mesh_ids(seen)) & set(mesh_ids(model))
    assert len(pairs.kinds) == len(pairs.neighbours) == len(pairs.seen_rows)
    assert set(OUTER_EYE_CORNERS) <= set(pairs.mesh_ids)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_of_undoes_mesh_ids(scheme):
    ids = mesh_ids(scheme)
    np.testing.assert_array_equal(rows_of(scheme, ids), np.arange(len(ids)))


@pytest.mark.parametrize(
    ("seen", "available", "chosen"),
    [
        ("mediapipe478", ["ibug68", "mediapipe105"], "mediapipe105"),
        ("mediapipe478", ["ibug68", "mediapipe105", "mediapipe478"], "mediapipe478"),
        ("mediapipe468", ["ibug68", "mediapipe105", "mediapipe478"], "mediapipe478"),
        ("mediapipe105", ["ibug68", "mediapipe105", "mediapipe478"], "mediapipe105"),
        ("ibug68", ["ibug68", "mediapipe105", "mediapipe478"], "ibug68"),
        ("ibug68", ["mediapipe105", "unknown"], "mediapipe105"),
        ("ibug68", ["mediapipe105", "ibug51"], "ibug51"),
        ("mediapipe478", ["ibug51"], "ibug51"),
    ],
)
def test_the_best_landmarks_are_chosen(seen, available, chosen):
    assert correspond(seen, tuple(available), source="test").scheme == chosen


def test_kinds_of_the_full_set():
    pairs = correspond("mediapipe478", ("mediapipe478",), source="test")
    assert {kind: int(pairs.is_kind(kind).sum()) for kind in ("inner", "contour", "iris", "other")} == {
        "inner": 105,
        "contour": 36,
        "iris": 10,
        "other": 327,
    }
    np.testing.assert_array_equal(np.sort(pairs.mesh_ids[pairs.is_kind("inner")]), np.sort(MEDIAPIPE_105))


def test_contours_slide_along_their_neighbours():
    loop = correspond("mediapipe478", ("mediapipe478",), source="test")
    place = list(FACE_OVAL).index(389)
    assert list(loop.neighbours[389]) == [FACE_OVAL[place - 1], FACE_OVAL[place + 1]]
    chain = correspond("ibug68", ("ibug68",), source="test")
    assert chain.is_kind("contour").sum() == 17
    np.testing.assert_array_equal(chain.neighbours[[0, 8, 16]], [[0, 1], [7, 9], [15, 16]])
    assert correspond("mediapipe105", ("mediapipe478",), source="test").is_kind("inner").all()
    assert set(IBUG68_IN_MEDIAPIPE[:17]) <= set(FACE_OVAL)


def test_a_model_without_landmarks_names_the_file():
    with pytest.raises(AssetNotFound, match=r"flame2020 has no landmarks.*mediapipe_landmark_embedding\.npz"):
        correspond("mediapipe478", (), source="flame2020")
