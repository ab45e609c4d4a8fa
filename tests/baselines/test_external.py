"""A real second process that works, dies, hangs, answers garbage or paints garbage."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from baselines.external import WAITING, External, ExternalOptions, Program, ProgramFailed
from baselines.protocol import Reference, Request
from bench import logs
from bench.errors import UserError
from bench.runtime import Runtime

PROGRAM = """
import json, os, sys, time
from PIL import Image

def say(request, **answer):
    print(json.dumps({"id": request["id"], **answer}), flush=True)

print("loading", file=sys.stderr)
previous = None
for line in sys.stdin:
    request = json.loads(line)
    what = request["item"]
    if what == "stray":
        print("a progress bar", flush=True)
    if what == "late":
        print(json.dumps({"id": previous["id"], "ok": True}), flush=True)
    if what == "other":
        print(json.dumps({"id": "other", "ok": True}), flush=True)
        continue
    if what == "nothing to say":
        print(json.dumps({"id": request["id"]}), flush=True)
        continue
    if what == "long":
        print("x" * 100_000, flush=True)
        continue
    previous = request
    if what == "die":
        sys.exit(3)
    if what == "hang":
        time.sleep(60)
    if what == "garbage":
        print("not JSON at all", flush=True)
        continue
    if what == "refuse":
        say(request, ok=False, error="no face")
        continue
    if what == "text":
        open(request["out"], "w").write("no picture")
    elif what != "nothing":
        Image.new("RGB", (8, 8), (request["seed"], request["index"], len(what))).save(request["out"])
    say(request, ok=True)
    if what == "chatty":
        print("done with it", flush=True)
"""


@pytest.fixture
def method(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    options = ExternalOptions(command=f"{sys.executable} '{script}'", version="1", timeout=2)
    return External(options, Runtime(log=tmp_path / "log"))


def ask(method, *items):
    return method.generate([Request(Reference(item, "s"), k, 7, "photo of a person") for k, item in enumerate(items)])


def test_pictures_come_back_with_their_seed_and_index(method):
    outputs = ask(method, "good", "good")
    assert [tuple(o.image[0, 0]) for o in outputs] == [(7, 0, 4), (7, 1, 4)]
    assert outputs[0].image.shape == (8, 8, 3)
    assert outputs[0].image.dtype == np.uint8


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("die", "exit code 3"),
        ("hang", "no answer within 2 s"),
        ("garbage", "no JSON"),
        ("stray", "no JSON: 'a progress bar'"),
        ("late", "does not repeat the request's id"),
        ("other", "does not repeat the request's id"),
        ("nothing to say", 'does not say "ok"'),
        ("long", "more than 65536 bytes"),
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
    outputs = ask(method, *["die"] * 5)
    assert all(o.image is None for o in outputs)
    assert [o.error for o in outputs[3:]] == ["the program failed on 3 samples in a row and was given up"] * 2


def test_a_program_that_dies_now_and_then_is_started_again_each_time(method):
    outputs = ask(method, *["die", "die", "good"] * 2)
    assert [o.image is not None for o in outputs] == [False, False, True] * 2


def test_a_line_after_an_answer_never_moves_the_answers_by_one(method):
    """The sample after the stray line fails; no sample ever gets the image of another."""
    outputs = ask(method, *["chatty", "good", "better", "chatty", "best"])
    assert [None if o.image is None else tuple(o.image[0, 0]) for o in outputs] in (
        # The stray line comes before the next request is answered, or has come before it was sent.
        [(7, 0, 6), None, (7, 2, 6), (7, 3, 6), None],
    )


def test_what_the_program_says_on_standard_error_is_in_the_log(method, tmp_path):
    ask(method, "good")
    method.close()
    assert "loading" in (tmp_path / "log" / "external.log").read_text()


def test_the_program_and_its_children_end_with_the_method(tmp_path):
    script = tmp_path / "parent.sh"
    script.write_text(f"sleep 300 & echo $! > {tmp_path}/child; read line; exec sleep 300")
    method = External(ExternalOptions(command=f"sh {script}", version="1", timeout=1), Runtime())
    [output] = ask(method, "any")
    assert "no answer within 1 s" in output.error
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_command_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(UserError, match="cannot be started"):
        External(ExternalOptions(command="/no/such/program", version="1"), Runtime())


def gone(pid):
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().split()[2] == "Z"


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_program_that_floods_its_output_is_held_up_and_not_kept_in_memory(tmp_path):
    flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    program = Program([sys.executable, "-c", flood], None, tmp_path)
    wait_for(program._answers.full)
    time.sleep(0.1)
    assert program._answers.qsize() == WAITING
    with pytest.raises(ProgramFailed, match="more than 65536 bytes"):
        program.ask("{}", "a", timeout=5)
    program.stop()
    assert gone(program._process.pid)


def test_the_log_of_a_program_that_floods_it_is_bounded_and_keeps_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LARGEST", 2**16)
    flood = "import sys; sys.stderr.write('x' * 10**7 + 'the end')"
    program = Program([sys.executable, "-c", flood], tmp_path / "log", tmp_path)
    wait_for(lambda: program._process.poll() is not None)
    program.stop()
    kept = [path.read_bytes() for path in sorted((tmp_path / "log").iterdir(), reverse=True)]
    assert b"".join(kept).endswith(b"the end")
    assert 7 < sum(map(len, kept)) <= 4 * 2**16


OWNER = """
import os, signal
from baselines.external import WAITING, External, ExternalOptions, Program, ProgramFailed
from bench.runtime import Runtime
options = ExternalOptions(command="sh -c 'trap \\"\\" HUP PIPE TERM; sleep 300; sleep 300'", version="1")
method = External(options, Runtime())
print(method._program._process.pid, method._work.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_program_and_no_folder():
    done = subprocess.run([sys.executable, "-c", OWNER], capture_output=True, text=True, timeout=60)
    pid, folder = done.stdout.split()
    wait_for(lambda: gone(int(pid)) and not Path(folder).exists())
