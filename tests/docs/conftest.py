"""The hooks of MkDocs, as a module."""

import importlib.util

import pytest

from tests.shared import ROOT


@pytest.fixture(scope="session")
def hooks():
    """`docs/hooks.py`, imported."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
