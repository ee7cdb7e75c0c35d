"""One door: every kind of file is recognised by its content and comes back in one convention."""

import dataclasses
import shutil
import tracemalloc

import numpy as np
import pytest
import scipy.io

from flamehead.assets import MEDIAPIPE_105, open_asset, read_bfm, read_bfm_albedo, read_contour, read_texture
from flamehead.assets.identify import identify
from flamehead.assets.safe_pickle import repair_line_ends
from flamehead.errors import AssetNotFound, InputError, MissingExtra, UnsafeFile


def test_every_kind_is_recognised_whatever_its_name(every_kind, tmp_path):
    folder, wanted = every_kind
    for name, kind in wanted.items():
        shutil.copy(folder / name, tmp_path / "file.bin")
        asset = open_asset(tmp_path / "file.bin")
        assert type(asset).__name__ == kind, name
        assert dataclasses.is_dataclass(asset) and type(asset).__dataclass_params__.frozen  # pyright: ignore
        assert identify(tmp_path / "file.bin", any_name=True), name


def test_every_kind_is_described(every_kind):
    folder, wanted = every_kind
    for name in wanted:
        found = identify(folder / name, any_name=True)
        if name == "uv_face_mask.png":
            assert found and found.kind == "mask image"
        assert found and not found.problem and found.description and found.enables, name


def test_textures_become_rgb(every_kind):
    folder, _ = every_kind
    raw = np.load(folder / "texture.npz")
    space = read_texture(folder / "texture.npz", n_components=4)
    assert space.basis.shape == (4, 4, 3, 4) and space.n_stored == 9 and space.basis.dtype == np.float32
    np.testing.assert_allclose(space.mean, raw["mean"][..., ::-1] / 255, rtol=1e-6)
    np.testing.assert_allclose(space.basis, raw["tex_dir"][:, :, ::-1, :4] / 255, rtol=1e-6)
    raw = np.load(folder / "albedo.npz")
    albedo = open_asset(folder / "albedo.npz", n_components=50)
    np.testing.assert_allclose(albedo.specular_basis, raw["specPC"][:, :, ::-1], rtol=1e-6)  # pyright: ignore
    raw = np.load(folder / "inpainting.npz")
    small = read_bfm_albedo(folder / "inpainting.npz", n_components=2)
    np.testing.assert_allclose(small.basis, raw["PC"].reshape(4, 4, 3, 5)[:, :, ::-1, :2], rtol=1e-6)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_fortran_order_and_single_precision_make_no_difference(every_kind, tmp_path, save):
    raw = dict(np.load(every_kind[0] / "texture.npz"))
    save(tmp_path / "a.npz", **raw)
    save(tmp_path / "f.npz", **raw | {"tex_dir": np.asfortranarray(raw["tex_dir"].astype(">f4"))})
    a, f = (read_texture(tmp_path / name, n_components=3) for name in ("a.npz", "f.npz"))
    np.testing.assert_array_equal(a.basis, f.basis)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_texture_costs_little_more_memory_than_what_is_kept(every_kind, tmp_path, save):
    raw = dict(np.load(every_kind[0] / "texture.npz"))
    big = {"mean": np.zeros((128, 128, 3)), "tex_dir": np.zeros((128, 128, 3, 100))}
    save(tmp_path / "t.npz", **raw | big)
    tracemalloc.start()
    kept = read_texture(tmp_path / "t.npz", n_components=5).basis.nbytes
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept == 128 * 128 * 3 * 5 * 4 and peak < kept + 3 * 2**23 < big["tex_dir"].nbytes


def test_the_basel_face_model_2009_in_metres_and_sigmas(every_kind):
    for name in ("bfm2009.mat", "bfm2009_plain.mat"):
        raw = scipy.io.loadmat(every_kind[0] / name)
        model = read_bfm(every_kind[0] / name)
        basis = raw["shapePC"] * raw["shapeEV"][:, 0] * 1e-6
        np.testing.assert_allclose(model.shape_mean, raw["shapeMU"].reshape(-1, 3) * 1e-6, rtol=1e-6)
        np.testing.assert_allclose(model.shape_basis, basis.reshape(6, 3, 3), rtol=1e-5)
        np.testing.assert_allclose(model.color_mean, raw["texMU"].reshape(-1, 3) / 255, rtol=1e-6)
        np.testing.assert_array_equal(model.faces, raw["tl"] - 1)
        assert model.release == "2009" and model.expression_basis is None


def _write_2017(path, **changes):
    h5py = pytest.importorskip("h5py")
    random, n = np.random.default_rng(3), 5
    content = {"shape/representer/cells": random.integers(0, n, (3, 4)), "metadata/landmarks/json": "[]"}
    for part, k in (("shape", 4), ("color", 4), ("expression", 2)):
        content[f"{part}/model/mean"] = random.normal(size=3 * n).astype(np.float32)
        content[f"{part}/model/pcaBasis"] = random.normal(size=(3 * n, k)).astype(np.float32)
        content[f"{part}/model/pcaVariance"] = random.random(k).astype(np.float32)
        content[f"{part}/representer/points"] = random.normal(size=(3, n))
    content |= changes
    with h5py.File(path, "w") as file:
        for key, value in content.items():
            file[key] = value
    return content


def test_the_basel_face_model_2017_in_metres_and_sigmas(tmp_path):
    raw = _write_2017(tmp_path / "m.h5")
    model = open_asset(tmp_path / "m.h5")
    sigma = np.sqrt(raw["expression/model/pcaVariance"])
    np.testing.assert_allclose(
        model.expression_basis,  # pyright: ignore
        (raw["expression/model/pcaBasis"] * sigma * 1e-3).reshape(5, 3, 2),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(model.faces, raw["shape/representer/cells"].T)  # pyright: ignore
    for key, value, words in (
        ("shape/representer/cells", np.full((3, 4), 5), "0..4"),
        ("color/model/mean", np.full(15, np.nan, np.float32), "finite"),
        ("shape/model/pcaVariance", -np.ones(4), "variances"),
        ("shape/model/pcaBasis", np.ones((14, 4)), "(14, 4)"),
    ):
        _write_2017(tmp_path / "bad.h5", **{key: value})
        with pytest.raises(InputError) as caught:
            open_asset(tmp_path / "bad.h5")
        assert key in str(caught.value) and words in str(caught.value) and "bad.h5" in str(caught.value)


def test_an_hdf5_file_that_only_claims_numbers_costs_nothing(tmp_path):
    h5py = pytest.importorskip("h5py")
    _write_2017(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["shape/model/mean"]
        file.create_dataset("shape/model/mean", shape=(300_000,), dtype="f4", chunks=(1000,))
    with pytest.raises(InputError, match="'shape/model/mean' has 0 stored bytes"):
        open_asset(tmp_path / "m.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:-200])
    with pytest.raises(InputError, match="not a whole HDF5 file"):
        open_asset(tmp_path / "cut.h5")


def test_hdf5_without_h5py_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"pcaBasis representer expression")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtra, match="pip install"):
        open_asset(tmp_path / "m.h5")
    found = identify(tmp_path / "m.h5")
    assert found and found.kind == "bfm"


def test_what_the_small_tables_hold(every_kind):
    folder, _ = every_kind
    corr = open_asset(folder / "corr.npz")
    assert set(corr.maps) == {"BFM2017", "BFM2009", "BFM2009_cropped"}  # pyright: ignore
    assert corr.maps["BFM2017"].matrix.shape == (5023, 6)  # pyright: ignore
    mica, deca = open_asset(folder / "mica.tar"), open_asset(folder / "deca.tar")
    assert mica.network == "MICA" and mica.shapes["flameModel.weight"] == (3, 2)  # pyright: ignore
    assert deca.network == "DECA" and deca.parts == {"E_flame": 1}  # pyright: ignore
    picked = open_asset(folder / "points.pp")
    assert picked.names == ("nose", "b") and picked.active.tolist() == [True, False]  # pyright: ignore
    np.testing.assert_array_equal(picked.points, [[1, 2.5, -3], [1, 2, 3]])  # pyright: ignore
    eyelid, mask = open_asset(folder / "l_eyelid.npy"), open_asset(folder / "uv_face_mask.png")
    assert eyelid.side == "left" and np.allclose(mask.mask, 128 / 255)  # pyright: ignore
    full = open_asset(folder / "full.npy")
    assert set(full.sets) == {"ibug68"} and full.eyes.face_ids.shape == (2,)  # pyright: ignore


def test_both_tables_of_the_contour_agree(every_kind):
    a, b = (read_contour(every_kind[0] / name) for name in ("dynamic.npy", "full.npy"))
    assert a.face_ids.shape == (79, 17) and a.barycentric.shape == (79, 17, 3)
    np.testing.assert_array_equal(a.face_ids, b.face_ids)
    np.testing.assert_allclose(a.barycentric, b.barycentric, atol=1e-7)
    with pytest.raises(InputError, match="no table of the sliding contour"):
        read_contour(every_kind[0] / "static.pkl")


def _saved(path, entries):
    np.save(path, np.array(entries, dtype=object), allow_pickle=True)


def _entries(every_kind, name):
    return np.load(every_kind[0] / name, allow_pickle=True).item()


DEFECTS = [
    ("texels.npy", "valid_pixel_ids", lambda a: a + 64, "0..63"),
    ("texels.npy", "valid_pixel_3d_faces", lambda a: a - 5023, "0..5022"),
    ("texels.npy", "valid_pixel_b_coords", lambda a: a * 2, "sum to 1"),
    ("texels.npy", "img_size", lambda a: 10**9, "1..8192"),
    ("texels.npy", "x_coords", lambda a: a[:-1], "(64)"),
    ("cached_data.npy", "valid_BFM_faces", lambda a: a + 53149, "0..53148"),
    ("cached_data.npy", "ids", lambda a: a * 1.5, "whole numbers"),
    ("full.npy", "dynamic_lmk_faces_idx", lambda a: a[:78], "78 rows, wanted 79"),
    ("full.npy", "dynamic_lmk_bary_coords", lambda a: a * np.nan, "sum to 1"),
    ("full.npy", "full_lmk_faces_idx", lambda a: a + 9976, "0..9975"),
    ("dynamic.npy", "lmk_face_idx", lambda a: a[:5], "5 rows, wanted 79"),
]


@pytest.mark.parametrize(("name", "key", "change", "words"), DEFECTS)
def test_defects_name_file_key_found_and_wanted(every_kind, tmp_path, name, key, change, words):
    entries = _entries(every_kind, name)
    _saved(tmp_path / "bad.npy", entries | {key: change(entries[key])})
    with pytest.raises(InputError) as caught:
        open_asset(tmp_path / "bad.npy")
    message = str(caught.value)
    assert "bad.npy" in message and words in message and "\n" not in message
    assert key in message or key.replace("bary_coords", "faces_idx") in message


ARCHIVES = [
    ("texture.npz", "vt", lambda a: a[:5], ["'vt'", "(5, 2)", "(5118, 2)"]),
    ("texture.npz", "ft", lambda a: a + 5118, ["'ft'", "0..5117"]),
    ("texture.npz", "mean", lambda a: a[..., 0], ["'mean'", "(4, 4)", "(H, W, 3)"]),
    ("texture.npz", "tex_dir", lambda a: a[:2], ["'tex_dir'", "(2, 4, 3, 9)"]),
    ("texture.npz", "tex_dir", lambda a: a * np.nan, ["'tex_dir'", "finite"]),
    ("texture.npz", "tex_dir", lambda a: a.astype(np.int32), ["'tex_dir'", "int32"]),
    ("inpainting.npz", "MU", lambda a: a[:-1], ["'MU'", "47"]),
    ("uv_masks.npz", "face", lambda a: a.astype(float), ["'face'", "float64", "boolean"]),
    ("corr.npz", "FLAME_mask_ids", lambda a: a + 5023, ["'FLAME_mask_ids'", "0..5022"]),
    ("corr.npz", "BFM2009_corr", lambda a: np.array({"mtx": 3}), ["'BFM2009_corr'", "sparse"]),
]


@pytest.mark.parametrize(("name", "key", "change", "words"), ARCHIVES)
def test_defects_in_archives_name_file_key_found_and_wanted(every_kind, tmp_path, name, key, change, words):
    entries = dict(np.load(every_kind[0] / name, allow_pickle=True))
    np.savez(tmp_path / "bad.npz", **entries | {key: change(entries[key])})
    with pytest.raises(InputError) as caught:
        open_asset(tmp_path / "bad.npz")
    assert all(word in str(caught.value) for word in ["bad.npz", *words]) and "\n" not in str(caught.value)


def test_files_that_are_nothing_we_know(tmp_path):
    with pytest.raises(AssetNotFound):
        open_asset(tmp_path / "absent")
    for name, data in (("a", b""), ("b", b"hello"), ("c", b"<!DOCTYPE html>"), ("d", b"\x00" * 300)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name} "):
            open_asset(tmp_path / name)
    np.save(tmp_path / "x.npy", np.zeros(3))
    np.savez(tmp_path / "y.npz", a=np.zeros(3))
    for name in ("x.npy", "y.npz"):
        with pytest.raises(InputError, match="no file of the FLAME world"):
            open_asset(tmp_path / name)
        assert identify(tmp_path / name) is None


def test_a_checkpoint_that_calls_something_is_refused(tmp_path):
    torch = pytest.importorskip("torch")

    class Evil:
        def __reduce__(self):
            return (__import__("os").system, (f"touch {tmp_path / 'evil'}",))

    for new in (True, False):
        torch.save({"E_flame": Evil()}, tmp_path / "deca_model.tar", _use_new_zipfile_serialization=new)
        with pytest.raises(UnsafeFile, match="system"):
            open_asset(tmp_path / "deca_model.tar")
        found = identify(tmp_path / "deca_model.tar")
        assert found and "system" in found.problem
    assert not (tmp_path / "evil").exists()


@pytest.mark.assets
def test_line_ends_are_repaired_byte_for_byte(flame_files, caplog):
    damaged, intact = ((flame_files / f"FLAME_masks{end}.pkl").read_bytes() for end in ("_crlf", ""))
    assert damaged != intact and repair_line_ends(damaged) == intact == repair_line_ends(intact)
    assert b"\r" not in intact
    a, b = (open_asset(flame_files / f"FLAME_masks{end}.pkl") for end in ("_crlf", ""))
    assert a.vertices.keys() == b.vertices.keys() and "line ends" in caplog.text  # pyright: ignore
    assert all(np.array_equal(a.vertices[key], b.vertices[key]) for key in b.vertices)  # pyright: ignore


MASK_SIZES = {
    "face": 1787, "eye_region": 751, "left_eye_region": 287, "right_eye_region": 287, "forehead": 133, "nose": 379,
    "lips": 250, "left_eyeball": 546, "right_eyeball": 546, "left_ear": 588, "right_ear": 588, "scalp": 489,
    "neck": 253, "boundary": 114,
}  # fmt: skip


@pytest.mark.assets
def test_the_real_files_hold_what_is_documented(flame_files):
    masks = open_asset(flame_files / "FLAME_masks.pkl")
    assert {name: len(ids) for name, ids in masks.vertices.items()} == MASK_SIZES  # pyright: ignore
    plain, eyes = (open_asset(flame_files / f"landmark_embedding{end}.npy") for end in ("", "_with_eyes"))
    assert eyes.eyes.face_ids.tolist() == [4628, 4053] and plain.eyes is None  # pyright: ignore
    np.testing.assert_array_equal(plain.contour.face_ids, eyes.contour.face_ids)  # pyright: ignore
    assert len(open_asset(flame_files / "mediapipe_landmark_embedding.npz").sets["mediapipe105"].face_ids) == len(  # pyright: ignore
        MEDIAPIPE_105
    )
    template, mesh = open_asset(flame_files / "head_template.obj"), open_asset(flame_files / "head_template_mesh.obj")
    np.testing.assert_array_equal(template.faces, mesh.faces)  # pyright: ignore
    np.testing.assert_array_equal(template.faces[:2], [[3, 1, 0], [7, 5, 4]])  # pyright: ignore
    assert template.uv is None and mesh.uv.shape == (5118, 2)  # pyright: ignore
    left, right = (open_asset(flame_files / f"{side}_eyelid.npy") for side in "lr")
    counts = [np.count_nonzero(np.abs(lid.offsets).sum(1)) for lid in (left, right)]  # pyright: ignore
    assert counts == [409, 462] and (left.side, right.side) == ("left", "right")  # pyright: ignore
