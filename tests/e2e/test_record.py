"""What a run records is what was done and what was declared last."""

import json

import pandas as pd
import pytest
from PIL import Image

from bench.__main__ import main
from bench.exchange.bundle import read_bundle
from bench.exchange.verify import verify
from bench.report.frames import load_run
from bench.stages.record import code_sha256
from tests.e2e.small import bench, make_people, record
from tests.plugin.packages import on_path, write_package
from tests.shared import ROOT

ROOT_CONF = ROOT / "tests" / "conf"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return make_people(tmp_path_factory.mktemp("people") / "w", targets=1)


@pytest.fixture(scope="module")
def twice(people, tmp_path_factory):
    """One run, measured by a second evaluator and declared anew."""
    out = tmp_path_factory.mktemp("runs")
    same = ("method=copy", f"dataset.root={people}", f"out={out}")
    assert bench("run", *same, "dataset.redistributable=true", "dataset.licence=CC0") == 0
    first = record(out)
    page = (first["folder"] / "report" / "index.html").read_text()
    second = ("evaluator=mini_judge", "execution.threads=2", "method.card.relations={judge: conditioned}")
    assert bench("run", *same, *second, "dataset.licence=closed") == 0
    return first, page, record(out)


def test_what_is_declared_later_counts_everywhere(twice, tmp_path):
    _, page, last = twice
    assert "Do not pass this page on" not in page
    options = last["spec"]["dataset"]["options"]
    assert (options["redistributable"], options["licence"]) == (False, "closed")
    shown = (last["folder"] / "report" / "index.html").read_text()
    assert "Do not pass this page on" in shown
    assert "closed" in shown
    assert set(load_run(last["folder"]).scores["relation"]) == {"", "conditioned"}
    assert main(["export", str(last["folder"]), "--thumbnails", "--to", str(tmp_path / "b.zip")]) == 2


def test_record_page_and_bundle_name_the_networks_that_measured(twice, tmp_path):
    first, _, last = twice
    assert list(first["spec"]["evaluator"]["recognisers"]) == ["arcface"]
    assert list(last["spec"]["evaluator"]["recognisers"]) == ["judge"]
    assert not [name for name in last["weights"] if "arcface" in name]
    assert "judge: non-commercial" in (last["folder"] / "report" / "scores.md").read_text()
    assert main(["export", str(last["folder"]), "--to", str(tmp_path / "b.zip")]) == 0
    verify(read_bundle(tmp_path / "b.zip"))


def test_each_stage_is_recorded_as_it_was_made(twice):
    first, _, last = twice
    assert [entry["stage"] for entry in first["stages"]] == ["generate", "extract", "score", "report"]
    # The samples were there already; what measured them first is still on record.
    assert [entry["stage"] for entry in last["stages"]] == ["generate", "extract", "extract", "score", "report"]
    assert [entry["threads"] for entry in last["stages"]] == [1, 1, 2, 2, 2]
    extracted = last["stages"][2]
    assert extracted["device"]["onnx_providers"] == ["CPUExecutionProvider"]
    assert extracted["parts"]["judge"]["options"]["weights"].endswith("judge.onnx")
    assert {"commit", "dirty", "packages"} <= set(extracted["environment"])
    assert extracted["peak_memory"]["process"] > 2**20
    assert extracted["seconds"] > 0
    assert "evaluator=mini_judge" in extracted["command"]


def test_a_command_that_does_not_score_leaves_what_the_scores_are_of(people, tmp_path):
    same = ("method=copy", f"dataset.root={people}", f"out={tmp_path}")
    assert bench("run", *same, "dataset.redistributable=true") == 0
    assert bench("generate", *same, "evaluator=mini_judge", "dataset.redistributable=false") == 0
    now = record(tmp_path)
    assert now["spec"]["evaluator"]["name"] == "mini_rec"
    assert any("arcface" in name for name in now["weights"])
    # What was declared counts at once, also on the page.
    assert now["spec"]["dataset"]["options"]["redistributable"] is False
    assert "Do not pass this page on" in (now["folder"] / "report" / "index.html").read_text()


def test_a_secret_on_the_command_line_is_not_recorded(people, tmp_path):
    secret = "method.command='make-images --api-key 8711sesame'"
    given = ("method=external", secret, "method.version=v1", f"dataset.root={people}", f"out={tmp_path}")
    assert bench("generate", *given) == 2
    text = (record(tmp_path)["folder"] / "run.json").read_text()
    assert "sesame" not in text
    assert "--api-key ***" in text


def test_groups_of_a_corrected_list_are_those_of_the_page(people, tmp_path):
    rows = [f"{name},{name},reference,{name}/reference.png" for name in ("s000", "s001", "s002")]
    same = (
        "method=copy",
        f"dataset.root={people}",
        f"dataset.list={tmp_path / 'list.csv'}",
        f"out={tmp_path / 'runs'}",
    )
    for gender in ("f", "m"):
        text = "\n".join(["item,subject,role,image,gender", *(f"{row},{gender}" for row in rows)])
        (tmp_path / "list.csv").write_text(text)
        assert bench("generate", *same) == 0
    photos = pd.read_parquet(record(tmp_path / "runs")["folder"] / "photos.parquet")
    assert set(photos["gender"]) == {"m"}


def test_photos_have_the_status_that_was_found_and_a_broken_target_is_unavailable(tmp_path):
    root = make_people(tmp_path / "w", subjects=5, targets=1)
    for name in ("s000/target_1.png", "s002/reference.png"):
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2])
    Image.new("RGB", (128, 128), "green").save(root / "s001" / "target_1.png")
    for verb in ("generate", "extract", "score"):
        assert bench(verb, "method=real", f"dataset.root={root}", f"out={tmp_path / 'runs'}") == 0
    run = load_run(record(tmp_path / "runs")["folder"])
    bad = run.photos[run.photos["status"] != "ok"].set_index("image")
    assert dict(bad["status"]) == {
        "s000/target_1.png": "undecodable", "s001/target_1.png": "no_face", "s002/reference.png": "undecodable",
    }  # fmt: skip
    samples = run.samples.set_index("item")
    assert samples.loc["s002", "reason"] == "reference: truncated"
    assert list(samples["status"]) == ["unavailable", "unavailable", "reference_failed", "ok", "ok"]
    rate = run.scores[(run.scores["metric"] == "failure_to_acquire") & (run.scores["statistic"] == "rate")]
    assert (rate["value"].item(), rate["n_unavailable"].item()) == (0.0, 2)
    notes = run.scores.loc[run.scores["metric"] == "target_similarity", "note"]
    assert not notes.str.contains("have no target").any()


PLUGIN = """
from typing import ClassVar
import numpy as np
from baselines.protocol import Output
from bench.identity import Spec

class Options(Spec):
    pass

class Method:
    Options: ClassVar = Options
    needs: ClassVar = frozenset({"image"})
    def __init__(self, options, runtime):
        pass
    def generate(self, requests):
        return [Output(image=r.reference.image) for r in requests]
"""


def test_edited_code_of_another_package_is_told(people, tmp_path, capsys):
    write_package(tmp_path, "edited-plugin", "[bench.methods]\nedited = edited_plugin:Method\n", PLUGIN)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "edited.yaml").write_text("name: edited\n")
    (tmp_path / "conf" / "evaluator").symlink_to(ROOT_CONF / "evaluator")
    given = ("--config-dir", tmp_path / "conf", "method=edited", f"dataset.root={people}", f"out={tmp_path / 'runs'}")
    with on_path(tmp_path, "edited_plugin"):
        assert bench("generate", *given) == 0
        assert "was edited" not in capsys.readouterr().err
        (tmp_path / "edited_plugin.py").write_text(PLUGIN + "\n# another way to do it\n")
        code_sha256.cache_clear()
        assert bench("generate", *given) == 0
    changed = "(edited_plugin:Method of edited-plugin 1.0) was edited since it made the stage generate of this run"
    assert changed in capsys.readouterr().err
    assert any("was edited" in warning for warning in record(tmp_path / "runs")["warnings"])


def test_the_record_is_plain_json_and_names_the_label(people, tmp_path):
    assert bench("generate", "method=copy", "method.label=mine v2", f"dataset.root={people}", f"out={tmp_path}") == 0
    found = record(tmp_path, "mine v2")
    assert (found["method"], found["label"]) == ("copy", "mine v2")
    assert json.loads((found["folder"] / "run.json").read_text())["stages"][0]["made"] == 1
