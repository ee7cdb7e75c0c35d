"""The main path without a detector: landmarks of a known head in, that head out, in whole files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import Observation, load_flame, load_params, read_image, read_landmarks
from flamehead.errors import AssetNotFound, InputError
from flamehead.fit import LandmarkFitSettings
from flamehead.io import read_mesh
from flamehead.model import Flame
from flamehead.pipeline import fit_image, fit_seen, save_image_fit, see_image
from flamehead.solve import Status

FILES = {"params.npz", "mesh.obj", "mesh.ply", "overlay.png", "landmarks.npz", "report.json"}


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def result(known, flame):
    return fit_image(known.image, flame=flame, landmarks=known.landmarks, focal=known.focal)


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "deep" / "down"
    return folder, save_image_fit(result, folder)


def test_the_known_head_comes_back(known, result, flame):
    face = flame.regions["face"]
    found = flame(result.fit.params).vertices.detach().numpy()[face]
    wanted = known.vertices[face]
    # Landmarks say little about depth and size: compare after the best similarity.
    a, b = found - found.mean(0), wanted - wanted.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    aligned = a @ (u @ vt) * s.sum() / (a**2).sum()
    assert np.linalg.norm(aligned - b, axis=1).mean() < 0.003
    assert np.linalg.norm(result.fit.fitted - known.points, axis=1).mean() < 1.5


def test_the_result_says_where_it_comes_from(known, result):
    assert (result.image, result.focal_source, result.fit.fingerprint) == (known.image, "given", "builtin-1")
    assert result.photo.shape == (300, 240, 3) and result.fit.status.converged
    assert result.seconds.keys() == {"read", "detect", "load_model", "fit"}


def test_all_files_are_there_and_nothing_else(saved):
    folder, _ = saved
    assert {path.name for path in folder.iterdir()} == FILES
    assert list(folder.parent.iterdir()) == [folder] and list(folder.parent.parent.iterdir()) == [folder.parent]


def test_the_report_holds_what_it_promises(known, saved):
    folder, returned = saved
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    types = {
        "image": str,
        "model": str,
        "fingerprint": str,
        "landmark_error_percent": float,
        "largest_coefficient": float,
        "status": str,
        "converged": bool,
        "iterations": int,
        "loss": float,
        "camera": dict,
        "landmarks": dict,
        "uncertainty": dict,
        "warnings": list,
        "seconds": dict,
    }
    assert {name: type(value) for name, value in report.items()} == types == {k: types[k] for k in returned}
    assert report["image"] == str(known.image) and report["model"] == "built-in head"
    assert 0 < report["landmark_error_percent"] < 1.2 and 0 < report["largest_coefficient"] < 3.5
    assert report["camera"].keys() == {"rotation", "translation", "focal", "center", "size", "focal_source"}
    assert report["camera"]["size"] == [240, 300] and report["camera"]["focal_source"] == "given"
    assert report["landmarks"] == {"scheme": "mediapipe478", "source": "file", "score": 1.0, "fitted": 478}
    assert report["warnings"] == []
    assert report["seconds"].keys() == {"read", "detect", "load_model", "fit", "overlay", "write"}


NO_FACE = "The landmarks do not look like a face seen from the front half; check the overlay."


@pytest.mark.parametrize("yaw", [*(pytest.param(yaw, marks=pytest.mark.slow) for yaw in (0.0, 0.6)), -1.0])
def test_mirrored_landmarks_are_warned_about(known, flame, tmp_path, yaw):
    """A hollow face explains them well: the error alone does not tell."""
    params = replace(flame.zeros(), root=torch.tensor([0.0, yaw, 0.0]), translation=torch.tensor([0.0, 0.0, -0.6]))
    x, y, z = flame.landmarks(flame(params).vertices, "mediapipe478").numpy().T
    points = np.stack([400 * x / -z + 120, 400 * y / z + 150], axis=1)
    reports = []
    for name, marks in (("right", points), ("mirrored", points * [-1, 1] + [240, 0])):
        np.save(tmp_path / "marks.npy", marks)
        found = fit_image(known.image, flame=flame, landmarks=tmp_path / "marks.npy")
        reports.append(save_image_fit(found, tmp_path / name))
    assert reports[0]["warnings"] == [] and reports[1]["warnings"] == [NO_FACE]
    assert reports[1]["landmark_error_percent"] < 5


def test_landmarks_of_no_face_are_warned_about(known, flame, tmp_path):
    angle = np.linspace(0, 2 * np.pi, 68)
    np.save(tmp_path / "circle.npy", np.stack([120 + 80 * np.cos(angle), 150 + 80 * np.sin(angle)], axis=1))
    found = fit_image(known.image, flame=flame, landmarks=tmp_path / "circle.npy")
    report = save_image_fit(found, tmp_path / "out")
    assert report["landmark_error_percent"] > 5 and NO_FACE in report["warnings"]
    assert [sentence for sentence in report["warnings"] if sentence.startswith("A coefficient is at its limit (")]


def test_each_doubt_is_a_sentence(result, tmp_path):
    fit, big = result.fit, result.fit.params.shape.clone()
    big[0] = -3.6
    doubtful = replace(
        fit,
        params=replace(fit.params, shape=big),
        status=Status("iterations", 50),
        observation=replace(fit.observation, score=0.25),
    )
    report = save_image_fit(replace(result, fit=doubtful), tmp_path / "out")
    assert report["warnings"] == [
        "The fit is not finished: Stopped at the iteration limit before convergence after 50 iterations.",
        "A coefficient is at its limit (3.6 standard deviations); the shape is not credible.",
        "The detector is not sure of this face (score 0.25); check the overlay.",
    ]


def test_parameters_give_the_written_meshes(saved, flame):
    folder, _ = saved
    stored = load_params(folder / "params.npz")
    assert stored.fingerprint == flame.fingerprint and stored.model_source == "built-in head"
    vertices = flame(stored.params).vertices.detach().numpy()
    for name in ("mesh.obj", "mesh.ply"):
        mesh = read_mesh(folder / name)
        np.testing.assert_allclose(mesh.vertices, vertices, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(mesh.faces, flame.faces.numpy())
        assert mesh.colors is not None and mesh.colors.shape == (5023, 3)


def test_landmarks_come_back_and_the_camera_places_the_fitted_ones(known, saved, flame):
    folder, _ = saved
    seen = read_landmarks(folder / "landmarks.npz", size=(240, 300))
    np.testing.assert_array_equal(seen.points, known.points)
    stored = load_params(folder / "params.npz")
    points = flame.landmarks(flame(stored.params).vertices, "mediapipe478").double()
    camera = stored.camera
    x = points @ camera.rotation.double().mT + camera.translation.double()
    pixels = camera.focal.double() * x[:, :2] / x[:, 2:] + camera.center.double()
    with np.load(folder / "landmarks.npz") as file:
        np.testing.assert_allclose(pixels.detach().numpy(), file["fitted"], atol=0.01)


def test_the_overlay_shows_the_photo_and_more(saved):
    sheet = read_image(saved[0] / "overlay.png")
    assert sheet.shape[0] >= 200 and sheet.shape[1] >= 2 * 200 and np.ptp(sheet) > 0.5


def test_the_same_input_gives_the_same_bytes(known, result, flame, saved, tmp_path):
    again = fit_image(known.image, flame=flame, landmarks=known.landmarks, focal=known.focal)
    save_image_fit(again, tmp_path)
    for name in FILES - {"report.json"}:
        assert (tmp_path / name).read_bytes() == (saved[0] / name).read_bytes(), name
    reports = [json.loads((folder / "report.json").read_text()) for folder in (tmp_path, saved[0])]
    assert [report.pop("seconds").keys() for report in reports] and reports[0] == reports[1]


def test_saving_again_replaces_our_files_and_keeps_others(result, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "mesh.obj").write_text("old")
    save_image_fit(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "mesh.obj").stat().st_size > 100_000


@pytest.mark.parametrize("scheme", ["ibug68", "mediapipe105", "mediapipe468"])
def test_other_landmark_sets_serve_as_well(known, flame, tmp_path, scheme):
    stored = torch.from_numpy(known.vertices).float()
    x, y, z = flame.landmarks(stored, scheme).numpy().T
    np.save(tmp_path / "marks.npy", np.stack([400 * x / -z + 120, 400 * y / z + 150], axis=1))
    found = fit_image(known.image, flame=flame, landmarks=tmp_path / "marks.npy", focal=known.focal)
    report = save_image_fit(found, tmp_path / "out")
    assert report["landmarks"]["scheme"] == scheme and report["landmark_error_percent"] < 1.2


def test_several_photos_in_a_row_are_independent(known, flame, result, tmp_path):
    np.save(tmp_path / "other.npy", (known.points - 120) * 0.8 + 130)
    other = fit_image(known.image, flame=flame, landmarks=tmp_path / "other.npy", focal=known.focal)
    again = fit_image(known.image, flame=flame, landmarks=known.landmarks, focal=known.focal)
    assert not torch.equal(other.fit.params.translation, result.fit.params.translation)
    assert torch.equal(again.fit.params.shape, result.fit.params.shape)


def test_both_halves_make_the_whole(known, flame, result):
    seen = see_image(known.image, landmarks=known.landmarks, focal=known.focal)
    assert isinstance(seen.observation, Observation) and seen.seconds.keys() == {"read", "detect"}
    found = fit_seen(seen, flame=flame)
    assert torch.equal(found.fit.params.shape, result.fit.params.shape)
    fewer = fit_seen(seen, flame=flame, settings=LandmarkFitSettings(n_shape=10, n_expression=5))
    assert not fewer.fit.params.shape[10:].any() and not fewer.fit.params.expression[5:].any()


def test_an_unknown_focal_length_is_estimated(known, flame):
    found = fit_image(known.image, flame=flame, landmarks=known.landmarks)
    assert found.focal_source == "estimated" and 200 < float(found.fit.camera.focal[0]) < 800


@pytest.mark.parametrize("focal", [-3.0, 0.0, float("nan"), float("inf"), 50.0, 1e6])
def test_a_focal_length_that_no_lens_has_is_refused(known, focal):
    with pytest.raises(InputError, match="in pixels, not in millimetres: from 60 to 30000 for an image of 240 x 300"):
        fit_image(known.image, landmarks=known.landmarks, focal=focal)


def test_a_model_without_matching_landmarks_names_the_file(known, flame):
    bare = Flame(replace(flame.arrays, source="bare.pkl"), embeddings={})
    with pytest.raises(AssetNotFound, match=r"mediapipe_landmark_embedding\.npz"):
        fit_image(known.image, flame=bare, landmarks=known.landmarks)


@pytest.mark.parametrize("writer", ["save_fit", "write_ply", "write_image", "write_json"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing(monkeypatch, result, tmp_path, writer, existing):
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "mesh.obj").write_text("old")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    # What is in the pictures does not matter here, and drawing them takes longer than all the rest.
    monkeypatch.setattr("flamehead.pipeline.overlay_sheet", lambda *_args, **_options: np.zeros((8, 8, 3), np.float32))
    monkeypatch.setattr(f"flamehead.pipeline.{writer}", full)
    with pytest.raises(InputError, match=r"out \(No space left on device\); free some space or choose another folder"):
        save_image_fit(result, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"] * existing
    assert not existing or [path.read_text() for path in out.iterdir()] == ["old"]
