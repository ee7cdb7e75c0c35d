"""Find faces in images and place landmarks on them."""

from flamehead.detect.faces import detect_face, detect_faces
from flamehead.detect.schemes import select

__all__ = ["detect_face", "detect_faces", "select"]
