"""What every file of Triton kernels shares: how they are compiled, and where they are launched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

__all__ = ["kernel", "on_device"]


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`triton.jit`, typed as what a launch makes of it: `name[grid](...)`, which no checker can follow."""
    return triton.jit(**options)


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Launches go to the device of `tensor`; nothing to do on the CPU, where kernels are interpreted."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
