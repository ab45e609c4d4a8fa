"""What the pages show: commands, paths and links, taken out of their Markdown."""

import re
import shlex
from pathlib import Path

from tests.shared import ROOT

EXAMPLES = ROOT / "docs" / "examples"
"""Packages with pages of their own, whose commands need them installed: tests/plugin runs them."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if EXAMPLES not in page.parents),
]
PROGRAMS = ("python", "python3", ".venv/bin/pip", "pip", "uv", "git", "make", "mkdocs", "source")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
OPTIONAL = re.compile(r"\[([\w.=-]+)\]")


def name_of(page: Path) -> str:
    """Return where a page lies in the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> str:
    """Return the lines of a page's indented and shell blocks; those of Python, YAML and TOML blocks are left out."""
    prose = FENCE.sub(lambda block: "" if block[1] else block[2].replace("\n", "\n    "), text)
    return "\n".join(line.strip() for line in prose.replace("\\\n", " ").splitlines() if line.startswith("    "))


def spans(text: str) -> list[str]:
    """Return the code in the running text of a page."""
    prose = FENCE.sub("", text)
    return [span for line in prose.splitlines() if not line.startswith("    ") for span in SPAN.findall(line)]


def words(line: str) -> tuple[str, ...]:
    """Return the words of a command's line: optional ones without their brackets, an ellipsis left out.

    >>> words("python -m bench doctor [--deep] --dir … protocol.views.background=[]   # a comment")
    ('python', '-m', 'bench', 'doctor', '--deep', '--dir', 'protocol.views.background=[]')
    """
    found = (OPTIONAL.sub(r"\1", word) if word.startswith("[") else word for word in shlex.split(line, comments=True))
    return tuple(word for word in found if word not in ("…", "..."))


def commands(page: Path) -> list[tuple[str, ...]]:
    """Return the commands that a page shows, in blocks and in its running text."""
    text = page.read_text(encoding="utf-8")
    lines = [*blocks(text).splitlines(), *(span for span in spans(text) if " " in span)]
    parts = [part.strip() for line in lines for part in line.split(" && ")]
    shown = [part for part in parts if part.split(" ")[0] in PROGRAMS]
    return [words(line) for line in shown]


def paths(page: Path) -> list[str]:
    """Return what looks like a path in a page's code: words with a slash and no other sign."""
    text = page.read_text(encoding="utf-8")
    candidates = [*spans(text), *(word for line in blocks(text).splitlines() for word in line.split())]
    return [one for one in candidates if re.fullmatch(r"[\w.<>…*-]+(/[\w.<>…*{}-]*)+", one)]


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and images, except those on the web."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [a or b for a, b in LINK.findall(prose)]
    return [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]
