"""The names that users import: changing this list is a decision."""

from importlib.metadata import version
from pathlib import Path

import pytest

import flamehead

PUBLIC = """
AssetNotFound Camera Fit Flame FlameOutput FlameParams FlameheadError FrameStatus ImageFit InputError
LandmarkFitSettings MissingExtra NoFaceFound Observation PointFit RegisteredFit ScanFit Track UnsafeFile __version__
detect_face detect_faces fit_image fit_landmarks fit_points fit_registered fit_scan landmark_error_percent
load_flame load_params load_track overlay_sheet read_image read_landmarks save_fit save_image_fit save_scan_fit
save_track write_image
""".split()


def test_the_public_names_are_these():
    assert flamehead.__all__ == sorted(PUBLIC)


def test_every_name_resolves_is_listed_and_is_documented():
    for name in flamehead.__all__:
        value = getattr(flamehead, name)
        assert name in dir(flamehead)
        if name != "__version__":
            assert value.__name__ == name and value.__module__.startswith("flamehead.") and value.__doc__


def test_the_lazy_table_and_the_list_agree():
    assert {*flamehead._HOME, "__version__"} == set(flamehead.__all__)


def test_star_import_and_unknown_names():
    space = {}
    exec("from flamehead import *", space)
    assert set(PUBLIC) <= set(space)
    with pytest.raises(AttributeError, match="module 'flamehead' has no attribute 'fit_imge'"):
        _ = flamehead.fit_imge  # pyright: ignore[reportAttributeAccessIssue]


def test_no_public_name_is_a_room():
    """Importing `flamehead.render`, say, would replace a public function of that name by the module."""
    rooms = {path.stem for path in Path(flamehead.__file__).parent.iterdir()}
    assert not rooms & set(PUBLIC)


def test_the_version_is_that_of_the_package():
    assert flamehead.__version__ == version("flamehead")
