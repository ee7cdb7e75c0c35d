"""VHAP, GaussianAvatars, MICA and DECA: lossless, exact to the micrometre, and one sentence when malformed."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera, FlameParams
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats import (
    camera_to_transforms_entry,
    deca_from_dict,
    deca_from_vector,
    deca_to_dict,
    deca_to_params,
    deca_to_vector,
    gaussian_avatars_to_params,
    mica_to_params,
    move_head,
    move_to_vhap_world,
    params_to_deca,
    params_to_gaussian_avatars,
    params_to_mica,
    params_to_tracker_frames,
    params_to_vhap,
    read_deca,
    read_gaussian_avatars,
    read_mica,
    read_vhap,
    tracker_frames_to_params,
    transforms_entry_to_camera,
    vhap_to_params,
    write_deca,
    write_gaussian_avatars,
    write_mica,
    write_vhap,
)
from flamehead.geometry.rotation import exp

HEADS = 1000


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def vhap_arrays(frames=4, *, tail=()):
    """What VHAP writes, with small textures."""
    rng = np.random.default_rng(1)
    sizes = {"rotation": 3, "translation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": 5}
    arrays = {name: floats(rng, frames, size) for name, size in sizes.items()}
    return arrays | {
        "shape": floats(rng, 7),
        "timestep_id": np.array([f"{i:05d}" for i in range(frames)]),
        "n_processed_frames": np.array(frames),
        "focal_length": floats(rng, 1),
        "tex_extra": floats(rng, 3, 8, 8),
        "lights": floats(rng, 9, 3),
        "static_offset": floats(rng, 1, 60, 3),
        "image_size": np.array([480, 640]),
    }


def step_arrays():
    arrays = vhap_arrays(1)
    kept = ("rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "shape", "expr", "static_offset")
    canonical = {name: arrays[name] for name in kept} | {"jaw_pose": np.array([[0.3, 0, 0]])}  # float64, as theirs.
    return canonical | {"dynamic_offset": arrays["static_offset"]}


def deca_arrays(batch=3):
    rng = np.random.default_rng(2)
    sizes = {"shape": (100,), "tex": (50,), "exp": (50,), "pose": (6,), "cam": (3,), "light": (9, 3), "detail": (128,)}
    return {name: floats(rng, batch, *size) for name, size in sizes.items()} | {"images": floats(rng, batch, 3, 4, 4)}


FILES = {
    "vhap": (read_vhap, write_vhap, vhap_arrays),
    "gaussian_avatars": (read_gaussian_avatars, write_gaussian_avatars, step_arrays),
    "deca": (read_deca, write_deca, deca_arrays),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fingerprint", ["", "a model"])
def test_reading_and_writing_again_loses_nothing(name, fingerprint, tmp_path):
    read, write, arrays = FILES[name]
    np.savez(tmp_path / "a.npz", **arrays())
    write(tmp_path / "b.npz", replace(read(tmp_path / "a.npz"), fingerprint=fingerprint))
    assert read(tmp_path / "b.npz").fingerprint == fingerprint
    with np.load(tmp_path / "b.npz") as got:  # The fingerprint is no entry: readers that take all entries see none.
        assert set(got) == set(arrays())
        for key, wanted in arrays().items():
            assert got[key].dtype == wanted.dtype and got[key].shape == wanted.shape
            assert got[key].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.pop("shape"), "lacks 'shape'"),
        (lambda a: a.update(shape=np.float32(3)), r"'shape' .* shape \(\)"),
        (lambda a: a.update(shape=np.full_like(a["shape"], np.nan)), "'shape' of .*(NaN|finite)"),
        (lambda a: a.update(shape=a["shape"].astype(int)), "'shape' .* int64"),
        (lambda a: a.update(pickled=np.array([{1: 2}], dtype=object)), "'pickled' .* Python objects"),
    ],
)
def test_malformed_files_are_one_sentence(name, change, sentence, tmp_path):
    read, _, make = FILES[name]
    arrays = make()
    change(arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_damaged_and_missing_files(name, tmp_path):
    read, write, make = FILES[name]
    path = tmp_path / "a.npz"
    with pytest.raises(AssetNotFound):
        read(path)
    np.savez(path, **make())
    good, whole = read(path), path.read_bytes()
    for part in (0, 3, 100, len(whole) - 30):
        path.write_bytes(whole[:part])
        with pytest.raises(InputError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"wanted '\.npz'"):
        write(tmp_path / "a.npy", good)


@pytest.mark.parametrize("name", FILES)
def test_what_cannot_be_read_is_not_written(name, tmp_path):
    read, write, make = FILES[name]
    np.savez(tmp_path / "a.npz", **make())
    good = read(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"'shape' of the .* to write is"):
        write(tmp_path / "b.npz", replace(good, shape=good.shape * np.nan))
    assert not (tmp_path / "b.npz").exists()


def test_pickled_names_of_frames_are_read(tmp_path):
    arrays = vhap_arrays() | {"timestep_id": np.array(["a", "bc", "d", "e"], dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert read_vhap(tmp_path / "a.npz").extra["timestep_id"].tolist() == ["a", "bc", "d", "e"]


def test_frames_of_vhap_must_agree(tmp_path):
    np.savez(tmp_path / "a.npz", **vhap_arrays() | {"expr": np.zeros((5, 5), dtype=np.float32)})
    with pytest.raises(InputError, match=r"'expr' .* shape \(5, 5\), but a VHAP track has finite floats 4 x E"):
        read_vhap(tmp_path / "a.npz")


def test_vhap_there_and_back(random_params, same_vertices, flame, tmp_path):
    params = random_params(21, one_identity=True)
    write_vhap(tmp_path / "a.npz", params_to_vhap(params, fingerprint=flame.fingerprint))
    track = read_vhap(tmp_path / "a.npz")
    got, camera = vhap_to_params(track)
    assert camera is None and track.fingerprint == "first" and track.extra["n_processed_frames"] == HEADS
    same_vertices(got, params)
    again = params_to_vhap(got)
    for name in ("rotation", "translation", "neck_pose", "jaw_pose", "eyes_pose", "shape", "expr"):
        assert getattr(again, name).tobytes() == getattr(track, name).tobytes()


@pytest.mark.slow
def test_gaussian_avatars_there_and_back(random_params, same_vertices, tmp_path):
    params = random_params(22, one_identity=True)
    steps = params_to_gaussian_avatars(params, fingerprint="first")
    offset = steps[3].static_offset
    assert len(steps) == HEADS and steps[3].shape.shape == (7,) and offset is not None and offset.shape == (1, 5143, 3)
    small = [replace(step, static_offset=None) for step in steps]
    back = []
    for step in small:
        write_gaussian_avatars(tmp_path / "a.npz", step)
        back.append(read_gaussian_avatars(tmp_path / "a.npz"))
    got = [gaussian_avatars_to_params(step) for step in back]
    stacked = replace(params, **{f.name: torch.stack([getattr(g, f.name) for g in got]) for f in fields(params)})
    same_vertices(stacked, params)
    again = params_to_gaussian_avatars(stacked)
    for one, two in zip(again, steps, strict=True):
        assert one.eyes_pose.tobytes() == two.eyes_pose.tobytes() and one.expr.tobytes() == two.expr.tobytes()


def test_eyes_are_left_then_right():
    arrays = vhap_arrays()
    known = {key: arrays.pop(key) for key in ("rotation", "translation", "neck_pose", "jaw_pose", "shape", "expr")}
    track = params_to_vhap(replace_eyes(known, arrays["eyes_pose"]))
    assert np.array_equal(track.eyes_pose, arrays["eyes_pose"])


def replace_eyes(known, eyes):
    tensors = {key: torch.from_numpy(value) for key, value in known.items()}
    left, right = torch.from_numpy(eyes[:, :3]), torch.from_numpy(eyes[:, 3:])
    turns = (tensors["rotation"], tensors["neck_pose"], tensors["jaw_pose"], left, right)
    return FlameParams(tensors["shape"].expand(4, -1), tensors["expr"], *turns, tensors["translation"])


def test_a_moved_head_is_rigidly_moved(flame, random_params):
    params = random_params(23)
    turn, shift = exp(random_params(24).root), random_params(24).translation
    moved = flame(move_head(params, flame, rotation=turn, translation=shift)).vertices
    torch.testing.assert_close(moved, flame(params).vertices @ turn.mT + shift[:, None], rtol=0, atol=1e-10)


def test_a_head_of_a_larger_model_is_not_moved(flame, random_params):
    params = replace(random_params(23), shape=torch.ones(HEADS, 8, dtype=torch.float64))
    with pytest.raises(InputError, match="shape has 8 coefficients, but the model first keeps 7"):
        move_head(params, flame, rotation=torch.eye(3).double(), translation=torch.zeros(3).double())


def test_tracker_to_vhap_and_gaussian_avatars(flame, random_params, random_camera, same_vertices):
    """A moving camera becomes a moving head: through all three dialects, seen from each one's camera."""
    params, cameras = random_params(25, zero=("neck",), one_identity=True), random_camera(26)
    cameras = replace(cameras, center=torch.tensor([320.0, 240.0]).double().expand(HEADS, 2))
    cameras = replace(cameras, focal=cameras.focal[:1].expand(HEADS, 2))
    frames = params_to_tracker_frames(params, cameras, flame, n_shape=7, n_expression=5)
    tracked, seen = tracker_frames_to_params(frames)
    seen = replace(seen, **{f.name: getattr(seen, f.name).double() for f in fields(seen)[:4]})
    moved, fixed = move_to_vhap_world(tracked.to(dtype=torch.float64), seen, flame)
    track = params_to_vhap(moved, camera=fixed)
    got, camera = vhap_to_params(track)
    assert camera is not None and camera.size == (640, 480)
    torch.testing.assert_close(camera.focal, cameras.focal[0].float())
    assert camera.translation.tolist() == [0, 0, 1]
    same_vertices(
        got,
        params,
        cameras=(camera, cameras),
    )


def test_what_vhap_cannot_hold(flame, random_params, random_camera):
    params, camera = random_params(27), random_camera(28)
    with pytest.raises(InputError, match="identity changes"):
        params_to_vhap(params)
    params = random_params(27, one_identity=True)
    with pytest.raises(InputError, match="not VHAP's fixed one"):
        params_to_vhap(params, camera=camera)
    moved, fixed = move_to_vhap_world(params, camera, flame)
    with pytest.raises(InputError, match="principal point"):
        params_to_vhap(moved, camera=fixed)
    with pytest.raises(InputError, match="focal length varies"):
        params_to_vhap(moved, camera=replace(fixed, center=torch.tensor([320.0, 240.0]).double()))


def test_cameras_of_transforms(random_camera):
    cameras = random_camera(29)
    for i in range(0, HEADS, 50):
        camera = Camera(*(getattr(cameras, f.name)[i] for f in fields(cameras)[:4]), size=cameras.size)
        entry = camera_to_transforms_entry(camera)
        got = transforms_entry_to_camera(entry)
        for f in fields(camera)[:4]:
            torch.testing.assert_close(getattr(got, f.name), getattr(camera, f.name), rtol=0, atol=1e-9)
        assert math.isclose(math.tan(entry["camera_angle_x"] / 2) * entry["fl_x"], 320)
        angle_only = {key: entry[key] for key in ("transform_matrix", "w", "h", "camera_angle_x")}
        torch.testing.assert_close(transforms_entry_to_camera(angle_only).focal, camera.focal)


def test_malformed_cameras_of_transforms():
    good = {"transform_matrix": np.eye(4).tolist(), "w": 640, "h": 480, "fl_x": 900.0}
    assert transforms_entry_to_camera(good).center.tolist() == [320, 240]
    for bad in ({}, {**good, "transform_matrix": [[1.0]]}, {**good, "w": "wide"}, {**good, "w": 0}):
        with pytest.raises(InputError, match=r"transform"):
            transforms_entry_to_camera(bad)


def test_mica_there_and_back(random_params, same_vertices, tmp_path):
    everything = ("expression", "root", "neck", "jaw", "left_eye", "right_eye", "translation")
    params = random_params(31, zero=everything)
    back = []
    for shape in params.shape:
        write_mica(tmp_path / "identity.npy", params_to_mica(replace(params, shape=shape), n_shape=7))
        back.append(mica_to_params(read_mica(tmp_path / "identity.npy"), n_expression=5))
    got = replace(params, **{f.name: torch.stack([getattr(p, f.name) for p in back]) for f in fields(params)})
    same_vertices(got, params)
    assert params_to_mica(back[0]).shape == (300,)
    identity = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    assert params_to_mica(mica_to_params(identity)).tobytes() == identity.tobytes()


def test_mica_without_expression_poses(flame):
    assert flame(mica_to_params(np.ones(7))).vertices.shape == (60, 3)


def test_identities_of_wrong_shape(tmp_path):
    for bad in (np.zeros((1, 300)), np.zeros(300, dtype=int), np.array([np.inf])):
        np.save(tmp_path / "identity.npy", bad)
        with pytest.raises(InputError, match="MICA's identity has finite floats S there"):
            read_mica(tmp_path / "identity.npy")
        with pytest.raises(InputError, match="the identity to write"):
            write_mica(tmp_path / "identity.npy", bad)
    (tmp_path / "identity.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="damaged NumPy header"):
        read_mica(tmp_path / "identity.npy")


def test_deca_vector_order():
    codes = deca_from_vector(torch.arange(236.0))
    first = {name: getattr(codes, name).flatten()[0].item() for name in ("shape", "tex", "exp", "pose", "cam", "light")}
    assert first == {"shape": 0, "tex": 100, "exp": 150, "pose": 200, "cam": 206, "light": 209}
    assert codes.light[1].tolist() == [212, 213, 214]
    assert deca_to_vector(codes).equal(torch.arange(236.0))


def test_deca_vectors_of_wrong_shape():
    with pytest.raises(InputError, match="has 235 numbers, wanted 236"):
        deca_from_vector(torch.zeros(235))


def test_deca_there_and_back(random_params, same_vertices, tmp_path):
    params = random_params(32, zero=("neck", "left_eye", "right_eye", "translation"))
    codes = params_to_deca(params.to(dtype=torch.float32), fingerprint="first")
    write_deca(tmp_path / "codes.npz", codes)
    read = read_deca(tmp_path / "codes.npz")
    assert read.fingerprint == "first" and deca_to_vector(read).equal(deca_to_vector(codes))
    full = deca_to_params(deca_from_vector(deca_to_vector(read)))
    got = replace(full, shape=full.shape[:, :7], expression=full.expression[:, :5])
    same_vertices(got, params)
    assert deca_to_vector(params_to_deca(full, read)).equal(deca_to_vector(read))


def test_deca_random_codes_survive():
    vector = torch.randn(HEADS, 236, generator=torch.Generator().manual_seed(3))
    codes = deca_from_vector(vector)
    assert deca_to_vector(params_to_deca(deca_to_params(codes), codes)).equal(vector)
    assert deca_to_vector(deca_from_dict(deca_to_dict(codes) | {"light": vector[:, 209:]})).equal(vector)


def test_what_deca_cannot_hold(random_params):
    with pytest.raises(InputError, match="neck is not zero"):
        params_to_deca(random_params(33))
    params = random_params(33, zero=("neck", "left_eye", "right_eye", "translation"))
    wide = replace(params, shape=torch.ones(HEADS, 101, dtype=torch.float64))
    with pytest.raises(InputError, match="shape has 101 coefficients"):
        params_to_deca(wide)
    with pytest.raises(InputError, match=r"'exp' .* batch"):
        deca_from_dict(deca_arrays() | {"exp": np.zeros(50)})
    with pytest.raises(InputError, match=r"The code 'pose' of the dictionary is a list"):
        deca_from_dict(deca_arrays() | {"pose": [0.0]})
