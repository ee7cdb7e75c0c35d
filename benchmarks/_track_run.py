"""The tracker in processes of its own: what it takes of time and memory there, and how it dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from flamehead.io import read_video, write_video

__all__ = ["Run", "cli", "function", "prefix", "run"]

_FUNCTION = """
import json, sys
from pathlib import Path
from flamehead.pipeline_track import track_video
track_video(sys.argv[1], sys.argv[2], landmarks_only=json.loads(sys.argv[3]))
# What the system tells of an ended child is at least what its parent held when it was started.
status = Path("/proc/self/status")
if status.exists():
    print("VmHWM", next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Run:
    """How a process went."""

    seconds: float
    """Wall time, imports included."""
    busy: float
    """Processor time of all its threads, seconds."""
    peak: float
    """Most memory it held, MiB."""
    code: int
    """Exit status; -9 when it was killed."""
    errors: str
    """The end of what it wrote to the standard error."""


def function(clip: Path, out: Path, *, landmarks_only: bool = False) -> list[str]:
    """A command that calls `track_video` and writes nothing but the track."""
    return [sys.executable, "-c", _FUNCTION, str(clip), str(out), "true" if landmarks_only else "false"]


def cli(clip: Path, out: Path, *, landmarks_only: bool = False, pictures: bool = True) -> list[str]:
    """What a user types."""
    flags = [*(["--landmarks-only"] if landmarks_only else []), *([] if pictures else ["--no-pictures"])]
    return [sys.executable, "-m", "flamehead", "track", str(clip), "--out", str(out), *flags]


def run(command: list[str], *, log: Path, kill_after: float | None = None) -> Run:
    """Run a command to its end, or kill it (SIGKILL, which it cannot see coming) after so many seconds."""
    begin = monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors, start_new_session=True)
    timer = None
    if kill_after is not None:
        timer = threading.Timer(kill_after, _kill, (process.pid,))
        timer.start()
    # `wait4` tells what this process took; `getrusage` would tell the most of all children so far.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = monotonic() - begin
    if timer is not None:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    tail = log.read_text(errors="replace")[-2000:]
    own = re.search(r"^VmHWM (\d+)$", tail, re.MULTILINE)
    peak = int(own[1]) / 2**10 if own else usage.ru_maxrss / unit
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, process.returncode, tail)


def _kill(process: int) -> None:
    # It may have ended a moment ago.
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def prefix(clip: Path, count: int, path: Path, *, fps: float) -> Path:
    """The first frames of a clip as a clip of their own."""
    write_video(path, (frame.image for frame in read_video(clip, stop=count)), fps=fps)
    return path
