"""`python -m bench data ...`: makes lists, the embedded world's images, and takes people out again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.console import Parser
from bench.data.lists import Listing, write_list
from bench.errors import UserError
from bench.images import Image


def main(argv: Sequence[str]) -> int:
    """Run one `data` command and prints what it did.

    Raises:
        UserError: what was wrong, and what is allowed.
        SystemExit: `--help`, or arguments that cannot be parsed (code 2).
    """
    options = _parser().parse_args(argv)
    summary, lines = options.run(options)
    sys.stdout.write(
        json.dumps(summary, ensure_ascii=False) + "\n" if options.json else "".join(f"{x}\n" for x in lines)
    )
    return 0


Said = tuple[dict[str, Any], list[str]]
"""The same summary for programs and for people."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench data", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("agedb400", _agedb400, "list of AgeDB's largest photos"),
        ("synth500", _synth500, "list of a folder of images of people who don't exist"),
        ("london", _london, "list of the Face Research Lab London Set"),
        ("folder", _folder, "list of a folder: one sub-folder, or one image, per subject"),
    ):
        command = _command(commands, name, run, text)
        command.add_argument("--root", type=Path, required=True, help="folder of the images")
        command.add_argument("--out", type=Path, required=True, help="CSV file to write")
        _OWN.get(name, lambda _: None)(command)
    _mini_arguments(_command(commands, "mini", _mini, "images of the embedded world"))
    _croissant_arguments(_command(commands, "croissant", _croissant, "description of a list for programs (Croissant)"))
    _remove_arguments(_command(commands, "remove", _remove, "takes a person out of lists and runs"))
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], Said], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


def _detector_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--detector", help="face detector (`ls detectors`); without one no faces are counted")
    command.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="option of the detector; may be repeated"
    )


def _agedb400_arguments(command: argparse.ArgumentParser) -> None:
    _detector_arguments(command)
    command.add_argument("--count", type=_positive, default=400, help="photos in the list (400)")
    command.add_argument("--one-per-subject", action="store_true", help="each person once only")
    command.add_argument("--min-age", type=int, default=0, help="leave out photos at a younger age")


def _synth500_arguments(command: argparse.ArgumentParser) -> None:
    _detector_arguments(command)
    command.add_argument("--count", type=_positive, default=500, help="images in the list (500)")


def _london_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profiles", action="store_true", help="also the views at 90 degrees")


_OWN = {"agedb400": _agedb400_arguments, "synth500": _synth500_arguments, "london": _london_arguments}


def _mini_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument("--subjects", type=_positive, default=16, help="people (16)")
    command.add_argument("--targets", type=int, default=3, help="further images of each (3)")
    command.add_argument("--size", type=_positive, default=256, help="side of an image in pixels (256)")


def _croissant_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--table", type=Path, required=True, help="the list, or truth.csv of the embedded world")
    command.add_argument("--out", type=Path, required=True, help="JSON file to write, in the folder of the table")
    command.add_argument("--name", required=True, help="of the dataset")
    command.add_argument("--description", required=True, help="what it is, in a sentence")
    command.add_argument("--licence", required=True, help="its name or address")
    command.add_argument("--url", default="", help="where it is described")
    command.add_argument("--synthetic", action="store_true", help="no real person is in it")


def _remove_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("subject", help="the person, as the column `subject` has it")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (runs)")
    command.add_argument("--lists", type=Path, default=Path("data_lists"), help="folder of the lists (data_lists)")
    command.add_argument("--dry-run", action="store_true", help="say what would go, change nothing")


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def _agedb400(options: argparse.Namespace) -> Said:
    from bench.data.agedb import agedb400

    count_faces = counter(options.detector, options.set)
    chosen = {"count": options.count, "one_per_subject": options.one_per_subject, "min_age": options.min_age}
    return _written(agedb400(options.root, count_faces, **chosen), options.out)


def _synth500(options: argparse.Namespace) -> Said:
    from bench.data.synth500 import synth500

    count_faces = counter(options.detector, options.set)
    return _written(synth500(options.root, count_faces, count=options.count), options.out)


def _london(options: argparse.Namespace) -> Said:
    from bench.data.london import london

    return _written(london(options.root, profiles=options.profiles), options.out)


def _folder(options: argparse.Namespace) -> Said:
    from bench.data.folder import folder_list

    return _written(folder_list(options.root), options.out)


def _croissant(options: argparse.Namespace) -> Said:
    from bench.data.croissant import About, describe
    from bench.store import write_atomic

    about = About(options.name, options.description, options.licence, options.url, options.synthetic)
    write_atomic(options.out, describe(options.table, about))
    return {"description": str(options.out)}, [f"{options.out}: describes {options.table}"]


def _written(made: Listing, out: Path) -> Said:
    write_list(made.photos, out)
    references = made.photos["role"] == "reference"
    items = int(references.sum())
    targets = int((~references).sum())
    subjects = made.photos["subject"].nunique()
    remarks = made.remarks.to_dict("records")
    summary = {"list": str(out), "items": items, "subjects": subjects, "targets": targets, "remarks": remarks}
    lines = [f"{out}: {items} items of {subjects} subjects, {targets} targets"]
    return summary, [*lines, *(f"  {row['image']!r}: {row['remark']}" for row in remarks)]


def counter(name: str | None, settings: Sequence[str]) -> Callable[[Image], int] | None:
    """Return the function that counts faces with a registered detector; None where no name is given.

    Args:
        name: of the registry's group "detectors".
        settings: "key=value" for its options.

    Raises:
        UserError: unknown detector or option, or a missing file of weights.
    """
    if name is None:
        if settings:
            raise UserError(f"--set {settings[0]} is for a detector; give one with --detector NAME")
        return None
    from pydantic import ValidationError

    from bench.runtime import Runtime

    detector_class = registry.get("detectors", name)
    try:
        chosen = detector_class.Options(**_settings(settings))
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(detector_class.Options.model_fields)
        raise UserError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}; known: {known}") from error
    detector = detector_class(chosen, Runtime())
    return lambda image: len(detector.detect(image).faces)


def _settings(settings: Sequence[str]) -> dict[str, Any]:
    for setting in settings:
        if "=" not in setting:
            raise UserError(f"--set {setting}: give it as KEY=VALUE")
    return {key: _value(value) for key, _, value in (setting.partition("=") for setting in settings)}


def _value(text: str) -> Any:
    """Return a value: numbers and lists as JSON has them, everything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mini(options: argparse.Namespace) -> Said:
    from bench.mini.dataset import make

    sizes = {"subjects": options.subjects, "targets": options.targets, "size": options.size}
    make(options.out, **sizes)
    line = f"{options.out}: {options.subjects} subjects, one reference and {options.targets} targets each"
    return {"folder": str(options.out), **sizes}, [line]


def _remove(options: argparse.Namespace) -> Said:
    from bench.data.removal import Removal, remove

    found: Removal = remove(options.subject, runs=options.runs, lists=options.lists, dry_run=options.dry_run)
    summary = {
        "dry_run": options.dry_run,
        "lists": {str(path): rows for path, rows in found.lists.items()},
        "tables": {str(path): rows for path, rows in found.tables.items()},
        "deleted": [str(path) for path in found.deleted],
        "runs": [str(path) for path in found.runs],
        "photos": found.photos,
        "mentions": [str(path) for path in found.mentions],
    }
    return summary, _removed(found, "would remove" if options.dry_run else "removed")


def _removed(found: Any, verb: str) -> list[str]:
    lines = [f"{verb} {rows} rows of {path}" for path, rows in (found.lists | found.tables).items()]
    lines += [f"{verb} {path}" for path in found.deleted]
    if found.runs:
        lines.append(
            "scores and reports went with them: the command of a run makes them again, without the person's photos"
        )
    lines += [f"still there, and yours to delete: {photo}" for photo in found.photos]
    return lines + [f"still names the person: {path}" for path in found.mentions]
