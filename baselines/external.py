"""A method that is a program of its own, possibly in another environment.

The command is started once and is then given one JSON line per sample on its standard input:

    {"item": "…", "subject": "…", "index": 0, "seed": 123, "prompt": "…", "reference": "/path/photo.jpg",
     "keypoints": [[x, y], …5], "out": "/path/to/write.png"}

It writes the image (PNG) to `out` and answers one JSON line on its standard output: `{"ok": true}` or
`{"ok": false, "error": "why"}`. Whatever it prints on standard error is passed on. A program that dies, hangs or
answers something else fails the samples concerned, by name; it is then started again, twice in a run at most.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from baselines.protocol import Output, Request
from bench.errors import UserError
from bench.identity import IDENTITY, RECORDED, Spec

RESTARTS = 2


class ExternalOptions(Spec):
    """The program.

    Attributes:
        command: split like a shell would; no shell runs it.
        version: the user's word for the model that runs: with another version, the run is another.
        timeout: seconds for one sample, the loading before the first one included.
        batch: samples committed at a time.
    """

    command: Annotated[str, RECORDED]
    version: Annotated[str, IDENTITY]
    timeout: Annotated[float, RECORDED] = 600.0
    batch: Annotated[int, RECORDED] = 5


class ProgramFailed(Exception):
    """The program died, hung or answered garbage."""


class External:
    """Feeds a program and collects its images."""

    Options: ClassVar[type[Spec]] = ExternalOptions
    needs: ClassVar[frozenset[str]] = frozenset({"image", "face"})

    def __init__(self, options: ExternalOptions, runtime: Any) -> None:
        self._options = options
        self._starts = 0
        self._work = tempfile.TemporaryDirectory(prefix="idbench-external-")
        self._program: Program | None = self._start()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one image per request; what the program did wrong is the failed sample's reason."""
        return [self._one(request) for request in requests]

    def _start(self) -> Program:
        self._starts += 1
        return Program(shlex.split(self._options.command))

    def _one(self, request: Request) -> Output:
        out = Path(self._work.name) / "sample.png"
        out.unlink(missing_ok=True)
        try:
            if self._program is None:
                if self._starts > RESTARTS:
                    return Output(error=f"the program failed {self._starts} times and is not started again")
                self._program = self._start()
            answer = self._program.ask(_line(request, out), self._options.timeout)
        except ProgramFailed as error:
            self._stop()
            return Output(error=str(error))
        return _collect(answer, out)

    def _stop(self) -> None:
        if self._program is not None:
            self._program.stop()
        self._program = None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._stop()


def _line(request: Request, out: Path) -> str:
    reference = request.reference
    return json.dumps(
        {
            "item": reference.item,
            "subject": reference.subject,
            "index": request.index,
            "seed": request.seed,
            "prompt": request.prompt,
            "reference": str(reference.path),
            "keypoints": None if reference.face is None else reference.face.keypoints.tolist(),
            "out": str(out),
        }
    )


def _collect(answer: str, out: Path) -> Output:
    from bench.images import ImageError, read_image

    try:
        said = json.loads(answer)
    except ValueError:
        return Output(error=f"the program answered no JSON: {answer[:80]!r}")
    if not isinstance(said, dict) or said.get("ok") is not True:
        why = said.get("error") if isinstance(said, dict) else None
        return Output(error=f"the program says: {why or answer[:80]}")
    try:
        return Output(image=read_image(out))
    except ImageError as error:
        return Output(error=f"the program's image cannot be read: {error}")


class Program:
    """A running command with one line in, one line out."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
                start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError, IndexError) as error:
            raise UserError(f"method.command={shlex.join(command)!r} cannot be started: {error}") from error
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def ask(self, line: str, timeout: float) -> str:
        """Send a line and wait for the answer.

        Raises:
            ProgramFailed: the program has ended or does not answer within `timeout` seconds.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise ProgramFailed(f"the program gave no answer within {timeout:g} s") from None
        except OSError:
            answer = None
        if answer is None:
            raise ProgramFailed(f"the program ended with exit code {self._exit_code()}")
        return answer

    def _exit_code(self) -> int | None:
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the program and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
