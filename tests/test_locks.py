"""Locks of folders on disks of every kind, and what is swept."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from bench import locks, processes
from bench.errors import UserError
from bench.processes import Process
from bench.store import _temporary, locked, sweep


@pytest.fixture
def dead():
    """A process of this machine that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    start = processes.started(child.pid)
    child.wait()
    return Process(processes.this().host, child.pid, start)


def without(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


def test_a_process_knows_whether_another_lives(dead):
    me = processes.this()
    assert (me.is_dead(), dead.is_dead(), Process("elsewhere", 1, 0).is_dead()) == (False, True, None)
    # A later process of the same number is another.
    assert Process(me.host, me.pid, me.start + 1).is_dead()


def test_a_disk_without_flock_is_told_and_locked_by_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", without(errno.ENOSYS))
    with locked(tmp_path):
        assert json.loads((tmp_path / locks.SOFT).read_text())["pid"] == os.getpid()
    assert not (tmp_path / locks.SOFT).exists()
    assert "has no flock" in capsys.readouterr().err


def test_the_file_of_a_dead_process_is_taken_away(tmp_path, monkeypatch, capsys, dead):
    monkeypatch.setattr(fcntl, "flock", without(errno.ENOSYS))
    (tmp_path / locks.SOFT).write_text(json.dumps(vars(dead)))
    with locked(tmp_path):
        pass
    assert f"process {dead.pid} on {dead.host} has ended and left" in capsys.readouterr().err


def test_the_file_of_another_machine_is_waited_for_with_the_command_that_frees_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", without(errno.EOPNOTSUPP))
    monkeypatch.setattr(locks, "PAUSE", 0.01)
    soft = tmp_path / locks.SOFT
    soft.write_text(json.dumps(vars(Process("node7", 12, 3))))
    os.utime(soft, (time.time() - 600,) * 2)
    timer = threading.Timer(0.2, soft.unlink)
    timer.start()
    with locked(tmp_path):
        timer.join()
    said = capsys.readouterr().err
    assert f"waiting for process 12 on node7, which works on {tmp_path} since 10 minutes" in said
    assert f"rm '{soft}'" in said


def test_an_empty_file_that_a_lock_left_does_not_block(tmp_path):
    (tmp_path / locks.LOCK).touch()
    with locked(tmp_path):
        pass


def test_a_service_that_does_not_answer_is_the_users_to_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", without(errno.ENOLCK))
    with pytest.raises(UserError, match=r"cannot be locked \(no locks available\)"), locked(tmp_path):
        pass


def test_a_lock_that_is_granted_to_everybody_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with locked(tmp_path), locked(tmp_path):
        pass
    said = capsys.readouterr().err
    assert f"process {os.getpid()} on " in said
    assert "the work is done twice" in said


def test_what_living_processes_write_is_not_swept(tmp_path, dead):
    def of(process, age=0.0):
        path = tmp_path / f".tmp-{process.host}~{process.pid}~{process.start}~1~x.png"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
        return path

    alive, elsewhere = of(processes.this()), of(Process("node7", 12, 3))
    gone = [of(dead), of(Process("node8", 12, 3), age=7200), tmp_path / ".tmp-12-34-x.png"]
    gone[-1].touch()
    sweep(tmp_path)
    assert (alive.exists(), elsewhere.exists()) == (True, True)
    assert not any(path.exists() for path in gone)
    assert _temporary(tmp_path / "x.png").name.startswith(alive.name.partition("~1~")[0])
