"""How well and how fast a head is tracked: `python benchmarks/track.py [--clip FILE] [--quick] [--json FILE]`.

Always tracked: a rendered sequence of the built-in head with a known truth (see `_sequence.py`), whose focal length is
30 % longer than the one a tracker starts from. With --clip also a video of which nothing is known. Beside the tracker
stands the floor, `fit_landmarks` on every frame alone. Each run has a process of its own, and its time includes imports
and the model; memory is measured on a quarter, half and all of the frames.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from _common import machine, options, write_figures
from _sequence import Sequence, SequenceSettings, load_truth, make_sequence, write_sequence
from _track_evaluate import against_detections, against_truth, fit_each_frame, time_steps
from _track_run import Run, function, prefix, run
from flamehead import load_flame
from flamehead.data import Track
from flamehead.io import describe_video, load_track, read_video
from flamehead.model import Flame

Figures = dict[str, float]
_WANTED = {
    "rotation_degrees_mean": "<= 2", "vertex_percent_mean": "<= 1", "focal_error_percent": "<= 10",
    "left_eye_correlation": ">= 0.9", "right_eye_correlation": ">= 0.9", "lips_correlation": ">= 0.9",
    "jaw_correlation": ">= 0.9", "landmark_percent_mean": "<= 1.5", "landmark_percent_p95": "<= 2.5",
    "frames_lost": "0", "jitter_pixels": "< detected", "landmark_step_ms": "<= 2",
}  # fmt: skip
"""What is aimed at. Landmark error and jitter are those of real clips; on the rendered one the pixels may overrule the
landmarks, which are wrong there."""


def tracked(
    clip: Path, folder: Path, *, landmarks_only: bool, memory: bool = True
) -> tuple[Track, dict[str, float], dict[str, float]]:
    """Run the tracker; its track, figures of speed and memory, and the seconds of its stages."""
    info = describe_video(clip)
    runs: dict[float, Run] = {}
    for share in (0.25, 0.5, 1.0) if memory else (1.0,):
        count = round(share * info.count)
        part = clip if share == 1.0 else prefix(clip, count, folder / f"part{count}.mp4", fps=info.fps)
        out = folder / f"out{count}"
        runs[share] = run(function(part, out, landmarks_only=landmarks_only), log=folder / f"log{count}.txt")
        if runs[share].code:
            raise SystemExit(f"The tracker failed on {part} with status {runs[share].code}:\n{runs[share].errors}")
    out = folder / f"out{info.count}"
    whole = runs[1.0]
    figures = {
        "seconds_per_frame": whole.seconds / info.count,
        "cpu_seconds_per_frame": whole.busy / info.count,
        "frames_per_second": info.count / whole.seconds,
        **{f"peak_mib_{share:.2g}": each.peak for share, each in runs.items()},
    }
    if memory:
        # Without the part of every run that is the same: imports, the model, the detector.
        figures["seconds_per_further_frame"] = (whole.seconds - runs[0.5].seconds) / (info.count - info.count // 2)
    stages = json.loads((out / "report.json").read_text()).get("seconds", {})
    return load_track(out / "track.npz"), figures, stages


def floor(flame: Flame, clip: Path) -> tuple[Track, Figures]:
    """Every frame alone; the first frame warms the process up before anything is timed."""
    fit_each_frame(flame, read_video(clip, stop=2))
    track, times = fit_each_frame(flame, read_video(clip))
    median = {name: float(np.median(values)) for name, values in times.items()}
    return track, {"seconds_per_frame": sum(median.values()) / 1000, **{f"{k}_ms": v for k, v in median.items()}}


def measure(flame: Flame, name: str, clip: Path, truth: Sequence | None, *, quick: bool, fast: bool) -> Figures:
    """Track a clip both ways, print and return every figure."""
    with tempfile.TemporaryDirectory() as place:
        track, speed, stages = tracked(clip, Path(place), landmarks_only=fast, memory=not quick)
    speed |= time_steps(flame, track)
    alone, alone_speed = floor(flame, clip)
    columns = []
    for each, extra in ((track, speed), (alone, alone_speed)):
        figures = against_detections(flame, each)
        if truth is not None:
            figures |= against_truth(flame, each, truth.track, apart=truth.occluded)
        columns.append(figures | extra)
    print(f"\n{name}: {len(track)} frames, {track.camera.size[0]} x {track.camera.size[1]}")
    print_columns(*columns)
    print_stages(stages, len(track))
    stage_figures = {f"stage_{stage}_seconds": value for stage, value in stages.items()}
    return {
        **{f"{name}_{key}": value for key, value in (columns[0] | stage_figures).items()},
        **{f"{name}_each_frame_{key}": value for key, value in columns[1].items()},
    }


def print_columns(mine: Mapping[str, float], floor: Mapping[str, float]) -> None:
    """The tracker beside the floor and the aim."""
    print(f"{'':32}{'track':>10}{'each frame':>12}   wanted")
    for name in [*mine, *(name for name in floor if name not in mine)]:
        values = (mine.get(name, float("nan")), floor.get(name, float("nan")))
        a, b = ("" if np.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".") for value in values)
        print(f"{name.replace('_', ' '):32}{a:>10}{b:>12}   {_WANTED.get(name, '')}".rstrip())


def print_stages(stages: Mapping[str, float], count: int) -> None:
    """Where the time goes."""
    print(f"{'stage':32}{'seconds':>10}{'ms a frame':>12}")
    for stage, seconds in stages.items():
        print(f"{stage:32}{seconds:10.2f}{1000 * seconds / count:12.1f}")


def main() -> int:
    """Run and print."""
    parser = options(__doc__, quick="60 frames of 256 pixels, memory of one length only")
    parser.add_argument("--clip", type=Path, help="a video to track as well")
    parser.add_argument("--landmarks-only", action="store_true", help="the tracker's fast mode")
    parser.add_argument("--seed", type=int, default=0, help="another person, another motion")
    parser.add_argument("--focal-scale", type=float, default=1.56, help="true focal length in widths of the picture")
    parser.add_argument("--sequence", type=Path, help="folder of a sequence that `_sequence.py` wrote before")
    arguments = parser.parse_args()
    print(machine(threads="threads as the tracker chooses"))
    flame = load_flame()
    if arguments.clip is not None and not arguments.clip.is_file():
        parser.error(f"there is no video {arguments.clip}")
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.sequence or Path(place)
        if arguments.sequence is None:
            settings = SequenceSettings(seed=arguments.seed, focal_scale=arguments.focal_scale)
            if arguments.quick:
                settings = SequenceSettings(60, 256, seed=arguments.seed, focal_scale=arguments.focal_scale)
            write_sequence(make_sequence(settings, flame=flame), folder, flame=flame)
        truth = load_truth(folder / "truth.npz")
        ways = {"quick": arguments.quick, "fast": arguments.landmarks_only}
        figures = measure(flame, "rendered", folder / "clip.mp4", truth, **ways)
    if arguments.clip is not None:
        figures |= measure(flame, "clip", arguments.clip, None, **ways)
    write_figures(arguments.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
