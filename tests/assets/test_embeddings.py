"""Landmark embeddings and masks in the official layouts."""

import pickle

import numpy as np
import pytest

from flamehead.assets import MEDIAPIPE_105, read_embedding, read_masks, read_npy
from flamehead.errors import AssetNotFound, InputError, UnsafeFile


def _points(count, *, seed=0):
    random = np.random.default_rng(seed)
    weights = random.random((count, 3))
    return random.integers(0, 9976, count), weights / weights.sum(axis=1, keepdims=True)


def _landmark_embedding(*, extra=0):
    """The dictionary of `landmark_embedding.npy`, its contour as plain arrays."""
    faces, weights = _points(68 + extra)
    kept = np.r_[17 : 68 + extra]
    return {
        "static_lmk_faces_idx": faces[kept],
        "static_lmk_bary_coords": np.asfortranarray(weights[kept]),
        "dynamic_lmk_faces_idx": np.zeros((79, 17), dtype=np.int64),
        "dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3, dtype=np.float32),
        "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": weights[None].astype(np.float32),
    }


@pytest.mark.parametrize("extra", [0, 2])
def test_landmark_embedding(tmp_path, extra):
    entries = _landmark_embedding(extra=extra)
    np.save(tmp_path / "landmark_embedding.npy", np.array(entries, dtype=object), allow_pickle=True)
    found = read_embedding(tmp_path / "landmark_embedding.npy")
    assert set(found) == {"ibug68", "ibug51"}
    np.testing.assert_array_equal(found["ibug68"].face_ids, entries["full_lmk_faces_idx"][0, :68])
    np.testing.assert_array_equal(found["ibug68"].barycentric, entries["full_lmk_bary_coords"][0, :68])
    np.testing.assert_array_equal(found["ibug51"].face_ids, found["ibug68"].face_ids[17:])
    assert found["ibug68"].barycentric.dtype == np.float64 and found["ibug68"].face_ids.dtype == np.int64


@pytest.mark.parametrize(("count", "scheme"), [(51, "ibug51"), (68, "ibug68")])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_static_pickles_also_with_changed_line_ends(tmp_path, dump_python2, count, scheme, ends):
    faces, weights = _points(count)
    data = dump_python2({"lmk_face_idx": faces.astype(np.uint32), "lmk_b_coords": np.asfortranarray(weights)}, 0)
    path = tmp_path / "flame_static_embedding.pkl"
    path.write_bytes(data.replace(b"\n", ends))
    found = read_embedding(path)
    assert list(found) == [scheme]
    np.testing.assert_array_equal(found[scheme].face_ids, faces)
    np.testing.assert_array_equal(found[scheme].barycentric, weights)


def test_mediapipe_points_come_in_the_order_of_the_scheme(tmp_path):
    assert len(set(MEDIAPIPE_105)) == 105
    faces, weights = _points(105)
    order = np.random.default_rng(1).permutation(105)
    path = tmp_path / "mediapipe_landmark_embedding.npz"
    ids = np.array(MEDIAPIPE_105)
    np.savez(
        path, lmk_face_idx=faces[order].astype(np.uint32), lmk_b_coords=weights[order], landmark_indices=ids[order]
    )
    found = read_embedding(path)["mediapipe105"]
    np.testing.assert_array_equal(found.face_ids, faces)
    np.testing.assert_array_equal(found.barycentric, weights)


@pytest.mark.parametrize("ids", [np.arange(105), np.array(MEDIAPIPE_105)[:104], np.array((*MEDIAPIPE_105[:104], 0))])
def test_other_mediapipe_ids_are_refused(tmp_path, ids):
    faces, weights = _points(105)
    np.savez(tmp_path / "m.npz", lmk_face_idx=faces, lmk_b_coords=weights, landmark_indices=ids)
    with pytest.raises(InputError, match="landmark_indices"):
        read_embedding(tmp_path / "m.npz")


def _write(path, value):
    path.write_bytes(pickle.dumps(value, 2))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, b: (f[:50], b[:50]), "50 landmarks, wanted 51 or 68"),
        (lambda f, b: (f + 9976, b), r"wanted 0\.\.9975"),
        (lambda f, b: (f - 9976, b), r"wanted 0\.\.9975"),
        (lambda f, b: (f, b * 1.001), "do not sum to 1"),
        (lambda f, b: (f, b * np.nan), "do not sum to 1"),
        (lambda f, b: (f, b[:50]), r"\(51,\) and \(50, 3\)"),
        (lambda f, b: (f.astype(float), b), r"wanted \(L,\)"),
        (lambda f, b: (f, "text"), r"wanted \(L,\)"),
    ],
)
def test_damaged_embeddings_are_refused(tmp_path, change, words):
    faces, weights = change(*_points(51))
    path = _write(tmp_path / "static.pkl", {"lmk_face_idx": faces, "lmk_b_coords": weights})
    with pytest.raises(InputError, match=words):
        read_embedding(path)


def test_a_contour_of_another_length_is_refused(tmp_path):
    entries = _landmark_embedding() | {"dynamic_lmk_faces_idx": np.zeros((78, 17), dtype=np.int64)}
    np.save(tmp_path / "l.npy", np.array(entries, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="78 rows, wanted 79"):
        read_embedding(tmp_path / "l.npy")


def test_other_files_are_no_embeddings(tmp_path):
    with pytest.raises(InputError, match="not a landmark embedding"):
        read_embedding(_write(tmp_path / "x.pkl", [1]))
    contour = {"lmk_face_idx": [np.zeros(17, np.uint32)] * 79, "lmk_b_coords": [np.ones((17, 3)) / 3] * 79}
    np.save(tmp_path / "flame_dynamic_embedding.npy", np.array(contour, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="fixed points"):
        read_embedding(tmp_path / "flame_dynamic_embedding.npy")
    with pytest.raises(AssetNotFound):
        read_embedding(tmp_path / "absent.npy")


def test_an_object_file_that_executes_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return eval, (f"open({str(tmp_path / 'executed')!r}, 'w')",)

    np.save(tmp_path / "e.npy", np.array({"full_lmk_faces_idx": Evil()}, dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeFile, match=r"e.npy asks for (builtins|__builtin__).eval"):
        read_embedding(tmp_path / "e.npy")
    assert not (tmp_path / "executed").exists()


def _masks():
    names = ("face", "scalp", "neck", "nose", "lips", "left_ear")
    return {name: np.arange(10 * i, 10 * i + 30) for i, name in enumerate(names)}


def test_masks_are_sorted_and_unique(tmp_path, dump_python2):
    masks = _masks() | {"lips": np.array([7, 3, 7, 5])}
    path = tmp_path / "FLAME_masks.pkl"
    for ends in (b"\n", b"\r\n"):
        path.write_bytes(dump_python2(masks, 0).replace(b"\n", ends))
        found = read_masks(path)
        assert found.keys() == masks.keys() and found["lips"].tolist() == [3, 5, 7]
        np.testing.assert_array_equal(found["scalp"], masks["scalp"])


@pytest.mark.parametrize(
    ("bad", "words"), [(np.array([5023]), r"0\.\.5022"), (np.ones(3), "not a list"), (3, "not a list")]
)
def test_bad_masks_are_refused(tmp_path, bad, words):
    with pytest.raises(InputError, match=words):
        read_masks(_write(tmp_path / "m.pkl", _masks() | {"face": bad}))
    with pytest.raises(InputError, match="not a file of FLAME masks"):
        read_masks(_write(tmp_path / "m.pkl", {"a": 1}))


@pytest.mark.assets
def test_real_embeddings(flame_files):
    plain = read_embedding(flame_files / "landmark_embedding.npy")
    eyes = read_embedding(flame_files / "landmark_embedding_with_eyes.npy")
    for scheme, count in (("ibug68", 68), ("ibug51", 51)):
        assert len(plain[scheme].face_ids) == count
        np.testing.assert_array_equal(plain[scheme].face_ids, eyes[scheme].face_ids)
        np.testing.assert_allclose(plain[scheme].barycentric, eyes[scheme].barycentric, atol=1e-6)
    np.testing.assert_array_equal(plain["ibug68"].face_ids[17:], plain["ibug51"].face_ids)
    static = read_embedding(flame_files / "flame_static_embedding.pkl")["ibug51"]
    differ = np.flatnonzero(static.face_ids != plain["ibug51"].face_ids)
    assert 0 < len(differ) <= 12 and differ.max() < 14
    assert len(read_embedding(flame_files / "mediapipe_landmark_embedding.npz")["mediapipe105"].face_ids) == 105


@pytest.mark.assets
def test_real_torch_blobs_are_the_contour_table(flame_files):
    entries = read_npy(flame_files / "landmark_embedding.npy")
    assert isinstance(entries, dict)
    faces, weights = entries["dynamic_lmk_faces_idx"], entries["dynamic_lmk_bary_coords"]
    assert faces.shape == (79, 17) and faces.dtype == np.int64 and 0 <= faces.min() and faces.max() < 9976
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert sum(faces[0] == entries["full_lmk_faces_idx"][0, :17]) == 6


@pytest.mark.assets
def test_real_masks(flame_files):
    masks = read_masks(flame_files / "FLAME_masks_crlf.pkl")
    assert len(masks) == 14 and len(masks["lips"]) == 250
    np.testing.assert_array_equal(masks["left_eyeball"], np.arange(3931, 4477))


def test_both_lists_of_the_105_points_agree():
    """This room and `geometry` do not know each other, so that each has its own."""
    from flamehead.geometry import landmark_sets

    assert landmark_sets.MEDIAPIPE_105.tolist() == list(MEDIAPIPE_105)
