"""Random checkpoints in the official layout, made by the recipe behind the expected numbers: the same bits everywhere.

Names and shapes come from the package's own table; a test compares it with the official one where that is at hand.
FLAME's part of MICA's checkpoint is filled with the built-in head, so that meshes look like heads.
"""

import functools
import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead.regress._layout import layout

GAIN = {"arcface": 1, "flameModel": 12, "E_flame": 3, "E_detail": 3, "D_detail": 5}
ROOT = Path(__file__).parents[2]


def stream(key):
    """A generator; the key is an integer."""
    return np.random.Generator(np.random.PCG64(key))


def integers(s, low, high, *shape):
    """Integers in low..high-1."""
    return s.integers(low, high, size=shape, dtype=np.int32).astype(np.int64)


def uniform(s, *shape):
    """Float64 in [-1, 1), multiples of 2**-20: the same bits everywhere."""
    return integers(s, -(2**20), 2**20, *shape) / 2.0**20


def shares(counts):
    """Integers to fractions that sum to 1 along the last axis."""
    return counts / counts.sum(-1, keepdims=True)


def flame_model(seed):
    """A random model with the array shapes of FLAME. The order of the draws matters."""
    V, F = 5023, 9976
    s = stream(seed)
    v_template = uniform(s, V, 3) * [0.078125, 0.140625, 0.09375]  # metres
    a, b, c = integers(s, 0, V, F), integers(s, 1, 2512, F), integers(s, 1, 2511, F)
    f = np.stack([a, (a + b) % V, (a + b + c) % V], 1)  # three different corners
    sigma = 2.0 ** -np.concatenate([9 + np.arange(300) // 60, 9 + np.arange(100) // 25])
    shapedirs = uniform(s, V, 3, 400) * sigma  # columns 0..299 shape, 300..399 expression
    posedirs = uniform(s, V, 3, 36) * 2.0**-9
    counts = np.maximum(integers(s, 0, 8, V, 5) - 4, 0)  # sparse: about 5 of 8 are zero
    counts[np.arange(V), integers(s, 0, 5, V)] += 4
    weights = shares(counts)
    regressor = np.zeros((5, V), np.int64)
    columns, values = integers(s, 0, V, 5, 8), integers(s, 1, 1024, 5, 8)
    np.add.at(regressor, (np.arange(5)[:, None], columns), values)
    model = dict(
        v_template=v_template,
        f=f,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=shares(regressor),
    )
    for name, shape in (("static", (51,)), ("dynamic", (79, 17)), ("full", (68,))):
        model[name + "_faces"] = integers(s, 0, F, *shape)
        model[name + "_bary"] = shares(integers(s, 1, 1024, *shape, 3))
    return model


def tensor(part, name, shape, seed):
    """One state-dict entry; `part` is the key of the sub-dictionary, e.g. "E_flame"."""
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return np.array(1000, np.int64)
    u = uniform(stream(zlib.crc32(f"{part}/{name}/{seed}".encode())), *shape)
    if kind == "running_var":
        u = 1 + u / 2
    elif kind in ("running_mean", "bias"):
        u = u / 8
    elif "prelu" in name:
        u = 0.25 + u / 8
    elif len(shape) == 1:  # BatchNorm scale
        u = 1 + u / 4
    else:
        u = u * math.sqrt(GAIN[part] / math.prod(shape[1:]))
    return u.astype(np.float32)


def images(network, size, seed):
    """Two uint8 images (2, 3, size, size): squares of 16 pixels, then squares of 4 pixels, darker."""
    out = []
    for block, top in ((16, 256), (4, 160)):
        s = stream(zlib.crc32(f"{network}/image{block}/{seed}".encode()))
        small = integers(s, 0, top, 3, size // block, size // block)
        out.append(small.repeat(block, 1).repeat(block, 2))
    return np.stack(out).astype(np.uint8)


@pytest.fixture(scope="session")
def mica_input():
    return ((images("mica", 112, 7) - 127.5) / 127.5).astype(np.float32)


@pytest.fixture(scope="session")
def deca_input():
    return (images("deca", 224, 7) / 255.0).astype(np.float32)


def recipe_parts(network):
    """A network's checkpoint by the recipe, as a dictionary of dictionaries, without FLAME's part."""
    return {part: dict(entries) for part, entries in _recipe_parts(network).items()}


@functools.lru_cache
def _recipe_parts(network, seed=7):
    """Drawn once: that takes seconds."""
    parts = {}
    for full, (shape, _) in layout(network).items():
        part, _, name = full.partition(".")
        if not name.startswith("generator."):
            parts.setdefault(part, {})[name] = torch.from_numpy(tensor(part, name, shape, seed))
    return parts


def generator(model):
    """FLAME's part of MICA's checkpoint."""
    floats = {
        "eye_pose": np.zeros((1, 6)),
        "neck_pose": np.zeros((1, 3)),
        "v_template": model["v_template"],
        "shapedirs": model["shapedirs"],
        "posedirs": model["posedirs"].reshape(-1, 36).T,
        "J_regressor": model["J_regressor"],
        "lbs_weights": model["weights"],
        "lmk_bary_coords": model["static_bary"],
        "dynamic_lmk_bary_coords": model["dynamic_bary"],
        "full_lmk_bary_coords": model["full_bary"][None],
    }
    whole = {
        "faces_tensor": model["f"],
        "parents": [-1, 0, 1, 1, 1],
        "lmk_faces_idx": model["static_faces"],
        "dynamic_lmk_faces_idx": model["dynamic_faces"],
        "full_lmk_faces_idx": model["full_faces"][None],
        "neck_kin_chain": [1, 0],
    }
    floats = {name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in floats.items()}
    whole = {name: torch.from_numpy(np.asarray(value, dtype=np.int64)) for name, value in whole.items()}
    return {f"generator.{name}": value.contiguous() for name, value in (floats | whole).items()}


def builtin_model():
    """The built-in head in the recipe's words."""
    from flamehead.builtin import builtin_head

    head = builtin_head()
    arrays, marks = head.arrays, head.embeddings["ibug68"]
    bases = [np.zeros((5023, 3, n)) for n in (300, 100)]
    for basis, own in zip(bases, (arrays.shape_basis, arrays.expression_basis), strict=True):
        basis[..., : own.shape[-1]] = own[..., : basis.shape[-1]]
    return dict(
        v_template=arrays.template,
        f=arrays.faces,
        shapedirs=np.concatenate(bases, axis=-1),
        posedirs=arrays.pose_basis,
        weights=arrays.skin_weights,
        J_regressor=arrays.joint_regressor,
        static_faces=marks.face_ids[17:],
        static_bary=marks.barycentric[17:],
        dynamic_faces=head.contour_faces,
        dynamic_bary=head.contour_barycentric,
        full_faces=marks.face_ids,
        full_bary=marks.barycentric,
    )


def calm(parts, name, *, scale, bias=None):
    """Make the last layer's outputs small, so that random weights give something like a head."""
    part, key = name
    weight = parts[part][f"{key}.weight"]
    parts[part][f"{key}.weight"] = weight * scale
    if bias is not None:
        parts[part][f"{key}.bias"] = bias
    return parts


@pytest.fixture(scope="session")
def recipe():
    """`recipe_parts`."""
    return recipe_parts


@pytest.fixture(scope="session")
def random_generator():
    """A function from a seed to FLAME's part of MICA's checkpoint with the recipe's random model."""
    return lambda seed: generator(flame_model(seed))


@pytest.fixture(scope="session")
def left_behind():
    """What training leaves in MICA's checkpoint."""
    return {
        "opt": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]},
        "validator": {"best": np.float64(1.5), "losses": np.arange(3.0), "counts": np.arange(2)},
        "epoch": 1,
        "global_step": 7,
        "batch_size": 8,
    }


@pytest.fixture(scope="session")
def mica_parts(left_behind):
    """MICA's checkpoint by the recipe, with the built-in head, small shape codes, and what training leaves behind."""
    parts = calm(recipe_parts("MICA"), ("flameModel", "regressor.output"), scale=0.5)
    parts["flameModel"] |= generator(builtin_model())
    return {"flameModel": parts["flameModel"], "arcface": parts["arcface"]} | left_behind


@pytest.fixture(scope="session")
def deca_parts():
    """DECA's checkpoint by the recipe, with codes like those of a face before a camera."""
    parts = recipe_parts("DECA")
    bias = torch.zeros(236)
    bias[206], bias[209:212] = 7.5, 3.0
    return calm(parts, ("E_flame", "layers.2"), scale=0.02, bias=bias) | {"global_step": 9, "batch_size": 4}


@pytest.fixture(scope="session")
def mica_file(mica_parts, tmp_path_factory):
    """`mica.tar` as torch writes it today."""
    path = tmp_path_factory.mktemp("mica") / "mica.tar"
    torch.save(mica_parts, path)
    return path


@pytest.fixture(scope="session")
def deca_file(deca_parts, tmp_path_factory):
    """`deca_model.tar` as torch writes it today."""
    path = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    torch.save(deca_parts, path)
    return path


@pytest.fixture(scope="session")
def mica(mica_file):
    """MICA, opened once; nothing in it changes."""
    from flamehead.regress import load_mica

    return load_mica(mica_file, engine="torch")


@pytest.fixture(scope="session")
def deca(deca_file):
    """DECA with the built-in head, opened once; nothing in it changes."""
    from flamehead.regress import load_deca

    return load_deca(deca_file, engine="torch")


def _hollow(network):
    parts = {}
    for full, (shape, dtype) in layout(network).items():
        part, _, name = full.partition(".")
        parts.setdefault(part, {})[name] = torch.zeros((), dtype=dtype).expand(shape)
    return parts


@pytest.fixture(scope="session")
def hollow():
    """A function from a network to its checkpoint's names and shapes around one shared zero: a small file."""
    return _hollow


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Copies of checkpoints go into a folder of the tests; the built-in head is still taken from the user's cache."""
    from flamehead.builtin import builtin_head

    builtin_head()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAMEHEAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def parity():
    """A function from a file's name to the numbers of the original implementations."""
    folder = Path(os.environ.get("FLAMEHEAD_DEV_DATA", ROOT.parent / "shared" / "data")) / "parity"
    if not folder.is_dir():
        pytest.skip("the development data folder is absent")

    def load(name):
        with np.load(folder / name) as stored:
            return dict(stored)

    return load


@pytest.fixture(scope="session")
def official_names():
    """A function from a network's name to the official table of tensors."""
    folder = Path(os.environ.get("FLAMEHEAD_DEV_DATA", ROOT.parent / "shared" / "data")).parent / "spec"
    if not folder.is_dir():
        pytest.skip("the development data folder is absent")
    return lambda network: json.loads((folder / f"{network.lower()}_state_dict.json").read_text())


def _field(number, content):
    """One field of a protocol buffer: bytes with their length, or a whole number."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _value_info(name, shape):
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, sizes)))


def _constant_onnx(outputs):
    """An ONNX network that says the same of every image of 224 pixels (the layout is onnx.proto's)."""
    graph = b""
    for index, output in enumerate(outputs):
        sizes = b"".join(_field(1, size) for size in output.shape)
        value = sizes + _field(2, 1) + _field(9, output.astype("<f4").tobytes())
        attribute = _field(1, b"value") + _field(5, value) + _field(20, 4)
        graph += _field(1, _field(2, b"out%d" % index) + _field(4, b"Constant") + _field(5, attribute))
    graph += _field(2, b"graph") + _field(11, _value_info(b"image", (1, 3, 224, 224)))
    graph += b"".join(_field(12, _value_info(b"out%d" % i, output.shape)) for i, output in enumerate(outputs))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


@pytest.fixture(scope="session")
def constant_onnx():
    """A function from arrays to the bytes of an ONNX network with these outputs."""
    return _constant_onnx
