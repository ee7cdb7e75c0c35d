"""Every Triton kernel compiles to machine code for real devices; the compiler needs none at hand.

The interpreter, which the other tests run in, accepts programs that the compiler refuses.
"""

import os
from importlib import import_module

import pytest

triton = pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch, on Linux")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("TRITON_INTERPRET=1 is set, which leaves nothing to compile", allow_module_level=True)

FILES = ["_triton_kernels", "_triton_gradients"]
OPTIONS = {"setup_kernel": {"enable_fp_fusion": False}, "fill_kernel": {"num_warps": 1},
           "interpolate_backward_kernel": {"enable_fp_fusion": False}}  # fmt: skip
KINDS = {"points": "*fp32", "faces": "*i32", "face_ids": "*i32", "ids": "*i32", "records": "*fp64", "spans": "*i32",
         "counts": "*i32", "starts": "*i64", "ends": "*i64", "lists": "*i32", "planes": "*fp32", "barycentric": "*fp32",
         "depth": "*fp32", "near": "fp32", "point_sums": "*fp64"}  # fmt: skip
"""Kinds of the arguments; `VALUES` have that of the user's tensors, all others are int32 counts."""
VALUES = {"attributes", "out", "gradient", "sums"}
CONSTANTS = {"TILE": [16], "BLOCK": [256], "CULL": [True], "PERSPECTIVE": [True, False], "WITH_POINTS": [True, False],
             "PIXELS": [128], "CHANNELS": [1, 4, 16]}  # fmt: skip


def kernels():
    """Whatever the files hold that is launched; helpers that kernels call have names with an underscore."""
    for file in FILES:
        module = import_module(f"flamehead.raster.{file}")
        for name, value in vars(module).items():
            if isinstance(value, triton.JITFunction) and name.endswith("_kernel"):
                yield pytest.param(value, id=name)


def compiled(kernel, capability: int, values: str = "*fp32", **chosen):
    constants = {name: chosen.get(name, CONSTANTS[name][0]) for name in kernel.arg_names if name.isupper()}
    signature = {
        name: "constexpr" if name.isupper() else values if name in VALUES else KINDS.get(name, "i32")
        for name in kernel.arg_names
    }
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=OPTIONS.get(kernel.__name__, {}))


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("capability", [75, 80, 90, 120])
@pytest.mark.parametrize("kernel", list(kernels()))
def test_every_kernel_compiles_for_devices_old_and_new(kernel, capability):
    assert compiled(kernel, capability).asm["cubin"][:4] == b"\x7fELF"


@pytest.mark.parametrize("kernel", list(kernels()))
def test_every_variant_compiles(kernel):
    choices = [(name, value) for name in kernel.arg_names if name.isupper() for value in CONSTANTS[name][1:]]
    for name, value in choices:
        assert compiled(kernel, 80, **{name: value}).asm["cubin"]
    for values in ("*fp64", "*fp16", "*bf16") if VALUES & set(kernel.arg_names) else ():
        if values in ("*fp16", "*bf16") and "sums" in kernel.arg_names:
            # Sums are float32 there, which the table of kinds does not say.
            continue
        assert compiled(kernel, 80, values).asm["cubin"]
