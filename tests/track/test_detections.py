"""One face is followed through cuts, gaps and company, and a run that stops goes on to the same bits."""

import numpy as np
import pytest

from flamehead.track.detections import BACK_FILLED, RECORD_WIDTH, change, detect_rows, detections, signature
from flamehead.track.journal import open_journal

pytestmark = pytest.mark.detect


class Stopped(Exception):
    pass


def run(source, path):
    with open_journal(path, {}, width=RECORD_WIDTH, dtype="<f4") as journal:
        detect_rows(source, journal)
        return detections(source, journal), journal


def run_until(source, path, stop):
    def advance(done):
        if done == stop:
            raise Stopped

    with pytest.raises(Stopped), open_journal(path, {}, width=RECORD_WIDTH, dtype="<f4") as journal:
        detect_rows(source, journal, advance=advance)


def centers(found):
    return np.nanmean(found.landmarks, axis=1)


def test_a_moving_face_is_followed(scene, stream, tmp_path):
    places = [(10 + 6 * k, 20 + 2 * k) for k in range(8)]
    found, _ = run(stream([scene(place) for place in places]), tmp_path / "j")
    assert found.seen.all() and (found.scores > 0.6).all() and not found.scene.any() and not found.warnings
    moved = centers(found) - centers(found)[0]
    np.testing.assert_allclose(moved, np.array(places) - places[0], atol=1.0)


def test_a_face_that_comes_late_is_followed_backwards(scene, stream, tmp_path):
    # The face comes in from the right: too little of it is seen at first.
    places = [None, None, (250, 20), (220, 20), (190, 20), (150, 20), (110, 20)]
    pictures = [scene(place) for place in places]
    found, journal = run(stream(pictures), tmp_path / "j")
    assert found.seen[-2:].all() and not found.seen[:2].any()
    assert any("first seen at" in sentence for sentence in found.warnings)
    filled = [row for row, kind in journal.records if kind == BACK_FILLED]
    assert all(found.seen[row] for row in filled)


def test_brief_loss_is_marked_and_the_same_face_found_again(scene, stream, tmp_path):
    pictures = [scene(place) for place in [(40, 20), (44, 20), None, None, None, (56, 20), (60, 20)]]
    found, _ = run(stream(pictures), tmp_path / "j")
    assert found.seen.tolist() == [True, True, False, False, False, True, True]
    assert not found.scene.any()
    assert np.isnan(found.landmarks[2:5]).all()
    assert any("not seen in 3 of 7" in sentence for sentence in found.warnings)


def test_cuts_are_noticed_and_lights_alone_are_not(scene, stream, tmp_path):
    bright = (200, 190, 170)
    pictures = [scene((10, 20))] * 2 + [scene((110, 30), wall=bright)] * 2 + [scene((112, 30), wall=(20, 20, 60))] * 2
    found, _ = run(stream(pictures), tmp_path / "j")
    assert found.seen.all()
    assert found.scene.tolist() == [0, 0, 1, 1, 1, 1]
    assert any("1 cut, at 0.08 s" in sentence for sentence in found.warnings)


def test_a_second_person_is_told_and_not_followed(scene, stream, tmp_path):
    both = [scene((0, 20), small=[(210, 60)]) for _ in range(3)]
    # The one that is followed leaves; the other is not taken for it.
    alone = [scene(None, small=[(210, 60)]) for _ in range(4)]
    found, _ = run(stream([*both, *alone]), tmp_path / "j")
    assert found.seen.tolist() == [True] * 3 + [False] * 4
    assert any("Another face" in sentence for sentence in found.warnings)


def test_damaged_frames_are_not_looked_at(scene, stream, tmp_path):
    found, _ = run(stream([scene((40, 20))] * 5, damaged=(2,)), tmp_path / "j")
    assert (
        found.seen.tolist() == [True, True, False, True, True]
        and found.damaged.tolist() == [False] * 2 + [True] + [False] * 2
    )
    assert any("1 frames could not be decoded" in sentence for sentence in found.warnings)


def test_large_frames_are_followed_as_small_ones_are(scene, stream, tmp_path):
    small = [scene(place) for place in [(40, 20), (46, 22)]]
    large = [np.repeat(np.repeat(picture, 12, axis=0), 12, axis=1) for picture in small]
    found, _ = run(stream(large), tmp_path / "large")
    wanted, _ = run(stream(small), tmp_path / "small")
    assert found.seen.all()
    np.testing.assert_allclose(centers(found) / 12, centers(wanted), atol=1.5)


def test_nobody(scene, stream, tmp_path):
    found, _ = run(stream([scene(None)] * 3), tmp_path / "j")
    assert not found.seen.any() and not found.warnings


@pytest.mark.slow
def test_stopped_anywhere_it_ends_with_the_same_bits(scene, stream, tmp_path):
    places = [None, (250, 20), (190, 20), (150, 20), None, (130, 24), (120, 30), None, (30, 30)]
    source = stream([scene(place) for place in places])
    whole, journal = run(source, tmp_path / "whole")
    for stop in range(1, len(places)):
        run_until(source, tmp_path / f"{stop}", stop)
        with (tmp_path / f"{stop}").open("r+b") as file:
            file.truncate((tmp_path / f"{stop}").stat().st_size - 3)
        again, other = run(source, tmp_path / f"{stop}")
        assert again.landmarks.tobytes() == whole.landmarks.tobytes()
        assert {key: value.tobytes() for key, value in other.records.items()} == {
            key: value.tobytes() for key, value in journal.records.items()
        }


def test_noise_changes_no_colours_and_another_picture_does():
    rng = np.random.default_rng(0)
    grey = np.full((90, 120, 3), 128, dtype=np.uint8)
    noisy = np.clip(grey + rng.normal(scale=4, size=grey.shape), 0, 255).astype(np.uint8)
    assert change(signature(noisy), signature(grey)) < 0.1
    assert change(signature(255 - grey // 3), signature(grey)) > 0.5
    assert signature(grey).reshape(12, -1).sum(axis=1) == pytest.approx(np.ones(12))
