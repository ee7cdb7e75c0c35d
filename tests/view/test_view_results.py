"""What is opened, and what it says when it cannot be."""

import dataclasses

import numpy as np
import pytest
import torch

import flamehead
from flamehead.data import Camera, FlameParams, Track
from flamehead.errors import InputError
from flamehead.io import Mesh, save_params, save_track, write_image, write_json, write_landmarks, write_ply
from flamehead.io.scans import save_registration
from flamehead.view import PhotoResult, ScanResult, TrackResult, open_result
from flamehead.view.photo import report_lines
from flamehead.view.scan import scan_lines
from flamehead.view.track import error_curves, frame_words, head_path, next_row


@pytest.fixture(scope="module")
def flame():
    return flamehead.load_flame()


def _camera(size=(60, 80)):
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return Camera(turn, torch.tensor([0.0, 0.0, 0.6]), torch.tensor([100.0, 100.0]), torch.tensor([30.0, 40.0]), size)


def _fit(folder, flame, *, photo=True):
    folder.mkdir()
    params = dataclasses.replace(flame.zeros(), shape=torch.arange(300) / 300)
    save_params(folder / "params.npz", params, _camera(), fingerprint=flame.fingerprint)
    if photo:
        write_image(folder / "photo.png", np.full((80, 60, 3), 0.5))
    report = {"image": "/gone/photo.png", "landmark_error_percent": 1.25, "status": "Converged.", "warnings": ["Odd."]}
    write_json(folder / "report.json", report)
    points = np.random.default_rng(0).random((68, 2)) * 60
    write_landmarks(folder / "landmarks.npz", detected=points, fitted=points + 1, scheme="ibug68", size=(60, 80))
    return params


def test_a_fit_with_its_photo_beside_it(tmp_path, flame):
    params = _fit(tmp_path / "fit", flame)
    found = open_result(tmp_path / "fit", flame)
    assert isinstance(found, PhotoResult) and found.photo is not None and found.photo.shape == (80, 60, 3)
    torch.testing.assert_close(found.params.shape, params.shape)
    assert found.fitted is not None and found.detected is not None
    np.testing.assert_allclose(found.fitted - found.detected, 1.0)
    lines = report_lines(found.name, found.report, found.notes)
    assert "1.25 %" in lines and "*Odd.*" in lines and "Converged." in lines


def test_a_fit_without_its_photo_says_so(tmp_path, flame):
    _fit(tmp_path / "fit", flame, photo=False)
    found = open_result(tmp_path / "fit", flame)
    assert isinstance(found, PhotoResult) and found.photo is None and "/gone/photo.png" in found.notes[0]
    write_image(tmp_path / "other.png", np.full((80, 60, 3), 0.5))
    found = open_result(tmp_path / "fit", flame, photo=tmp_path / "other.png")
    assert isinstance(found, PhotoResult) and found.photo is not None and found.notes == ()
    # A photo of another size was not the one.
    write_image(tmp_path / "small.png", np.full((8, 6, 3), 0.5))
    found = open_result(tmp_path / "fit", flame, photo=tmp_path / "small.png")
    assert isinstance(found, PhotoResult) and found.photo is None and "6 x 8" in found.notes[0]


def test_parameters_alone_have_no_camera(tmp_path, flame):
    save_params(tmp_path / "a.npz", flame.zeros(), _camera(), fingerprint=flame.fingerprint)
    found = open_result(tmp_path / "a.npz", flame)
    assert isinstance(found, PhotoResult) and found.camera is None and found.photo is None


def test_a_parallel_camera_is_not_taken_for_a_pinhole(tmp_path, flame):
    _fit(tmp_path / "fit", flame)
    parallel = dataclasses.replace(_camera(), orthographic=True)
    save_params(tmp_path / "fit" / "params.npz", flame.zeros(), parallel, fingerprint=flame.fingerprint)
    found = open_result(tmp_path / "fit", flame)
    assert isinstance(found, PhotoResult) and found.camera is None and "parallel" in found.notes[0]


def test_fewer_coefficients_are_widened(tmp_path, flame):
    params = FlameParams.zeros(10, 5)
    save_params(tmp_path / "a.npz", params, _camera(), fingerprint=flame.fingerprint)
    found = open_result(tmp_path / "a.npz", flame)
    assert isinstance(found, PhotoResult) and found.params.shape.shape == (300,)


def test_what_cannot_be_opened(tmp_path, flame):
    with pytest.raises(InputError, match="There is no result"):
        open_result(tmp_path / "nothing", flame)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no params\.npz or track\.npz"):
        open_result(tmp_path / "empty", flame)
    save_params(tmp_path / "b.npz", flame.zeros(), _camera(), fingerprint="another")
    with pytest.raises(InputError, match="belong to the model another"):
        open_result(tmp_path / "b.npz", flame)
    heads = FlameParams.zeros(300, 100, batch=(3,))
    save_params(tmp_path / "c.npz", heads, _camera(), fingerprint=flame.fingerprint)
    with pytest.raises(InputError, match="3 heads and no times"):
        open_result(tmp_path / "c.npz", flame)
    _fit(tmp_path / "fit", flame)
    with pytest.raises(InputError, match="no photo or video"):
        open_result(tmp_path / "fit", flame, photo=tmp_path / "no.png")


def test_a_scan_in_metres(tmp_path, flame):
    vertices = flame(flame.zeros()).vertices.numpy()
    colors = np.full((5023, 3), 0.5)
    save_registration(
        tmp_path / "params.npz", flame.zeros(), _camera(), scale=0.001, fingerprint=flame.fingerprint, status="Done."
    )
    write_ply(tmp_path / "distances.ply", 1000 * vertices, flame.faces, colors=colors)
    write_json(tmp_path / "report.json", {"scan": "/gone.ply", "face_mm": {"median": 0.5, "mean": 0.6, "p95": 1.0}})
    found = open_result(tmp_path, flame)
    assert isinstance(found, ScanResult) and found.scan is None and isinstance(found.distances, Mesh)
    np.testing.assert_allclose(found.distances.vertices, vertices, atol=1e-6)
    assert "median **0.50 mm**" in scan_lines(found) and "/gone.ply" in scan_lines(found)
    write_ply(tmp_path / "gone.ply", 1000 * vertices, flame.faces)
    again = open_result(tmp_path, flame)
    assert isinstance(again, ScanResult) and again.scan is not None
    np.testing.assert_allclose(again.scan.vertices, vertices, atol=1e-6)


def _track(flame, count=5):
    params = FlameParams.zeros(flame.n_shape, flame.n_expression, batch=(count,))
    params.translation[:, 2] = torch.linspace(-0.6, -0.7, count)
    one = _camera()
    parts = (one.rotation, one.translation, one.focal, one.center)
    camera = Camera(*(value.expand(count, *value.shape).clone() for value in parts), size=one.size)
    error = np.array([1.0, 2.0, np.nan, 1.0, 1.0])[:count]
    return Track(
        params=params, camera=camera, frames=np.arange(count), times=np.array([0.0, 0.1, 0.2, 0.5, 0.6])[:count],
        status=np.array([0, 0, 1, 0, 0], np.int8)[:count], fingerprint=flame.fingerprint, landmark_error=error,
        source="/gone/video.mp4",
    )  # fmt: skip


def test_a_track(tmp_path, flame):
    save_track(tmp_path / "track.npz", _track(flame))
    for path in (tmp_path, tmp_path / "track.npz"):
        found = open_result(path, flame)
        assert isinstance(found, TrackResult) and len(found.track) == 5 and found.video is None
        assert "/gone/video.mp4" in found.notes[-1]


def test_playing_follows_the_times_of_the_frames():
    times = np.array([0.0, 0.1, 0.2, 0.5, 0.6])
    assert [next_row(times, 0, t) for t in (0.0, 0.05, 0.1, 0.49, 0.55, 9.0)] == [0, 0, 1, 2, 3, 4]
    assert next_row(times, 3, 0.0) == 3 and next_row(times, 3, 0.1) == 4


def test_errors_words_and_path_of_a_track(flame):
    track = _track(flame)
    curves = error_curves(track)
    assert list(curves) == ["seconds", "landmarks, %"] and np.isnan(curves["landmarks, %"][2])
    assert "tracked" in frame_words(track, 1) and "2.00 %" in frame_words(track, 1)
    assert "bridged" in frame_words(track, 2) and "%" not in frame_words(track, 2)
    path = head_path(track, flame)
    np.testing.assert_allclose(np.diff(path, axis=0), [[0, 0, -0.025]] * 4, atol=1e-6)
