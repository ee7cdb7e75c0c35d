"""Silhouettes blended over the pixels they cross, which gives visibility a gradient."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from flamehead._triangles import Triangles
from flamehead.errors import InputError
from flamehead.raster._buffers import empty_like
from flamehead.raster._checks import check_kernel_dtype, check_rows
from flamehead.raster._pixels import Pixels, points_of
from flamehead.raster._silhouette import Pairs
from flamehead.raster._silhouette import blend as blend_plain
from flamehead.raster._silhouette import find_pairs as find_pairs_plain
from flamehead.raster.edges import Edges, belong_to, edges_among, edges_of
from flamehead.raster.fragments import Fragments
from flamehead.raster.interpolate import snapped

__all__ = ["antialias", "check_image", "edges_for", "silhouette_pairs"]

Backend = Literal["numba", "triton", "reference"]


def antialias(
    image: Float[Tensor, "*batch H W C"],
    points: Float[Tensor, "*#batch V 3"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    *,
    edges: Edges | None = None,
    perspective: bool = True,
    threads: int | None = None,
    backend: Backend | None = None,
) -> Float[Tensor, "*batch H W C"]:
    """Blend colours across silhouettes by how far each reaches between pixel centres; gradients to image and points.

    Between neighbouring pixel centres A (t = 0) and B (t = 1) with a visible silhouette at t, A takes `w (1/2 - t)` of
    B's colour, or B takes `w (t - 1/2)` of A's (Laine et al. 2020, arXiv 2011.03277, section 3.6; the weight w is n_x^2
    for neighbours in a row and n_y^2 in a column, with n the edge's unit normal on the screen). Gradients flow through
    t to x and y of the edge's ends; weights, and which pairs are found, are held fixed. Pixels away from silhouettes
    pass unchanged. A surface that ends where vertices merely coincide (texture seams) has a silhouette there:
    pass welded points and faces. Where two surfaces cut through each other there is no edge and no gradient.

    Args:
        image: What was drawn with `fragments`: colours, or ones for a mask.
        points: As passed to `rasterize`, one set for all pictures or one for each.
        faces: As passed to `rasterize`.
        fragments: What `rasterize` found.
        edges: Of `faces`; `None` finds and remembers them, see `edges_of`.
        perspective: As passed to `rasterize`.
        threads: `None` chooses by the size of the job, at most torch's number of threads.
        backend: `None` follows the device of `image`: compiled on the CPU and on CUDA, plain torch (slow) elsewhere.

    Raises:
        InputError: Shapes that do not fit together, or faces or vertices that are not there.

    Example:
        >>> from flamehead.raster import rasterize
        >>> points = torch.tensor([[1.25, -9.0, 1.0], [1.25, 9.0, 1.0], [90.0, 0.0, 1.0]])
        >>> faces = torch.tensor([[0, 1, 2]])
        >>> seen = rasterize(points, faces, (4, 1))
        >>> antialias(seen.covered[..., None].float(), points, faces, seen).flatten()
        tensor([0.0000, 0.7500, 1.0000, 1.0000])
    """
    known = check_image(image, points, faces, fragments)
    chosen: str = backend or {"cpu": "numba", "cuda": "triton"}.get(image.device.type, "reference")
    if chosen not in ("numba", "triton", "reference"):
        raise InputError(f"There is no antialiasing backend {chosen!r}; choose 'numba', 'triton' or 'reference'.")
    if chosen == "numba" and image.device.type != "cpu":
        raise InputError(f"The numba backend needs CPU tensors, got {image.device}; move them with `.cpu()`.")
    if chosen == "numba":
        check_kernel_dtype("images", image)
    edges = edges_for(faces, edges, known)
    if chosen == "triton":
        from flamehead.raster._triton import autograd

        return autograd.antialias(image, points, fragments, edges, perspective=perspective)
    options = {"perspective": perspective, "threads": threads}
    pairs = silhouette_pairs(points, edges, fragments, **options, plain=chosen != "numba")
    height, width = fragments.face_ids.shape[-2:]
    flat = image.reshape(len(pairs), height * width, image.shape[-1])
    corners = points.reshape(-1, *points.shape[-2:])
    if chosen == "numba":
        return _Blend.apply(flat, corners, pairs).reshape(image.shape)
    placed = snapped(corners).expand(len(pairs), -1, -1)
    each = [blend_plain(*one, (width, height)) for one in zip(flat, placed, pairs, strict=True)]
    return torch.stack(each).reshape(image.shape) if each else image.clone()


def silhouette_pairs(
    points: Float[Tensor, "*#batch V 3"],
    edges: Edges,
    fragments: Fragments,
    *,
    perspective: bool = True,
    threads: int | None = None,
    plain: bool = False,
) -> list[Pairs]:
    """Neighbouring pixels with a visible silhouette between them, for each picture; `plain` uses no kernels."""
    pixels = Pixels.of(fragments)
    ids, depth = pixels.ids, pixels.depth
    corners = points_of(points, len(ids))
    if plain:
        each = zip(corners, ids, depth, strict=True)
        return [find_pairs_plain(p, edges, i, d, perspective=perspective) for p, i, d in each]
    # Imported here: numba costs a second, and plain torch needs none of it.
    from flamehead.raster._cpu.pairs import find_pairs

    return find_pairs(corners, edges, ids, depth, perspective=perspective, threads=threads)


class _Blend(torch.autograd.Function):
    """The compiled blend with its derivatives: image (B, P, C), points (B or 1, V, 3)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, points: Tensor, pairs: list[Pairs]) -> Tensor:
        from flamehead.raster._cpu import blends as kernels

        image = image.detach().contiguous()
        out = empty_like(image).copy_(image)
        differences = [image.new_empty(len(each.numbers), image.shape[-1]) for each in pairs]
        for n, each in enumerate(pairs):
            kept = differences[n].numpy()
            kernels.blend(image[n].numpy(), each.numbers, each.values, out[n].numpy(), kept)
        ctx.pairs, ctx.differences, ctx.shape, ctx.dtype = pairs, differences, points.shape, points.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        from flamehead.raster._cpu import blends as kernels

        gradient = gradients[0].contiguous()
        by_image, by_points = empty_like(gradient).copy_(gradient), torch.zeros(ctx.shape, dtype=torch.float64)
        for n, each in enumerate(ctx.pairs):
            target = by_points[n if len(by_points) > 1 else 0].numpy()
            kept = ctx.differences[n].numpy()
            kernels.blend_backward(gradient[n].numpy(), each.numbers, each.values, kept, by_image[n].numpy(), target)
        return by_image, by_points.to(ctx.dtype), None


def edges_for(faces: Tensor, edges: Edges | None, known: Triangles | None) -> Edges:
    """The edges that were passed, if they are this mesh's, or those that are remembered, of faces that are known."""
    if edges is None:
        return edges_of(faces) if known is None else edges_among(known)
    if not belong_to(edges, faces):
        raise InputError(
            f"The edges belong to another mesh: they know {len(edges.faces)} faces, and not these {len(faces)}; "
            "pass edges_of(faces), or None."
        )
    return edges


def check_image(image: Tensor, points: Tensor, faces: Tensor, fragments: Fragments) -> Triangles | None:
    """Refuse what does not belong together; the faces, if they are on the CPU."""
    shape = fragments.face_ids.shape
    if image.ndim != len(shape) + 1 or image.shape[:-1] != shape or not image.is_floating_point():
        raise InputError(
            f"antialias() needs a floating-point image of shape {(*shape, 'C')} like the fragments, "
            f"got {image.dtype} {tuple(image.shape)}."
        )
    if not image.shape[-1]:
        raise InputError(f"antialias() needs at least one channel, got an image of shape {tuple(image.shape)}.")
    if points.ndim < 2 or points.shape[-1] != 3 or points.shape[:-2] not in ((), shape[:-2]):
        raise InputError(
            f"antialias() needs points of shape (V, 3), for all pictures or for each of {tuple(shape[:-2])}, "
            f"got {tuple(points.shape)}."
        )
    return check_rows(points.shape[-2], faces, fragments)
