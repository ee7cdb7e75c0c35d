"""The render room's loops over vertices, pixels and texels, in numba; behind the functions of `flamehead.render`.

Each file is named like the one that calls it, with or without an underscore: `harmonics`, `samples`,
`screen`, `shade`, `split`, `srgb`, `texture` (which `sampling` calls too), `texels` for `_packed`. `deferred` is the
whole picture in one pass, its parts are `faces` and `blocks`, and `outlines` comes behind it; `vectors` is what they
share. Importing any imports numba.
"""
