"""Which release of FLAME a model file is, and under which licence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flamehead.assets.model_file import VARIANTS, Variant
from flamehead.errors import InputError

__all__ = ["Release", "check_variant", "recognise_release", "variant_in"]

UNCLEAR = "not redistributable; treat as non-commercial"
OPEN = "CC-BY-4.0"

_HASHES: dict[str, tuple[Variant, str]] = {
    "efcd14cc4a69f3a3": ("2020", "FLAME 2020, generic"),
    "8fb1af0db1abb510": ("2023", "FLAME 2023"),
    "e75a0990728ba038": ("2023-open", "FLAME 2023 Open"),
}
"""Starts of the SHA-256 of published files."""
_NAMES: dict[Variant, str] = {
    "2017": "FLAME 2017",
    "2019": "FLAME 2019",
    "2020": "FLAME 2020",
    "2023": "FLAME 2023",
    "2023-no-jaw": "FLAME 2023 without jaw rotation",
    "2023-open": "FLAME 2023 Open",
}
_OPEN_METADATA = "supr_expression_metadata"


@dataclass(frozen=True)
class Release:
    """What is known about the origin of a model file."""

    variant: Variant
    name: str
    licence: str


def check_variant(variant: str) -> Variant:
    """The variant itself.

    Raises:
        InputError: there is none of this name.
    """
    for known in VARIANTS:
        if variant == known:
            return known
    raise InputError(f"There is no FLAME variant {variant!r}; give one of {', '.join(VARIANTS)}.")


def variant_in(entries: Mapping[str, object]) -> Variant:
    """The release that the entries of a model file name themselves: only 2023 Open does."""
    return "2023-open" if isinstance(entries.get(_OPEN_METADATA), dict) else "unknown"


def recognise_release(path: Path, variant: Variant, *, digest: str) -> Release:
    """What a model file is: by hash, by what it or the user says, else unknown with what its name suggests.

    Args:
        path: the file.
        variant: what the file or the user says.
        digest: SHA-256 of the file, hexadecimal.
    """
    if variant == "unknown" and digest[:16] in _HASHES:
        variant, name = _HASHES[digest[:16]]
    elif variant == "unknown":
        suggested = _suggested(path)
        name = "unknown (2017-2023 layout)" + (f", its name suggests {suggested}" if suggested else "")
    else:
        name = _NAMES[variant]
    return Release(variant, name, OPEN if variant == "2023-open" else UNCLEAR)


def _suggested(path: Path) -> str:
    """What the names of the file and of its folders suggest, such as `FLAME 2020, generic`."""
    file, text = path.stem.lower(), " ".join(path.parts[-4:]).lower()
    years = re.findall(r"flame[ _-]?(2017|2019|2020|2023)", text)
    words = [f"FLAME {years[-1]}"] if years else []
    if years and "open" in file:
        words = ["FLAME 2023 Open"]
    if "no_jaw" in file or "nojaw" in file:
        words.append("without jaw rotation")
    for kind in ("female", "male", "neutral", "generic"):
        if kind in file:
            words.append("generic" if kind == "neutral" else kind)
            break
    return ", ".join(words)
