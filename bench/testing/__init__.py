"""Contracts: what parts promise, for tests of the package that brings them.

```python
import pytest
from bench.testing import contracts


@pytest.mark.parametrize("contract", contracts("my-package"))
def test_contract(contract):
    contract()
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench import registry
from bench.errors import UserError
from bench.testing.conditions import conditions_contract
from bench.testing.datasets import dataset_contract
from bench.testing.extractors import extractor_contract
from bench.testing.methods import method_contract
from bench.testing.metrics import metric_contract

__all__ = [
    "conditions_contract",
    "contracts",
    "dataset_contract",
    "extractor_contract",
    "method_contract",
    "metric_contract",
]

WITH_OPTIONS: Mapping[str, Callable[[Any, Mapping[str, Any]], dict[str, Callable[[], None]]]] = {
    "methods": method_contract,
    "extractors": extractor_contract,
    "datasets": dataset_contract,
    "conditions": conditions_contract,
}
"""Group of the registry -> the contract of its parts; metrics have no options."""


def contracts(package: str, options: Mapping[str, Mapping[str, Any]] | None = None) -> list[Any]:
    """Return the promises of all parts that an installed package registers, as parameters for pytest.

    Args:
        package: its name, as pip knows it.
        options: name of a part -> values of its options; needed where an option has no default.

    Raises:
        UserError: the package registers nothing; or one of its parts cannot be imported.
    """
    import pytest

    found = [
        pytest.param(check, id=f"{name}: {promise}")
        for group in (*WITH_OPTIONS, "metrics")
        for name, entry in registry.entries(group).items()
        if entry.package and entry.package.name == package
        for promise, check in _contract(group, name, (options or {}).get(name, {})).items()
    ]
    if not found:
        known = ", ".join(one.name for one in registry.packages()) or "none"
        raise UserError(f"package {package!r} registers no part that has a contract; installed: {known}")
    return found


def _contract(group: str, name: str, values: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    part = registry.get(group, name)
    return metric_contract(part) if group == "metrics" else WITH_OPTIONS[group](part, values)
