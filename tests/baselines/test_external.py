"""A real second process that works, dies, hangs, answers garbage or paints garbage."""

import sys

import numpy as np
import pytest

from baselines.external import External, ExternalOptions
from baselines.protocol import Reference, Request
from bench.errors import UserError
from bench.runtime import Runtime

PROGRAM = """
import json, os, sys, time
from PIL import Image
for line in sys.stdin:
    request = json.loads(line)
    what = request["item"]
    if what == "die":
        sys.exit(3)
    if what == "hang":
        time.sleep(60)
    if what == "garbage":
        print("not JSON at all", flush=True)
        continue
    if what == "refuse":
        print(json.dumps({"ok": False, "error": "no face"}), flush=True)
        continue
    if what == "text":
        open(request["out"], "w").write("no picture")
    elif what != "nothing":
        Image.new("RGB", (8, 8), (request["seed"], request["index"], 3)).save(request["out"])
    print(json.dumps({"ok": True}), flush=True)
"""


@pytest.fixture
def method(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    options = ExternalOptions(command=f"{sys.executable} '{script}'", version="1", timeout=2)
    return External(options, Runtime())


def ask(method, *items):
    return method.generate([Request(Reference(item, "s"), k, 7, "photo of a person") for k, item in enumerate(items)])


def test_pictures_come_back_with_their_seed_and_index(method):
    outputs = ask(method, "good", "good")
    assert [tuple(o.image[0, 0]) for o in outputs] == [(7, 0, 3), (7, 1, 3)]
    assert outputs[0].image.shape == (8, 8, 3)
    assert outputs[0].image.dtype == np.uint8


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("die", "exit code 3"),
        ("hang", "no answer within 2 s"),
        ("garbage", "no JSON"),
        ("refuse", "says: no face"),
        ("text", "cannot be read"),
        ("nothing", "cannot be read"),
    ],
)
def test_what_the_program_does_wrong_fails_that_sample_alone(method, item, reason):
    before, bad, after = ask(method, "good", item, "good")
    assert bad.image is None
    assert reason in bad.error
    assert before.image is not None
    assert after.image is not None


def test_a_program_that_keeps_dying_is_given_up(method):
    outputs = ask(method, *["die"] * 6)
    assert all(o.image is None for o in outputs)
    assert "not started again" in outputs[-1].error


def test_a_command_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(UserError, match="cannot be started"):
        External(ExternalOptions(command="/no/such/program", version="1"), Runtime())
