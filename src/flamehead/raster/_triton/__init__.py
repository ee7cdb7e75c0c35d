"""The rasterizer room's kernels for CUDA, in Triton; behind the doors of `flamehead.raster`.

`rasterize` and `kernels` serve `rasterizer`; `autograd` joins `interpolate` (`gradients`) and `antialias`
(`silhouette`, `pairs`) to torch. `jit` is what all share. Importing any of them imports triton.
"""
