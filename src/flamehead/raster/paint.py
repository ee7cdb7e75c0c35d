"""Values at vertices to a blended picture in one step, so that no picture between is written or copied."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead.raster._pixels import Pixels
from flamehead.raster.antialias import antialias, edges_for
from flamehead.raster.edges import Edges
from flamehead.raster.fragments import Fragments
from flamehead.raster.interpolate import check, check_compiled, interpolate

__all__ = ["paint"]


def paint(
    attributes: Float[Tensor, "*#batch V C"],
    points: Float[Tensor, "*#batch V 3"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    edges: Edges | None = None,
    perspective: bool = True,
    threads: int | None = None,
    backend: Literal["numba", "triton", "reference"] | None = None,
) -> Float[Tensor, "*batch H W C"]:
    """`antialias(interpolate(attributes, ...), ...)`, with all gradients of both, in less time.

    Colours at vertices are the everyday case: they are blended where they were painted, and on the way back only the
    pixels at silhouettes are treated twice. Where nothing is compiled for the inputs, the two steps are taken.

    Args:
        attributes: Values at vertices, one set for all pictures or one for each.
        points: As passed to `rasterize`; gradients of shading and of visibility flow to them.
        faces: As passed to `rasterize`.
        fragments: What `rasterize` found.
        edges: Of `faces`; `None` finds and remembers them, see `edges_of`.
        perspective: As passed to `rasterize`.
        threads: `None` chooses by the size of the job, at most torch's number of threads.
        backend: `None` follows the device of `attributes`: compiled on the CPU and on CUDA, plain torch elsewhere.

    Raises:
        InputError: Shapes that do not fit together, or faces or vertices that are not there.

    Example:
        >>> from flamehead.raster import rasterize
        >>> points = torch.tensor([[1.25, -9.0, 1.0], [1.25, 9.0, 1.0], [90.0, 0.0, 1.0]])
        >>> faces = torch.tensor([[0, 1, 2]])
        >>> paint(torch.ones(3, 1), points, faces, rasterize(points, faces, (4, 1))).flatten()
        tensor([0.0000, 0.7500, 1.0000, 1.0000])
    """
    known = check(attributes, points, faces, fragments)
    if (backend or {"cpu": "numba"}.get(attributes.device.type)) != "numba":
        options: dict[str, Any] = {"perspective": perspective, "threads": threads, "backend": backend}
        image = interpolate(attributes, faces, fragments, points=points, **options)
        return antialias(image, points, faces, fragments, edges=edges, **options)
    check_compiled(attributes, points, known)
    scene = Pixels.of(fragments), edges_for(faces, edges, known), perspective, threads
    values, corners = (x.reshape(-1, *x.shape[-2:]) for x in (attributes, points))
    flat = _Paint.apply(values, corners, scene, fragments)
    return flat.reshape(*fragments.face_ids.shape, attributes.shape[-1])


class _Paint(torch.autograd.Function):
    """The compiled kernels with their derivatives: attributes (A, V, C), points (Q, V, 3)."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        points: Tensor,
        scene: tuple[Pixels, Edges, bool, int | None],
        fragments: Fragments,
    ) -> Tensor:
        # Imported here: numba costs a second, and plain torch needs none of it.
        from flamehead.raster._cpu import painting

        values, (pixels, edges, perspective, threads) = values.contiguous(), scene
        # The fragments too, so that torch notices when somebody writes to them before the way back.
        ctx.save_for_backward(values, points, fragments.face_ids, fragments.barycentric)
        options = {"perspective": perspective, "threads": threads}
        out, seen, blends = painting.paint(values, points, pixels, edges, **options)
        ctx.fixed = edges.faces, pixels
        ctx.options = {"seen": seen, "blends": blends, **options}
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        from flamehead.raster._cpu.gradients import interpolate_backward

        values, points, *_ = ctx.saved_tensors
        options = {"to_points": ctx.needs_input_grad[1], **ctx.options}
        found = interpolate_backward(gradients[0].contiguous(), values, points.contiguous(), *ctx.fixed, **options)
        return (*found, None, None)
