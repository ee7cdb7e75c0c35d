"""What can be moved in the viewer: one control for each slider, with the direction of the parameters behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flamehead.model import Direction, Flame, directions, is_builtin

__all__ = ["EYELIDS", "Control", "all_directions", "controls"]

EYELIDS = ("eyelid_left", "eyelid_right")
"""Amounts that are no parameters of FLAME but options of `Flame`: how far the lids are closed."""

_JOINTS = {
    "jaw_left": Direction(("jaw",), (1,), math.radians(10)),
    "head_turn": Direction(("root",), (1,), math.radians(45)),
    "head_nod": Direction(("root",), (0,), math.radians(30)),
    "head_tilt": Direction(("root",), (2,), -math.radians(30)),
    "left_eye_left": Direction(("left_eye",), (1,), math.radians(20)),
    "left_eye_up": Direction(("left_eye",), (0,), -math.radians(15)),
    "right_eye_left": Direction(("right_eye",), (1,), math.radians(20)),
    "right_eye_up": Direction(("right_eye",), (0,), -math.radians(15)),
}
"""Turns beyond those that commands know by name; left is the subject's."""

_EXPRESSION_GROUPS = {
    "Eyes": ("blink", "wide", "squint", "cheek_raise"),
    "Brows": ("brow_raise_inner", "brow_raise_outer", "brow_lower"),
    "Mouth": (
        "smile", "frown", "mouth_stretch", "dimple", "pucker", "funnel", "lips_press", "lips_part", "mouth_sideways",
        "upper_lip_raise", "lower_lip_depress", "upper_lip_roll", "lower_lip_roll",
    ),
    "Jaw and nose": ("chin_raise", "jaw_sideways", "jaw_forward", "nose_wrinkle", "nostrils_flare", "cheek_puff"),
    "Speech": ("viseme_fv", "viseme_sh", "viseme_ee"),
}  # fmt: skip


@dataclass(frozen=True)
class Control:
    """A slider."""

    name: str
    """Of the direction that it moves, or one of `EYELIDS`."""
    label: str
    tab: str
    """`"Face"`, `"Pose"` or `"Person"`."""
    group: str
    """The folder in the tab."""
    low: float
    high: float


def all_directions(flame: Flame, *, components: int = 16) -> dict[str, Direction]:
    """Everything that the sliders of a model move, by name: named directions, turns, and numbered components.

    Args:
        flame: The model.
        components: How many of the first identity and expression components without a name get one: `shape_0`, ...
    """
    known = directions(flame) | _JOINTS
    named = is_builtin(flame)
    for field, count in (("shape", flame.n_shape), ("expression", flame.n_expression)):
        # The built-in head's unnamed components are called mode_K and local_K there.
        if not named:
            known |= {f"{field}_{k}": Direction((field,), (k,), 1.0) for k in range(min(components, count))}
    return known


def controls(flame: Flame, known: Mapping[str, Direction], *, components: int = 16) -> tuple[Control, ...]:
    """The sliders of a model in the order in which they are shown.

    Args:
        flame: The model.
        known: From `all_directions`.
        components: How many components without a name are shown of each kind.
    """
    made = [*_expressions(known), *_poses(flame, known), *_identities(known, components)]
    return tuple(made)


def _expressions(known: Mapping[str, Direction]) -> list[Control]:
    made = [_expression(name, group) for group, names in _EXPRESSION_GROUPS.items() for name in names if name in known]
    sides = [name for name in known if _pair(name) in known and known[name].fields == ("expression",)]
    numbered = [name for name in known if name.startswith("expression_")]
    # Whatever the groups do not know is shown all the same.
    shown = {control.name for control in made} | set(sides) | set(numbered)
    rest = [name for name, way in known.items() if way.fields == ("expression",) and name not in shown]
    made += [_expression(name, "More") for name in rest if not name.startswith("local_")]
    made += [_expression(name, "One side") for name in sides]
    return made + [Control(name, _label(name), "Face", "Components", -3.0, 3.0) for name in numbered]


def _expression(name: str, group: str) -> Control:
    # 1 is a clear natural movement; lids that close further than shut would cut the ball.
    high = 1.0 if name.startswith("blink") else 1.5
    low = 0.0 if name.startswith("blink") else -1.0
    return Control(name, _label(name), "Face", group, low, high)


def _poses(flame: Flame, known: Mapping[str, Direction]) -> list[Control]:
    groups = {
        "Jaw and gaze": ("jaw_open", "jaw_left", "look_left", "look_up"),
        "Neck": ("turn_left", "nod", "tilt_left"),
        "Whole head": ("head_turn", "head_nod", "head_tilt"),
        "Each eye": ("left_eye_left", "left_eye_up", "right_eye_left", "right_eye_up"),
    }
    made = []
    for group, names in groups.items():
        for name in names:
            low, high = (-0.2, 1.5) if name == "jaw_open" else (-1.5, 1.5)
            made.append(Control(name, _label(name), "Pose", group, low, high))
    # The built-in head's lids are its expressions `blink`.
    if flame.eyelid_basis is not None and "blink" not in known:
        made += [Control(name, _label(name), "Pose", "Eyelids", 0.0, 1.0) for name in EYELIDS]
    return made


def _identities(known: Mapping[str, Direction], components: int) -> list[Control]:
    shapes = [name for name, way in known.items() if way.fields == ("shape",)]
    plain = [name for name in shapes if name.rpartition("_")[0] in ("mode", "shape")]
    named = [name for name in shapes if name not in plain]
    made = [Control(name, _label(name), "Person", _identity_group(name), -3.0, 3.0) for name in named]
    return made + [Control(name, _label(name), "Person", "Components", -3.0, 3.0) for name in plain[:components]]


def _identity_group(name: str) -> str:
    for group, starts in {
        "Head and face": ("head", "face", "forehead", "jaw", "cheek", "chin", "ears", "neck"),
        "Nose": ("nose",),
        "Eyes": ("eye",),
        "Mouth": ("mouth", "lip"),
    }.items():
        if name.startswith(starts):
            return group
    return "More"


def _pair(name: str) -> str:
    """`smile` of `smile_left`; the name itself where it has no side."""
    bare = name.removesuffix("_left").removesuffix("_right")
    return bare if bare != name else ""


def _label(name: str) -> str:
    return name.replace("_", " ")
