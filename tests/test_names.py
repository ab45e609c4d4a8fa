"""Names that become parts of paths: one rule, wherever they come from."""

from dataclasses import replace

import pytest

from bench import registry
from bench.data.photos import keys
from bench.names import fit_for_a_path
from bench.spec import DatasetSpec, Evaluator, MethodSpec, Part, Spec

NASTY = [
    "", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "C:x", "a\0b", "a\nb", "a\x1b[2J", "\u202egnp.exe", ".hidden",
    "-rf", "a.", "a ", "é" * 51, "x" * 101, "a*b", "~root", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_nasty_name_is_refused_wherever_it_becomes_a_path(name):
    with pytest.raises(ValueError, match="it names a folder"):
        fit_for_a_path(name)
    options = Spec()
    part = Part(name="copy", options=options)
    refused = [
        lambda: Part(name=name, options=options),
        lambda: MethodSpec(name=name, options=options),
        lambda: DatasetSpec(name="mini", label=name, options=options),
        lambda: Evaluator(name="e", detector=part, recognisers={name: part}),
        lambda: Evaluator(name="e", detector=part, recognisers={}, extractors={name: part}),
        lambda: replace(registry.get("metrics", "fid"), name=name),
    ]
    refused += [lambda: MethodSpec(name="copy", label=name, options=options)] if name else []
    for make in refused:
        with pytest.raises(ValueError, match=r"it names a folder|valid string"):
            make()


def test_ordinary_names_are_kept():
    for name in ("arc2face", "mine v2", "ip_adapter_faceid_plusv2", "José", "名前", "x" * 100, "é" * 50):
        assert fit_for_a_path(name) == name


def test_the_key_of_an_item_is_always_such_a_name():
    # A final dot is kept, as it was always: only Windows minds.
    for key in keys([name for name in NASTY if name not in ("\ud800", "a.")]):
        assert fit_for_a_path(key) == key
