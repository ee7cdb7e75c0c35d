"""`flamehead export --to arkit`: the 52 coefficients as a Live Link Face table, and a report of residuals beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._export_opened import Opened, Written

if TYPE_CHECKING:
    from flamehead.cli.export import Export
    from flamehead.export import ArkitFit, ArkitRig
    from flamehead.model import Flame

__all__ = ["write_arkit"]


def write_arkit(command: Export, found: Opened, out: Path) -> Written:
    """The table, and what it misses as a .json beside it."""
    from flamehead.export import arkit_rig, arkit_take, to_arkit, track_to_arkit, write_live_link
    from flamehead.io import write_json

    rig, options = arkit_rig(found.flame), command.arkit
    if found.track is not None:
        fit = track_to_arkit(rig, found.track, ridge=options.ridge, smoothness=options.smoothness)
    else:
        fit = to_arkit(rig, found.params, ridge=options.ridge, smoothness=options.smoothness)
    write_live_link(out, arkit_take(fit, found.head, fps=found.fps))
    beside = out.with_suffix(".json")
    write_json(beside, _report(found.flame, rig, fit))
    misfit = f"Residual: {fit.residual_mm.mean():.2f} mm mean over frames, {fit.worst_mm.max():.2f} mm at worst"
    return Written(out, beside=(beside,), said=(misfit,))


def _report(flame: Flame, rig: ArkitRig, fit: ArkitFit) -> dict[str, object]:
    from flamehead.export import ARKIT_NAMES

    shapes = {
        name: {"residual": rig.residual_mm[row], "motion": rig.motion_mm[row]} for row, name in enumerate(ARKIT_NAMES)
    }
    return {
        "model": flame.source,
        "frames": len(fit.coefficients),
        "shapes_mm": shapes,
        "frame_mean_mm": fit.residual_mm,
        "frame_worst_mm": fit.worst_mm,
        "notes": rig.approximate,
    }
