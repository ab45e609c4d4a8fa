"""A method that is a program of its own, possibly in another environment.

The command is started once and is then given one JSON line per sample on its standard input:

    {"id": "…", "item": "…", "subject": "…", "index": 0, "seed": 123, "prompt": "…", "prompt_id": "…",
     "reference": "/path/photo.jpg", "references": ["/path/photo.jpg", …], "keypoints": [[x, y], …5],
     "embeddings": {"<recogniser>": [[…], …]}, "condition": {…}, "out": "/path/to/write.png"}

`embeddings` has a row for each of the references; `condition` has the kinds that the sample's row of the table says.
It writes the image (PNG) to `out` and answers one JSON line on its standard output, with the `id` of the request:
`{"id": "…", "ok": true}` or `{"id": "…", "ok": false, "error": "why"}`. No two samples share an `id` or an `out`. A
program that ends, hangs or answers anything else fails that sample, and is ended and started again: what it says later
cannot be taken for the answer to another sample. Its standard error goes to the run's log, of which the end is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shlex
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from baselines.protocol import Output, Request
from bench import logs, scratch
from bench.conditions.kinds import Condition, ConditionKind
from bench.errors import UserError
from bench.identity import ADDED, IDENTITY, RECORDED, Spec
from bench.runtime import Runtime

FAILURES = 3
"""Samples in a row on which the program may end, hang or answer garbage before it is given up."""
MAX_LINE = 2**16
"""Bytes of an answer; a longer line is no answer."""
WAITING = 16
"""Lines that wait to be read; a program that says more is held up until they are."""
WATCH = 'read line || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }'
"""Shell program of the watcher: where its standard input ends without a line, this process was killed."""
LOG_NAME = "external.log"


class ExternalOptions(Spec):
    """The program.

    Attributes:
        command: split like a shell would; no shell runs it.
        version: the user's word for the model that runs: with another version, the run is another.
        timeout: seconds for one sample, the loading before the first one included.
        batch: samples committed at a time.
        recognisers: whose embeddings of the references the program gets.
    """

    command: Annotated[str, RECORDED, Field(min_length=1)]
    version: Annotated[str, IDENTITY]
    timeout: Annotated[float, RECORDED, Field(gt=0)] = 600.0
    batch: Annotated[int, RECORDED, Field(ge=1)] = 5
    recognisers: Annotated[tuple[str, ...], IDENTITY, ADDED] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Return what the program needs of a reference."""
        return frozenset({"image", "face", *(f"embedding:{name}" for name in self.recognisers)})


class ProgramFailed(Exception):
    """The program died, hung or answered something else than was asked."""


class External:
    """Feeds a program and collects its images."""

    Options: ClassVar[type[Spec]] = ExternalOptions
    accepts: ClassVar[frozenset[ConditionKind]] = frozenset(ConditionKind)
    many_references: ClassVar[bool] = True

    def __init__(self, options: ExternalOptions, runtime: Runtime) -> None:
        self._options = options
        self._log = runtime.log
        self._failures = 0
        self._work = tempfile.TemporaryDirectory(prefix=f"{scratch.prefix()}external-")
        self._program: Program | None = self._start()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request; what the program did wrong is the failed sample's reason."""
        return [self._one(request) for request in requests]

    def _start(self) -> Program:
        return Program(shlex.split(self._options.command), self._log, Path(self._work.name))

    def _one(self, request: Request) -> Output:
        if self._failures == FAILURES:
            return Output(error=f"the program failed on {FAILURES} samples in a row and was given up")
        token = secrets.token_hex(8)
        out = Path(self._work.name) / f"{token}.png"
        try:
            if self._program is None:
                self._program = self._start()
            answer = self._program.ask(_line(request, token, out), token, self._options.timeout)
        except ProgramFailed as error:
            self._failures += 1
            self._stop()
            return Output(error=str(error))
        self._failures = 0
        return _collect(answer, out)

    def _stop(self) -> None:
        if self._program is not None:
            self._program.stop()
        self._program = None

    def close(self) -> None:
        """End the program."""
        self._stop()
        self._work.cleanup()


def _line(request: Request, token: str, out: Path) -> str:
    reference = request.reference
    return json.dumps(
        {
            "id": token,
            "item": reference.item,
            "subject": reference.subject,
            "index": request.index,
            "seed": request.seed,
            "prompt": request.prompt,
            "prompt_id": request.prompt_id,
            "reference": str(reference.path),
            "references": [str(one.path) for one in request.references],
            "keypoints": None if reference.face is None else reference.face.keypoints.tolist(),
            "embeddings": {
                name: [one.embeddings[name].tolist() for one in request.references] for name in reference.embeddings
            },
            "condition": _condition(request.condition),
            "out": str(out),
        }
    )


def _condition(condition: Condition) -> dict[str, Any]:
    """Return what a condition says, as plain JSON types; an image by its path."""
    plain: dict[ConditionKind, Any] = {
        ConditionKind.EMBEDDING: None if condition.embedding is None else condition.embedding.tolist(),
        ConditionKind.REFERENCES: None if condition.references is None else list(condition.references),
        ConditionKind.CONTROL: None if condition.control_path is None else str(condition.control_path.resolve()),
        ConditionKind.EXPRESSION: None if condition.expression is None else condition.expression.tolist(),
        ConditionKind.COMPONENTS: condition.components,
    }
    return {str(kind): value for kind, value in plain.items() if value is not None}


def _collect(answer: dict[str, Any], out: Path) -> Output:
    """Return the image that an answer vouches for, and delete its file."""
    from bench.images import ImageError, read_image

    if answer["ok"] is not True:
        return Output(error=f"the program says: {_short(str(answer.get('error') or 'not ok'))}")
    try:
        return Output(image=read_image(out))
    except ImageError as error:
        return Output(error=f"the program's image cannot be read: {error}")
    finally:
        out.unlink(missing_ok=True)


def read_answer(line: bytes, token: str) -> dict[str, Any]:
    """Return the answer to the request of an id.

    Args:
        line: what the program wrote.
        token: id of the request.

    Raises:
        ProgramFailed: it is something else.

    >>> read_answer(b'{"id": "a1", "ok": true}', "a1")
    {'id': 'a1', 'ok': True}
    """
    shown = repr(_short(line.decode("utf-8", "replace").rstrip("\n")))
    if len(line) > MAX_LINE:
        raise ProgramFailed(f"the program answered a line of more than {MAX_LINE} bytes: {shown}")
    try:
        answer = json.loads(line)
    # Deeply nested brackets end Python's reader.
    except (ValueError, RecursionError):
        raise ProgramFailed(f"the program answered no JSON: {shown}") from None
    if not isinstance(answer, dict) or answer.get("id") != token:
        raise ProgramFailed(f"the program's answer does not repeat the request's id: {shown}")
    if not isinstance(answer.get("ok"), bool):
        raise ProgramFailed(f'the program\'s answer does not say "ok": true or false: {shown}')
    return answer


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


class Program:
    """A running command with one line in, one line out."""

    def __init__(self, command: Sequence[str], log: Path | None, folder: Path) -> None:
        """Start a command.

        Args:
            command: its words.
            log: folder of the log that its standard error is added to; None: it is passed on.
            folder: that it writes to; goes with it where this process is killed.

        Raises:
            UserError: it cannot be started.
        """
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if log is None else subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"method.command={shlex.join(command)!r} cannot be started: {error}") from error
        self._answers: queue.Queue[bytes] = queue.Queue(WAITING)
        watcher = subprocess.Popen(
            ["sh", "-c", WATCH, "idbench-watch", str(self._process.pid), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        # Also where nobody calls `stop`: at the end of this process at the latest.
        self._end = weakref.finalize(self, _end_group, self._process, watcher)
        threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()
        self._logging = threading.Thread(target=_keep_errors, args=(self._process, log), daemon=True)
        self._logging.start()

    def ask(self, line: str, token: str, timeout: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ProgramFailed: the program has ended, does not answer within `timeout` seconds, or says something else.
        """
        assert self._process.stdin is not None
        # A program that ended, or does not read, is noticed below: it gives no answer.
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise ProgramFailed(f"the program gave no answer within {timeout:g} s") from None
        if not answer:
            raise ProgramFailed(f"the program ended with exit code {self._exit_code()}")
        return read_answer(answer, token)

    def _exit_code(self) -> int | None:
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the program and everything that it started."""
        self._end()
        # What it said last is in the log; a process that left the group may hold the pipe open.
        self._logging.join(timeout=1)
        # The listener may wait for room in the queue.
        with contextlib.suppress(queue.Empty):
            for _ in range(2 * WAITING):
                self._answers.get(timeout=0.1)


def _listen(process: subprocess.Popen[bytes], answers: queue.Queue[bytes]) -> None:
    """Put each line that a program writes in the queue, cut behind `MAX_LINE` bytes; b"" at the end."""
    output = process.stdout
    assert output is not None
    for line in iter(partial(output.readline, MAX_LINE + 1), b""):
        answers.put(line)
    answers.put(b"")


def _keep_errors(process: subprocess.Popen[bytes], log: Path | None) -> None:
    """Add what a program says on its standard error to its log, until it ends."""
    if log is None:
        return
    errors = process.stderr
    assert errors is not None
    for text in iter(partial(os.read, errors.fileno(), 2**16), b""):
        # A log that cannot be written must not hold the program up.
        with contextlib.suppress(OSError):
            logs.add(log / LOG_NAME, text)


def _end_group(process: subprocess.Popen[bytes], watcher: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    watcher.communicate(b"ended\n")
