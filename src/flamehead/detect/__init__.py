"""Find faces in images and place landmarks on them."""

from flamehead.detect.faces import detect_face, detect_faces
from flamehead.detect.following import follow_face, search_face
from flamehead.detect.schemes import select

__all__ = ["detect_face", "detect_faces", "follow_face", "search_face", "select"]
