"""Files are whole or absent."""

import os

import pytest

from flamehead._atomic import atomic_path
from flamehead.errors import InputError


def test_the_file_appears_on_success_only(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == tmp_path and temporary.suffix == ".txt"
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_nested_and_repeated_writes_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_path(target) as outer, atomic_path(target) as inner:
        assert outer != inner
        outer.write_text("outer")
        inner.write_text("inner")
    assert target.read_text() == "outer" and list(tmp_path.iterdir()) == [target]


def test_long_and_plain_names(tmp_path):
    for name in ("x" * 200 + ".png", "no-suffix", ".hidden", "dots.in.name.tar.gz"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("x")
        assert (tmp_path / name).exists()


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "ours"):
        pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folders_that_cannot_be_written_get_one_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist"), atomic_path(tmp_path / "missing" / "a.txt"):
        pass
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="does not exist"), atomic_path(tmp_path / "file" / "a.txt"):
        pass
    if os.name == "posix" and os.geteuid() != 0:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(InputError, match="may write"), atomic_path(locked / "a.txt"):
            pass
