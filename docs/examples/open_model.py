"""Give a model in an environment of its own to `method=external`.

    python docs/examples/open_model.py MODULE:LOAD

LOAD is a function of yours without arguments. It returns the model: a function (photos, prompt, seed) -> image, where
photos are paths and the image has `save`, as Pillow's have. This file needs Python's standard library alone.
"""

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

Model = Callable[[Sequence[str], str, int], Any]


def load(name: str) -> Model:
    """Return the model that a function "module:function" loads."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)()


def answer(model: Model, request: dict[str, Any]) -> dict[str, Any]:
    """Make one sample, and return what is said of it; the model's exception is the sample's reason."""
    try:
        image = model(request["references"], request["prompt"], request["seed"])
        image.save(request["out"])
    # Whatever the model raises, the next sample may work.
    except Exception as error:  # noqa: BLE001
        return {"id": request["id"], "ok": False, "error": f"{type(error).__name__}: {error}"}
    return {"id": request["id"], "ok": True}


def main() -> None:
    """Answer a line of standard input with a line of standard output, until the input ends."""
    answers = sys.stdout
    # Libraries print their progress; on standard output it would be taken for an answer.
    with contextlib.redirect_stdout(sys.stderr):
        sys.path.insert(0, "")
        model = load(sys.argv[1])
        for line in sys.stdin:
            print(json.dumps(answer(model, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
