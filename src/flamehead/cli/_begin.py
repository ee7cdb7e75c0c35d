"""`flamehead fit --init`: what a fit begins with when MICA or DECA has seen the photo first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flamehead.cli._usage import UsageError
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.data import FlameParams
    from flamehead.fit import IdentityPrior
    from flamehead.model import Flame
    from flamehead.pipeline import SeenImage
    from flamehead.regress import Deca, Mica

__all__ = ["Beginning", "Init", "check_init", "open_beginning"]

Init: TypeAlias = Literal["mica", "deca"]

_MICA_WEIGHT = 10.0
"""Of MICA's identity against the landmarks of one photo, which tell little of it; DECA's is a start only."""


@dataclass(frozen=True)
class Beginning:
    """An open network and how far its identity is believed."""

    network: Mica | Deca
    name: Init
    checkpoint: Path
    weight: float | None
    """Of the identity; None begins with it and believes in the mean head."""
    warnings: tuple[str, ...]

    def of(self, seen: SeenImage) -> tuple[FlameParams, IdentityPrior | None, dict[str, Any]]:
        """Start, prior, and what the report shall say of them."""
        from flamehead.fit import IdentityPrior
        from flamehead.regress import start_of

        start = start_of(self.network, seen.photo, seen.observation)
        prior = None if self.weight is None else IdentityPrior(start.shape, weight=self.weight)
        report = {"network": self.name, "checkpoint": str(self.checkpoint), "identity_weight": self.weight}
        return start, prior, report | {"largest": float(start.shape.abs().max()), "warnings": self.warnings}


def check_init(
    init: Init | None, checkpoint: Path | None, weight: float | None, *, force: bool, built_in: bool
) -> None:
    """What can be known to be wrong before anything is computed.

    Raises:
        UsageError: options that belong together are not together.
        InputError: the weight is not positive, the built-in head was not forced, or the checkpoint is
            another network's.
        AssetNotFound, UnsafeFile: as `check_checkpoint`.
    """
    if init is None:
        given = [("--checkpoint", checkpoint), ("--identity-weight", weight), ("--force", force or None)]
        if extra := [name for name, value in given if value is not None]:
            raise UsageError(f"{extra[0]} belongs to --init mica or --init deca; add that, or leave it out.")
        return
    if checkpoint is None:
        raise UsageError(f"--init {init} needs --checkpoint FILE, the official {_FILES[init]}.")
    if weight is not None and not 0.0 < weight < float("inf"):
        raise InputError(f"The weight of the identity is {weight}; give a positive number, or leave it out.")
    if built_in and not force:
        raise InputError(
            f"{init.upper()}'s codes are for FLAME 2020 and would make the built-in head look like somebody else; pass "
            "FLAME 2020 with --model, or --force to use them all the same."
        )
    from flamehead.regress import check_checkpoint

    check_checkpoint(checkpoint, "MICA" if init == "mica" else "DECA")


_FILES = {"mica": "mica.tar", "deca": "deca_model.tar"}


def open_beginning(init: Init, checkpoint: Path, weight: float | None, *, flame: Flame, force: bool) -> Beginning:
    """Open the network and see whether its codes are for this model.

    Raises:
        InputError: they are not, or the checkpoint is damaged or another network's.
        AssetNotFound: there is no such file.
    """
    from flamehead.regress import check_release, load_deca, load_mica

    if init == "deca":
        warnings = check_release(flame, "DECA", force=force)
        return Beginning(
            load_deca(checkpoint, flame=flame, force=force, engine="torch"), init, checkpoint, weight, warnings
        )
    # MICA's checkpoint holds FLAME 2020, so that the model itself is compared and its release need not be known.
    mica = load_mica(checkpoint, flame=flame, force=force, engine="torch")
    warnings = () if not force else check_release(flame, "MICA", force=True)
    return Beginning(mica, init, checkpoint, _MICA_WEIGHT if weight is None else weight, warnings)
