"""The rasterizer room's kernels for the CPU, in numba; behind the doors of `flamehead.raster`.

`rasterize`, `fill`, `large` and `scratch` serve `rasterizer`; `spread` and `gradients`, with `blocks` and `chain`,
serve `interpolate`; `pairs`, `silhouette` and `blends` serve `antialias`; `painting` serves `paint`. `lanes` is what
vector instructions need, `fork` sends threads through a kernel. Importing any of them imports numba.
"""
