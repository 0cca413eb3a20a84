"""Find every regular expression in the project's source, without importing what it stands in."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

REPOSITORY = Path(__file__).parent.parent.parent
_FUNCTIONS = frozenset(
    {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer", "template"}
)
_METHODS = frozenset(_FUNCTIONS - {"compile", "template"})


class SourcePattern(Struct, frozen=True, kw_only=True):
    """A regular expression, where it stands, and by which methods it is used.

    ``pattern`` is None if it is computed when the program runs. ``place`` is the file and the expression.
    """

    file: str
    line: int
    source: str
    pattern: str | bytes | None
    flags: int
    methods: frozenset[str]

    @property
    def place(self) -> str:
        return f"{self.file}: {self.source if self.pattern is None else self.pattern!s}"

    def compiled(self) -> re.Pattern[Any]:
        assert self.pattern is not None, self.place
        return re.compile(self.pattern, self.flags)


def source_patterns() -> list[SourcePattern]:
    """Return all regular expressions of the distributions' own source, msgspec's constraints among them."""
    files = {
        path: ast.parse(path.read_bytes())
        for folder in ("core", "adapters", "plugins")
        for path in sorted((REPOSITORY / folder).rglob("src/**/*.py"))
    }
    used = _used_methods(files.values())
    return [found for path, tree in files.items() for found in _patterns_in(path, tree, used)]


def _patterns_in(path: Path, tree: ast.Module, used: Mapping[str, set[str]]) -> Iterator[SourcePattern]:
    constants = _constants(tree)
    names = {
        id(node.value): target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "re", f"{path}: write re.{node.names[0].name}, so that it is found"
        if not isinstance(node, ast.Call):
            continue
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        match node.func:
            case ast.Attribute(value=ast.Name(id="re"), attr=function) if function in _FUNCTIONS:
                expression = node.args[0] if node.args else keywords["pattern"]
                named = names.get(id(node), "")
                methods = used.get(named, set()) if function == "compile" else {function}
                flags = _flags(node, keywords, function)
            case ast.Name(id="Meta") if "pattern" in keywords:
                expression, methods, flags = keywords["pattern"], {"search"}, 0
            case _:
                continue
        yield SourcePattern(
            file=str(path.relative_to(REPOSITORY)),
            line=node.lineno,
            source=ast.unparse(expression),
            pattern=_folded(expression, constants),
            flags=flags,
            methods=frozenset(methods) or frozenset({"search", "fullmatch"}),
        )


def _used_methods(trees: Any) -> dict[str, set[str]]:
    """Return the methods that are called on each name; a pattern that is passed on is used in all ways."""
    used: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in _METHODS:
                used.setdefault(node.value.id, set()).add(node.attr)
    return used


def _flags(node: ast.Call, keywords: Mapping[str | None, ast.expr], function: str) -> int:
    at = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(function, 2)
    given = keywords.get("flags") or (node.args[at] if len(node.args) > at else None)
    return int(eval(ast.unparse(given), {"re": re})) if given is not None else 0


def _constants(tree: ast.Module) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _folded(node.value, found)
            if text is not None:
                found[node.targets[0].id] = text
    return found


def _folded(node: ast.expr, constants: Mapping[str, str | bytes]) -> str | bytes | None:
    match node:
        case ast.Constant(value=str() | bytes() as text):
            return text
        case ast.Name(id=name):
            return constants.get(name)
        case ast.JoinedStr(values=values):
            parts = [_folded(part, constants) for part in values]
            return "".join(map(str, parts)) if None not in parts else None
        case ast.FormattedValue(value=value, format_spec=None):
            return _folded(value, constants)
        case _:
            return None
