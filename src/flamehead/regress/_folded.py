"""Networks with their BatchNorms folded into the convolutions before them: the same numbers, fewer passes."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from flamehead.regress._arcface import ArcFace
from flamehead.regress._resnet import Bottleneck

__all__ = ["folded"]

Net = TypeVar("Net", bound=nn.Module)


def folded(net: Net) -> Net:
    """A copy of a network in evaluation mode without the BatchNorms that follow a convolution or a linear layer.

    ArcFace's first BatchNorm of each block comes before a convolution with a border of zeros and stays: folding it
    would change what the border means.
    """
    out = copy.deepcopy(net)
    for module in list(out.modules()):
        if isinstance(module, nn.Sequential):
            _fold_neighbours(module)
        for conv, norm in _pairs(module):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
        if isinstance(module, ArcFace):
            module.fc = fuse_linear_bn_eval(module.fc, module.features)
            module.features = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return out.requires_grad_(False)


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Names of convolutions, and of the BatchNorms right behind them."""
    names = {name for name, _ in module.named_children()}
    if isinstance(module, Bottleneck):
        return [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")]
    if {"conv1", "conv2", "prelu", "bn3"} <= names:
        return [("conv1", "bn2"), ("conv2", "bn3")]
    return [("conv1", "bn1")] if {"conv1", "layer1"} <= names else []


def _fold_neighbours(chain: nn.Sequential) -> None:
    for index in range(len(chain) - 1):
        first, second = chain[index], chain[index + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            chain[index], chain[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
