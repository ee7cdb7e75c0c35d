"""MediaPipe 0.10.21's face mesh: the last release whose models come with it, so that it works offline.

Two things are in its way. Its drawing helpers import OpenCV, whose wheel needs libGL, which servers lack; the face mesh
needs neither, so a stand-in takes the place of `cv2` during the import. And its C++ parts log to the terminal.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from flamehead.detect._quiet import native_chatter_dropped
from flamehead.errors import FlameheadError, MissingExtra

__all__ = ["MAX_FACES", "SOURCE", "find_meshes"]

MAX_FACES = 10
SOURCE = "mediapipe-0.10.21"
_FACE_MESH = "mediapipe.python.solutions.face_mesh"

_lock = threading.RLock()


@dataclass
class _Running:
    """The one graph of this process; building it takes a second, a picture a few milliseconds."""

    graph: Any
    process: int
    settled: bool = False
    """Whether every part of the graph has logged what it logs once."""


_running: list[_Running] = []


def find_meshes(canvas: UInt8[np.ndarray, "N N 3"]) -> list[Float[np.ndarray, "478 2"]]:
    """Find up to ten faces in a square 8-bit RGB picture; the points are in its pixels, corner at (0, 0).

    The network sees 128 x 128 pixels to find faces, so one that spans less than about a tenth of the canvas is missed.
    The picture must be square: the graph projects its points as if it were. Threads take turns.

    Raises:
        MissingExtra: MediaPipe is not installed or cannot be loaded.
        FlameheadError: This process was forked from one that had used MediaPipe already.
    """
    with _lock:
        quiet = contextlib.nullcontext() if _running and _running[0].settled else native_chatter_dropped()
        with quiet:
            running = _running[0] if _running else _start()
            if running.process != os.getpid():
                # MediaPipe corrupts the child's memory, even when a new graph is built there.
                raise FlameheadError(
                    "MediaPipe was used before this process was forked, which it does not survive; "
                    "start worker processes with multiprocessing.get_context('spawn')."
                )
            found = running.graph.process(np.ascontiguousarray(canvas)).multi_face_landmarks or []
            running.settled |= bool(found)
    side = canvas.shape[0]
    return [np.array([(point.x, point.y) for point in face.landmark]) * side for face in found]


def _start() -> _Running:
    with warnings.catch_warnings():
        # Protobuf, matplotlib and jax warn about one another; none of it is the user's doing.
        warnings.simplefilter("ignore")
        module = _import_face_mesh()
        graph = module.FaceMesh(static_image_mode=True, max_num_faces=MAX_FACES, refine_landmarks=True)
    _running.append(_Running(graph, os.getpid()))
    atexit.register(_close)
    return _running[0]


def _close() -> None:
    """Stop the graph's threads before the interpreter goes; a forked child leaves its parent's graph alone."""
    if _running and _running[0].process == os.getpid():
        with _lock, native_chatter_dropped(), contextlib.suppress(Exception):
            _running.pop().graph.close()


def _import_face_mesh() -> ModuleType:
    try:
        with _cv2_stand_in():
            return importlib.import_module(_FACE_MESH)
    except ImportError as error:
        raise MissingExtra(
            f"Finding faces needs MediaPipe 0.10.21, which cannot be loaded here ({error}): "
            'pip install "flamehead[detect]", or give the landmarks in a file.'
        ) from error


@contextlib.contextmanager
def _cv2_stand_in() -> Iterator[None]:
    """Put a hollow `cv2` into `sys.modules` unless a real one is there, and take it out again in every case."""
    absent = object()
    before = sys.modules.get("cv2", absent)
    if before is not absent and before is not None:
        yield
        return
    stand_in = _lazy_cv2()
    sys.modules["cv2"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("cv2") is stand_in:
            del sys.modules["cv2"]
        if before is None:
            sys.modules["cv2"] = None  # pyright: ignore[reportArgumentType]


def _lazy_cv2() -> ModuleType:
    """A module that becomes OpenCV on first use: MediaPipe's drawing helpers keep it, and a user may call them."""
    stand_in = ModuleType("cv2")
    stand_in.__spec__ = ModuleSpec("cv2", None)

    def load(name: str) -> Any:
        if name.startswith("__") or sys.modules.get("cv2") is stand_in:
            raise AttributeError(f"module 'cv2' has no attribute {name!r}")
        return getattr(importlib.import_module("cv2"), name)

    stand_in.__getattr__ = load  # pyright: ignore[reportAttributeAccessIssue]
    return stand_in
