"""The rasterizer room's kernels for the CPU, in numba; behind the doors of `flamehead.raster`.

`rasterize`, `fill`, `large` and `scratch` serve `rasterizer`; `gradients`, `blocks` and `chain` serve `interpolate`;
`pairs` and `silhouette` serve `antialias`. `lanes` is what vector instructions need. Importing any of them imports
numba.
"""
