"""Finding and describing files, and the folders they are looked for in."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from flamehead.assets import (
    MEDIAPIPE_105,
    WANTED,
    asset_folders,
    doctor,
    find_beside,
    missing,
    user_cache_folder,
    user_data_folder,
)


def _embedding(count, *, seed=0):
    random = np.random.default_rng(seed)
    return {"lmk_face_idx": random.integers(0, 50, count), "lmk_b_coords": np.full((count, 3), 1 / 3)}


@pytest.fixture
def folder(tmp_path, official):
    """A user's folder with a model and what belongs to it, under names that say nothing."""
    inner = tmp_path / "deep" / "FLAME"
    inner.mkdir(parents=True)
    (inner / "a.pkl").write_bytes(pickle.dumps(official()))
    (inner / "b.pkl").write_bytes(pickle.dumps(_embedding(51, seed=1)))
    (inner / "c.pkl").write_bytes(pickle.dumps(_embedding(68, seed=2)))
    np.savez(inner / "d.npz", **_embedding(105), landmark_indices=np.array(MEDIAPIPE_105))
    masks = {name: np.arange(30) for name in ("face", "scalp", "neck", "nose", "lips")}
    (inner / "e.pkl").write_bytes(pickle.dumps(masks, 0).replace(b"\n", b"\r\n"))
    (inner / "f.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    (inner / "g.npz").write_bytes(b"")
    (inner / "notes.txt").write_text("nothing")
    (inner / "h.pkl").write_bytes(pickle.dumps({"other": 1}))
    np.save(inner / "i.npy", np.zeros((5023, 3)))
    np.savez(inner / "j.npz", mean=np.zeros((2, 2, 3)), tex_dir=np.zeros((2, 2, 3, 4)))
    return tmp_path


def test_the_files_beside_a_model_are_found_by_content(folder):
    beside = find_beside(folder / "deep" / "FLAME" / "a.pkl")
    assert set(beside["embeddings"]) == {"ibug51", "ibug68", "mediapipe105"}
    np.testing.assert_array_equal(beside["embeddings"]["ibug68"].face_ids, _embedding(68, seed=2)["lmk_face_idx"])
    assert set(beside["regions"]) == {"face", "scalp", "neck", "nose", "lips"}


def test_the_51_points_beside_a_model_agree_with_its_68(folder):
    inner = folder / "deep" / "FLAME"
    full = _embedding(68, seed=3)
    entries = {
        "full_lmk_faces_idx": full["lmk_face_idx"][None],
        "full_lmk_bary_coords": full["lmk_b_coords"][None],
        "static_lmk_faces_idx": full["lmk_face_idx"][17:],
        "static_lmk_bary_coords": full["lmk_b_coords"][17:],
    }
    np.save(inner / "z.npy", np.array(entries, dtype=object), allow_pickle=True)
    found = find_beside(inner / "a.pkl")["embeddings"]
    np.testing.assert_array_equal(found["ibug51"].face_ids, found["ibug68"].face_ids[17:])
    np.testing.assert_array_equal(found["ibug68"].face_ids, full["lmk_face_idx"])


def test_the_doctor_names_every_file_and_every_problem(folder):
    found = {asset.path.name: asset for asset in doctor([folder, folder])}
    kinds = {name: asset.kind for name, asset in found.items()}
    assert kinds == {
        "a.pkl": "model",
        "b.pkl": "landmarks",
        "c.pkl": "landmarks",
        "d.npz": "landmarks",
        "e.pkl": "masks",
        "f.pkl": "unreadable",
        "g.npz": "unreadable",
        "i.npy": "eyelid",
        "j.npz": "texture",
    }
    assert "300 shape and 100 expression" in found["a.pkl"].description
    assert "os.system" in found["f.pkl"].problem and "empty" in found["g.npz"].problem
    assert not any(found[name].problem for name in "a.pkl b.pkl c.pkl d.npz e.pkl j.npz".split())


def test_a_broken_model_is_reported_with_its_problem(tmp_path, official):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(official() | {"weights": np.zeros((40, 5))}))
    (asset,) = doctor([tmp_path])
    assert asset.kind == "model" and "'weights'" in asset.problem
    assert "model" in {wanted.kind for wanted in missing([asset])}


def test_the_doctor_counts_what_is_missing(folder):
    assert missing([]) == list(WANTED)
    names = [wanted.name for wanted in missing(doctor([folder]))]
    assert names[0] == "albedoModel2020_FLAME_albedoPart.npz" and not {"FLAME_masks.pkl", "l_eyelid.npy"} & set(names)
    assert all("sign-up" in wanted.where for wanted in WANTED if "FLAME site" in wanted.where)


def test_the_doctor_does_not_dig_without_end(tmp_path, official):
    deep = tmp_path.joinpath(*"abcdefg")
    deep.mkdir(parents=True)
    (deep / "m.pkl").write_bytes(pickle.dumps(official()))
    assert doctor([tmp_path, tmp_path / "absent"]) == []
    assert len(doctor([deep.parent])) == 1


def test_environment_overrides_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAMEHEAD_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path / "cache"))
    assert (user_data_folder(), user_cache_folder()) == (tmp_path / "assets", tmp_path / "cache")


@pytest.mark.parametrize(
    ("platform", "environment", "data", "cache"),
    [
        ("linux", {"XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c"}, "/d/flamehead", "/c/flamehead"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/me/.local/share/flamehead", "/home/me/.cache/flamehead"),
        ("linux", {}, "/home/me/.local/share/flamehead", "/home/me/.cache/flamehead"),
        ("darwin", {}, "/home/me/Library/Application Support/flamehead", "/home/me/Library/Caches/flamehead"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/flamehead", "/local/flamehead/Cache"),
        ("win32", {}, "/home/me/AppData/Local/flamehead", "/home/me/AppData/Local/flamehead/Cache"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="absolute paths look different there")
def test_folders_follow_the_platform(monkeypatch, platform, environment, data, cache):
    for name in ("FLAMEHEAD_ASSETS", "FLAMEHEAD_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr("sys.platform", platform)
    assert (user_data_folder(), user_cache_folder()) == (Path(data), Path(cache))


def test_a_user_without_a_home_folder_has_a_temporary_one(monkeypatch, tmp_path):
    for name in ("FLAMEHEAD_ASSETS", "FLAMEHEAD_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert asset_folders() == []
    for folder in (user_data_folder(), user_cache_folder()):
        assert folder.is_relative_to(tmp_path) and folder.relative_to(tmp_path).parts[0].startswith("flamehead-")


def test_files_are_looked_for_in_the_most_specific_folder_first(monkeypatch, tmp_path):
    folders = [tmp_path / name for name in ("argument", "environment", "data/flamehead")]
    monkeypatch.setenv("FLAMEHEAD_ASSETS", str(folders[1]))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.platform", "linux")
    assert asset_folders(folders[0]) == []
    for folder in folders:
        folder.mkdir(parents=True)
    assert asset_folders(folders[0]) == folders
    assert asset_folders() == folders[1:]


@pytest.mark.assets
def test_real_files_are_all_recognised(flame_files):
    found = doctor([flame_files])
    assert len(found) == len(list(flame_files.iterdir())) and not any(asset.problem for asset in found)
    beside = find_beside(flame_files / "model.pkl")
    assert set(beside["embeddings"]) == {"ibug51", "ibug68", "mediapipe105"} and len(beside["regions"]) == 14
