"""MICA's mapping network: a face's embedding to FLAME's identity coefficients."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Mapping", "normalised"]


class Mapping(nn.Module):
    """Four hidden layers with leaky slopes of 0.2 and a plain output (Zielonka et al., "MICA", ECCV 2022)."""

    def __init__(self) -> None:
        """Lay out the layers; the weights are random until a checkpoint is loaded."""
        super().__init__()
        self.network = nn.ModuleList([nn.Linear(512, 300), *(nn.Linear(300, 300) for _ in range(3))])
        self.output = nn.Linear(300, 300)

    def forward(self, embedding: Float[Tensor, "*batch 512"]) -> Float[Tensor, "*batch 300"]:
        """A normalised embedding to identity coefficients in standard deviations."""
        x = embedding
        for layer in self.network:
            x = functional.leaky_relu(layer(x), 0.2)
        return self.output(x)


def normalised(embedding: Float[Tensor, "*batch 512"]) -> Float[Tensor, "*batch 512"]:
    """The direction of an embedding, which is what the mapping was trained on."""
    return functional.normalize(embedding, dim=-1, eps=1e-12)
