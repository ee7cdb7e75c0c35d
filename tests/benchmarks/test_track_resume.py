"""Killed trackers end like undisturbed ones; and the harness that says so notices when they do not."""

import sys

import numpy as np
import pytest

from _sequence import SequenceSettings, make_sequence, write_sequence
from _track_run import cli, run
from track_resume import differences, disturb

_COUNTER = """
import sys, time
from pathlib import Path
import numpy as np
folder, drift = Path(sys.argv[1]), float(sys.argv[2])
folder.mkdir(exist_ok=True)
journal = folder / "journal"
# One byte a row; a broken one forgets where it was by as much as `drift`.
with journal.open("ab") as file:
    began = file.tell()
    for row in range(began, 40):
        time.sleep(0.03)
        file.write(bytes([row]))
        file.flush()
values = np.frombuffer(journal.read_bytes(), np.uint8) + drift * (began > 0)
temporary = folder / "track.part"
with temporary.open("wb") as file:
    np.savez(file, values=values, hole=np.array([np.nan]))
temporary.replace(folder / "track.npz")
"""


def counter(drift=0.0):
    return lambda folder: [sys.executable, "-c", _COUNTER, str(folder), str(drift)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "out"
    result = run(counter()(folder), log=folder.with_suffix(".log"))
    assert result.code == 0, result.errors
    assert result.peak > 1.0
    return folder, result.seconds


@pytest.mark.slow
def test_a_tracker_that_goes_on_passes(undisturbed, tmp_path):
    wanted, seconds = undisturbed
    random = np.random.default_rng(0)
    found = disturb(counter(), tmp_path / "out", wanted, kills=2, seconds=seconds, random=random)
    assert found.kills == 2 and found.ends >= 1
    assert found.problems == []


@pytest.mark.slow
def test_a_tracker_that_ends_with_other_numbers_is_found_out(undisturbed, tmp_path):
    wanted, seconds = undisturbed
    random = np.random.default_rng(0)
    # Killed late enough to have begun, so that it has something to go on from.
    found = disturb(
        counter(0.5), tmp_path / "out", wanted, kills=1, seconds=seconds, random=random, shortest=seconds - 0.6
    )
    assert any("values" in problem for problem in found.problems)


@pytest.mark.slow
def test_a_tracker_that_fails_is_found_out(undisturbed, tmp_path):
    found = disturb(
        lambda _: [sys.executable, "-c", "raise SystemExit('no room')"], tmp_path / "out", undisturbed[0],
        kills=1, seconds=4.0, random=np.random.default_rng(0), shortest=2.0,
    )  # fmt: skip
    assert found.kills == 0
    assert len(found.problems) == 1 and "no room" in found.problems[0]


def save(folder, extra=(), **arrays):
    folder.mkdir()
    np.savez(folder / "track.npz", **arrays)
    for name in extra:
        (folder / name).touch()
    return folder


def test_differences_are_of_bits_and_of_files(tmp_path):
    values = np.array([1.0, np.nan, 0.0])
    one = save(tmp_path / "one", a=values, b=np.arange(3))
    assert differences(one, save(tmp_path / "same", a=values, b=np.arange(3))) == []
    other = save(tmp_path / "other", a=values * [1, 1, -1], b=np.arange(3, dtype=np.int32), extra=["x.part"])
    told = differences(other, one)
    assert told[0] == "a differs"
    assert told[1].startswith("b is int32")
    assert differences(one, other)[0] == "x.part is missing"
    assert differences(one, save(tmp_path / "less", a=values)) == ["b is in one only"]


@pytest.mark.slow
@pytest.mark.detect
@pytest.mark.timeout(900)
@pytest.mark.parametrize("landmarks_only", [True, False], ids=["landmarks", "pixels"])
def test_a_killed_track_ends_with_the_same_bits(tmp_path, landmarks_only):
    pytest.importorskip("flamehead.cli.track")
    clip = write_sequence(make_sequence(SequenceSettings(24, 192)), tmp_path / "sequence")

    def command(folder):
        return cli(clip, folder, landmarks_only=landmarks_only, pictures=False)

    whole = run(command(tmp_path / "whole"), log=tmp_path / "whole.log")
    assert whole.code == 0, whole.errors
    found = disturb(
        command, tmp_path / "killed", tmp_path / "whole", kills=2, seconds=whole.seconds,
        random=np.random.default_rng(0),
    )  # fmt: skip
    assert found.kills == 2 and found.problems == []
