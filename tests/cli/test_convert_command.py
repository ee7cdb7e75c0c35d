"""`flamehead convert bfm` and `bfm-colors` on files in the official layouts, made here."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from flamehead import load_flame
from flamehead.assets import read_bfm_albedo
from flamehead.io import read_mesh, write_ply

COUNT = 3 * 5023
"""Vertices of the Basel mesh of these tests; the number is the file's to say."""


@pytest.fixture(scope="session")
def flame():
    return load_flame(dtype=torch.float64)


@pytest.fixture(scope="session")
def files(tmp_path_factory, flame):
    """The correspondence, a Basel model of 2009 whose mean is a FLAME head, and that head in metres."""
    folder, rng = tmp_path_factory.mktemp("bfm"), np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), 5023)
    rows, columns = np.repeat(np.arange(5023), 3), rng.permutation(COUNT)
    matrix = scipy.sparse.csc_matrix((weights.ravel(), (rows, columns)), shape=(5023, 2 * COUNT))
    one = {"mtx": matrix, "f_in": np.zeros((9, 3), int), "f_out": flame.faces.numpy()}
    entries = {"BFM2009_corr": np.array(one), "FLAME_mask_ids": np.asarray(flame.regions["face"])}
    np.savez(folder / "BFM_to_FLAME_corr.npz", **entries)  # pyright: ignore[reportArgumentType]
    shape = torch.tensor(0.5 * rng.normal(size=flame.n_shape))
    head = flame(replace(flame.zeros(), shape=shape)).vertices.numpy()
    left = matrix[:, :COUNT].tocsr()
    points = left.T @ (head / np.asarray(left.multiply(left).sum(axis=1)))
    basis = np.zeros((3 * COUNT, 2), dtype=np.float32)
    # The first component moves the whole head: 2000 micrometres to the left for one standard deviation.
    basis[0::3, 0] = 1.0
    model = {"shapeMU": 1e6 * points.reshape(-1, 1), "shapePC": basis, "shapeEV": np.array([[2000.0], [1.0]])}
    model |= {"texMU": np.full((3 * COUNT, 1), 100.0), "texPC": basis, "texEV": np.ones((2, 1))}
    model |= {"tl": rng.integers(1, COUNT + 1, (7, 3)).astype(np.float64)}
    scipy.io.savemat(folder / "01_MorphableModel.mat", model)
    return folder, head, points


def command(folder, out, *inputs):
    return ("convert", "bfm", *inputs, "--correspondence", folder / "BFM_to_FLAME_corr.npz", "--out", out)


def test_meshes_and_coefficients_become_heads(run, files, flame, tmp_path):
    folder, head, points = files
    write_ply(tmp_path / "millimetres.ply", 1e3 * points, np.zeros((1, 3), int))
    np.save(tmp_path / "metres.npy", points)
    np.savez(tmp_path / "vector.npz", alpha=np.array([3.0]))
    (tmp_path / "list.json").write_text(json.dumps({"shape": [-3.0, 0.0]}))
    inputs = [tmp_path / name for name in ("millimetres.ply", "metres.npy", "vector.npz", "list.json")]
    done = run(*command(folder, tmp_path / "out", *inputs), "--bfm", folder / "01_MorphableModel.mat")
    assert done.code == 0 and done.err == "" and done.out.count("median distance") == 4
    ids = np.asarray(flame.regions["face"])
    for name, unit, shift in (
        ("millimetres", 1e3, 0.0),
        ("metres", 1.0, 0.0),
        ("vector", 1.0, 6e-3),
        ("list", 1.0, -6e-3),
    ):
        found = read_mesh(tmp_path / "out" / f"{name}.obj")
        wanted = unit * (head + np.array([shift, 0.0, 0.0]))
        assert np.linalg.norm(found.vertices - wanted, axis=1)[ids].mean() < 3e-4 * unit
        with np.load(tmp_path / "out" / f"{name}.npz") as stored:
            assert stored["shape"].shape == (300,) and str(stored["fingerprint"]) == flame.fingerprint
            assert float(stored["scale"]) == pytest.approx(1.0 / unit, rel=0.05)


def test_what_cannot_be_converted_is_one_sentence(run, files, tmp_path):
    folder, _, points = files
    np.save(tmp_path / "short.npy", points[:-1])
    assert (
        f"the correspondence knows BFM2009 {COUNT}" in run(*command(folder, tmp_path, tmp_path / "short.npy")).complaint
    )
    np.save(tmp_path / "vector.npy", np.zeros(3))
    assert "with --bfm" in run(*command(folder, tmp_path, tmp_path / "vector.npy")).complaint
    np.save(tmp_path / "hole.npy", np.full_like(points, np.nan))
    assert "perhaps NaN" in run(*command(folder, tmp_path, tmp_path / "hole.npy")).complaint
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    np.save(tmp_path / "good.npy", points)
    done = run(*command(folder, tmp_path / "out", tmp_path / "broken.npy", tmp_path / "good.npy"))
    assert done.code == 1 and "1 of 2 inputs" in done.err and (tmp_path / "out" / "good.obj").is_file()
    assert run("convert", "bfm", "--out", tmp_path).code == 2
    same = command(folder, tmp_path, tmp_path / "good.npy", tmp_path / "other" / "good.npy")
    assert "named good" in run(*same).complaint


def test_colours(run, files, tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "model2017.h5", "w") as file:
        for name, count in (("shape", 3), ("color", 2), ("expression", 2)):
            file[f"{name}/model/mean"] = rng.uniform(size=180).astype(np.float32)
            file[f"{name}/model/pcaBasis"] = rng.normal(size=(180, count)).astype(np.float32)
            file[f"{name}/model/pcaVariance"] = np.full(count, 0.25)
        file["shape/representer/cells"] = np.zeros((3, 4), dtype=np.int32)
        color = file["color/model/mean"][()].reshape(-1, 3)
        basis = 0.5 * file["color/model/pcaBasis"][()].reshape(-1, 3, 2)
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(512), np.arange(512), indexing="ij"))
    ids, corners = np.array([7 * 512 + 300]), np.array([[5, 9, 2]])
    table = {"w": 512, "h": 512, "x_coords": x, "y_coords": y, "ids": ids, "valid_BFM_faces": corners}
    table["valid_BFM_b_coords"] = np.array([[0.5, 0.3, 0.2]])
    np.save(tmp_path / "cached_data.npy", np.array(table, dtype=object), allow_pickle=True)
    words = (
        "convert",
        "bfm-colors",
        "--to",
        tmp_path / "FLAME_albedo_from_BFM.npz",
        "--bfm",
        tmp_path / "model2017.h5",
    )
    done = run(*words, "--texels", tmp_path / "cached_data.npy")
    assert done.code == 0 and done.err == ""
    space = read_bfm_albedo(tmp_path / "FLAME_albedo_from_BFM.npz")
    np.testing.assert_allclose(space.mean[300, 7], np.array([0.5, 0.3, 0.2]) @ color[corners[0]], atol=1e-6)
    expected = np.einsum("k,kcx->cx", [0.5, 0.3, 0.2], basis[corners[0]])
    np.testing.assert_allclose(space.basis[300, 7], expected, atol=1e-6)
    assert "exists already" in run(*words, "--texels", tmp_path / "cached_data.npy").complaint
    assert (
        "no table of Basel texels"
        in run(*words, "--overwrite", "--texels", files[0] / "BFM_to_FLAME_corr.npz").complaint
    )
