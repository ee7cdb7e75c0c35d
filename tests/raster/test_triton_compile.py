"""Every Triton kernel compiles to machine code for real devices; the compiler needs none at hand.

The interpreter, which the other tests run in, accepts programs that the compiler refuses.
"""

import os
from importlib import import_module
from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("TRITON_INTERPRET=1 is set, which leaves nothing to compile", allow_module_level=True)

FILES = ["kernels", "gradients", "pairs"]
PRECISE = {"setup_kernel", "interpolate_backward_kernel", "sides_kernel", "pairs_kernel"}
"""Launched without fused multiply-add."""
KINDS = {
    "*fp32": "points planes barycentric depth",
    "*fp64": "records point_sums near_depths by_points",
    "*i32": "faces face_ids ids spans counts lists vertices half_edges face_edges pictures numbers",
    "*i64": "owners keys ends",
    "*i8": "sides inside",
    "fp32": "near",
    "*values": "attributes out gradient image by_image",
}
"""Kinds of the arguments, `values` that of the user's tensors; all others are int32 counts."""
CONSTANTS = {"TILE": [16], "TILES": [8], "BLOCK": [128, 256], "CULL": [True], "PERSPECTIVE": [True, False],
             "WITH_POINTS": [True, False], "PIXELS": [128], "CHANNELS": [1, 4, 16], "TOLERANCE": [1e-4]}  # fmt: skip


def kernels():
    """Whatever the files hold that is launched; helpers that kernels call have names with an underscore."""
    for file in FILES:
        module = import_module(f"flamehead.raster._triton.{file}")
        for name, value in vars(module).items():
            if isinstance(value, triton.JITFunction) and name.endswith("_kernel"):
                yield pytest.param(value, id=name)


def compiled(kernel, capability: int, values: str = "fp32", **chosen):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {name: chosen.get(name, CONSTANTS[name][0]) for name in kernel.arg_names if name.isupper()}
    kinds = {name: kind for kind, names in KINDS.items() for name in names.split()}
    # Where tiles' lists start is a place in a long list, where edges' groups start is one of few.
    kinds["starts"] = "*i64" if "lists" in kernel.arg_names else "*i32"
    kinds["sums"] = "*fp64" if values == "fp64" else "*fp32"
    kinds["values"] = "*fp64"
    signature = {
        name: "constexpr" if name.isupper() else kinds.get(name, "i32").replace("values", values)
        for name in kernel.arg_names
    }
    options = {
        "enable_fp_fusion": kernel.__name__ not in PRECISE,
        "num_warps": 1 if kernel.__name__ == "fill_kernel" else 4,
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


# One device while one works; the others, and the variants, take long and differ only where the compiler does.
@pytest.mark.parametrize("capability", [80, *(pytest.param(other, marks=pytest.mark.slow) for other in (75, 90, 120))])
@pytest.mark.parametrize("kernel", list(kernels()))
def test_every_kernel_compiles_for_devices_old_and_new(kernel, capability):
    assert compiled(kernel, capability).asm["cubin"][:4] == b"\x7fELF"


@pytest.mark.slow
@pytest.mark.parametrize("kernel", list(kernels()))
def test_every_variant_compiles(kernel):
    choices = [(name, value) for name in kernel.arg_names if name.isupper() for value in CONSTANTS[name][1:]]
    for name, value in choices:
        assert compiled(kernel, 80, **{name: value}).asm["cubin"]
    if any(name in kernel.arg_names for name in KINDS["*values"].split()):
        for values in ("fp64", "fp16", "bf16"):
            assert compiled(kernel, 80, values).asm["cubin"]


def test_every_argument_has_its_kind():
    """A launch finds kinds by itself; here a forgotten pointer would be taken for a count."""
    known = {name for names in KINDS.values() for name in names.split()} | {"starts", "sums", "values"}
    for parameters in kernels():
        kernel: Any = parameters.values[0]
        counts = [name for name in kernel.arg_names if name.islower() and name not in known]
        assert set(counts) <= {"n_points", "n_faces", "n_edges", "n_pairs", "n_tiles", "width", "height", "across",
                               "pixels", "channels", "stride", "point_stride", "degree", "steps", "total"}  # fmt: skip
