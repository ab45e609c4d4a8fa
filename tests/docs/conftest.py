"""The programs of the documentation, as modules."""

import importlib.util

import pytest

from tests.shared import ROOT


def module(name):
    """A module of `docs/`, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="session")
def hooks():
    """`docs/hooks.py`, imported."""
    return module("hooks")


@pytest.fixture(scope="session")
def tables():
    """`docs/tables.py`, imported."""
    return module("tables")
