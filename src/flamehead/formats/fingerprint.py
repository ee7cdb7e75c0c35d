"""Where saved parameters meet a model: they are applied to the model they were made with, or by force only."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.model import Flame, FlameOutput

__all__ = ["Fingerprinted", "SavedParams", "apply_saved", "check_fingerprint"]

_log = logging.getLogger(__name__)


@runtime_checkable
class Fingerprinted(Protocol):
    """Anything that says which model its numbers belong to."""

    @property
    def fingerprint(self) -> str:
        """Of the model; empty when unknown."""
        ...


@runtime_checkable
class SavedParams(Fingerprinted, Protocol):
    """Parameters with their model's fingerprint, such as `SavedFit` and `Fit`."""

    @property
    def params(self) -> FlameParams:
        """The parameters."""
        ...


def check_fingerprint(saved: Fingerprinted | str, flame: Flame, *, force: bool = False) -> None:
    """Refuse parameters that were made with another model.

    Files of other programs carry no fingerprint; they pass, with a line in the log.

    Args:
        saved: the parameters, or their fingerprint.
        flame: the model they are to be applied to.
        force: apply them all the same; the head then looks like somebody else, or like nobody.

    Raises:
        InputError: the fingerprints differ.

    Example:
        >>> from flamehead import load_flame
        >>> flame = load_flame()
        >>> check_fingerprint(flame.fingerprint, flame)
    """
    found = saved if isinstance(saved, str) else saved.fingerprint
    if not found:
        _log.warning(
            "These parameters do not say which model they belong to; trusting that it is %s", flame.arrays.source
        )
    elif found != flame.fingerprint and not force:
        raise InputError(
            f"These parameters belong to the model {found}, but {flame.arrays.source} is {flame.fingerprint}; load the "
            "model that they were made with, or pass force=True to apply them all the same."
        )


def apply_saved(saved: SavedParams, flame: Flame, *, force: bool = False) -> FlameOutput:
    """Pose a model with saved parameters, after comparing fingerprints; dtype and device are the model's.

    Raises:
        InputError: the parameters belong to another model, or have more coefficients than it.
    """
    check_fingerprint(saved, flame, force=force)
    return flame(saved.params.to(dtype=flame.template.dtype, device=flame.template.device))
