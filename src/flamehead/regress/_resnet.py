"""DECA's encoders: a ResNet-50 (He et al., CVPR 2016) and two linear layers, named as in the checkpoint."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Encoder"]

_BLOCKS = (3, 4, 6, 3)
_PLANES = (64, 128, 256, 512)
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; the stride is the 3x3's ("v1.5"), and a ReLU follows the sum."""

    def __init__(self, inputs: int, planes: int, stride: int, *, first: bool) -> None:
        """Lay out the block; the first of each stage has a shortcut of its own, that of stage 1 too."""
        super().__init__()
        outputs = planes * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """One block."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return functional.relu(inner + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """224 pixels to 2048 features; there is no classifier."""

    def __init__(self) -> None:
        """Lay out the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        stages, inputs = [], 64
        for index, (count, planes) in enumerate(zip(_BLOCKS, _PLANES, strict=True)):
            blocks = []
            for place in range(count):
                blocks.append(Bottleneck(inputs, planes, 2 if index and not place else 1, first=not place))
                inputs = planes * _EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 2048"]:
        """Features of a crop."""
        x = functional.relu(self.bn1(self.conv1(image)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return torch.flatten(functional.avg_pool2d(x, 7, stride=1), 1)


class Encoder(nn.Module):
    """A crop to codes: `E_flame` with 236 outputs, `E_detail` with 128 (Feng et al., "DECA", SIGGRAPH 2021)."""

    def __init__(self, outputs: int) -> None:
        """Lay out the layers; the weights are random until a checkpoint is loaded."""
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, image: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B D"]:
        """RGB in [0, 1], without mean and deviation taken off, to codes."""
        return self.layers(self.encoder(image))
