"""Ask an image API over HTTP for each sample of `method=external`.

    IMAGE_API_KEY=... python docs/examples/http_api.py URL --price 0.04 --budget 20 --ledger paid.txt

It keeps to a number of calls a minute, tries again where the server is busy, stops paying at a budget, and passes a
refusal on as the sample's reason. `body` and `image_of` are what differs between APIs: write yours there. This file
needs Python's standard library alone.
"""

import argparse
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

KEY = "IMAGE_API_KEY"
BUSY = (408, 429, 500, 502, 503, 504)
"""Answers after which the same question may be asked again."""
LONGEST_WAIT = 60.0
"""Seconds."""


class Refused(Exception):
    """The sample has failed, and this is the reason."""


def body(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the API is asked, as JSON."""
    photos = [base64.b64encode(Path(path).read_bytes()).decode() for path in request["references"]]
    return {"prompt": request["prompt"], "seed": request["seed"], "images": photos}


def image_of(answer: dict[str, Any]) -> bytes:
    """Return the PNG or JPEG in an answer of the API."""
    if "image" not in answer:
        raise Refused(f"no image in the answer: {answer.get('error', 'no reason given')}")
    return base64.b64decode(answer["image"])


def ask(url: str, key: str, question: dict[str, Any], tries: int) -> dict[str, Any]:
    """Return the API's answer; a busy server is asked again after a pause that doubles, or that it names."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    call = urllib.request.Request(url, json.dumps(question).encode(), headers)
    for attempt in range(tries):
        try:
            with urllib.request.urlopen(call, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {error.read(200).decode('utf-8', 'replace')}"
            if error.code not in BUSY:
                raise Refused(said) from error
            pause = error.headers.get("Retry-After", "")
        except OSError as error:
            said = str(error)
            pause = ""
        print(f"try {attempt + 1} of {tries}: {said}", file=sys.stderr)  # noqa: T201
        if attempt + 1 < tries:
            time.sleep(min(float(pause) if pause.isdigit() else 2.0**attempt, LONGEST_WAIT))
    raise Refused(f"no answer in {tries} tries, the last: {said}")


def paid(ledger: Path) -> int:
    """Return how many images were paid for, by this process, by others of the run, and before."""
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def make(request: dict[str, Any], key: str, given: argparse.Namespace) -> None:
    """Ask for one sample and write it; refuse where it would pass the budget."""
    if (paid(given.ledger) + 1) * given.price > given.budget:
        raise Refused(f"the budget of {given.budget:g} is used up: {given.ledger} counts what was paid")
    answer = ask(given.url, key, body(request), given.tries)
    image = image_of(answer)
    with given.ledger.open("a") as file:
        file.write(f"{request['id']}\n")
    Path(request["out"]).write_bytes(image)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--price", type=float, required=True, help="of one image")
    parser.add_argument("--budget", type=float, required=True, help="in the same currency")
    parser.add_argument("--ledger", type=Path, required=True, help="file with a line for each image that was paid for")
    parser.add_argument("--per-minute", type=float, default=30, help="calls")
    parser.add_argument("--tries", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Answer a line of standard input with a line of standard output, until the input ends."""
    given = arguments()
    key = os.environ.get(KEY) or sys.exit(f"set {KEY} to the key of the API")
    earliest = 0.0
    for line in sys.stdin:
        request = json.loads(line)
        time.sleep(max(0.0, earliest - time.monotonic()))
        earliest = time.monotonic() + 60 / given.per_minute
        answer = {"id": request["id"], "ok": True}
        try:
            make(request, key, given)
        except (Refused, OSError, ValueError) as error:
            answer |= {"ok": False, "error": str(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
