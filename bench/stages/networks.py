"""The networks of an evaluator, loaded once in each process."""

from __future__ import annotations

from threading import Lock
from typing import Any

from bench import registry
from bench.runtime import Runtime
from bench.spec import Part, RunSpec


class Networks:
    """The evaluator's networks, each loaded when it is first needed; in another process, once more."""

    def __init__(self, spec: RunSpec) -> None:
        self._spec = spec
        self._loaded: dict[tuple[str, str, str], Any] = {}
        self._runtime = Runtime(spec.execution.device, spec.execution.threads)
        self._loading = Lock()

    def __reduce__(self) -> tuple[type[Networks], tuple[RunSpec]]:
        return Networks, (self._spec,)

    def part(self, group: str, part: Part) -> Any:
        """Return the network of a part of the registry's `group`."""
        key = (group, part.name, part.options.model_dump_json())
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = self.load(group, part)
            return self._loaded[key]

    def load(self, group: str, part: Part) -> Any:
        """Load a network of a part from its files."""
        return registry.get(group, part.name)(part.options, self._runtime)
