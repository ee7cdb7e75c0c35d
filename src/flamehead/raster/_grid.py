"""The grid of sub-pixel positions and the limits that every backend shares."""

SUBPIXEL = 1024.0
"""Corners are snapped to 1/1024 pixel before anything else.

On this grid every edge function is an integer. Up to 2**15 pixels from the image's corner it stays below 2**53 and is
exact in float64, so neighbouring triangles can never both claim a pixel, nor both refuse it.
"""

HALF = 0.5 * SUBPIXEL
"""A pixel's centre, measured from its corner."""

NEAR = 1e-3
"""The default near plane, in the unit of the points: a millimetre for a head in metres."""

MOST_FACES = 2**24
"""The numbers of faces travel through float32 registers."""
