"""The pages that the site makes of docstrings hold every public name, as it is written."""

import ast
import importlib
import re
import runpy
from pathlib import Path

import pytest

import flamehead

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "site_pages.py"))
PAGES = TOOL["generated"]()
NOT_SHOWN = {"cli", "geometry"}
"""The command line has a page of its own; geometry is shown module by module."""


def _headings(page: str) -> set[str]:
    return set(re.findall(r"^## (\w+)$", page, re.MULTILINE))


def test_every_room_has_a_page():
    package = ROOT / "src" / "flamehead"
    rooms = {path.parent.name for path in package.glob("[!_]*/__init__.py")}
    rooms |= {path.stem for path in package.glob("[!_]*.py")}
    assert rooms - NOT_SHOWN <= set(TOOL["ROOMS"])


@pytest.mark.parametrize("room", TOOL["rooms"]())
def test_a_page_holds_all_public_names(room):
    module = importlib.import_module(f"flamehead.{room}")
    assert set(module.__all__) == _headings(PAGES[f"reference/{room}.md"])


def test_the_names_of_the_package_are_somewhere():
    shown = set().union(*(_headings(page) for page in PAGES.values()))
    assert set(flamehead.__all__) - {"__version__"} <= shown


def test_signatures_are_python():
    for address, page in PAGES.items():
        for line in re.findall(r"^```python\n((?:def|class) .*?)\n```", page, re.MULTILINE | re.DOTALL):
            ast.parse(f"{line}: ...")
        assert page.count("```") % 2 == 0, address


@pytest.mark.parametrize(
    ("doc", "markdown"),
    [
        ("One line with a * star.", "One line with a \\* star."),
        ("x.\n\nArgs:\n    a: one,\n        more.\n    b: two.", "x.\n\n**Args**\n\n- `a`: one, more.\n- `b`: two."),
        ("x.\n\n    y = a * b", "x.\n\n```text\ny = a * b\n```"),
        ("x.\n\nExample:\n    >>> 1 + 1  # doctest: +SKIP\n    2", "x.\n\n**Example**\n\n```python\n>>> 1 + 1\n2\n```"),
        ("x.\n\n- one\n- two", "x.\n\n- one\n- two"),
        ("Code `a * b` stays.", "Code `a * b` stays."),
    ],
)  # fmt: skip
def test_a_docstring_becomes_markdown(doc, markdown):
    assert TOOL["prose"](doc) == markdown
