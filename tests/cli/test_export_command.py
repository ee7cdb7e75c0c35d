"""`flamehead assets export-builtin`: what it passes on and what it says."""

import pytest

from flamehead.errors import InputError


@pytest.fixture
def calls(monkeypatch):
    """The calls of the export, which itself is tested elsewhere."""
    made = []

    def export_builtin(folder, *, overwrite):
        if folder.name == "full":
            raise InputError("Cannot write (No space left on device); free some space.")
        made.append((folder, overwrite))
        folder.mkdir()
        (folder / "README.txt").write_bytes(b"x" * 2_000_000)
        return (folder / "README.txt",)

    monkeypatch.setattr("flamehead.builtin.export.export_builtin", export_builtin)
    return made


def test_says_where_to_begin(run, calls, tmp_path):
    done = run("assets", "export-builtin", tmp_path / "out")
    assert done.code == 0 and done.err == "" and calls == [(tmp_path / "out", False)]
    assert "Wrote 1 files, 2 MB" in done.out and "README.txt" in done.out


def test_quiet_says_nothing(run, calls, tmp_path):
    done = run("assets", "export-builtin", tmp_path / "out", "--overwrite", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "") and calls == [(tmp_path / "out", True)]


def test_failure_is_one_sentence(run, calls, tmp_path):
    assert "No space left" in run("assets", "export-builtin", tmp_path / "full").complaint
