"""The kernels behind `silhouette`.

Along axis 0 pairs are neighbours in a row, and a line is a row's centre; along axis 1 pairs are neighbours in a column.
"""

from __future__ import annotations

import triton.language as tl

from flamehead.raster._triton.jit import kernel
from flamehead.raster._triton.kernels import HALF, SUBPIXEL, snap

__all__ = ["blend_backward_kernel", "blend_kernel", "pairs_kernel", "sides_kernel", "silhouettes_kernel"]


@kernel(do_not_specialize=["n_faces", "stride"])
def sides_kernel(points, faces, sides, n_faces, stride, PERSPECTIVE: tl.constexpr, BLOCK: tl.constexpr):
    """Sides [B, F]: -1 for faces that show their front, 1 for their back, 0 for those that are not drawn."""
    blocks = tl.cdiv(n_faces, BLOCK)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    face = ((tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    mask = face < n_faces
    points += batch * stride
    i = points + 3 * tl.load(faces + 3 * face, mask=mask, other=0).to(tl.int64)
    j = points + 3 * tl.load(faces + 3 * face + 1, mask=mask, other=0).to(tl.int64)
    k = points + 3 * tl.load(faces + 3 * face + 2, mask=mask, other=0).to(tl.int64)
    x, y = tl.load(i, mask=mask, other=0.0).to(tl.float64), tl.load(i + 1, mask=mask, other=0.0).to(tl.float64)
    x1, y1 = tl.load(j, mask=mask, other=0.0) - x, tl.load(j + 1, mask=mask, other=0.0) - y
    x2, y2 = tl.load(k, mask=mask, other=0.0) - x, tl.load(k + 1, mask=mask, other=0.0) - y
    z0 = tl.load(i + 2, mask=mask, other=1.0)
    z1 = tl.load(j + 2, mask=mask, other=1.0)
    z2 = tl.load(k + 2, mask=mask, other=1.0)
    area = x1 * y2 - x2 * y1
    known = (tl.abs(area) < float("inf")) & (tl.abs(z0) < float("inf"))
    known = known & (tl.abs(z1) < float("inf")) & (tl.abs(z2) < float("inf"))
    if PERSPECTIVE:
        # Corners behind the camera are mirrored on the screen.
        known = known & (z0 != 0.0) & (z1 != 0.0) & (z2 != 0.0) & ((z0 > 0.0) | (z1 > 0.0) | (z2 > 0.0))
        area = tl.where((z0 < 0.0) != ((z1 < 0.0) != (z2 < 0.0)), -area, area)
    side = tl.where(area > 0.0, 1, tl.where(area < 0.0, -1, 0))
    tl.store(sides + batch * n_faces + face, tl.where(known, side, 0).to(tl.int8), mask=mask)


@kernel()
def _side(faces, sides, half, vertex, mask):
    """On which side of an edge that starts at a vertex the face of a half-edge lies; 0 if it is not drawn."""
    side = tl.load(sides + half // 3, mask=mask, other=0).to(tl.int32)
    return tl.where(tl.load(faces + half, mask=mask, other=0) == vertex, side, -side)


@kernel()
def _on_grid(points, vertex, axis, mask):
    """One coordinate of a vertex on the rasterizer's grid."""
    return snap(tl.load(points + 3 * vertex.to(tl.int64) + axis, mask=mask, other=0.0))


@kernel()
def _lines(a, b, lines, mask):
    """First line and number of lines with `low <= centre < high` for ends in any order; none if they are not finite."""
    mask = mask & (tl.abs(a) < float("inf")) & (tl.abs(b) < float("inf"))
    low, high = tl.where(mask, tl.minimum(a, b), 0.0), tl.where(mask, tl.maximum(a, b), 0.0)
    # Limited while they are floats: huge values must not reach the conversion.
    first = tl.minimum(tl.maximum(tl.ceil((low - HALF) / SUBPIXEL), 0.0), lines * 1.0).to(tl.int32)
    last = tl.maximum(tl.minimum(tl.ceil((high - HALF) / SUBPIXEL) - 1.0, lines - 1.0), -1.0).to(tl.int32)
    return first, tl.maximum(last - first + 1, 0)


@kernel(do_not_specialize=["n_faces", "n_edges", "height", "width", "stride", "degree"])
def silhouettes_kernel(
    points, faces, vertices, half_edges, starts, sides, inside, counts, n_faces, n_edges, height, width, stride, degree,
    PERSPECTIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Inside [B, E], the side of the faces seen from an edge's first end; counts [B * E], lines silhouettes cross."""
    blocks = tl.cdiv(n_edges, BLOCK)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    edge = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    mask = edge < n_edges
    points += batch * stride
    sides += batch * n_faces
    i, j = tl.load(vertices + 2 * edge, mask=mask, other=0), tl.load(vertices + 2 * edge + 1, mask=mask, other=0)
    begin, end = tl.load(starts + edge, mask=mask, other=0), tl.load(starts + edge + 1, mask=mask, other=0)
    side, mixed = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32)
    for n in range(0, degree):
        there = begin + n < end
        one = _side(faces, sides, tl.load(half_edges + begin + n, mask=there, other=0), i, there)
        mixed = tl.where(one * side < 0, 1, mixed)
        side = tl.where(one != 0, one, side)
    seen = mask & (mixed == 0) & (side != 0)
    if PERSPECTIVE:
        z0 = tl.load(points + 3 * i.to(tl.int64) + 2, mask=mask, other=0.0)
        z1 = tl.load(points + 3 * j.to(tl.int64) + 2, mask=mask, other=0.0)
        seen = seen & (z0 > 0.0) & (z1 > 0.0)
    _, rows = _lines(_on_grid(points, i, 1, mask), _on_grid(points, j, 1, mask), height, seen)
    _, columns = _lines(_on_grid(points, i, 0, mask), _on_grid(points, j, 0, mask), width, seen)
    tl.store(inside + batch * n_edges + edge, side.to(tl.int8), mask=mask)
    tl.store(counts + batch * n_edges + edge, tl.where(seen, rows + columns, 0), mask=mask)


@kernel()
def _hidden(points, faces, face, depth, where, line, axis, near, mask, TOLERANCE: tl.constexpr,
            PERSPECTIVE: tl.constexpr):  # fmt: skip
    """Whether the outer pixel's surface lies before the edge, at the pixel and, continued as a plane, at the edge."""
    limit = near - TOLERANCE * tl.abs(near)
    mask = mask & (face >= 0) & (depth < limit)
    i = tl.load(faces + 3 * face, mask=mask, other=0)
    j = tl.load(faces + 3 * face + 1, mask=mask, other=0)
    k = tl.load(faces + 3 * face + 2, mask=mask, other=0)
    x0, y0 = _on_grid(points, i, 0, mask), _on_grid(points, i, 1, mask)
    x1, y1 = _on_grid(points, j, 0, mask) - x0, _on_grid(points, j, 1, mask) - y0
    x2, y2 = _on_grid(points, k, 0, mask) - x0, _on_grid(points, k, 1, mask) - y0
    x = tl.where(axis == 0, where, line.to(tl.float64)) * SUBPIXEL + HALF - x0
    y = tl.where(axis == 0, line.to(tl.float64), where) * SUBPIXEL + HALF - y0
    area = x1 * y2 - x2 * y1
    flat = area == 0.0
    area = tl.where(flat, 1.0, area)
    z0 = tl.load(points + 3 * i.to(tl.int64) + 2, mask=mask, other=1.0).to(tl.float64)
    z1 = tl.load(points + 3 * j.to(tl.int64) + 2, mask=mask, other=1.0).to(tl.float64)
    z2 = tl.load(points + 3 * k.to(tl.int64) + 2, mask=mask, other=1.0).to(tl.float64)
    if PERSPECTIVE:
        z0, z1, z2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
    plane = z0 + ((x * y2 - x2 * y) * (z1 - z0) + (x1 * y - x * y1) * (z2 - z0)) / area
    if PERSPECTIVE:
        before = plane * limit > 1.0
    else:
        before = plane < limit
    return mask & (flat | before)


@kernel()
def _across(faces, sides, half_edges, starts, face_edges, half, side, degree, mask):
    """The face on the other side of a half-edge, on the screen too; -1 where the surface ends or turns back."""
    vertex = tl.load(faces + half, mask=mask, other=0)
    edge = tl.load(face_edges + half, mask=mask, other=0)
    begin, end = tl.load(starts + edge, mask=mask, other=0), tl.load(starts + edge + 1, mask=mask, other=0)
    found = tl.full(half.shape, -1, tl.int32)
    for n in range(0, degree):
        there = mask & (begin + n < end)
        other = tl.load(half_edges + begin + n, mask=there, other=0)
        fits = there & (found < 0) & (_side(faces, sides, other, vertex, there) == -side)
        found = tl.where(fits, other // 3, found)
    return found


@kernel()
def _walk(
    points, faces, sides, half_edges, starts, face_edges, face, wanted, low, high, line, axis, inner, inward, degree,
    steps, mask, PERSPECTIVE: tl.constexpr,
):  # fmt: skip
    """Whether the way along a line, from an edge of a face to the inner pixel's centre, ends in the wanted face."""
    level = line.to(tl.float64) * SUBPIXEL + HALF
    goal = inner.to(tl.float64) * SUBPIXEL + HALF
    below, above = low, high
    reached = (mask & (face == wanted)).to(tl.int32)
    going = (mask & (face != wanted)).to(tl.int32)
    step = 0
    while (step < steps) & (tl.max(going, 0) > 0):
        active = going > 0
        side = tl.load(sides + face, mask=active, other=0).to(tl.int32)
        c0 = tl.load(faces + 3 * face, mask=active, other=0)
        c1 = tl.load(faces + 3 * face + 1, mask=active, other=0)
        c2 = tl.load(faces + 3 * face + 2, mask=active, other=0)
        # The corner that is not on the edge by which the face was entered.
        corner = tl.where((c0 != below) & (c0 != above), 0, tl.where((c1 != below) & (c1 != above), 1, 2))
        apex = tl.where(corner == 0, c0, tl.where(corner == 1, c1, c2))
        after = tl.where(corner == 0, c1, tl.where(corner == 1, c2, c0))
        active = active & (side != 0)
        if PERSPECTIVE:
            active = active & (tl.load(points + 3 * apex.to(tl.int64) + 2, mask=active, other=0.0) > 0.0)
        lower = _on_grid(points, apex, 1 - axis, active) <= level
        below = tl.where(active & lower, apex, below)
        above = tl.where(active & (lower == 0), apex, above)
        start_across, start_along = _on_grid(points, below, 1 - axis, active), _on_grid(points, below, axis, active)
        rise = tl.where(active, _on_grid(points, above, 1 - axis, active) - start_across, 1.0)
        run = _on_grid(points, above, axis, active) - start_along
        where = start_along + (level - start_across) / rise * run
        # Otherwise the centre lies in this face, and yet the pixel shows another one.
        active = active & ((where - goal) * inward <= 0.0)
        # The half-edge from the apex, or the one that ends there.
        half = 3 * face + tl.where((after == below) | (after == above), corner, (corner + 2) % 3)
        beyond = _across(faces, sides, half_edges, starts, face_edges, half, side, degree, active)
        arrived = active & (beyond == wanted)
        reached = tl.where(arrived, 1, reached)
        active = active & (beyond >= 0) & (beyond != wanted)
        face = tl.where(active, beyond, face)
        going = active.to(tl.int32)
        step += 1
    return reached


@kernel()
def _reaches(
    points, faces, sides, half_edges, starts, face_edges, edge, wanted, low, high, line, axis, inner, inward, degree,
    steps, mask, PERSPECTIVE: tl.constexpr,
):  # fmt: skip
    """Whether the surface that ends at the edge is what the inner pixel shows, by way of any of the edge's faces."""
    begin, end = tl.load(starts + edge, mask=mask, other=0), tl.load(starts + edge + 1, mask=mask, other=0)
    reached = tl.zeros(edge.shape, tl.int32)
    for n in range(0, degree):
        there = mask & (begin + n < end) & (reached == 0)
        face = tl.load(half_edges + begin + n, mask=there, other=0) // 3
        reached += _walk(
            points, faces, sides, half_edges, starts, face_edges, face, wanted, low, high, line, axis, inner, inward,
            degree, steps, there, PERSPECTIVE,
        )  # fmt: skip
    return reached


@kernel()
def _edge_depth(points, low, high, place, mask, PERSPECTIVE: tl.constexpr):
    """Depth of a place on an edge; under perspective its inverse is linear on the screen."""
    z0 = tl.load(points + 3 * low.to(tl.int64) + 2, mask=mask, other=1.0).to(tl.float64)
    z1 = tl.load(points + 3 * high.to(tl.int64) + 2, mask=mask, other=1.0).to(tl.float64)
    if PERSPECTIVE:
        z0, z1 = 1.0 / z0, 1.0 / z1
    near = z0 + place * (z1 - z0)
    if PERSPECTIVE:
        near = 1.0 / near
    return near


@kernel()
def _store_pair(numbers, values, mask, a, b, axis, low, high, t, place, slope):
    """One row of each table; the weight is the square of the unit normal's part along the pair."""
    tl.store(numbers, a, mask=mask)
    tl.store(numbers + 1, b, mask=mask)
    tl.store(numbers + 2, axis, mask=mask)
    tl.store(numbers + 3, low, mask=mask)
    tl.store(numbers + 4, high, mask=mask)
    tl.store(values, t, mask=mask)
    tl.store(values + 1, 1.0 / (1.0 + slope * slope), mask=mask)
    tl.store(values + 2, place, mask=mask)
    tl.store(values + 3, slope, mask=mask)


@kernel(do_not_specialize=[
    "total", "n_faces", "n_edges", "height", "width", "stride", "degree", "steps",
])  # fmt: skip
def pairs_kernel(
    points, faces, vertices, half_edges, starts, face_edges, face_ids, depth, sides, inside, owners, ends, counts,
    keys, near_depths, numbers, values, total, n_faces, n_edges, height, width, stride, degree, steps,
    TOLERANCE: tl.constexpr, PERSPECTIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One lane per crossing: keys [T], the same for one pair, -1 if it does not count; depths of edges [T]; pairs."""
    crossing = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = crossing < total
    owner = tl.load(owners + crossing, mask=mask, other=0)
    rank = (crossing - tl.load(ends + owner, mask=mask, other=0) + tl.load(counts + owner, mask=mask, other=0)).to(
        tl.int32
    )
    batch, edge = owner // n_edges, (owner % n_edges).to(tl.int32)
    points += batch * stride
    sides += batch * n_faces
    plane = batch * height * width
    i, j = tl.load(vertices + 2 * edge, mask=mask, other=0), tl.load(vertices + 2 * edge + 1, mask=mask, other=0)
    # Rows come first, then columns.
    first_row, rows = _lines(_on_grid(points, i, 1, mask), _on_grid(points, j, 1, mask), height, mask)
    first_column, _ = _lines(_on_grid(points, i, 0, mask), _on_grid(points, j, 0, mask), width, mask)
    axis = tl.where(rank < rows, 0, 1)
    line = tl.where(rank < rows, first_row + rank, first_column + rank - rows)
    # Clockwise around a face that shows its front the inside is on the right; along y it is on the left.
    inward = tl.load(inside + owner, mask=mask, other=0).to(tl.int32) * tl.where(axis == 0, -1, 1)
    turned = _on_grid(points, i, 1 - axis, mask) > _on_grid(points, j, 1 - axis, mask)
    inward = tl.where(turned, -inward, inward)
    low, high = tl.where(turned, j, i), tl.where(turned, i, j)
    low_across, low_along = _on_grid(points, low, 1 - axis, mask), _on_grid(points, low, axis, mask)
    across = tl.where(mask, _on_grid(points, high, 1 - axis, mask) - low_across, 1.0)
    along = _on_grid(points, high, axis, mask) - low_along
    slope = along / across
    level = line.to(tl.float64) * SUBPIXEL + (HALF - low_across)
    place = level * (1.0 / across)
    where = (low_along - HALF) / SUBPIXEL + level * slope / SUBPIXEL
    # A centre on the edge belongs to the surface on the right, or below where the edge is level.
    before = tl.where((axis == 0) | (along <= 0.0), tl.ceil(where) - 1.0, tl.floor(where))
    good = mask & (before >= 0.0) & (before <= tl.where(axis == 0, width, height) - 2.0)
    where = tl.where(good, where, 0.0)
    cell = tl.where(good, before, 0.0).to(tl.int32)
    inner, outer = tl.where(inward > 0, cell + 1, cell), tl.where(inward > 0, cell, cell + 1)
    near = _edge_depth(points, low, high, place, mask, PERSPECTIVE)
    pixel = plane + tl.where(axis == 0, line * width + outer, outer * width + line)
    face = tl.load(face_ids + pixel, mask=good, other=-1)
    shown = tl.load(depth + pixel, mask=good, other=0.0)
    good = good & (_hidden(points, faces, face, shown, where, line, axis, near, good, TOLERANCE, PERSPECTIVE) == 0)
    pixel = plane + tl.where(axis == 0, line * width + inner, inner * width + line)
    wanted = tl.load(face_ids + pixel, mask=good, other=-1)
    reached = _reaches(
        points, faces, sides, half_edges, starts, face_edges, edge, wanted, low, high, line, axis, inner,
        inward.to(tl.float64), degree, steps, good & (wanted >= 0), PERSPECTIVE,
    )  # fmt: skip
    a = tl.where(axis == 0, line * width + cell, cell * width + line)
    tl.store(keys + crossing, tl.where(reached > 0, 2 * (plane + a) + axis, -1), mask=mask)
    tl.store(near_depths + crossing, near, mask=mask)
    beside = a + tl.where(axis == 0, 1, width)
    numbers, values = numbers + 5 * crossing, values + 4 * crossing
    _store_pair(numbers, values, mask, a, beside, axis, low, high, where - cell, place, slope)


@kernel()
def _taken(pictures, numbers, values, n_pairs, pixels, BLOCK: tl.constexpr):
    """Pairs of one program: which there are, their pictures, the pixel that changes and the one it takes from, and the
    share with its derivative by t."""
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = pair < n_pairs
    picture = tl.load(pictures + pair, mask=mask, other=0).to(tl.int64)
    a = picture * pixels + tl.load(numbers + 5 * pair, mask=mask, other=0)
    b = picture * pixels + tl.load(numbers + 5 * pair + 1, mask=mask, other=0)
    t, weight = tl.load(values + 4 * pair, mask=mask, other=0.0), tl.load(values + 4 * pair + 1, mask=mask, other=0.0)
    left = t < 0.5
    slope = tl.where(left, -weight, weight)
    return pair, mask, picture, tl.where(left, a, b), tl.where(left, b, a), slope * (t - 0.5), slope


@kernel(do_not_specialize=["n_pairs", "pixels", "channels"])
def blend_kernel(
    image, pictures, numbers, values, out, n_pairs, pixels, channels, BLOCK: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """Adds to out [B, P, C], a copy of the image."""
    _, mask, _, to, source, share, _ = _taken(pictures, numbers, values, n_pairs, pixels, BLOCK)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)[None, :]
        there = mask[:, None] & (channel < channels)
        here = to[:, None] * channels + channel
        difference = tl.load(image + source[:, None] * channels + channel, mask=there, other=0.0)
        difference -= tl.load(image + here, mask=there, other=0.0)
        tl.atomic_add(out + here, (share[:, None] * difference).to(out.dtype.element_ty), mask=there, sem="relaxed")


@kernel(do_not_specialize=["n_pairs", "pixels", "channels", "stride"])
def blend_backward_kernel(
    gradient, image, pictures, numbers, values, by_image, by_points, n_pairs, pixels, channels, stride,
    BLOCK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Adds to by_image [B, P, C], a copy of the gradient, and to by_points [Q, V, 3] in float64."""
    pair, mask, picture, to, source, share, slope = _taken(pictures, numbers, values, n_pairs, pixels, BLOCK)
    total = tl.zeros([BLOCK], tl.float64)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)[None, :]
        there = mask[:, None] & (channel < channels)
        here, beside = to[:, None] * channels + channel, source[:, None] * channels + channel
        difference = tl.load(image + beside, mask=there, other=0.0) - tl.load(image + here, mask=there, other=0.0)
        g = tl.load(gradient + here, mask=there, other=0.0)
        total += tl.sum((g * difference).to(tl.float64), axis=1)
        moved = (share[:, None] * g).to(by_image.dtype.element_ty)
        tl.atomic_add(by_image + here, -moved, mask=there, sem="relaxed")
        tl.atomic_add(by_image + beside, moved, mask=there, sem="relaxed")
    total *= slope
    axis = tl.load(numbers + 5 * pair + 2, mask=mask, other=0)
    place, lean = (
        tl.load(values + 4 * pair + 2, mask=mask, other=0.0),
        tl.load(values + 4 * pair + 3, mask=mask, other=0.0),
    )
    low = by_points + picture * stride + 3 * tl.load(numbers + 5 * pair + 3, mask=mask, other=0).to(tl.int64)
    high = by_points + picture * stride + 3 * tl.load(numbers + 5 * pair + 4, mask=mask, other=0).to(tl.int64)
    tl.atomic_add(low + axis, total * (1.0 - place), mask=mask, sem="relaxed")
    tl.atomic_add(high + axis, total * place, mask=mask, sem="relaxed")
    tl.atomic_add(low + 1 - axis, -total * (1.0 - place) * lean, mask=mask, sem="relaxed")
    tl.atomic_add(high + 1 - axis, -total * place * lean, mask=mask, sem="relaxed")
