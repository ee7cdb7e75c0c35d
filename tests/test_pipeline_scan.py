"""`fit_scan` and `flamehead scan`: from a file to a folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead import InputError, NoFaceFound, fit_scan, load_params, save_scan_fit
from flamehead.cli import main
from flamehead.fit import ScanFitSettings, ScanStage, find_scan_landmarks
from flamehead.fit.scan_samples import clean_scan
from flamehead.io import Mesh, read_mesh, write_obj

PICTURES, MESHES = {"overlay.png", "histogram.png"}, {"mesh.obj", "mesh.ply", "distances.ply"}
FILES = PICTURES | MESHES | {"params.npz", "landmarks.npz", "report.json"}
QUICK = ScanFitSettings(stages=(ScanStage(40, 20, 0.01, 3e-3, 6),), samples=1500)
DATA = Path(os.environ.get("FLAMEHEAD_DEV_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def result(known_scan):
    mesh = Mesh(known_scan.points, known_scan.faces)
    return fit_scan(mesh, flame=known_scan.flame, landmarks=known_scan.landmarks, offsets=True, settings=QUICK)


def test_the_head_is_in_the_frame_of_the_scan(known_scan, result):
    assert result.unit == "mm" and result.registration.scale == 0.001
    face = known_scan.flame.regions["face"]
    assert np.linalg.norm(result.vertices - known_scan.vertices, axis=1)[face].mean() < 2.5
    assert result.mouth_intersections == 0


def test_what_is_saved_gives_the_same_head(known_scan, result, tmp_path):
    report = save_scan_fit(result, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(report))
    saved, stored = load_params(tmp_path / "out" / "params.npz"), np.load(tmp_path / "out" / "params.npz")
    offsets, scale = torch.from_numpy(stored["offsets"]), float(stored["scan_scale"])
    again = known_scan.flame(saved.params, frame_offsets=offsets).vertices.numpy() / scale
    np.testing.assert_allclose(again, result.vertices, atol=1e-9)
    np.testing.assert_allclose(read_mesh(tmp_path / "out" / "mesh.obj").vertices, result.vertices, atol=1e-4)
    assert report["face_mm"]["median"] < 0.3 and report["warnings"] == []
    assert len(read_mesh(tmp_path / "out" / "distances.ply").vertices) == len(known_scan.points)


def test_an_unknown_unit_is_said(known_scan):
    mesh = Mesh(17.0 * known_scan.points, known_scan.faces)
    fit = fit_scan(mesh, flame=known_scan.flame, landmarks=17.0 * known_scan.landmarks, settings=QUICK)
    assert fit.unit == "unknown" and fit.registration.scale == pytest.approx(0.001 / 17.0, rel=0.25)
    assert float(np.median(fit.distances.distances[fit.distances.in_face])) < 1e-3


@pytest.mark.parametrize(
    ("marks", "sentence"),
    [(0.001, "multiply them by 1000"), (-1.0, "do not lie on the scan"), (np.nan, "all NaN")],
)
def test_landmarks_of_something_else_are_refused(known_scan, marks, sentence):
    mesh = Mesh(known_scan.points, known_scan.faces)
    with pytest.raises(InputError, match=sentence):
        fit_scan(mesh, flame=known_scan.flame, landmarks=marks * known_scan.landmarks)


def test_a_cloud_needs_landmarks_and_is_enough_with_them(known_scan):
    cloud = Mesh(known_scan.points, np.zeros((0, 3), dtype=np.int64))
    with pytest.raises(InputError, match="point cloud"):
        fit_scan(cloud, flame=known_scan.flame)
    fit = fit_scan(cloud, flame=known_scan.flame, landmarks=known_scan.landmarks, settings=QUICK)
    assert float(np.median(fit.distances.distances[fit.distances.in_face])) < 5e-4


@pytest.mark.detect
def test_landmarks_are_found_however_the_scan_lies(known_scan):
    """The built-in head's own colours make its eyes and lips visible; it is turned far and measured in millimetres."""
    flame = known_scan.flame
    scan = clean_scan(known_scan.vertices, flame.arrays.faces)
    found = find_scan_landmarks(flame, scan, colors=flame.colors)
    own = np.einsum(
        "lk,lka->la",
        flame.embeddings["mediapipe478"].barycentric,
        known_scan.vertices[flame.arrays.faces[flame.embeddings["mediapipe478"].face_ids]],
    )
    off = np.linalg.norm(found.points - own, axis=1)
    assert np.isfinite(off).sum() > 300 and np.nanmedian(off) < 6.0
    fit = fit_scan(Mesh(known_scan.vertices, flame.arrays.faces, flame.colors), flame=flame, settings=QUICK)
    assert fit.unit == "mm" and fit.landmark_source == "found"
    assert float(np.median(fit.distances.distances[fit.distances.in_face])) < 6e-4


@pytest.mark.detect
def test_a_ball_has_no_face(known_scan):
    import trimesh

    ball = trimesh.creation.icosphere(3)
    with pytest.raises(NoFaceFound, match="--landmarks"):
        fit_scan(Mesh(np.array(ball.vertices), np.array(ball.faces)), flame=known_scan.flame)


def test_the_command_writes_everything_and_says_the_unit(known_scan, tmp_path, capsys):
    write_obj(tmp_path / "scan.obj", known_scan.points, known_scan.faces)
    np.save(tmp_path / "marks.npy", known_scan.landmarks)
    arguments = ["scan", "scan.obj", "--landmarks", "marks.npy", "--out", "out"]
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert "Unit: millimetres (guessed from the size of the face)" in said.out and said.err == ""
        assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
        assert main(["scan", "absent.obj", "--out", "out"]) == 1
        assert "There is no mesh file absent.obj" in capsys.readouterr().err
    finally:
        os.chdir(before)


@pytest.mark.assets
def test_a_real_scan_is_explained_to_a_fraction_of_a_millimetre():
    folder = DATA / "scan"
    if not folder.is_dir():
        pytest.skip("the development data are not here")
    fit = fit_scan(folder / "scan.obj", landmarks=folder / "scan_lmks.npy", offsets=True)
    near = fit.distances.distances[fit.distances.in_face]
    assert fit.unit == "m" and fit.mouth_intersections == 0
    assert 1000.0 * np.median(near) < 0.2
