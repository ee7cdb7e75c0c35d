"""Killed runs go on: `python benchmarks/track_resume.py [CLIP] [--kills N] [--quick] [--json FILE]`.

A clip is tracked once undisturbed. Then it is tracked again and again into another folder, each run killed (SIGKILL) at
a random moment and followed by one that goes on; a run that reaches its end is compared and the folder begun anew. At
last one run ends, and its arrays must be those of the undisturbed run, bit for bit. Temporary files that kills left
behind are counted. Without CLIP a rendered sequence serves.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from _common import machine, options, write_figures
from _sequence import SequenceSettings, make_sequence, write_sequence
from _track_run import cli, run

__all__ = ["Disturbed", "differences", "disturb"]

Command = Callable[[Path], list[str]]


@dataclass
class Disturbed:
    """How a row of kills went."""

    kills: int = 0
    """Runs that were killed."""
    ends: int = 0
    """Runs that reached their end and were compared."""
    sizes: list[int] = field(default_factory=list)
    """Size of the folder at each kill, KiB: that it differs shows that the moments did."""
    leftovers: set[str] = field(default_factory=set)
    """Files that an undisturbed run does not leave."""
    problems: list[str] = field(default_factory=list)
    """What differed, or how a run failed."""


def files(folder: Path) -> set[str]:
    """Names of all files in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def differences(found: Path, wanted: Path) -> list[str]:
    """What differs between two folders of a tracker: arrays of `track.npz` bit for bit, and files that are missing."""
    here, there = files(found), files(wanted)
    told = [f"{name} is missing" for name in sorted(there - here)]
    if "track.npz" not in here & there:
        return [*told, "there is no track.npz"]
    with np.load(found / "track.npz") as a, np.load(wanted / "track.npz") as b:
        told += [f"{name} is in one only" for name in sorted(set(a.files) ^ set(b.files))]
        for name in sorted(set(a.files) & set(b.files)):
            one, other = a[name], b[name]
            if one.dtype != other.dtype or one.shape != other.shape:
                told.append(f"{name} is {one.dtype} {one.shape}, wanted {other.dtype} {other.shape}")
            # Bytes, so that NaN equals NaN and -0 differs from 0.
            elif one.tobytes() != other.tobytes():
                told.append(f"{name} differs")
    return told


def disturb(
    command: Command,
    folder: Path,
    wanted: Path,
    *,
    kills: int,
    seconds: float,
    random: np.random.Generator,
    shortest: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Disturbed:
    """Kill a tracker at random moments and let it go on, until there were so many kills; then let it end.

    Args:
        command: From the folder to write into to what is run.
        folder: Where to write.
        wanted: The folder of an undisturbed run.
        kills: How many.
        seconds: What an undisturbed run takes; a run is killed before that, if it has not ended.
        random: The moments.
        shortest: None is killed before so many seconds.
        tell: Told of every run.
    """
    out = Disturbed()
    log = folder.with_suffix(".log")
    while out.kills < kills:
        moment = float(random.uniform(shortest, max(seconds, shortest + 1.0)))
        result = run(command(folder), log=log, kill_after=moment)
        if result.code == -9:
            out.kills += 1
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
            out.sizes.append(size // 1024)
            tell(f"kill {out.kills} after {moment:.1f} s, {size // 1024} KiB written")
            continue
        _compare(out, result.code, result.errors, folder, wanted)
        if result.code:
            return out
        tell(f"ended after {result.seconds:.1f} s, {len(out.problems)} problems so far")
        shutil.rmtree(folder)
    result = run(command(folder), log=log)
    _compare(out, result.code, result.errors, folder, wanted)
    return out


def _compare(out: Disturbed, code: int, errors: str, folder: Path, wanted: Path) -> None:
    out.ends += 1
    if code:
        out.problems.append(f"a run failed with status {code} after {out.kills} kills: {errors.strip()[-300:]}")
    else:
        out.problems += [f"after {out.kills} kills {each}" for each in differences(folder, wanted)]
        out.leftovers |= files(folder) - files(wanted)


def main() -> int:
    """Run, print, and fail when anything differs."""
    parser = options(__doc__, quick="3 kills, 40 frames of 192 pixels")
    parser.add_argument("clip", nargs="?", type=Path, help="a video to track instead of the rendered one")
    parser.add_argument("--kills", type=int, default=None, help="20 by default")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--pictures", action="store_true", help="let the tracker write its pictures too")
    parser.add_argument("--landmarks-only", action="store_true", help="the tracker's fast mode")
    arguments = parser.parse_args()
    kills = arguments.kills if arguments.kills is not None else 3 if arguments.quick else 20
    print(machine(threads="threads as the tracker chooses"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clip = arguments.clip
        if clip is None:
            settings = SequenceSettings(40, 192) if arguments.quick else SequenceSettings(80, 256)
            clip = write_sequence(make_sequence(settings), folder / "sequence")

        def command(out: Path) -> list[str]:
            return cli(clip, out, landmarks_only=arguments.landmarks_only, pictures=arguments.pictures)

        # The first run compiles kernels, if need be; only the second is timed.
        for name in ("first", "undisturbed"):
            whole = run(command(folder / name), log=folder / f"{name}.log")
            if whole.code:
                raise SystemExit(f"The tracker failed undisturbed with status {whole.code}:\n{whole.errors}")
        repeated = differences(folder / "first", folder / "undisturbed")
        random = np.random.default_rng(arguments.seed)
        found = disturb(
            command, folder / "killed", folder / "undisturbed", kills=kills, seconds=whole.seconds, random=random,
            tell=lambda sentence: print(sentence, flush=True),
        )  # fmt: skip
    print(f"undisturbed: {whole.seconds:.1f} s; a second undisturbed run: {', '.join(repeated) or 'the same bits'}")
    print(f"{found.kills} kills, {found.ends} runs that ended; folder at the kills, KiB: {found.sizes}")
    print("\n".join(found.problems) or "every run that ended has the bits of the undisturbed one")
    print(f"temporary files left behind: {', '.join(sorted(found.leftovers)) or 'none'}")
    write_figures(
        arguments.json,
        {"kills": found.kills, "ends": found.ends, "problems": len(found.problems) + len(repeated)},
    )
    return 1 if found.problems or repeated else 0


if __name__ == "__main__":
    sys.exit(main())
