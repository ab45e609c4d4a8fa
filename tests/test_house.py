"""The plan of the house: arrows point downward, and no module leads back to itself."""

import ast
from pathlib import Path

from tests.shared import ROOT

PACKAGES = ("bench", "baselines")


def modules():
    """Module name -> file, of everything in the two packages."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_name(path): path for path in files}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(name, path, known):
    """The modules that a module imports anywhere in its text: at the top, in functions, for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            inside = [f"{source}.{alias.name}" for alias in node.names]
            yield from (one if one in known else source for one in inside if one in known or source in known)


def circle(arrows):
    """The names of one circle in a graph, in order; nothing where there is none."""
    done = set()

    def walk(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(arrows[name]):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def test_no_module_leads_back_to_itself():
    known = modules()
    arrows = {name: set(imports(name, path, known)) - {name} for name, path in known.items()}
    assert circle(arrows) == []


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b"}, "b": set(), "c": {"a"}}) == []
