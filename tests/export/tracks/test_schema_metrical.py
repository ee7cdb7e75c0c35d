"""metrical-tracker's folder, read as its consumers read it: torch.load, PIL, numpy and a parser of PLY headers."""

import importlib.util
import math
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from flamehead.export import CropSettings, export_metrical

SIZE, COUNT = 192, 6
FRAME = {
    "flame": {"exp": (1, 100), "shape": (1, 300), "tex": (1, 140), "sh": (1, 9, 3), "eyes": (1, 12), "eyelids": (1, 2),
              "jaw": (1, 6)},
    "camera": {"R": (1, 6), "t": (1, 3), "fl": (1, 1), "pp": (1, 2)},
    "opencv": {"R": (1, 3, 3), "t": (1, 3), "K": (1, 3, 3)},
}  # fmt: skip
VIDEO = importlib.util.find_spec("av") is not None
NUMBERED = {"checkpoint": ".frame", "mesh": ".ply", "depth": ".png", "input": ".png", "images": ".png", "kpt": ".npy",
            "kpt_dense": ".npy"} | ({"video": ".jpg"} if VIDEO else {})  # fmt: skip


@pytest.fixture(scope="module")
def out(track, flame, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrical") / "person"
    done = export_metrical(track, flame, frames, folder, crop=CropSettings(size=SIZE), pictures=VIDEO)
    assert done.count == COUNT and done.first == 1
    assert any("left out" in note for note in done.notes) and any("neck" in note for note in done.notes)
    return folder


def loaded(folder, index=0):
    return torch.load(folder / "checkpoint" / f"{index:05d}.frame", weights_only=False)


def read_ply(path):
    """Vertices and faces of a binary little-endian PLY with float vertices and int faces."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    counts = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("element")}
    vertices = np.frombuffer(body, "<f4", 3 * counts["vertex"]).reshape(-1, 3).copy()
    triangle = np.dtype([("n", "u1"), ("ids", "<i4", 3)])
    faces = np.frombuffer(body, triangle, counts["face"], offset=vertices.nbytes)
    assert (faces["n"] == 3).all() and len(body) == vertices.nbytes + faces.nbytes
    return vertices, faces["ids"]


def test_one_file_per_contiguous_id_and_nothing_else(out):
    for name, suffix in NUMBERED.items():
        assert sorted(file.name for file in (out / name).iterdir()) == [f"{i:05d}{suffix}" for i in range(COUNT)]
    rest = {item.name for item in out.iterdir()} - set(NUMBERED)
    assert rest == {"canonical.obj", "identity.npy", "export.json"} | ({"video.avi"} if VIDEO else set())


def test_frames_have_the_keys_shapes_and_types_of_the_table(out):
    for index in range(COUNT):
        content = loaded(out, index)
        for group, entries in FRAME.items():
            assert set(content[group]) == set(entries)
            for key, shape in entries.items():
                value = content[group][key]
                assert type(value) is np.ndarray and value.shape == shape and value.dtype == np.float32, (group, key)
                assert np.isfinite(value).all()
        size = content["img_size"]
        assert type(size) is np.ndarray and size.dtype == np.int64 and size.tolist() == [SIZE, SIZE]
        assert content["frame_id"] == f"{index:05d}" and type(content["frame_id"]) is str
        assert type(content["global_step"]) is int


def test_frames_are_zips_that_weights_only_loads_once_numpy_is_allowed(out):
    path = out / "checkpoint" / "00000.frame"
    assert zipfile.is_zipfile(path)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path, weights_only=True)
    multiarray = importlib.import_module("numpy.core.multiarray" if np.__version__ < "2" else "numpy._core.multiarray")
    needed = [
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray, np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.int64)),
    ]  # fmt: skip
    with torch.serialization.safe_globals(needed):
        content = torch.load(path, weights_only=True)
    np.testing.assert_array_equal(content["opencv"]["K"], loaded(out)["opencv"]["K"])


def test_both_cameras_agree_and_k_is_constant(out):
    first, half = loaded(out)["opencv"]["K"], SIZE / 2
    for index in range(COUNT):
        content = loaded(out, index)
        cv, ndc = content["opencv"], content["camera"]
        np.testing.assert_array_equal(cv["K"], first)
        fx, fy, cx, cy = cv["K"][0, 0, 0], cv["K"][0, 1, 1], cv["K"][0, 0, 2], cv["K"][0, 1, 2]
        assert fx == fy and cv["K"][0, 0, 1] == 0 and cv["K"][0, 2].tolist() == [0, 0, 1]
        a, b = ndc["R"][0, :3], ndc["R"][0, 3:]
        rows = np.stack([a, b, np.cross(a, b)])
        flip = np.diag([-1.0, -1.0, 1.0])
        np.testing.assert_allclose(flip @ rows.T, cv["R"][0], atol=1e-5)
        np.testing.assert_allclose(flip @ ndc["t"][0], cv["t"][0], atol=1e-6)
        assert ndc["fl"][0, 0] * half == pytest.approx(fx, rel=1e-5)
        np.testing.assert_allclose(SIZE / 2 - half * ndc["pp"][0], [cx, cy], atol=1e-3)


def test_meshes_are_canonical_heads_that_project_onto_the_pictures(out, flame):
    """What was detected lies where the mesh has it, by the camera block alone."""
    for index in range(COUNT):
        vertices, faces = read_ply(out / "mesh" / f"{index:05d}.ply")
        assert vertices.shape == (5023, 3) and faces.shape == flame.faces.shape
        np.testing.assert_array_equal(faces, flame.faces.numpy())
        content = loaded(out, index)["opencv"]
        camera_points = vertices @ content["R"][0].T + content["t"][0]
        pixels = camera_points @ content["K"][0].T
        pixels = pixels[:, :2] / pixels[:, 2:]
        nose = flame.regions["nose"]
        dense = np.load(out / "kpt_dense" / f"{index:05d}.npy")
        if dense.any():
            on_mesh = flame.landmarks(torch.from_numpy(vertices), "mediapipe478").numpy()
            shown = on_mesh @ content["R"][0].T @ content["K"][0].T + content["t"][0] @ content["K"][0].T
            # The lids were closed before skinning and here after it; the neck has no correctives here.
            assert np.abs(shown[:, :2] / shown[:, 2:] - dense).max() < 0.35
        assert (pixels[nose] > 0).all() and (pixels[nose] < SIZE).all()


def test_depth_is_the_meshes_depth_in_millimetres(out, flame):
    vertices, _ = read_ply(out / "mesh" / "00002.ply")
    content = loaded(out, 2)["opencv"]
    points = vertices @ content["R"][0].T + content["t"][0]
    pixels = points @ content["K"][0].T
    x, y = (pixels[:, :2] / pixels[:, 2:]).T
    with Image.open(out / "depth" / "00002.png") as picture:
        depth = np.asarray(picture)
    assert depth.shape == (SIZE, SIZE) and depth.dtype == np.uint16 and depth[0, 0] == 0
    nose = flame.regions["nose"]
    found = depth[y[nose].astype(int), x[nose].astype(int)] / 1000.0
    seen = np.abs(found - points[nose, 2]) < 0.02
    # A pixel is 1.5 mm wide here, and the nose is steep.
    assert seen.mean() > 0.9 and np.median(np.abs(found - points[nose, 2])[seen]) < 0.0015
    # The ear that is turned to the camera is left out; what lies beside it is nearer or farther.
    ear = flame.regions["right_ear"]
    found = depth[y[ear].astype(int), x[ear].astype(int)] / 1000.0
    assert (np.abs(found - points[ear, 2]) < 0.002).mean() < 0.1


def test_the_neutral_mesh_has_an_open_jaw_and_no_expression(out, flame):
    lines = (out / "canonical.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=float)
    assert vertices.shape == (5023, 3) and sum(line.startswith("f ") for line in lines) == len(flame.faces)
    rest = flame.zeros()
    shape = torch.from_numpy(loaded(out)["flame"]["shape"][0])
    values = vars(rest) | {"shape": shape, "jaw": torch.tensor([math.radians(12), 0, 0])}
    np.testing.assert_allclose(vertices, flame(type(rest)(**values)).vertices.numpy(), atol=1e-6)


def test_rotations_of_six_numbers_are_rows_left_eye_first(out, track):
    content = loaded(out, 5)["flame"]
    angle = float(track.params.left_eye[6, 1])
    np.testing.assert_allclose(content["eyes"][0, :6], [math.cos(angle), 0, math.sin(angle), 0, 1, 0], atol=1e-6)
    angle = float(track.params.jaw[6, 0])
    np.testing.assert_allclose(content["jaw"][0], [1, 0, 0, 0, math.cos(angle), -math.sin(angle)], atol=1e-6)
    np.testing.assert_allclose(content["eyelids"][0], track.eyelids[6], atol=1e-6)


def test_landmarks_and_pictures(out):
    for index in range(COUNT):
        sparse, dense = (np.load(out / name / f"{index:05d}.npy") for name in ("kpt", "kpt_dense"))
        assert sparse.shape == (68, 2) and dense.shape == (478, 2) and dense.dtype == np.float64
        # The third exported frame is the bridged one: nothing was detected.
        assert bool(dense.any()) is (index != 3) and bool(sparse.any()) is (index != 3)
        with (
            Image.open(out / "input" / f"{index:05d}.png") as one,
            Image.open(out / "images" / f"{index:05d}.png") as two,
        ):
            assert one.size == two.size == (SIZE, SIZE) and one.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    assert np.load(out / "identity.npy").shape == (300,) and np.load(out / "identity.npy").dtype == np.float32


@pytest.mark.skipif(not VIDEO, reason="PyAV is not installed")
def test_the_video_shows_four_views(out):
    for index in range(COUNT):
        with Image.open(out / "video" / f"{index:05d}.jpg") as row:
            assert row.size == (4 * SIZE, SIZE)
    import av

    with av.open(str(out / "video.avi")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.codec_tag == "DIVX" and stream.average_rate == 25
        assert sum(1 for _ in video.decode(stream)) == COUNT


def test_an_earlier_export_leaves_nothing_behind(out, track, flame, frames, tmp_path):
    from dataclasses import replace

    from flamehead.errors import InputError

    folder = tmp_path / "again"
    small = CropSettings(size=64)
    export_metrical(track, flame, frames, folder, crop=small, pictures=False)
    with pytest.raises(InputError, match="is not empty"):
        export_metrical(track, flame, frames, folder, crop=small, pictures=False)
    shorter = replace(track, status=np.array([2, 2, 2, 0, 1, 0, 2, 2], np.int8))
    export_metrical(shorter, flame, frames, folder, crop=small, pictures=False, overwrite=True)
    assert len(list((folder / "checkpoint").iterdir())) == 3
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(InputError, match="none of flamehead's exports"):
        export_metrical(track, flame, frames, foreign, crop=small, pictures=False, overwrite=True)
    with pytest.raises(InputError, match="no picture for row 4"):
        export_metrical(track, flame, frames[:4], tmp_path / "cut", crop=small, pictures=False)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["again", "foreign"]
