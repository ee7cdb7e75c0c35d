"""What the README and the documentation say runs, and what they point to exists."""

import ast
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flamehead

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = runpy.run_path(str(ROOT / "tools" / "site_pages.py"))["generated"]()
"""Pages that are made while the site is built."""
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")

needs_mediapipe = [
    pytest.mark.detect,
    pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed"),
]


def _code(page: Path) -> str:
    return "\n".join(_BLOCK.findall(page.read_text(encoding="utf-8")))


def _runnable() -> list:
    """One case for each page with Python in it; those that look for faces need the detector."""
    codes = {page: _code(page) for page in PAGES}
    return [
        pytest.param(
            code,
            id=page.stem,
            marks=needs_mediapipe
            if any(f"{name}(" in code for name in ("fit_image", "detect_face", "track_video"))
            else [],
        )
        for page, code in codes.items()
        if code
    ]


def _run(arguments: list[str], folder: Path) -> str:
    """A process of its own, as a reader has: what other tests imported cannot help."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with a portrait in it, where the reader stands."""
    shutil.copy(ROOT / "src/flamehead/cli/demo_data/astronaut.jpg", tmp_path / "portrait.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _says_how_it_went(code: str, printed: str) -> bool:
    return "fit.status" not in code or "Converged: the cost fell by less than the tolerance" in printed


# Within this process, where torch is loaded already; warnings are errors here too.
@pytest.mark.parametrize("code", _runnable())
def test_the_python_of_a_page_runs(code, reader, capsys):
    exec(compile(code, "page", "exec"), {"__name__": "__main__"})
    assert _says_how_it_went(code, capsys.readouterr().out)


# The page that is read first stands for all: nothing was imported before it. Where a page uses a module that it did not
# import, which other tests could hide, the next test tells.
@pytest.mark.detect
def test_the_python_of_the_first_page_runs_alone(reader):
    code = _code(ROOT / "README.md")
    assert _says_how_it_went(code, _run(["-c", code], reader))


@pytest.mark.parametrize("code", _runnable())
def test_modules_are_imported_where_they_are_used(code):
    """`flamehead.io.x` needs `import flamehead.io`, or that the package itself has the name."""
    tree = ast.parse(code)
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "flamehead":
            assert f"flamehead.{node.attr}" in imported or node.attr in flamehead.__all__, node.attr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        if path in GENERATED:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        # The site holds the docs folder only.
        assert page.name == "README.md" or target.is_relative_to(ROOT / "docs"), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def test_every_page_is_in_the_menu():
    listed = re.findall(r"[:-] (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES if page.name != "README.md")


def test_the_documented_files_are_named_as_in_the_code():
    source = (ROOT / "src/flamehead/pipeline.py").read_text(encoding="utf-8")
    written = set(re.findall(r'stage / "([\w.]+)"', source))
    for page in ("README.md", "docs/command-line.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert written and all(f"`{name}`" in text for name in written), page


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("[!_]*.py")), ids=lambda script: script.stem)
def test_benchmarks_explain_themselves(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    help_text = capsys.readouterr().out
    assert left.value.code == 0
    assert "--quick" in help_text and "--json" in help_text
    assert f"benchmarks/{script.name}" in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
