"""insightface's detector SCRFD (Guo et al., ICLR 2022), run from the user's own ONNX file: boxes and five points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from flamehead._types import StrPath
from flamehead.errors import AssetNotFound, InputError, MissingExtra

__all__ = ["Faces", "Scrfd", "find_detector", "most_central"]

_NAMES = ("scrfd_10g_bnkps.onnx", "det_10g.onnx", "scrfd_2.5g_bnkps.onnx", "det_2.5g.onnx", "det_500m.onnx")
_STRIDES = (8, 16, 32)
_ANCHORS = 2
_SIDE = 224
_LEAST_SCORE = 0.5
_OVERLAP = 0.4


class Faces(NamedTuple):
    """The faces of an image, the surest first; pixels with the first pixel's centre at (0, 0)."""

    boxes: Float[np.ndarray, "N 4"]
    """Left, top, right, bottom."""
    scores: Float[np.ndarray, "N"]
    points: Float[np.ndarray, "N 5 2"]
    """Eye, eye, nose tip, mouth corner, mouth corner; of each pair the one on the image's left first."""


def find_detector(folder: StrPath) -> Path:
    """The detector's ONNX file: a file itself, or in a pack's folder, in the pack's folder within that, or below it.

    The public zip of `antelopev2` holds a folder of the same name, so that files often end up one level deeper.

    Raises:
        AssetNotFound: there is none.
    """
    base = Path(folder).expanduser()
    if base.is_file():
        return base
    for name in _NAMES:
        for pattern in (name, f"*/{name}", f"*/*/{name}"):
            if found := sorted(base.glob(pattern)):
                return found[0]
    raise AssetNotFound(
        f"There is no detector of insightface in {base} (looked for {_NAMES[0]} and {_NAMES[1]}, two folders deep); "
        "unpack antelopev2.zip or buffalo_l.zip there, or leave out --detector to use MediaPipe."
    )


class Scrfd:
    """The detector, loaded; `source` says from which file."""

    def __init__(self, path: StrPath) -> None:
        """Open the detector.

        Args:
            path: the ONNX file, or a folder that holds it.

        Raises:
            AssetNotFound: there is none.
            MissingExtra: onnxruntime is not installed.
            InputError: the file is no ONNX file, or another network than SCRFD with key points.
        """
        file = find_detector(path)
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra(
                "insightface's detector needs onnxruntime; install it with `pip install flamehead[regress]`, or leave "
                "out --detector to use MediaPipe."
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # It writes to standard error by itself.
        try:
            self._session: Any = onnxruntime.InferenceSession(
                file.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes, one for each kind of damage.
            raise InputError(f"{file} is not a whole ONNX file; unpack the pack of insightface again.") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 3 * len(_STRIDES):
            raise InputError(
                f"{file} has {len(inputs)} inputs and {len(outputs)} outputs, but SCRFD with key points has 1 and 9; "
                f"pass the detector of the pack, {_NAMES[0]} or {_NAMES[1]}."
            )
        self._input, self.source = inputs[0].name, f"insightface {file.name}"

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Faces:
        """The faces of an 8-bit RGB image."""
        canvas, scale = letterbox(image)
        blob = ((canvas.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None]
        outputs = self._session.run(None, {self._input: np.ascontiguousarray(blob)})
        return decode([np.asarray(output) for output in outputs], scale)


def letterbox(image: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "224 224 3"], float]:
    """The image, its longer side 224 pixels, in the corner of a black square; and its scale."""
    height, width = image.shape[:2]
    if height > width:
        size = _SIDE, max(int(_SIDE * width / height), 1)
    else:
        size = max(int(_SIDE * height / width), 1), _SIDE
    canvas = np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)
    canvas[: size[0], : size[1]] = _resized(image, size)
    return canvas, size[0] / height


def _resized(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Bilinear without any filter against aliasing, as OpenCV resizes: that is what the detector is used to."""
    picked = []
    for axis, count in enumerate(size):
        length = image.shape[axis]
        place = np.clip((np.arange(count) + 0.5) * (length / count) - 0.5, 0, length - 1)
        low = np.minimum(place.astype(np.int64), max(length - 2, 0))
        picked.append((low, np.minimum(low + 1, length - 1), place - low))
    (top, bottom, v), (left, right, u) = picked
    u = u[None, :, None]
    rows = [image[row][:, left] * (1 - u) + image[row][:, right] * u for row in (top, bottom)]
    return np.rint(rows[0] * (1 - v[:, None, None]) + rows[1] * v[:, None, None]).astype(np.uint8)


def decode(outputs: list[np.ndarray], scale: float) -> Faces:
    """Faces from the nine outputs: scores, distances to the box, offsets of the points, each for strides 8, 16, 32.

    Raises:
        InputError: the outputs do not have SCRFD's sizes.
    """
    count = len(_STRIDES)
    boxes, scores, points = [], [], []
    for level, stride in enumerate(_STRIDES):
        cells = _SIDE // stride
        row, column = np.divmod(np.arange(cells * cells), cells)
        # Both anchors of a cell lie at its corner.
        anchors = np.repeat(np.stack([column, row], axis=1) * float(stride), _ANCHORS, axis=0)
        parts = [outputs[kind * count + level] for kind in range(3)]
        if [part.size for part in parts] != [len(anchors) * width for width in (1, 4, 10)]:
            raise InputError(
                f"The detector's outputs for stride {stride} have the shapes {[part.shape for part in parts]}, wanted "
                f"{len(anchors)} rows of 1, 4 and 10 numbers; pass SCRFD with key points, such as {_NAMES[0]}."
            )
        score = parts[0].reshape(-1)
        keep = score >= _LEAST_SCORE
        near = anchors[keep]
        distance = parts[1].reshape(-1, 4)[keep] * stride
        boxes.append(np.concatenate([near - distance[:, :2], near + distance[:, 2:]], axis=1))
        points.append(near[:, None] + parts[2].reshape(-1, 5, 2)[keep] * stride)
        scores.append(score[keep])
    found = Faces(np.concatenate(boxes) / scale, np.concatenate(scores), np.concatenate(points) / scale)
    kept = _suppressed(found)
    return Faces(found.boxes[kept], found.scores[kept], found.points[kept])


def _suppressed(faces: Faces) -> list[int]:
    """Rows of the faces that no surer one overlaps; areas are counted in whole pixels, as the original does."""
    left = list(np.argsort(-faces.scores, kind="stable"))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(int(best))
        left = [other for other in left if _overlap(faces.boxes[best], faces.boxes[other]) <= _OVERLAP]
    return kept


def _overlap(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (float(np.prod(a[2:] - a[:2] + 1)) + float(np.prod(b[2:] - b[:2] + 1)) - common)


def most_central(faces: Faces, size: tuple[int, int]) -> int:
    """The face that MICA takes: its box nearest to the middle of the image of (width, height); the first of equals."""
    middle = np.array([size[0] // 2, size[1] // 2])
    return int(np.argmin(np.linalg.norm((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - middle, axis=1)))
