"""Pages that mkdocs makes while it builds: one per room from its docstrings, and one per example (a hook of mkdocs).

Sources are parsed and never imported, so that signatures stand as they were written, array shapes included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "flamehead"
ROOMS = (
    "data", "errors", "model", "builtin", "detect", "fit", "track", "regress", "evaluate", "render", "raster", "view",
    "export", "formats", "io", "assets", "solve", "geometry.rotation", "geometry.camera", "geometry.similarity",
    "geometry.normals", "geometry.nearest", "geometry.landmark_sets",
    "pipeline", "pipeline_scan", "pipeline_track", "pipeline_person",
)  # fmt: skip
"""In the order of the menu."""
_SECTIONS = ("Args", "Returns", "Raises", "Example", "Examples", "Note", "Yields", "Attributes")


@dataclass(frozen=True)
class Entry:
    """A public name with the statement that defines it."""

    name: str
    node: ast.stmt
    doc: str


def rooms() -> list[str]:
    """Those that are there."""
    return [room for room in ROOMS if _source(f"flamehead.{room}") is not None]


def examples() -> list[Path]:
    """The numbered scripts."""
    return sorted((ROOT / "examples").glob("[0-9]*.py"))


def generated() -> dict[str, str]:
    """All pages by their address within the site."""
    pages = {f"reference/{room}.md": room_page(room) for room in rooms()}
    return pages | {f"examples/{script.stem}.md": example_page(script) for script in examples()}


def example_page(script: Path) -> str:
    """The script, to read and to copy."""
    source = script.read_text(encoding="utf-8")
    summary = (ast.get_docstring(ast.parse(source)) or script.stem).split("\n")[0]
    title = script.stem[3:].replace("_", " ").capitalize()
    head = f"# {title}\n\n{summary}\n\n`examples/{script.name}`, see the [gallery](../gallery.md):"
    return f"{head}\n\n```python\n{source}```\n"


def room_page(room: str) -> str:
    """Every public name of a room: signature and docstring."""
    path = _source(f"flamehead.{room}")
    assert path is not None
    summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    parts = [f"# flamehead.{room}", prose(summary)]
    for entry in entries(f"flamehead.{room}"):
        parts += [f"## {entry.name}", f"```python\n{signature(entry)}\n```", prose(entry.doc)]
        parts += members(entry)
    return "\n\n".join(part for part in parts if part) + "\n"


def entries(module: str) -> Iterator[Entry]:
    """The names in a module's `__all__`, each where it is defined."""
    path = _source(module)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: (statement.module, alias.name)
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.startswith("flamehead")
        for alias in statement.names
    }
    for name in _public(tree):
        entry = _defined(tree, name)
        if entry is None and name in imported:
            home, original = imported[name]
            entry = _follow(home, original, name)
        if entry is not None:
            yield entry


def signature(entry: Entry) -> str:
    """The statement without its body; long ones get a line per argument."""
    node = entry.node
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {entry.name}({bases})" if bases else f"class {entry.name}"
    if isinstance(node, ast.FunctionDef):
        return _function(node)
    text = ast.unparse(node)
    return text if len(text) < 200 else f"{text[:180]} ..."


def members(entry: Entry) -> list[str]:
    """Fields of a dataclass with what stands under them, and public methods."""
    if not isinstance(entry.node, ast.ClassDef):
        return []
    body = entry.node.body
    rows, methods = [], []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if not statement.target.id.startswith("_"):
                default = f" = {ast.unparse(statement.value)}" if statement.value is not None else ""
                line = f"- `{statement.target.id}: {_annotation(statement.annotation)}{default}`"
                rows.append(line + (f": {_inline(_string(following))}" if _string(following) else ""))
        elif isinstance(statement, ast.FunctionDef) and not (statement.name.startswith("_") or _overloads(statement)):
            parts = (f"### {entry.name}.{statement.name}", f"```python\n{_function(statement)}\n```")
            methods += [*parts, prose(ast.get_docstring(statement) or "")]
    return ["\n".join(rows), *methods]


def prose(doc: str) -> str:
    """A docstring in Google's form as Markdown."""
    blocks, section = [], ""
    for block in re.split(r"\n\s*\n", doc):
        first, _, rest = block.partition("\n")
        heading = first.strip().removesuffix(":")
        if first.strip().endswith(":") and heading in _SECTIONS and rest:
            section, block = heading, rest
            blocks.append(f"**{section}**")
        elif not block.startswith("    "):
            section = ""
        blocks.append(_block(block, section))
    return "\n\n".join(blocks)


def _block(block: str, section: str) -> str:
    """One paragraph, list or piece of code."""
    lines = _dedent(block).split("\n")
    if any(line.startswith(">>>") for line in lines):
        return "```python\n" + "\n".join(line.replace("  # doctest: +SKIP", "") for line in lines) + "\n```"
    if section in ("Args", "Raises", "Attributes"):
        items: list[str] = []
        for line in lines:
            if line.startswith(" ") and items:
                items[-1] += " " + line.strip()
            else:
                name, colon, text = line.partition(":")
                items.append(f"- `{name}`: {text.strip()}" if colon else f"- {line}")
        return "\n".join(item if not item.startswith("- `") else _after_name(item) for item in items)
    if block.startswith("    ") and not section:
        return f"```text\n{_dedent(block)}\n```"
    if all(re.match(r"\s*([-*]|\d+\.) ", line) or line.startswith(" ") for line in lines):
        return "\n".join(lines)
    # A formula or a drawing set off by its indentation inside a paragraph.
    inner = [k for k, line in enumerate(lines) if line.startswith("    ")]
    if inner:
        head, tail = lines[: inner[0]], lines[inner[-1] + 1 :]
        code = "\n".join(_dedent("\n".join(lines[inner[0] : inner[-1] + 1])).split("\n"))
        return f"{_inline(chr(10).join(head))}\n\n```text\n{code}\n```\n\n{_inline(chr(10).join(tail))}"
    return _inline("\n".join(lines))


def _after_name(item: str) -> str:
    name, _, text = item.partition("`: ")
    return f"{name}`: {_inline(text)}"


def _inline(text: str) -> str:
    """Signs that Markdown would take for its own, outside of code, become plain."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if k % 2 else re.sub(r"([*_<\[\]|])", r"\\\1", part) for k, part in enumerate(parts))


def _dedent(text: str) -> str:
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def _function(node: ast.FunctionDef) -> str:
    arguments = ast.unparse(node.args)
    returns = f" -> {_annotation(node.returns)}" if node.returns else ""
    if any(isinstance(each, ast.Name) and "property" in each.id for each in node.decorator_list):
        return f"property {node.name}{returns}"
    line = f"def {node.name}({arguments}){returns}"
    if len(line) <= 100:
        return line
    return f"def {node.name}(\n    " + ",\n    ".join(_arguments(node.args)) + f",\n){returns}"


def _arguments(node: ast.arguments) -> list[str]:
    """Each argument as written, with the star before those that must be named."""
    plain = [*node.posonlyargs, *node.args]
    first = len(plain) - len(node.defaults)
    out = [_argument(each, node.defaults[k - first] if k >= first else None) for k, each in enumerate(plain)]
    if node.vararg:
        out.append(f"*{_argument(node.vararg, None)}")
    elif node.kwonlyargs:
        out.append("*")
    out += [_argument(each, value) for each, value in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
    return [*out, f"**{_argument(node.kwarg, None)}"] if node.kwarg else out


def _argument(node: ast.arg, default: ast.expr | None) -> str:
    name = f"{node.arg}: {_annotation(node.annotation)}" if node.annotation else node.arg
    return name if default is None else f"{name} = {ast.unparse(default)}"


def _annotation(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(node).replace("'", '"')


def _public(tree: ast.Module) -> list[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            return [str(ast.literal_eval(item)) for item in statement.value.elts]  # pyright: ignore
    return []


def _follow(module: str, original: str, name: str) -> Entry | None:
    path = _source(module)
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = _defined(tree, original)
    if found is not None:
        return Entry(name, found.node, found.doc)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.startswith("flamehead"):
            for alias in statement.names:
                if (alias.asname or alias.name) == original:
                    return _follow(statement.module, alias.name, name)
    return None


def _defined(tree: ast.Module, name: str) -> Entry | None:
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            if isinstance(statement, ast.FunctionDef) and _overloads(statement):
                continue
            return Entry(name, statement, ast.get_docstring(statement) or "")
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if isinstance(statement, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id == name for target in targets
        ):
            return Entry(name, statement, _string(following))
    return None


def _overloads(node: ast.FunctionDef) -> bool:
    """Whether it only tells types, and another definition follows."""
    return any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)


def _string(statement: ast.stmt | None) -> str:
    """The text of a string that stands alone."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return statement.value.value if isinstance(statement.value.value, str) else ""
    return ""


def _source(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def on_config(config: Any) -> Any:
    """Hook of mkdocs: the menu's last sections."""
    reference = next(section["Reference"] for section in config.nav if "Reference" in section)
    reference.append({"API": [{room: f"reference/{room}.md"} for room in rooms()]})
    reference.append({"Examples": [f"examples/{script.stem}.md" for script in examples()]})
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Hook of mkdocs: the pages themselves."""
    from mkdocs.structure.files import File

    for address, text in generated().items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Hook of mkdocs: GitHub wants `\\|` within code in tables, Python-Markdown shows the backslash."""
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("\\|", "|"), markdown)
