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
import scipy.sparse

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
