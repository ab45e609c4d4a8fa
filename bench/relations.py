"""What a method knows of a recogniser: derived from what both were trained on and conditioned on.

The facts are in `relations.yaml` next to this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from bench.errors import unknown

Relation = Literal["conditioned", "trained_against", "same_training_data", "none", "unknown"]
TABLE = Path(__file__).with_name("relations.yaml")
UNKNOWN: Literal["unknown"] = "unknown"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditioning(_Record):
    """What recognisers had to do with the making of a method.

    Attributes:
        conditioned_on: names of recognisers whose features it is given.
        losses: names of recognisers that its training compared samples by, or "unknown".
        trained_on: training sets of recognisers whose photographs it learned from itself.
    """

    conditioned_on: tuple[str, ...] = ()
    losses: tuple[str, ...] | Literal["unknown"] = ()
    trained_on: tuple[str, ...] = ()

    @property
    def recognisers(self) -> tuple[str, ...]:
        """All recognisers that are known to have had to do with it."""
        return self.conditioned_on if self.losses == UNKNOWN else (*self.conditioned_on, *self.losses)


class Override(_Record):
    """The relation of one pair where it does not follow from the rest.

    Attributes:
        method: its name.
        recogniser: its name.
        relation: of the method to it.
        because: the reason, for readers.
    """

    method: str
    recogniser: str
    relation: Relation
    because: str


class Relations(_Record):
    """The whole table.

    Attributes:
        sets: training set -> families of photographs in it.
        recognisers: name -> training set, or "unknown".
        methods: name -> what recognisers had to do with it.
        overrides: of single pairs.
    """

    sets: Mapping[str, frozenset[str]]
    recognisers: Mapping[str, str]
    methods: Mapping[str, Conditioning]
    overrides: tuple[Override, ...] = ()

    def of(self, method: str, recogniser: str, trained_on: str = "") -> Relation:
        """Return the relation of a method to a recogniser.

        Args:
            method: a name; one that the table does not know is "unknown" to every recogniser.
            recogniser: a name.
            trained_on: the recogniser's training set where the evaluator declares it; else the table's.

        >>> table().of("arc2face", "w600k_r50"), table().of("arc2face", "facenet_vggface2")
        ('same_training_data', 'none')
        """
        by_hand = [o.relation for o in self.overrides if (o.method, o.recogniser) == (method, recogniser)]
        if by_hand:
            return by_hand[0]
        made = self.methods.get(method)
        return UNKNOWN if made is None else self._derived(made, recogniser, trained_on)

    def _derived(self, made: Conditioning, recogniser: str, trained_on: str) -> Relation:
        if recogniser in made.conditioned_on:
            return "conditioned"
        if made.losses != UNKNOWN and recogniser in made.losses:
            return "trained_against"
        own = self.sets.get(trained_on) if trained_on else self._families(recogniser)
        others = [self._families(name) for name in made.recognisers] + [self.sets[name] for name in made.trained_on]
        if own and any(families and own & families for families in others):
            return "same_training_data"
        if made.losses == UNKNOWN or (others and (own is None or None in others)):
            return UNKNOWN
        return "none"

    def _families(self, recogniser: str) -> frozenset[str] | None:
        """Return the families of photographs that a recogniser learned from; None where that is not known."""
        return self.sets.get(self.recognisers.get(recogniser, UNKNOWN))

    def independent(self, methods: Iterable[str], recognisers: Iterable[str]) -> list[str]:
        """Return the recognisers, in their order, that no method knows: those that can make a headline."""
        compared = list(methods)
        return [name for name in recognisers if all(self.of(method, name) == "none" for method in compared)]

    @model_validator(mode="after")
    def _consistent(self) -> Relations:
        faults = list(_faults(self))
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _faults(relations: Relations) -> Iterator[str]:
    for name, trained_on in relations.recognisers.items():
        if trained_on not in {*relations.sets, UNKNOWN}:
            yield f"{name}: {unknown('training set', trained_on, relations.sets)}"
    for method, made in relations.methods.items():
        for name in made.recognisers:
            if name not in relations.recognisers:
                yield f"{method}: {unknown('recogniser', name, relations.recognisers)}"
        for name in made.trained_on:
            if name not in relations.sets:
                yield f"{method}: {unknown('training set', name, relations.sets)}"
    for override in relations.overrides:
        if override.method not in relations.methods or override.recogniser not in relations.recognisers:
            yield f"the override of {override.method} and {override.recogniser} names what the table does not have"


def refuse_unknown(relations: Mapping[str, Relation], recognisers: Iterable[str], method: str) -> None:
    """Refuse relations that a card declares to recognisers that nobody has.

    Args:
        relations: recogniser, or "*" for all others -> relation.
        recognisers: names in the evaluator; those in the table are known too.
        method: whose card it is, for the message.

    Raises:
        UserError: a name is not known; the message has the nearest.
    """
    known = {*recognisers, *table().recognisers, "*"}
    for name in relations:
        if name not in known:
            raise unknown(f"recogniser in the card of {method}:", name, known)


@lru_cache(maxsize=4)
def read_table(path: Path) -> Relations:
    """Return a table from its YAML file.

    Raises:
        pydantic.ValidationError: it is not well formed.
    """
    return Relations.model_validate(yaml.safe_load(path.read_text("utf-8")))


def table() -> Relations:
    """Return the project's table."""
    return read_table(TABLE)
