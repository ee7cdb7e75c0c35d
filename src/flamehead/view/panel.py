"""The window's control panel for a head: tabs of folders, in the order in which they are used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flamehead.view.controls import Control
from flamehead.view.lights import LIGHTS
from flamehead.view.state import PRESETS, HeadState

if TYPE_CHECKING:
    import viser

__all__ = ["HeadActions", "HeadPanel", "LookActions", "head_tabs", "listen", "look_tab", "save_tab", "show_state"]

_OPEN = ("Mouth", "Head and face", "Jaw and gaze")
"""Folders that are open from the start, one in each tab."""
_CHOOSE = "choose ..."
_LANDMARKS = {"ibug68": "68 points", "mediapipe105": "105 points", "mediapipe478": "478 points", "ibug51": "51 points"}


class HeadActions(Protocol):
    """What the tabs of the head call."""

    def slide(self, name: str, amount: float) -> None: ...
    def tint(self, row: int, amount: float) -> None: ...
    def choose_preset(self, name: str) -> None: ...
    def draw_person(self) -> None: ...
    def reset(self) -> None: ...
    def undo(self) -> None: ...
    def redo(self) -> None: ...
    def apply_text(self, text: str, client: viser.ClientHandle) -> None: ...
    def save(self, kind: str, client: viser.ClientHandle) -> None: ...


class LookActions(Protocol):
    """What the tab of the looks calls."""

    def choose_surface(self, name: str) -> None: ...
    def choose_wireframe(self, shown: bool) -> None: ...
    def choose_landmarks(self, scheme: str | None) -> None: ...
    def choose_light(self, name: str, brightness: float) -> None: ...
    def choose_opacity(self, opacity: float) -> None: ...


@dataclass
class HeadPanel:
    """Handles of what must follow the head's state."""

    sliders: dict[str, viser.GuiSliderHandle[float]] = field(default_factory=dict)
    tints: list[viser.GuiSliderHandle[float]] = field(default_factory=list)
    text: viser.GuiTextHandle | None = None


def listen(handle: Any, act: Callable[[Any], None]) -> None:
    """Call with the new value whenever somebody moves an input; what the program itself sets is not told.

    The call is made on the server's event loop, so that values arrive in order; it must return at once.
    """

    async def changed(event: viser.GuiEvent) -> None:
        if event.client_id is not None:
            act(event.target.value)  # pyright: ignore[reportAttributeAccessIssue]

    handle.on_update(changed)


def head_tabs(
    gui: viser.GuiApi, tabs: viser.GuiTabGroupHandle, shown: Sequence[Control], n_albedo: int, actions: HeadActions
) -> HeadPanel:
    """The tabs Face, Pose and Person."""
    panel = HeadPanel()
    for tab in dict.fromkeys(control.tab for control in shown):
        with tabs.add_tab(tab):
            if tab == "Face":
                _presets(gui, actions)
            if tab == "Person":
                _people(gui, actions)
            _folders(gui, [control for control in shown if control.tab == tab], panel, actions)
            if tab == "Person" and n_albedo:
                _tints(gui, n_albedo, panel, actions)
    return panel


def show_state(panel: HeadPanel, state: HeadState) -> None:
    """Put every slider where the state says."""
    for name, slider in panel.sliders.items():
        slider.value = min(max(state.amounts.get(name, 0.0), slider.min), slider.max)
    for row, slider in enumerate(panel.tints):
        amount = state.albedo[row] if row < len(state.albedo) else 0.0
        slider.value = min(max(amount, slider.min), slider.max)


def look_tab(
    gui: viser.GuiApi, surfaces: Sequence[str], schemes: Sequence[str], opacity: float | None, actions: LookActions
) -> None:
    """Inputs for surface, landmarks and light.

    Args:
        gui: Where to.
        surfaces: That the head can have, the first is the one shown.
        schemes: Of the model's landmarks.
        opacity: Of the head at the start; None leaves the slider out.
        actions: What is called.
    """
    with gui.add_folder("Surface"):
        listen(gui.add_dropdown("Surface", tuple(surfaces)), actions.choose_surface)
        if opacity is not None:
            listen(gui.add_slider("Opacity", 0.0, 1.0, 0.01, opacity), actions.choose_opacity)
        listen(gui.add_checkbox("Wireframe", False), actions.choose_wireframe)
    with gui.add_folder("Landmarks"):
        known = {_LANDMARKS[scheme]: scheme for scheme in _LANDMARKS if scheme in schemes}
        names = ("none", *known)
        listen(gui.add_dropdown("Landmarks", names), lambda name: actions.choose_landmarks(known.get(name)))
    with gui.add_folder("Light"):
        light = gui.add_dropdown("Light", tuple(LIGHTS))
        brightness = gui.add_slider("Brightness", 0.2, 2.0, 0.05, 1.0)
        listen(light, lambda name: actions.choose_light(name, brightness.value))
        listen(brightness, lambda amount: actions.choose_light(light.value, amount))


def _presets(gui: viser.GuiApi, actions: HeadActions) -> None:
    group = gui.add_dropdown("Preset", (_CHOOSE, *PRESETS), hint="An expression to start from; the person stays.")

    def chosen(name: str) -> None:
        if name != _CHOOSE:
            actions.choose_preset(name)
            # So that the same one can be chosen again.
            group.value = _CHOOSE

    listen(group, chosen)
    _steps(gui, actions)


def _people(gui: viser.GuiApi, actions: HeadActions) -> None:
    _click(gui.add_button("Random person"), actions.draw_person)
    _steps(gui, actions)


def _steps(gui: viser.GuiApi, actions: HeadActions) -> None:
    group = gui.add_button_group("", ("Undo", "Redo", "Reset"))
    steps = {"Undo": actions.undo, "Redo": actions.redo, "Reset": actions.reset}
    group.on_click(lambda event: steps[event.target.value]())


def _folders(gui: viser.GuiApi, shown: list[Control], panel: HeadPanel, actions: HeadActions) -> None:
    for group in dict.fromkeys(control.group for control in shown):
        with gui.add_folder(group, expand_by_default=group in _OPEN):
            for control in shown:
                if control.group == group:
                    slider = gui.add_slider(control.label, control.low, control.high, 0.01, 0.0)
                    listen(slider, functools.partial(actions.slide, control.name))
                    panel.sliders[control.name] = slider


def _tints(gui: viser.GuiApi, n_albedo: int, panel: HeadPanel, actions: HeadActions) -> None:
    with gui.add_folder("Skin texture", expand_by_default=False):
        for row in range(n_albedo):
            slider = gui.add_slider(f"texture {row}", -3.0, 3.0, 0.05, 0.0)
            listen(slider, functools.partial(actions.tint, row))
            panel.tints.append(slider)


def save_tab(gui: viser.GuiApi, panel: HeadPanel, actions: HeadActions) -> None:
    """Inputs for what is copied and downloaded; the text joins the panel."""
    with gui.add_folder("Parameters"):
        panel.text = gui.add_text(
            "JSON", "", multiline=True, hint="Copy it from here; paste another and press Apply to set the sliders."
        )
        text = panel.text
        apply = gui.add_button("Apply the text")
        apply.on_click(lambda event: actions.apply_text(text.value, event.client) if event.client else None)
        _download(gui, "Download JSON", "json", actions)
        _download(gui, "Download params.npz", "npz", actions)
    with gui.add_folder("Mesh"):
        _download(gui, "Download GLB", "glb", actions)
        _download(gui, "Download OBJ", "obj", actions)
        _download(gui, "Download PLY", "ply", actions)
    with gui.add_folder("Picture of this view"):
        _download(gui, "Rendered by flamehead", "png", actions)
        _download(gui, "As the browser shows it", "screen", actions)


def _download(gui: viser.GuiApi, label: str, kind: str, actions: HeadActions) -> None:
    button = gui.add_button(label)
    button.on_click(lambda event: actions.save(kind, event.client) if event.client else None)


def _click(button: viser.GuiButtonHandle, act: Callable[[], None]) -> None:
    button.on_click(lambda event: act())
