"""Files in the official layouts: keys, types and order of the originals, and our readers get back what was written."""

import pickle
import pickletools
import warnings

import numpy as np
import pytest
import scipy.sparse
import torch

from flamehead.assets import (
    MEDIAPIPE_105,
    FlameArrays,
    LandmarkEmbedding,
    read_embedding,
    read_masks,
    read_model,
    read_npy,
    read_npz,
)
from flamehead.assets.identify import identify
from flamehead.assets.write_embeddings import (
    write_dynamic_embedding,
    write_landmark_embedding,
    write_mediapipe_embedding,
    write_static_embedding,
)
from flamehead.assets.write_masks import write_masks
from flamehead.assets.write_model import write_model
from flamehead.assets.write_templates import write_offsets, write_template
from flamehead.assets.write_textures import write_albedo_space, write_texels, write_texture_space, write_uv_masks
from flamehead.errors import InputError
from flamehead.io import read_mesh

V, F = 40, 50
RANDOM = np.random.default_rng(0)


def flame_arrays(*, n_shape=300):
    regressor = RANDOM.random((5, V)) * (RANDOM.random((5, V)) < 0.3)
    regressor[:, 0] += 0.1
    weights = RANDOM.random((V, 5))
    return FlameArrays(
        template=RANDOM.normal(size=(V, 3)),
        faces=RANDOM.integers(0, V, (F, 3)),
        shape_basis=RANDOM.normal(size=(V, 3, n_shape)),
        expression_basis=RANDOM.normal(size=(V, 3, 100)),
        pose_basis=RANDOM.normal(size=(V, 3, 36)),
        skin_weights=weights / weights.sum(1, keepdims=True),
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        parents=(-1, 0, 1, 1, 1),
        fingerprint="none",
        source="test",
    )


def landmarks(count):
    return LandmarkEmbedding(RANDOM.integers(0, 9976, count), RANDOM.dirichlet(np.ones(3), size=count))


def contour():
    return RANDOM.integers(0, 9976, (79, 17)), RANDOM.dirichlet(np.ones(3), size=(79, 17))


def layout():
    return {"uv": RANDOM.random((60, 2)), "uv_faces": RANDOM.integers(0, 60, (F, 3))}


def kind_of(path):
    found = identify(path)
    assert found is not None and not found.problem
    return found.kind


def test_model_comes_back_bit_for_bit(tmp_path):
    arrays = flame_arrays()
    write_model(tmp_path / "generic_model.pkl", arrays)
    found = read_model(tmp_path / "generic_model.pkl")
    for name in ("template", "faces", "shape_basis", "expression_basis", "pose_basis", "skin_weights"):
        np.testing.assert_array_equal(getattr(found, name), getattr(arrays, name))
    np.testing.assert_array_equal(found.joint_regressor, arrays.joint_regressor)
    assert found.parents == arrays.parents


def test_model_has_the_official_keys_types_and_names(tmp_path):
    write_model(tmp_path / "generic_model.pkl", flame_arrays())
    data = (tmp_path / "generic_model.pkl").read_bytes()
    operations = list(pickletools.genops(data))
    assert data[:2] == b"\x80\x02" and max(code.proto for code, _, _ in operations) == 2
    assert {str(argument) for code, argument, _ in operations if code.name == "GLOBAL"} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
        "scipy.sparse.csc csc_matrix",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = pickle.loads(data, encoding="latin1")
    assert {key: (value.shape, value.dtype.str) for key, value in model.items() if hasattr(value, "dtype")} == {
        "v_template": ((V, 3), "<f8"),
        "f": ((F, 3), "<u4"),
        "shapedirs": ((V, 3, 400), "<f8"),
        "posedirs": ((V, 3, 36), "<f8"),
        "weights": ((V, 5), "<f8"),
        "J_regressor": ((5, V), "<f8"),
        "kintree_table": ((2, 5), "<u4"),
        "J": ((5, 3), "<f8"),
    }
    assert scipy.sparse.issparse(model["J_regressor"])
    assert model["kintree_table"].tolist() == [[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]]
    assert (model["bs_style"], model["bs_type"]) == ("lbs", "lrotmin")
    np.testing.assert_allclose(model["J_regressor"] @ model["v_template"], model["J"], atol=1e-15)


def test_model_with_another_number_of_identities_is_refused(tmp_path):
    with pytest.raises(InputError, match="299 identity columns, wanted 300"):
        write_model(tmp_path / "m.pkl", flame_arrays(n_shape=299))
    assert not list(tmp_path.iterdir())


def test_masks_come_back_from_a_text_pickle(tmp_path):
    names = ("face", "scalp", "neck", "nose", "lips", "left_ear")
    regions = {name: np.sort(RANDOM.choice(5023, 200, replace=False)) for name in names}
    write_masks(tmp_path / "FLAME_masks.pkl", regions)
    data = (tmp_path / "FLAME_masks.pkl").read_bytes()
    assert data.startswith(b"(d") and b"\r" not in data and data.isascii()
    found = read_masks(tmp_path / "FLAME_masks.pkl")
    plain = pickle.loads(data, encoding="latin1")
    assert found.keys() == plain.keys() == regions.keys()
    for name, ids in regions.items():
        np.testing.assert_array_equal(found[name], ids)
        assert plain[name].dtype == np.int64
    # A tool that rewrites line ends does no lasting harm.
    (tmp_path / "crlf.pkl").write_bytes(data.replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read_masks(tmp_path / "crlf.pkl")["nose"], regions["nose"])


def test_static_embedding_comes_back(tmp_path):
    ibug68 = landmarks(68)
    write_static_embedding(tmp_path / "flame_static_embedding.pkl", ibug68)
    data = (tmp_path / "flame_static_embedding.pkl").read_bytes()
    plain = pickle.loads(data, encoding="latin1")
    assert data.startswith(b"(d") and plain["lmk_face_idx"].dtype == np.uint32
    found = read_embedding(tmp_path / "flame_static_embedding.pkl")["ibug51"]
    np.testing.assert_array_equal(found.face_ids, ibug68.face_ids[17:])
    np.testing.assert_array_equal(found.barycentric, ibug68.barycentric[17:])


def test_dynamic_embedding_comes_back(tmp_path):
    faces, weights = contour()
    path = tmp_path / "flame_dynamic_embedding.npy"
    write_dynamic_embedding(path, faces, weights)
    for found in (read_npy(path), np.load(path, allow_pickle=True, encoding="latin1")[()]):
        np.testing.assert_array_equal(found["lmk_face_idx"], faces)
        np.testing.assert_array_equal(found["lmk_b_coords"], weights)
        assert len(found["lmk_face_idx"]) == 79 and found["lmk_face_idx"][0].dtype == np.uint32
        assert found["lmk_b_coords"][0].flags.f_contiguous
    assert path.read_bytes()[128:130] == b"\x80\x02"


@pytest.mark.parametrize("eyes", [False, True])
def test_landmark_embedding_comes_back(tmp_path, eyes):
    ibug68, (faces, weights), extra = landmarks(68), contour(), 2 * eyes
    path = tmp_path / "landmark_embedding.npy"
    write_landmark_embedding(path, ibug68, faces, weights, eyes=landmarks(2) if eyes else None)
    assert path.read_bytes()[128:130] == b"\x80\x03"
    plain = np.load(path, allow_pickle=True, encoding="latin1")[()]
    assert {key: tuple(value.shape) for key, value in plain.items()} == {
        "static_lmk_faces_idx": (51 + extra,),
        "static_lmk_bary_coords": (51 + extra, 3),
        "dynamic_lmk_faces_idx": (79, 17),
        "dynamic_lmk_bary_coords": (79, 17, 3),
        "full_lmk_faces_idx": (1, 68 + extra),
        "full_lmk_bary_coords": (1, 68 + extra, 3),
    }
    assert plain["dynamic_lmk_faces_idx"].dtype == torch.int64
    assert plain["dynamic_lmk_bary_coords"].dtype == torch.float32
    assert plain["full_lmk_bary_coords"].dtype == (np.float64 if eyes else np.float32)
    np.testing.assert_array_equal(read_npy(path)["dynamic_lmk_faces_idx"], faces)
    np.testing.assert_allclose(read_npy(path)["dynamic_lmk_bary_coords"], weights, atol=1e-7)
    found = read_embedding(path)
    np.testing.assert_array_equal(found["ibug68"].face_ids, ibug68.face_ids)
    np.testing.assert_allclose(found["ibug68"].barycentric, ibug68.barycentric, atol=1e-7)
    np.testing.assert_array_equal(found["ibug51"].barycentric, ibug68.barycentric[17:])


def test_mediapipe_embedding_comes_back(tmp_path):
    points, path = landmarks(105), tmp_path / "mediapipe_landmark_embedding.npz"
    write_mediapipe_embedding(path, points)
    with np.load(path) as plain:
        assert {key: plain[key].dtype.str for key in plain.files} == {
            "lmk_face_idx": "<u4",
            "lmk_b_coords": "<f8",
            "landmark_indices": "<i8",
        }
        assert tuple(plain["landmark_indices"]) == MEDIAPIPE_105
    found = read_embedding(path)["mediapipe105"]
    np.testing.assert_array_equal(found.face_ids, points.face_ids)
    np.testing.assert_array_equal(found.barycentric, points.barycentric)


def test_templates_come_back(tmp_path):
    arrays, uv = flame_arrays(), layout()
    write_template(tmp_path / "plain.obj", arrays.template, arrays.faces)
    write_template(tmp_path / "uv.obj", arrays.template, arrays.faces, **uv)
    for name in ("plain.obj", "uv.obj"):
        found = read_mesh(tmp_path / name)
        np.testing.assert_allclose(found.vertices, arrays.template, atol=1e-9)
        np.testing.assert_array_equal(found.faces, arrays.faces)
    lines = (tmp_path / "uv.obj").read_text().splitlines()
    texture = np.array([[float(x) for x in line.split()[1:]] for line in lines if line.startswith("vt")])
    np.testing.assert_allclose(texture, uv["uv"], atol=1e-8)
    corners = [[int(pair.split("/")[1]) - 1 for pair in line.split()[1:]] for line in lines if line.startswith("f")]
    np.testing.assert_array_equal(corners, uv["uv_faces"])
    assert not any(line.startswith("vt") for line in (tmp_path / "plain.obj").read_text().splitlines())


def test_offsets_come_back(tmp_path):
    offsets = RANDOM.normal(size=(5023, 3)).astype(np.float32)
    write_offsets(tmp_path / "l_eyelid.npy", offsets)
    found = np.load(tmp_path / "l_eyelid.npy")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, offsets)
    assert kind_of(tmp_path / "l_eyelid.npy") == "eyelid"


def test_texture_space_is_reversed_scaled_and_padded(tmp_path):
    mean, basis, uv = RANDOM.random((24, 24, 3)), RANDOM.normal(size=(24, 24, 3, 4)).astype(np.float32), layout()
    write_texture_space(tmp_path / "FLAME_texture.npz", mean, basis, **uv, names=["a", "b", "c", "d"])
    found = read_npz(tmp_path / "FLAME_texture.npz")
    np.testing.assert_allclose(found["mean"][..., ::-1] / 255, mean)
    assert found["mean"].dtype == np.float64 and found["tex_dir"].shape == (24, 24, 3, 200)
    np.testing.assert_allclose(found["tex_dir"][..., :4][:, :, ::-1] / 255, basis, rtol=1e-6)
    assert not found["tex_dir"][..., 4:].any()
    np.testing.assert_array_equal(found["vt"], uv["uv"])
    np.testing.assert_array_equal(found["ft"], uv["uv_faces"])
    assert found["names"].tolist() == ["a", "b", "c", "d"]
    assert kind_of(tmp_path / "FLAME_texture.npz") == "texture"


def test_albedo_space_is_reversed_and_padded(tmp_path):
    spaces = [(RANDOM.random((20, 20, 3)), RANDOM.normal(size=(20, 20, 3, 5)).astype(np.float32)) for _ in range(2)]
    write_albedo_space(tmp_path / "albedo.npz", *spaces, **layout())
    found = read_npz(tmp_path / "albedo.npz")
    assert set(found) == {"MU", "PC", "specMU", "specPC", "vt", "ft"}
    for prefix, (mean, basis) in zip(("", "spec"), spaces, strict=True):
        np.testing.assert_array_equal(found[f"{prefix}MU"][..., ::-1], mean)
        assert found[f"{prefix}PC"].shape == (20, 20, 3, 145)
        np.testing.assert_array_equal(found[f"{prefix}PC"][..., :5][:, :, ::-1], basis)


def test_too_many_components_are_refused(tmp_path):
    mean, basis = np.zeros((2, 2, 3)), np.zeros((2, 2, 3, 201), dtype=np.float32)
    with pytest.raises(InputError, match="201 components, wanted at most 200"):
        write_texture_space(tmp_path / "t.npz", mean, basis, **layout())
    with pytest.raises(InputError, match=r"wanted '\.npz'"):
        write_texture_space(tmp_path / "t.zip", mean, basis, **layout())
    assert not list(tmp_path.iterdir())


def test_texture_files_are_the_same_bytes_each_time(tmp_path):
    mean, basis, uv = RANDOM.random((8, 8, 3)), RANDOM.normal(size=(8, 8, 3, 4)).astype(np.float32), layout()
    for name in ("a.npz", "b.npz"):
        write_texture_space(tmp_path / name, mean, basis, **uv)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_uv_masks_come_back(tmp_path):
    masks = {name: RANDOM.random((16, 16)) < 0.5 for name in ("face", "neck", "scalp")}
    write_uv_masks(tmp_path / "uv_masks.npz", masks)
    with np.load(tmp_path / "uv_masks.npz") as found:
        for name, mask in masks.items():
            assert found[name].dtype == bool
            np.testing.assert_array_equal(found[name], mask)
    assert kind_of(tmp_path / "uv_masks.npz") == "uv masks"


def test_texels_list_what_lies_under_each_pixel(tmp_path):
    ids = RANDOM.integers(-1, F, (8, 8))
    weights, faces, uv = RANDOM.dirichlet(np.ones(3), size=(8, 8)), RANDOM.integers(0, V, (F, 3)), layout()
    write_texels(tmp_path / "texture_data_8.npy", ids, weights, faces=faces, **uv)
    found = np.load(tmp_path / "texture_data_8.npy", allow_pickle=True, encoding="latin1")[()]
    assert found["img_size"] == 8 and len(found["x_coords"]) == len(found["y_coords"]) == 64
    valid = found["valid_pixel_ids"]
    column, row = (found[key][valid].astype(int) for key in ("x_coords", "y_coords"))
    assert len(valid) == (ids >= 0).sum() and (ids[row, column] >= 0).all()
    np.testing.assert_array_equal(found["valid_pixel_3d_faces"], faces[ids[row, column]])
    np.testing.assert_array_equal(found["valid_pixel_b_coords"], weights[row, column])
    assert (found["x_coords"] % 1 == 0.5).all()
