"""DECA's detail decoder: jaw, expression and the detail code to a map of displacements."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["DetailDecoder"]

_EPS = 0.8
"""Of all but the first BatchNorm: the original passes 0.8 where the epsilon stands, and was trained with it."""
_LARGEST = 0.01
"""Metres."""
_WIDTHS = (128, 64, 64, 32, 16)


class DetailDecoder(nn.Module):
    """`D_detail`: 181 numbers to 256 x 256 texels, named as in the checkpoint."""

    def __init__(self) -> None:
        """Lay out the layers; the weights are random until a checkpoint is loaded."""
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(181, 128 * 8 * 8))
        layers: list[nn.Module] = [nn.BatchNorm2d(128)]
        inputs = 128
        for width in _WIDTHS:
            layers += [
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(inputs, width, 3, padding=1),
                nn.BatchNorm2d(width, _EPS),
                nn.LeakyReLU(0.2),
            ]
            inputs = width
        self.conv_blocks = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 3, padding=1), nn.Tanh())

    def forward(self, latent: Float[Tensor, "B 181"]) -> Float[Tensor, "B 1 256 256"]:
        """Jaw (3), expression (50), detail (128), in this order, to displacements along the normals, metres."""
        return self.conv_blocks(self.l1(latent).unflatten(1, (128, 8, 8))) * _LARGEST
