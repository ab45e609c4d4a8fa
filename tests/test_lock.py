"""The lock holds the plain install in the versions of `constraints.txt`, each with its hashes, and no address."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shared import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENTRIES = [line for line in LOCK.replace("\\\n", "").splitlines() if line.strip() and not line.startswith("#")]
LOCKED = {canonicalize_name(line.split("==")[0]): line for line in ENTRIES}


def pinned(line):
    return re.match(r"[\w.-]+==([\w.+!-]+)", line)[1]


def test_every_entry_is_one_version_with_hashes_and_no_address():
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", line) for line in ENTRIES)
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, flags=re.MULTILINE)


def test_it_has_what_the_plain_install_needs_in_the_versions_of_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {canonicalize_name(Requirement(one).name) for one in project["dependencies"]} <= {*LOCKED}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    ours = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in constraints)}
    assert {name: pinned(line) for name, line in LOCKED.items() if name in ours and pinned(line) != ours[name]} == {}
