"""How processes end: by one line, a code that says why, and nothing left in the temporary directory."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from threading import Event

import pytest

from bench import processes, scratch
from bench.errors import WorkFailedError, report_unexpected
from bench.execution.local import Work, run_shards
from bench.execution.work import begun_ahead, ignore
from bench.spec import Execution
from tests.shared import ROOT

VERB = """
import signal, sys, time
import bench.cli.run as run
from bench.__main__ import main

def job(config, verb, scratch):
    print("working", flush=True)
    # A signal that comes right before a sleep does not end it.
    while True:
        time.sleep(0.1)

run._job = job
# Tests that a shell has put into the background ignore it, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["run", "method=copy", "dataset=folder", "dataset.root=."]))
"""


@pytest.mark.parametrize(
    ("sent", "code", "said"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_a_run_with_its_code_one_line_and_no_folder(tmp_path, sent, code, said):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        [sys.executable, "-c", VERB], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout.readline() == "working\n"
    [folder] = tmp_path.iterdir()
    assert folder.name.startswith(f"idbench-{socket.gethostname()}~{running.pid}~")
    running.send_signal(sent)
    _, told = running.communicate(timeout=120)
    assert running.returncode == code
    assert told == f"{said}; the same command goes on where this one stopped\n"
    assert list(tmp_path.iterdir()) == []


def test_nobody_waits_for_a_shard_that_is_begun_ahead():
    started, whole = Event(), []

    def begin(shard, step):
        started.set()
        for _ in range(500):
            step(1)
            time.sleep(0.01)
        whole.append(shard)

    def interrupted():
        for _ in begun_ahead(begin, [0, 1, 2], ignore):
            assert started.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert whole == []


def test_folders_of_dead_processes_of_this_machine_and_user_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    me = processes.this()
    dead = replace(me, start=me.start + 1).name
    target = tmp_path / "target"
    target.mkdir()
    for name in (f"{dead}~a", f"{dead}~external-b", f"{me.name}~c", f"other-host~{me.pid}~1~d", "fuzz-e"):
        (tmp_path / f"idbench-{name}" / "sweep").mkdir(parents=True)
    (tmp_path / f"idbench-{dead}~link").symlink_to(target)
    scratch.sweep()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "target", f"idbench-{me.name}~c", f"idbench-other-host~{me.pid}~1~d", "idbench-fuzz-e", f"idbench-{dead}~link"
    }  # fmt: skip


def die(shard, begun, advance):
    os.kill(os.getpid(), signal.SIGKILL)


def dying():
    return Work(die)


def test_a_killed_worker_is_one_line_with_what_to_do():
    with pytest.raises(WorkFailedError, match=r"a worker process was killed.*execution\.workers") as caught:
        run_shards(dying, [0, 1], [1, 1], Execution(workers=2), "test")
    assert report_unexpected(caught.value) == f"error: {caught.value}"


def hold(folder, shard, begun, advance):
    (folder / f"held-{os.getpid()}").touch()
    time.sleep(60)


def let_go(folder):
    (folder / f"held-{os.getpid()}").unlink()


def holding(folder):
    return Work(partial(hold, folder), close=partial(let_go, folder))


OWNER = """
import sys
from functools import partial
from pathlib import Path
from bench.__main__ import _terminable
from bench.execution.local import run_shards
from bench.spec import Execution
from tests.execution.test_ends import holding
if __name__ == "__main__":
    with _terminable():
        run_shards(partial(holding, Path(sys.argv[1])), [0, 1], [1, 1], Execution(workers=2), "test")
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_workers_let_go_of_what_they_hold_when_their_parent_ends(tmp_path, sent):
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    held = tmp_path / "held"
    held.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, str(script), str(held)], env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(held.iterdir())) == 2)
    owner.send_signal(sent)
    owner.wait(timeout=30)
    wait_for(lambda: not list(held.iterdir()))


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
