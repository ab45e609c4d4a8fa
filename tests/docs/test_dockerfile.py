"""The Dockerfile without Docker: its instructions are sound, and what it starts runs here."""

import json
import re
import subprocess
import sys

from tests.shared import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions():
    """(instruction, arguments) of every line, continued lines as one."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line.strip()]


def test_its_instructions_are_known_and_in_order():
    names = [name for name, _ in instructions()]
    assert set(names) <= {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "ENTRYPOINT", "CMD"}
    assert names[:2] == ["ARG", "FROM"]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
    assert names[-2:] == ["ENTRYPOINT", "CMD"]


def test_nothing_runs_as_root_or_keeps_a_cache():
    found = dict(instructions())
    assert found["FROM"] == "python:${PYTHON}-slim"
    assert found["USER"] not in ("root", "0")
    for name, arguments in instructions():
        if name == "RUN" and "pip install" in arguments:
            assert "--no-cache-dir" in arguments
        if name == "RUN" and "apt-get install" in arguments:
            assert "--no-install-recommends" in arguments
            assert "rm -rf /var/lib/apt/lists/*" in arguments


def test_every_run_is_a_shell_command_that_parses():
    for name, arguments in instructions():
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", arguments], check=True)


def test_what_it_copies_and_pins_is_there():
    for path in re.findall(r"/opt/idbench/([\w./-]+)", TEXT):
        assert (ROOT / path).exists()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not {"bench", "baselines", "conf", "data_lists", "reports", "pyproject.toml", "README.md"} & set(ignored)


def test_what_it_starts_runs_here():
    found = dict(instructions())
    command = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    assert command[0] == "python"
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("usage: python -m bench VERB")
