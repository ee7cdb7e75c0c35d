"""metrical-tracker's frames: lossless, exact to the micrometre, and never executed."""

import pickle
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from flamehead.errors import AssetNotFound, InputError, UnsafeFile
from flamehead.formats import (
    params_to_tracker_frames,
    pytorch3d_ndc_to_camera,
    read_tracker_frame,
    tracker_frames_to_params,
    write_tracker_frame,
)
from flamehead.geometry.rotation import from_6d


def content(seed=0, *, size=(480, 640)):
    """A file's content as the tracker writes it, and a few entries of somebody else's."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal((1, *shape)).astype(np.float32)

    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    turn = (turn * np.linalg.det(turn)).astype(np.float32)
    return {
        "flame": {
            "exp": normal(5),
            "shape": normal(7),
            "tex": normal(140),
            "sh": normal(9, 3),
            "eyes": normal(12),
            "eyelids": normal(2),
            "jaw": normal(6),
            "neck_of_another_program": normal(6),
        },
        "camera": {"R": turn[None, :2].reshape(1, 6), "t": normal(3), "fl": abs(normal(1)) + 1, "pp": normal(2)},
        "opencv": {"R": turn[None], "t": normal(3), "K": np.diag([900, 900, 1]).astype(np.float32)[None]},
        "img_size": np.array(size),
        "frame_id": f"{seed:05d}",
        "global_step": 1024 + seed,
        "note": {"names": ["a", "b"], "rate": 0.5, "nothing": None},
    }


def assert_equal(got, wanted):
    """Equal in type, shape, order of keys apart, and bits."""
    assert type(got) is type(wanted)
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for key in wanted:
            assert_equal(got[key], wanted[key])
    elif isinstance(wanted, np.ndarray):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()
    else:
        assert got == wanted


def load(path):
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize("zipped", [True, False])
def test_reading_and_writing_again_loses_nothing(tmp_path, zipped):
    for seed in range(20):
        torch.save(content(seed), tmp_path / "a.frame", _use_new_zipfile_serialization=zipped)
        write_tracker_frame(tmp_path / "b.frame", read_tracker_frame(tmp_path / "a.frame"))
        assert_equal(load(tmp_path / "b.frame"), content(seed))


def test_absent_entries_stay_absent(tmp_path):
    old = content()
    del old["camera"], old["flame"]["eyelids"], old["flame"]["tex"]
    torch.save(old, tmp_path / "a.frame")
    write_tracker_frame(tmp_path / "b.frame", read_tracker_frame(tmp_path / "a.frame"))
    assert_equal(load(tmp_path / "b.frame"), old)


def test_tensors_become_arrays(tmp_path):
    tensors = content()
    tensors["flame"] = {key: torch.from_numpy(value) for key, value in tensors["flame"].items()}
    for zipped in (True, False):
        torch.save(tensors, tmp_path / "a.frame", _use_new_zipfile_serialization=zipped)
        assert read_tracker_frame(tmp_path / "a.frame").exp.tobytes() == content()["flame"]["exp"].tobytes()


def test_names_of_numpy_are_the_old_ones(tmp_path):
    """NumPy before 1.26 has no `numpy._core`; the tracker's own environment has such a NumPy."""
    torch.save(content(), tmp_path / "a.frame")
    write_tracker_frame(tmp_path / "b.frame", read_tracker_frame(tmp_path / "a.frame"))
    with zipfile.ZipFile(tmp_path / "b.frame") as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    assert b"numpy.core.multiarray" in pickled and b"numpy._core" not in pickled


@pytest.fixture(scope="module")
def tracked(flame, random_params, random_camera):
    """A thousand heads and cameras, and their frames."""
    params, camera = random_params(11, zero=("neck",)), random_camera(12)
    return params, camera, params_to_tracker_frames(params, camera, flame, n_shape=7, n_expression=5)


@pytest.mark.slow
def test_ours_through_files(tracked, same_vertices, tmp_path):
    params, camera, frames = tracked
    back = []
    for frame in frames:
        write_tracker_frame(tmp_path / "x.frame", frame)
        back.append(read_tracker_frame(tmp_path / "x.frame"))
    got, seen = tracker_frames_to_params(back)
    same_vertices(got, params, cameras=(seen, camera))
    torch.testing.assert_close(seen.matrix, camera.matrix.float())
    assert seen.size == camera.size and back[7].frame_id == "00007" and back[7].fingerprint == "first"


def test_theirs_there_and_back(tracked, flame, same_vertices):
    params, camera = tracker_frames_to_params(tracked[2])
    params, camera = params.to(dtype=torch.float64), replace(camera, **double(camera))
    again = params_to_tracker_frames(params, camera, flame, n_shape=7, n_expression=5)
    got, seen = tracker_frames_to_params(again)
    same_vertices(got, params, cameras=(seen, camera))
    for one, two in zip(again, tracked[2], strict=True):
        np.testing.assert_allclose(one.eyes, two.eyes, atol=1e-6)
        assert one.camera_R is not None and two.camera_R is not None
        np.testing.assert_allclose(one.camera_R, two.camera_R, atol=1e-6)


def double(camera):
    return {field.name: getattr(camera, field.name).double() for field in fields(camera)[:4]}


def test_both_camera_blocks_agree(tracked):
    frame = tracked[2][5]
    height, width = frame.img_size.tolist()
    turn, *rest = (torch.tensor(getattr(frame, f"camera_{name}")) for name in ("R", "t", "fl", "pp"))
    camera = pytorch3d_ndc_to_camera(from_6d(turn), *rest, size=(width, height))
    np.testing.assert_allclose(camera.rotation, frame.opencv_R, atol=1e-6)
    np.testing.assert_allclose(camera.translation, frame.opencv_t, atol=1e-6)
    np.testing.assert_allclose(camera.matrix, frame.opencv_K, rtol=1e-6, atol=1e-3)


def test_the_shapes_that_consumers_expect(flame, random_camera):
    camera = random_camera(1)
    (frame,) = params_to_tracker_frames(flame.zeros(), replace(camera, **one(camera)), flame, first_id=12)
    shapes = {name: value.shape for name, value in vars(frame).items() if isinstance(value, np.ndarray)}
    assert shapes == {
        "exp": (1, 100), "shape": (1, 300), "tex": (1, 140), "sh": (1, 9, 3), "eyes": (1, 12), "eyelids": (1, 2),
        "jaw": (1, 6), "camera_R": (1, 6), "camera_t": (1, 3), "camera_fl": (1, 1), "camera_pp": (1, 2),
        "opencv_R": (1, 3, 3), "opencv_t": (1, 3), "opencv_K": (1, 3, 3), "img_size": (2,),
    }  # fmt: skip
    assert {value.dtype for name, value in vars(frame).items() if name in shapes} == {np.dtype("f4"), np.dtype("i8")}
    assert frame.img_size.tolist() == [480, 640] and frame.frame_id == "00012"
    assert frame.jaw.tolist() == [[1, 0, 0, 0, 1, 0]]


def one(camera):
    return {field.name: getattr(camera, field.name)[0] for field in fields(camera)[:4]}


def test_what_a_frame_cannot_hold(flame, random_params, random_camera):
    camera = random_camera(1)
    with pytest.raises(InputError, match="neck is bent"):
        params_to_tracker_frames(random_params(1), camera, flame)
    params = random_params(1, zero=("neck",))
    with pytest.raises(InputError, match="fx differs from fy"):
        params_to_tracker_frames(params, replace(camera, focal=camera.focal * torch.tensor([1.0, 1.1])), flame)
    with pytest.raises(InputError, match="shape has 7 coefficients"):
        params_to_tracker_frames(params, camera, flame, n_shape=5)


def test_frames_of_wrong_shapes(flame, random_params, random_camera):
    frames = params_to_tracker_frames(random_params(1, zero=("neck",)), random_camera(1), flame)[:2]
    with pytest.raises(InputError, match="images of different sizes"):
        tracker_frames_to_params([frames[0], replace(frames[1], img_size=np.array([5, 5]))])
    with pytest.raises(InputError, match="differ in the size of 'shape'"):
        tracker_frames_to_params([frames[0], replace(frames[1], shape=frames[1].shape[:, :10])])
    with pytest.raises(InputError, match="degenerate"):
        tracker_frames_to_params([replace(frames[0], jaw=np.zeros((1, 6), dtype=np.float32))])


def broken(group, key, value):
    whole = content()
    target = whole[group] if group else whole
    if value is None:
        del target[key]
    else:
        target[key] = value
    return whole


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        ([1, 2], "holds a list, but a metrical-tracker frame is a dictionary"),
        ({}, "lacks 'flame.exp'"),
        (broken("flame", "jaw", None), "lacks 'flame.jaw'"),
        (broken("flame", "jaw", np.zeros((1, 3), dtype=np.float32)), r"'flame.jaw' .* finite floats 1 x 6"),
        (broken("flame", "exp", np.full((1, 5), np.nan)), "'flame.exp' .* is NaN or infinity"),
        (broken("flame", "exp", [1.0]), "'flame.exp' .* is a list"),
        (broken("", "opencv", 3), "'opencv' .* is a int, wanted a dictionary"),
        (broken("", "img_size", np.array([0, 3])), "'img_size' .* two positive integers"),
        (broken("", "img_size", None), "'img_size' .* is None"),
        (broken("", "frame_id", 7), "'frame_id' .* is 7, wanted text"),
    ],
)
def test_malformed_frames_are_one_sentence(tmp_path, whole, sentence):
    torch.save(whole, tmp_path / "a.frame")
    with pytest.raises(InputError, match=sentence) as caught:
        read_tracker_frame(tmp_path / "a.frame")
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return (open, ("executed.txt", "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_executed(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(content() | {"note": Evil()}, "a.frame", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeFile, match=r"asks for (_io|io)\.open.*nothing in it was executed"):
        read_tracker_frame("a.frame")
    assert not (tmp_path / "executed.txt").exists()


def test_objects_are_refused_by_name(tmp_path):
    """The restricted reader knows classes of FLAME's own pickles; a frame has none of them."""
    torch.save(content() | {"note": [object()]}, tmp_path / "a.frame")
    with pytest.raises(UnsafeFile, match="asks for object"):
        read_tracker_frame(tmp_path / "a.frame")


def test_a_broken_frame_is_not_written(tmp_path, flame):
    torch.save(content(), tmp_path / "a.frame")
    frame = read_tracker_frame(tmp_path / "a.frame")
    with pytest.raises(InputError, match=r"'flame\.jaw' of the frame to write is NaN or infinity"):
        write_tracker_frame(tmp_path / "b.frame", replace(frame, jaw=frame.jaw * np.nan))
    assert not (tmp_path / "b.frame").exists()


def test_damaged_files_are_one_sentence(tmp_path):
    path = tmp_path / "a.frame"
    with pytest.raises(AssetNotFound):
        read_tracker_frame(path)
    for data in (b"", b"PK\x03\x04", b"hello", pickle.dumps(content(), protocol=2)):
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_tracker_frame(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_never_crash(tmp_path, zipped):
    path, rng = tmp_path / "a.frame", np.random.default_rng(0)
    with_tensor = content() | {"note": torch.ones(5)}
    torch.save(with_tensor, path, _use_new_zipfile_serialization=zipped)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for _ in range(300):
        changed = whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole.copy()
        if len(changed) == len(whole):
            changed[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        try:
            read_tracker_frame(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 90
