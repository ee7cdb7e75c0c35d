"""A registered scan in the window: the head, the scan, and the distance between the two as colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from flamehead.geometry.rotation import exp
from flamehead.io import Mesh
from flamehead.render import with_legend
from flamehead.view.panel import listen
from flamehead.view.photo import report_lines
from flamehead.view.results import ScanResult
from flamehead.view.stage import Stage, portrait_view
from flamehead.view.surface import glb_bytes

if TYPE_CHECKING:
    import viser

__all__ = ["ScanTab", "scan_lines"]

_GREY = (0.72, 0.73, 0.75)


class ScanTab:
    """The tab of a scan, and its meshes in the scene."""

    def __init__(
        self,
        server: viser.ViserServer,
        stage: Stage,
        tabs: viser.GuiTabGroupHandle,
        result: ScanResult,
        vertices: Float[np.ndarray, "V 3"],
    ) -> None:
        _put(stage, "distances", result.distances)
        views = ["distances", "side by side", "head", "head and distances"]
        if result.scan is not None:
            _put(stage, "scan", result.scan)
            views += ["scan", "head and scan", "scan and distances"]
        with tabs.add_tab("Scan"):
            server.gui.add_markdown(scan_lines(result))
            self._choice = server.gui.add_dropdown("Show", tuple(views))
            server.gui.add_image(_legend(result.limit), label="Distance of the scan from the head", format="png")
        self._stage = stage
        listen(self._choice, self._choose)
        # A scan may lie any way round in its own frame; upright is how the head is held.
        turn = exp(result.params.root.double()) @ exp(result.params.neck.double())
        portrait_view(server, vertices, turn=turn.numpy())
        width = float(np.ptp(vertices @ turn.numpy()[:, 0]))
        self._aside = 0.6 * width * turn.numpy()[:, 0]
        self._choose(views[0])

    def stop(self) -> None:
        """Nothing runs."""

    def _choose(self, view: str) -> None:
        beside = view in ("side by side", "scan and distances")
        self._stage.visible("distances", "distances" in view or view == "side by side")
        self._stage.visible("scan", "scan" in view)
        self._stage.hide_head("head" not in view and view != "side by side")
        # What is shown twice stands on the left of the picture first: the subject's right.
        self._stage.shift(-self._aside * beside)
        self._stage.shift(-self._aside * beside, name="scan")
        self._stage.shift(self._aside * beside, name="distances")


def scan_lines(result: ScanResult) -> str:
    """What the report says, as markdown."""
    lines = [report_lines(result.name, result.report, result.notes)]
    for key, where in (("face_mm", "Face"), ("head_mm", "Head")):
        found = result.report.get(key)
        if isinstance(found, Mapping) and isinstance(found.get("median"), int | float):
            lines.append(_statistics(where, found))
    return "\n\n".join(lines)


def _statistics(where: str, found: Mapping[str, Any]) -> str:
    return f"{where}: median **{found['median']:.2f} mm**, mean {found['mean']:.2f}, 95 % within {found['p95']:.2f}"


def _put(stage: Stage, name: str, mesh: Mesh) -> None:
    colors = np.full((len(mesh.vertices), 3), _GREY) if mesh.colors is None else mesh.colors
    if len(mesh.faces):
        stage.mesh(name, glb_bytes(mesh.vertices, mesh.faces, colors=colors))
    else:
        stage.mesh(name, None, points=mesh.vertices, colors=np.rint(255.0 * colors).astype(np.uint8))


def _legend(limit: float) -> np.ndarray:
    empty = np.ones((220, 4, 3), dtype=np.float32)
    image = with_legend(empty, limits=(0.0, limit), title="distance, mm", colormap="heat")
    return np.rint(255.0 * image).astype(np.uint8)
