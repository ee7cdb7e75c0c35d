"""Landmarks straight from the parameters, without the rest of the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import FlameParams
from flamehead.geometry.rotation import exp
from flamehead.model.head import Head
from flamehead.model.landmarks import barycentric_points, contour_rows, from_camera, head_turn, picked_points

__all__ = ["ContourLandmarkHead", "LandmarkHead", "LandmarkOutput"]


@dataclass(frozen=True)
class LandmarkOutput:
    """Landmarks of a posed head, metres."""

    points: Float[Tensor, "*batch L 3"]
    joints: Float[Tensor, "*batch J 3"]
    """Root, neck, jaw, left eye, right eye."""


class LandmarkHead(torch.nn.Module):
    """A set of landmarks that can be posed; made by `Flame.landmark_model`."""

    corners: Int[Tensor, "L 3"]
    """Of the triangle that each point lies on, as rows of `vertex_ids`."""
    weights: Float[Tensor, "L 3"]
    vertex_ids: Int[Tensor, "V"]
    """In the whole mesh; `frame_offsets` are wanted for these vertices only."""

    def __init__(self, head: Head, corners: Int[Tensor, "L 3"], weights: Float[Tensor, "L 3"]) -> None:
        """Keep what points on triangles need.

        Args:
            head: with all vertices.
            corners: vertex ids of the triangle that each point lies on.
            weights: barycentric coordinates, rows sum to 1.
        """
        super().__init__()
        ids, places = corners.unique(return_inverse=True)
        self.head = head.subset(ids.cpu())
        self.register_buffer("vertex_ids", ids, persistent=False)
        self.register_buffer("corners", places, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def zeros(self, batch: tuple[int, ...] = ()) -> FlameParams:
        """The mean head in the rest pose."""
        return self.head.zeros(batch)

    def forward(self, params: FlameParams, **options: Any) -> LandmarkOutput:
        """Landmarks and joints in metres, translation included; the options of `Head.forward` but `offsets`."""
        (vertices, joints), compiled = self.head.posed(params, **options)
        return LandmarkOutput(self._on(vertices, compiled), joints)

    def _on(self, vertices: Float[Tensor, "*batch V 3"], compiled: bool) -> Float[Tensor, "*batch L 3"]:
        """The points on posed vertices."""
        if compiled and not vertices.requires_grad:
            from flamehead.model import _cpu

            return _cpu.ride(vertices, self.corners, self.weights)
        return barycentric_points(vertices, self.corners, self.weights)


class ContourLandmarkHead(LandmarkHead):
    """The sliding jaw line, then a set of landmarks; made by `Flame.landmark_model(..., contour=True)`."""

    contour_corners: Int[Tensor, "79 17 3"]
    contour_weights: Float[Tensor, "79 17 3"]

    def __init__(
        self,
        head: Head,
        corners: Int[Tensor, "L 3"],
        weights: Float[Tensor, "L 3"],
        contour_corners: Int[Tensor, "79 17 3"],
        contour_weights: Float[Tensor, "79 17 3"],
    ) -> None:
        """Keep what points on triangles need.

        Args:
            head: with all vertices.
            corners: vertex ids of the triangle that each point lies on.
            weights: barycentric coordinates, rows sum to 1.
            contour_corners: vertex ids of the jaw line, for each row of its table.
            contour_weights: barycentric coordinates of the same.
        """
        every = torch.cat([corners, contour_corners.flatten(0, 1)])
        super().__init__(head, every, torch.cat([weights, contour_weights.flatten(0, 1)]))
        places, shares = self.corners, self.weights
        n, shape = len(corners), contour_corners.shape
        self.register_buffer("corners", places[:n].contiguous(), persistent=False)
        self.register_buffer("weights", shares[:n].contiguous(), persistent=False)
        self.register_buffer("contour_corners", places[n:].view(shape).contiguous(), persistent=False)
        self.register_buffer("contour_weights", shares[n:].view(shape).contiguous(), persistent=False)

    def forward(
        self,
        params: FlameParams,
        *,
        camera: Float[Tensor, "*#batch 3 3"] | None = None,
        sign: Literal[1, -1] = 1,
        chain: Literal["root_neck", "root"] = "root_neck",
        **options: Any,
    ) -> LandmarkOutput:
        """17 + L points and the joints in metres, translation included.

        Args:
            params: see `Head.forward`, like the other options.
            camera: rotation world to camera (OpenCV); `None` looks at the face of an unturned head.
            sign: see `contour_rows`; -1 without a camera selects like FLAME_PyTorch.
            chain: see `head_turn`.
            options: of `Head.forward` but `offsets`.
        """
        (vertices, joints), compiled = self.head.posed(params, **options)
        rotations = options.get("rotations")
        if rotations is None:
            rotations = exp(torch.stack(torch.broadcast_tensors(params.root.detach(), params.neck.detach()), dim=-2))
        turn = head_turn(rotations, chain=chain)
        rows = contour_rows(turn if camera is None else from_camera(camera, turn), sign=sign)
        jaw = picked_points(vertices, rows, self.contour_corners, self.contour_weights)
        points = self._on(vertices, compiled).expand(*jaw.shape[:-2], -1, 3)
        return LandmarkOutput(torch.cat([jaw, points], dim=-2), joints)
