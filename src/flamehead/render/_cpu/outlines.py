"""Silhouettes blended into colours and coverage in place; formulas are those of `flamehead.raster.antialias`."""

from __future__ import annotations

from flamehead.raster._compile import compiled

__all__ = ["blend", "blend_backward"]


@compiled(nogil=True)
def blend(image, alpha, numbers, values, differences):
    """Mix pairs of pixels into `image` (P, 3) and `alpha` (P,), and keep what the backward pass needs (N, 4)."""
    for n in range(numbers.shape[0]):
        to, source = _ends(numbers, values, n)
        for c in range(3):
            differences[n, c] = image[source, c] - image[to, c]
        differences[n, 3] = alpha[source] - alpha[to]
    for n in range(numbers.shape[0]):
        to, share = _ends(numbers, values, n)[0], values[n, 1] * abs(values[n, 0] - 0.5)
        for c in range(3):
            image[to, c] += share * differences[n, c]
        alpha[to] += share * differences[n, 3]


@compiled(nogil=True)
def blend_backward(g_image, g_alpha, numbers, values, differences, by_image, by_points):
    """Add to `by_image`, a copy of `g_image` (P, 3), and to `by_points` (V, 3); an empty `g_alpha` counts as zeros."""
    for n in range(numbers.shape[0]):
        t, weight, place, slope = values[n, 0], values[n, 1], values[n, 2], values[n, 3]
        to, source = _ends(numbers, values, n)
        share, total = weight * abs(t - 0.5), 0.0
        for c in range(3):
            g = g_image[to, c]
            total += g * differences[n, c]
            by_image[to, c] -= share * g
            by_image[source, c] += share * g
        if g_alpha.shape[0]:
            total += g_alpha[to] * differences[n, 3]
        total *= weight if t >= 0.5 else -weight
        axis, low, high = numbers[n, 2], numbers[n, 3], numbers[n, 4]
        by_points[low, axis] += total * (1.0 - place)
        by_points[high, axis] += total * place
        by_points[low, 1 - axis] -= total * (1.0 - place) * slope
        by_points[high, 1 - axis] -= total * place * slope


@compiled(inline="always")
def _ends(numbers, values, n):
    """The pixel that takes, and the one whose colour it takes."""
    if values[n, 0] < 0.5:
        return numbers[n, 0], numbers[n, 1]
    return numbers[n, 1], numbers[n, 0]
