"""Opening models: official files with what lies beside them, and the built-in head."""

import dataclasses
import logging
import pickle
import types

import numpy as np
import pytest
import torch

import flamehead.builtin
from flamehead.errors import AssetNotFound, InputError
from flamehead.model import load_flame


@pytest.fixture(scope="module")
def folder(tmp_path_factory, recipe):
    """The recipe's model as an official pickle, its 68 landmarks, and masks."""
    folder = tmp_path_factory.mktemp("flame")
    keys = ("v_template", "f", "shapedirs", "posedirs", "weights", "J_regressor")
    table = np.stack([recipe["parents"], np.arange(5)]).astype(np.uint32)
    entries = {key: recipe[key] for key in keys} | {"kintree_table": table}
    (folder / "model.pkl").write_bytes(pickle.dumps(entries, 2))
    embedding = {"lmk_face_idx": recipe["full_faces"], "lmk_b_coords": recipe["full_bary"]}
    (folder / "embedding.pkl").write_bytes(pickle.dumps(embedding, 2))
    masks = {name: np.arange(9) for name in ("face", "scalp", "neck", "nose", "lips")}
    (folder / "masks.pkl").write_bytes(pickle.dumps(masks, 0))
    return folder


def test_an_official_file_brings_its_neighbours(folder, recipe_flame, random_params):
    flame, wanted = load_flame(folder / "model.pkl", dtype=torch.float64), recipe_flame(torch.float64)
    assert set(flame.embeddings) == {"ibug68"} and flame.regions["face"].tolist() == list(range(9))
    assert (flame.n_shape, flame.n_expression, flame.colors) == (300, 100, None)
    assert len(flame.fingerprint) == 16 and flame.arrays.source.endswith("model.pkl")
    params = random_params(flame, 2)
    found, out = flame(params), wanted(params)
    torch.testing.assert_close(found.vertices, out.vertices, rtol=0, atol=0)
    marks = flame.landmarks(found.vertices, "ibug68")
    torch.testing.assert_close(marks, wanted.landmarks(out.vertices, "ibug68"), rtol=0, atol=1e-15)


def test_no_path_means_the_built_in_head(monkeypatch, small_arrays, small_flame):
    head = types.SimpleNamespace(
        arrays=small_arrays,
        embeddings=small_flame.embeddings,
        regions={"eyes": np.arange(40, 60)},
        colors=np.full((60, 3), 0.5, dtype=np.float32),
        eyelids=np.zeros((2, 60, 3)),
        contour_faces=np.zeros((79, 17), np.int64),
        contour_barycentric=np.full((79, 17, 3), 1 / 3),
        paint=lambda face_ids, barycentric: np.full((len(face_ids), 3), 0.5),
    )
    monkeypatch.setattr(flamehead.builtin, "builtin_head", lambda: head, raising=False)
    flame = load_flame()
    assert flame.fingerprint == "random" and flame.template.dtype == torch.float32
    assert flame.regions.keys() == {"eyes"} and flame.colors is head.colors
    assert flame.paint is head.paint


def test_the_release_can_be_said(folder, caplog):
    assert load_flame(folder / "model.pkl").arrays.variant == "unknown"
    flame = load_flame(folder / "model.pkl", variant="2023-no-jaw")
    assert flame.arrays.variant == "2023-no-jaw"
    with caplog.at_level(logging.WARNING):
        flame(flame.zeros())
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            flame(dataclasses.replace(flame.zeros(), jaw=torch.tensor([0.1, 0.0, 0.0])))
    assert caplog.text.count("without jaw rotation") == 1
    with pytest.raises(InputError, match="no FLAME variant '2024'"):
        load_flame(folder / "model.pkl", variant="2024")
    with pytest.raises(InputError, match="built-in head is no FLAME release"):
        load_flame(variant="2020")


def test_wrong_paths_get_one_sentence(folder, tmp_path):
    with pytest.raises(AssetNotFound, match=r"no FLAME model at .*absent.pkl.*FLAME site.*built-in head"):
        load_flame(tmp_path / "absent.pkl")
    with pytest.raises(InputError, match="is not a file"):
        load_flame(folder)
    with pytest.raises(InputError, match="not a FLAME model"):
        load_flame(folder / "embedding.pkl")
