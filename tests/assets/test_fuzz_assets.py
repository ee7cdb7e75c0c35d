"""Files of every kind with bytes changed, cut, doubled and swapped: one dataclass or one sentence, and nothing runs."""

import dataclasses
import logging
import os
import sys
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flamehead.assets import open_asset, read_model, write_converted
from flamehead.assets.identify import identify
from flamehead.errors import FlameheadError, InputError

EXAMPLES = int(os.environ.get("FLAMEHEAD_FUZZ_EXAMPLES", "12"))
"""For each kind; a longer run asks for more."""
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")
_seen: list[str] = []
_watching = [False]


def _watch(event, arguments):
    if _watching[0] and event in FORBIDDEN:
        _seen.append(event)


sys.addaudithook(_watch)

SMALL = (
    "masks.pkl static.pkl dynamic.npy full.npy texels.npy uv_masks.npz photo.npy scan_lmks.npy inpainting.npz".split()
)
SMALL += "bfm2009.mat bfm2009_plain.mat corr.npz cached_data.npy mica.tar deca.tar points.pp uv_face_mask.png".split()
LARGE = "model.pkl model.npz template.obj texture.npz albedo.npz l_eyelid.npy seg.npy".split()
WORDS = [
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x7f\xff\xff\xff",
    b"(99999999999,)",
    b"'descr': '>f8'",
    b"\r\n",
    b"nan",
    b"|O",
    b"cos\nsystem\n",
]


@st.composite
def damage(draw, whole):
    """The bytes of a file after one to four accidents, most of them near its front, where the format is."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        reach = len(data) if draw(st.booleans()) else min(len(data), 400)
        at = draw(st.integers(0, max(0, reach - 1)))
        kind = draw(st.sampled_from(["byte", "word", "cut", "double", "swap", "drop"]))
        if kind == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "word":
            word = draw(st.sampled_from(WORDS))
            data[at : at + len(word)] = word
        elif kind == "cut":
            del data[at:]
        elif kind == "double":
            data[at:at] = data[at : at + 64]
        elif kind == "swap":
            data[at : at + 8] = data[at : at + 8][::-1]
        else:
            del data[at : at + draw(st.integers(1, 16))]
    return bytes(data)


def _open_guarded(path):
    """Open and describe a file; returns how it went, after checking time, memory and that nothing ran."""
    size = path.stat().st_size
    _seen.clear()
    tracemalloc.start()
    begin = time.perf_counter()
    _watching[0] = True
    try:
        result: object = open_asset(path)
        assert dataclasses.is_dataclass(result)
    except FlameheadError as error:
        result = str(error)
        assert "\n" not in result and len(result) < 1000, result
    finally:
        _watching[0] = False
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not _seen
    assert peak < 40 * size + 2**26, (peak, size)
    assert time.perf_counter() - begin < 10
    identify(path, any_name=True)
    return result


@pytest.fixture(autouse=True)
def quiet():
    """Repairs are logged; that is another test."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", SMALL + LARGE)
@settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_damage_gives_a_dataclass_or_one_sentence(every_kind, tmp_path, name, data):
    whole = (every_kind[0] / name).read_bytes()
    (tmp_path / "damaged").write_bytes(data.draw(damage(whole)))
    _open_guarded(tmp_path / "damaged")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_converted_models(every_kind, tmp_path, suffix, data):
    path = tmp_path / f"model.{suffix}"
    if not path.exists():
        write_converted(path, read_model(every_kind[0] / "model.pkl"))
    (tmp_path / "damaged").write_bytes(data.draw(damage(path.read_bytes())))
    _open_guarded(tmp_path / "damaged")


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_every_cut_gets_one_sentence_or_a_dataclass(every_kind, tmp_path, name):
    whole = (every_kind[0] / name).read_bytes()
    for share in (0.01, 0.3, 0.6, 0.97):
        (tmp_path / "cut").write_bytes(whole[: int(share * len(whole))])
        result = _open_guarded(tmp_path / "cut")
        # A table of numbers in text has no end mark, and one whole array may be left of several.
        if name not in ("template.obj", "bfm2009.mat", "bfm2009_plain.mat"):
            assert isinstance(result, str), (name, share)


def _npy(shape, descr="<f8", data=b""):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n" + data


@pytest.mark.parametrize("store", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claim", [(512, 512, 3, 200), (2048, 2048, 3, 999), (10**9,) * 4])
def test_gigantic_claims_of_a_texture_cost_nothing(tmp_path, store, claim):
    with zipfile.ZipFile(tmp_path / "t.npz", "w", store) as archive:
        archive.writestr("mean.npy", _npy((*claim[:2], 3)))
        archive.writestr("tex_dir.npy", _npy(claim))
        archive.writestr("vt.npy", _npy((5118, 2), data=bytes(5118 * 16)))
        archive.writestr("ft.npy", _npy((9976, 3), "<i4", data=bytes(9976 * 12)))
    assert isinstance(_open_guarded(tmp_path / "t.npz"), str)


def test_zip_bombs_are_not_unpacked(tmp_path):
    for key, members in {
        "m": ("shapedirs", "J_regressor", "v_template"),
        "c": ("BFM2017_corr",),
        "u": ("scalp", "face", "neck"),
        "l": ("lmk_face_idx", "landmark_indices"),
    }.items():
        path = tmp_path / f"{key}.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in members:
                with archive.open(f"{member}.npy", "w") as stream:
                    stream.write(_npy((40, 3, 400) if key == "m" else (2**30,), "|b1" if key == "u" else "<f8"))
                    for _ in range(64):
                        stream.write(bytes(2**20))
        begin = time.perf_counter()
        with pytest.raises(InputError) as caught:
            open_asset(path)
        assert "\n" not in str(caught.value) and time.perf_counter() - begin < 5


def test_a_bomb_in_a_matlab_file_is_not_unpacked(tmp_path):
    def part(kind, content):
        return np.array([kind, len(content)], "<u4").tobytes() + content + bytes(-len(content) % 8)

    flags = part(6, np.array([6, 0], "<u4").tobytes())
    head = flags + part(5, np.array([3, 1], "<i4").tobytes()) + part(1, b"shapeMU")
    inner = np.array([14, 2**31], "<u4").tobytes() + head + np.array([9, 2**31], "<u4").tobytes()
    pack = zlib.compressobj()
    packed = pack.compress(inner) + b"".join(pack.compress(bytes(2**20)) for _ in range(256)) + pack.flush()
    basis = zlib.compress(np.array([14, 99], "<u4").tobytes() + head.replace(b"shapeMU", b"shapePC"))
    start = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    data = start + b"".join(np.array([15, len(p)], "<u4").tobytes() + p for p in (packed, basis))
    (tmp_path / "bomb.mat").write_bytes(data)
    message = _open_guarded(tmp_path / "bomb.mat")
    assert isinstance(message, str) and "bytes where at most" in message


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "weights"])
def test_numbers_of_the_other_byte_order_are_noticed(every_kind, tmp_path, key):
    entries = dict(np.load(every_kind[0] / "model.npz"))
    np.savez(tmp_path / "m.npz", **entries | {key: entries[key].byteswap()})
    with pytest.raises(InputError, match=f"m.npz: key '{key}' has .*, wanted"):
        read_model(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", **entries | {key: entries[key].astype(">f8")})
    assert read_model(tmp_path / "m.npz").fingerprint == read_model(every_kind[0] / "model.pkl").fingerprint
