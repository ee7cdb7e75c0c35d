"""MICA's backbone: ArcFace's IResNet-100 (Deng et al., "ArcFace", CVPR 2019), named as in the checkpoint."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ArcFace", "Block"]

_BLOCKS = (3, 13, 30, 3)
_WIDTHS = (64, 128, 256, 512)


class Block(nn.Module):
    """`x + bn3(conv2(prelu(bn2(conv1(bn1(x))))))`; the stride is conv2's, and nothing follows the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Lay out the block; only the first of a stage has a stride and a shortcut of its own."""
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """One block."""
        inner = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return inner + (x if self.downsample is None else self.downsample(x))


class ArcFace(nn.Module):
    """An aligned face to 512 numbers, not yet normalised; give it `eval()`."""

    def __init__(self) -> None:
        """Lay out the layers; the weights are random until a checkpoint is loaded."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        stages, inputs = [], 64
        for count, width in zip(_BLOCKS, _WIDTHS, strict=True):
            first = Block(inputs, width, 2)
            stages.append(nn.Sequential(first, *(Block(width, width, 1) for _ in range(count - 1))))
            inputs = width
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, blob: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 512"]:
        """RGB in [-1, 1] to the raw embedding."""
        x = self.prelu(self.bn1(self.conv1(blob)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))
