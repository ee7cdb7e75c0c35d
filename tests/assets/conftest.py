"""Writers of the official file layouts, as Python 2 and Python 3 left them, and the development data folder."""

import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from PIL import Image

N_VERTICES = 40
N_FACES = 50


def official_entries(*, columns=400, seed=0):
    """A small FLAME-shaped model under the official keys."""
    random = np.random.default_rng(seed)
    weights = random.random((N_VERTICES, 5))
    regressor = random.random((5, N_VERTICES)) * (random.random((5, N_VERTICES)) < 0.3)
    regressor[:, 0] += 0.1
    regressor /= regressor.sum(axis=1, keepdims=True)
    template = random.normal(size=(N_VERTICES, 3)) / 10
    return {
        "v_template": template,
        "f": random.integers(0, N_VERTICES, (N_FACES, 3)).astype(np.uint32),
        "shapedirs": random.normal(size=(N_VERTICES, 3, columns)) / 1000,
        "posedirs": random.normal(size=(N_VERTICES, 3, 36)) / 1000,
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "J": regressor @ template,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


_Pickler: Any = vars(pickle)["_Pickler"]
"""The pickler in Python, whose methods can be replaced."""


class _Python2Pickler(_Pickler):
    """Writes byte strings and module names the way Python 2 with the scipy and numpy of its time did."""

    dispatch: ClassVar = dict(_Pickler.dispatch)

    def save_text(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin-1")
        if not self.bin:
            # Python 2's repr of a byte string, without its b.
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    dispatch[bytes] = save_text
    dispatch[str] = save_text

    def save_global(self, obj, name=None):
        module, name = getattr(obj, "__module__", "numpy"), name or obj.__qualname__
        module = module.replace("scipy.sparse._csc", "scipy.sparse.csc").replace("numpy._core", "numpy.core")
        module = {"builtins": "__builtin__", "copyreg": "copy_reg"}.get(module, module)
        self.write(f"c{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch[type] = save_global
    dispatch[types.FunctionType] = save_global
    dispatch[types.BuiltinFunctionType] = save_global


def python2_bytes(value, protocol=2):
    """The pickle that Python 2 would have written."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol).dump(value)
    return stream.getvalue()


@pytest.fixture
def chumpy(monkeypatch):
    """Stand-ins for chumpy's classes, known only while a test writes its file."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ch_ops")}

    def stand_in(module, name):
        kind = type(name, (), {"__module__": module})
        setattr(modules[module], name, kind)
        return kind

    found = types.SimpleNamespace(
        Ch=stand_in("chumpy.ch", "Ch"),
        Select=stand_in("chumpy.reordering", "Select"),
        add=stand_in("chumpy.ch_ops", "add"),
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def array(value):
        ch = found.Ch()
        ch.__dict__ |= {
            "x": value,
            "_dirty_vars": {"x"},
            "_itr": None,
            "_make_dense": False,
            "_depends_on_deps": {},
            "_status": "new",
        }
        return ch

    found.array = array
    return found


@pytest.fixture
def official():
    """A function that makes the entries of a model file."""
    return official_entries


@pytest.fixture
def dump_python2():
    """A function that pickles like Python 2."""
    return python2_bytes


@pytest.fixture
def flame_files():
    """Real small files of the FLAME world, when the development data are there."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("FLAMEHEAD_DEV_DATA", default)) / "flame_files"
    if not folder.is_dir():
        pytest.skip("the development data folder is absent")
    return folder


V, F, T = 5023, 9976, 5118
"""Vertices, triangles and UV corners of FLAME."""


def _texture_layout(random):
    return {"vt": random.random((T, 2)), "ft": random.integers(0, T, (F, 3)).astype(np.int32)}


def _texels(random, size=8, n=20):
    return {
        "img_size": size,
        "x_coords": np.repeat(np.arange(size), size),
        "y_coords": np.tile(np.arange(size), size),
        "valid_pixel_ids": random.choice(size**2, n, replace=False),
        "valid_pixel_3d_faces": random.integers(0, V, (n, 3)),
        "valid_pixel_b_coords": random.dirichlet(np.ones(3), n),
        **_texture_layout(random),
    }


def _embedding(random, *shape):
    return random.integers(0, F, shape), random.dirichlet(np.ones(3), shape)


def _obj(random):
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in random.normal(size=(V, 3)) / 10]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in random.random((T, 2))]
    corners = np.stack([random.integers(1, V + 1, (F, 3)), random.integers(1, T + 1, (F, 3))], -1)
    lines += ["f " + " ".join(f"{a}/{b}" for a, b in row) for row in corners]
    return "\n".join(lines) + "\n"


def _bfm2009(random, n=6, k=3):
    return {
        "shapeMU": random.normal(size=(3 * n, 1)) * 1e5,
        "shapePC": random.normal(size=(3 * n, k)).astype(np.float32),
        "shapeEV": random.random((k, 1)) * 1e4,
        "texMU": random.random((3 * n, 1)) * 255,
        "texPC": random.normal(size=(3 * n, k)).astype(np.float32),
        "texEV": random.random((k, 1)),
        "tl": random.integers(1, n + 1, (7, 3)).astype(np.float64),
        "segbin": np.ones((n, 4), dtype=np.uint8),
        "note": "text",
    }


def _correspondence(random, n=6):
    def one():
        matrix = scipy.sparse.csr_matrix(random.random((V, 2 * n)) * (random.random((V, 2 * n)) < 0.01))
        return np.array({"mtx": matrix, "f_in": random.integers(0, n, (4, 3)), "f_out": random.integers(0, V, (5, 3))})

    names = ("BFM2017_corr", "BFM2009_corr", "BFM2009_cropped_corr")
    return {name: one() for name in names} | {"FLAME_mask_ids": random.choice(V, 9, replace=False)}


def _picked_points():
    points = ["<point x='1' y='2.5' z='-3' name='nose' active='1'/>", '<point active="0" z="3" y="2" x="1" name="b" />']
    return "<!DOCTYPE PickedPoints>\n<PickedPoints>\n" + "\n".join(points) + "\n</PickedPoints>\n"


def write_every_kind(folder):
    """One small file of every kind, in its real format, by name; returns the names and the dataclasses wanted."""
    random = np.random.default_rng(0)
    layout = _texture_layout(random)

    def image(*components, size=4):
        return random.random((size, size, 3, *components))

    (folder / "model.pkl").write_bytes(python2_bytes(official_entries()))
    dense = official_entries() | {"J_regressor": official_entries()["J_regressor"].toarray()}
    np.savez(folder / "model.npz", **dense)
    masks = {name: np.arange(30) for name in ("face", "scalp", "neck", "nose", "lips")}
    (folder / "masks.pkl").write_bytes(python2_bytes(masks, 0))
    ids, weights = _embedding(random, 51)
    (folder / "static.pkl").write_bytes(python2_bytes({"lmk_face_idx": ids, "lmk_b_coords": weights}, 0))
    table, shares = _embedding(random, 79, 17)
    dynamic = {"lmk_face_idx": list(table), "lmk_b_coords": [np.asfortranarray(row) for row in shares]}
    np.save(folder / "dynamic.npy", np.array(dynamic, dtype=object), allow_pickle=True)
    ids, weights = _embedding(random, 1, 70)
    full = {"full_lmk_faces_idx": ids, "full_lmk_bary_coords": weights}
    full |= {"dynamic_lmk_faces_idx": table, "dynamic_lmk_bary_coords": shares.astype(np.float32)}
    np.save(folder / "full.npy", np.array(full, dtype=object), allow_pickle=True)
    (folder / "template.obj").write_text(_obj(random))
    np.savez(folder / "texture.npz", mean=255 * image(), tex_dir=image(9), **layout)
    albedo = {"MU": image(), "PC": image(9), "specMU": image(), "specPC": image(9)}
    np.savez_compressed(folder / "albedo.npz", **albedo, **layout)
    flat = {"MU": image(size=512).reshape(-1), "PC": image(2, size=512).reshape(-1, 2)}
    np.savez_compressed(folder / "bfm_albedo.npz", **{key: (value > 0.5) * 0.5 for key, value in flat.items()})
    np.savez(folder / "inpainting.npz", MU=image().reshape(-1), PC=image(5).reshape(-1, 5))
    np.save(folder / "texels.npy", np.array(_texels(random), dtype=object), allow_pickle=True)
    np.savez(folder / "uv_masks.npz", **{name: random.random((8, 8)) > 0.5 for name in (*masks, "teeth")})
    np.save(folder / "l_eyelid.npy", random.normal(size=(V, 3)) / 1000)
    np.save(folder / "displacement.npy", random.normal(size=(256, 256)) / 1000)
    np.save(folder / "seg.npy", random.integers(0, 16, (256, 256)).astype(np.float64))
    np.save(folder / "scan_lmks.npy", random.normal(size=(51, 3)))
    np.save(folder / "photo.npy", 256 * random.random((68, 2)))
    scipy.io.savemat(folder / "bfm2009.mat", _bfm2009(random), do_compression=True)
    scipy.io.savemat(folder / "bfm2009_plain.mat", _bfm2009(random))
    np.savez(folder / "corr.npz", **_correspondence(random))
    table = {"w": 4, "h": 5, "x_coords": np.arange(20) + 0.5, "y_coords": np.arange(20) + 0.5, "ids": np.arange(6)}
    table |= {"valid_BFM_faces": random.integers(0, 53149, (6, 3)), "valid_BFM_b_coords": random.dirichlet([1] * 3, 6)}
    np.save(folder / "cached_data.npy", np.array(table, dtype=object), allow_pickle=True)
    networks = {"flameModel": torch.nn.Linear(2, 3).state_dict(), "arcface": {"w": torch.ones(2, 2)}, "epoch": 3}
    torch.save(networks, folder / "mica.tar")
    torch.save({"E_flame": {"w": torch.ones(4)}}, folder / "deca.tar", _use_new_zipfile_serialization=False)
    (folder / "points.pp").write_text(_picked_points())
    Image.fromarray(np.full((16, 16, 4), 128, dtype=np.uint8)).save(folder / "uv_face_mask.png")
    return {
        "model.pkl": "FlameArrays",
        "model.npz": "FlameArrays",
        "masks.pkl": "Regions",
        "static.pkl": "LandmarkFile",
        "dynamic.npy": "ContourEmbedding",
        "full.npy": "LandmarkFile",
        "template.obj": "Template",
        "texture.npz": "TextureSpace",
        "albedo.npz": "AlbedoSpace",
        "bfm_albedo.npz": "BfmAlbedo",
        "inpainting.npz": "InpaintingSpace",
        "texels.npy": "TexelTable",
        "uv_masks.npz": "UvMasks",
        "l_eyelid.npy": "EyelidOffsets",
        "displacement.npy": "DisplacementMap",
        "seg.npy": "Segmentation",
        "scan_lmks.npy": "ScanLandmarks",
        "photo.npy": "ImageLandmarks",
        "bfm2009.mat": "BfmModel",
        "bfm2009_plain.mat": "BfmModel",
        "corr.npz": "BfmCorrespondence",
        "cached_data.npy": "BfmTexels",
        "mica.tar": "Checkpoint",
        "deca.tar": "Checkpoint",
        "points.pp": "PickedPoints",
        "uv_face_mask.png": "UvMaskImage",
    }


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory):
    """A folder with a file of every kind, and the dataclass wanted by name."""
    folder = tmp_path_factory.mktemp("kinds")
    return folder, write_every_kind(folder)
