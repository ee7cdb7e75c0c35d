"""Landmarks straight from the parameters, without the rest of the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import FlameParams
from flamehead.model.head import Head
from flamehead.model.landmarks import barycentric_points

__all__ = ["LandmarkHead", "LandmarkOutput"]


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
        if compiled and not vertices.requires_grad:
            from flamehead.model import _cpu

            return LandmarkOutput(_cpu.ride(vertices, self.corners, self.weights), joints)
        return LandmarkOutput(barycentric_points(vertices, self.corners, self.weights), joints)
