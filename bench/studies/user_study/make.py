"""Write a study: a page for raters that holds no name, and a private file that says what was shown."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import UserError
from bench.images import Source
from bench.report.frames import Run
from bench.sample_files import image_of
from bench.store import write_atomic, write_json
from bench.studies.user_study.design import PHOTO, Kind, Stimulus, Trial, schedule
from bench.studies.user_study.records import Plan, Rules, Texts

HERE = Path(__file__).parent / "page"
VENDORED = ("vendor/jspsych-8.3.0.min.js", "vendor/plugin-html-button-response-2.1.0.min.js")
LICENCE = "vendor/LICENSE.txt"
STUDY = "study.json"
PAGE = "page"
VERSION = 1
"""Of the two files; raised where a study made before cannot be read any more."""
MARK = "AI-generated"


@dataclass(frozen=True)
class Item:
    """One photo with the samples that are shown of it."""

    dataset: str
    item: str
    subject: str
    index: int
    photo: Path
    samples: Mapping[str, Source]
    similarity: Mapping[str, Mapping[str, float | None]]


def make(runs: Sequence[Run], plan: Plan, texts: Texts, rules: Rules, out: Path, statement: str = "") -> dict[str, Any]:
    """Write `out/page/` (for raters) and `out/study.json` (private); return the latter.

    Args:
        runs: two or more methods, each on the same datasets.
        plan: the size of the study.
        texts: what raters read.
        rules: exclusions, fixed now.
        out: a folder without a study.
        statement: why real people of a dataset that is not redistributable may be shown, in a sentence.

    Raises:
        UserError: the runs don't fit, people must not be shown, too few items, or there is a study already.
    """
    if (out / STUDY).exists():
        raise UserError(f"{out} holds a study already; its votes would be lost: give another out=")
    _check_people(runs, statement)
    methods, datasets = _grid(runs)
    items, skipped = choose(runs, plan.items, plan.seed)
    _check_size(items, plan)
    secret = secrets.token_bytes(16)
    trials = _trials(items, methods, plan, secret)
    names = {shown: _name(secret, shown) for rater in trials.values() for one in rater for shown in _shown(one)}
    public = _public(texts, rules, plan, trials, names)
    study = {
        "version": VERSION, "id": study_id(public), "public": public, "methods": methods, "datasets": datasets,
        "runs": {f"{run.record['dataset']}/{run.method}": str(run.record["id"]) for run in runs},
        "seed": plan.seed, "skipped": skipped, "statement": statement, "items": [_item(one) for one in items],
        "trials": {code: [_trial(one) for one in rater] for code, rater in trials.items()},
    }  # fmt: skip
    _write(out, study, {name: (shown, items) for shown, name in names.items()}, plan.size)
    return study


def _trials(items: Sequence[Item], methods: Sequence[str], plan: Plan, secret: bytes) -> dict[str, list[Trial]]:
    """Each rater's trials under a code that nobody can guess."""
    subjects = [f"{one.dataset}/{one.subject}" for one in items]
    made = schedule(subjects, methods, plan.raters, plan.questions, plan.checks, plan.repeats, plan.seed)
    return {_name(secret, Stimulus(number, "rater"))[:8]: rater for number, rater in enumerate(made)}


def study_id(public: Mapping[str, Any]) -> str:
    """Return the identity of what raters see and of the rules: 16 hexadecimal digits."""
    text = json.dumps(public, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_people(runs: Sequence[Run], statement: str) -> None:
    from bench.exchange.export import WORDS
    from bench.report.page.facts import redistributable

    closed = sorted({str(run.record["dataset"]) for run in runs if not redistributable(run)})
    if closed and len(statement.split()) < WORDS:
        raise UserError(
            f"dataset {', '.join(closed)} is not declared redistributable: its people must not be shown to raters. "
            'Take another one, or say in a sentence why you may show them: include_people="…"'
        )


def _grid(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """Methods and datasets, each method on each dataset once."""
    methods = list(dict.fromkeys(run.method for run in runs))
    datasets = list(dict.fromkeys(str(run.record["dataset"]) for run in runs))
    given = sorted((run.method, str(run.record["dataset"])) for run in runs)
    if len(methods) < 2:
        raise UserError(f"a study compares two or more methods; given: {', '.join(methods) or 'no run'}")
    if given != sorted((method, dataset) for method in methods for dataset in datasets):
        raise UserError(
            f"give one run of each method on each dataset; given: {', '.join(' on '.join(f) for f in given)}"
        )
    return methods, datasets


def choose(runs: Sequence[Run], count: int, seed: int) -> tuple[list[Item], int]:
    """Return the items of a study, as many of each dataset as can be, and how many were passed over.

    Items come in a seeded order. The index of the sample is drawn too, one for all methods; an item at which some
    method has no sample with a face is passed over and counted.
    """
    datasets = list(dict.fromkeys(str(run.record["dataset"]) for run in runs))
    chosen: list[Item] = []
    skipped = 0
    for place, dataset in enumerate(datasets):
        share = count // len(datasets) + (place < count % len(datasets))
        own = [run for run in runs if str(run.record["dataset"]) == dataset]
        part, passed = _choose(own, dataset, share, np.random.Generator(np.random.PCG64([seed, place])))
        chosen += part
        skipped += passed
    return chosen, skipped


def _choose(runs: Sequence[Run], dataset: str, count: int, rng: np.random.Generator) -> tuple[list[Item], int]:
    from bench.report.frames import common_items

    tables = {run.method: run.samples.set_index(["item", "index"]) for run in runs}
    folders = {run.method: run.folder for run in runs}
    photos = runs[0].photos[runs[0].photos["role"] == "reference"].set_index("item")
    common, chosen, skipped = common_items(runs), list[Item](), 0
    for item in (common[place] for place in rng.permutation(len(common))):
        if len(chosen) == count:
            break
        index = int(rng.choice(sorted(set.intersection(*(set(table.loc[item].index) for table in tables.values())))))
        rows = {method: table.loc[(item, index)] for method, table in tables.items()}
        if all(row["status"] == "ok" for row in rows.values()):
            chosen.append(_drawn(dataset, item, index, photos.loc[item], rows, folders))
        else:
            skipped += 1
    return chosen, skipped


def _drawn(
    dataset: str, item: str, index: int, photo: pd.Series, rows: Mapping[str, pd.Series], folders: Mapping[str, Path]
) -> Item:
    images = {method: image_of(folders[method], row) for method, row in rows.items()}
    samples = {method: image for method, image in images.items() if image is not None}
    similarity = {method: _similarities(row) for method, row in rows.items()}
    return Item(dataset, item, photo["subject"], index, Path(photo["path"]), samples, similarity)


def _similarities(row: pd.Series) -> dict[str, float | None]:
    return {
        str(name): None if pd.isna(row[name]) else float(row[name])
        for name in row.index
        if str(name).startswith("id_similarity[")
    }


def _check_size(items: Sequence[Item], plan: Plan) -> None:
    if len(items) < plan.items:
        raise UserError(f"the runs have only {len(items)} common items with a face in every method; items={plan.items}")
    if not plan.repeats <= plan.questions <= plan.items:
        raise UserError(f"per_rater={plan.questions} must lie between repeats={plan.repeats} and items={plan.items}")
    if plan.checks and len({one.subject for one in items}) < 2:
        raise UserError("checks need photos of two different people; give checks=0")


def _name(secret: bytes, shown: Stimulus) -> str:
    return hmac.new(secret, json.dumps(shown).encode(), hashlib.sha256).hexdigest()[:20]


def _shown(trial: Trial) -> tuple[Stimulus, Stimulus, Stimulus]:
    return Stimulus(trial.item, PHOTO), trial.left, trial.right


def _public(
    texts: Texts, rules: Rules, plan: Plan, trials: Mapping[str, Sequence[Trial]], names: Mapping[Stimulus, str]
) -> dict[str, Any]:
    """What the page holds: texts, rules and names of images; nothing that names a method."""
    shown = {code: [[names[one] for one in _shown(trial)] for trial in rater] for code, rater in trials.items()}
    return {**texts.model_dump(), "rules": rules.model_dump(), "size": plan.size, "trials": shown}


def _item(one: Item) -> dict[str, Any]:
    names = ("dataset", "item", "subject", "index", "similarity")
    return {name: getattr(one, name) for name in names}


def _trial(trial: Trial) -> dict[str, Any]:
    """The private side of a trial; `expected` is the side of the photo itself in a check."""
    expected = "" if trial.kind is not Kind.CHECK else ("left" if trial.left.item == trial.item else "right")
    return {
        "kind": str(trial.kind), "item": trial.item, "left": trial.left.method, "right": trial.right.method,
        "expected": expected,
    }  # fmt: skip


def _write(out: Path, study: dict[str, Any], images: Mapping[str, tuple[Stimulus, Sequence[Item]]], size: int) -> None:
    """Writes the images first and `study.json` last: `make` refuses a folder that has one."""
    html = page(study["public"])
    for name, (shown, items) in images.items():
        one = items[shown.item]
        source = one.photo if shown.method == PHOTO else one.samples[shown.method]
        write_atomic(out / PAGE / "img" / f"{name}.webp", stimulus(source, size, generated=shown.method != PHOTO))
    write_atomic(out / PAGE / "index.html", html)
    write_atomic(out / PAGE / "LICENSE-jspsych.txt", (HERE / LICENCE).read_bytes())
    write_json(out / STUDY, study)


def stimulus(source: Source, size: int, *, generated: bool) -> bytes:
    """Return an image as raters see it: the central square at `size` x `size` pixels, WebP, no metadata but the mark.

    Raises:
        UserError: the image cannot be read.
    """
    from PIL import Image, ImageOps

    from bench.images import ImageError, read_image

    try:
        image = Image.fromarray(read_image(source))
    except ImageError as error:
        raise UserError(f"cannot read {source}: {error}") from error
    square = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    data, exif = BytesIO(), Image.Exif()
    if generated:
        exif[0x010E] = MARK
    square.save(data, "WEBP", quality=92, method=4, exif=exif.tobytes() if generated else b"")
    return data.getvalue()


def page(public: Mapping[str, Any]) -> bytes:
    """Return the page: one file that loads nothing but its images, and can run nothing but its own scripts."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style = (HERE / "study.css").read_text(encoding="utf-8")
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in (*VENDORED, "study.js")]
    connect = f"connect-src {_origin(public['post'])}; " if public["post"] else ""
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src {_allowed(style)}; "
        f"script-src {' '.join(map(_allowed, scripts))}; {connect}base-uri 'none'; form-action 'none'"
    )
    # Without a "<" in the data, no text can end the element that holds it.
    data = json.dumps({"id": study_id(public), **public}, ensure_ascii=True).replace("<", "\\u003c")
    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined)
    html = environment.get_template("index.html").render(
        title=public["title"], policy=policy, style=Markup(style), scripts=[Markup(text) for text in scripts],
        data=Markup(data),
    )  # fmt: skip
    return html.encode()


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _origin(address: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or not address.isascii()
        or any(c in address for c in " ;,'\"")
    ):
        raise UserError(f"post={address}: give an address that begins with https://")
    return f"{parts.scheme}://{parts.netloc}"
