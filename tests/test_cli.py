"""The verbs as processes: one line for a user's mistake, nothing heavy for help."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import HYDRA_VERBS, VERBS, main
from bench.images import write_png
from tests.e2e.commands import ROOT, bench, environment

HEAVY = ("torch", "cv2", "onnxruntime", "diffusers", "transformers", "matplotlib", "hydra", "numba", "pyarrow")
ROOT_OPTION = "dataset.root=PHOTOS"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ls", "methods"], ["ls", "extractors"], ["ls", "metrics", "--json"], ["ls", "datasets"]]
)
def test_help_and_lists_import_nothing_heavy(arguments):
    code = (
        "import sys; from bench.__main__ import main; code = main(sys.argv[1:]);"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in (*HYDRA_VERBS, *VERBS))


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"bench {verb}" in capsys.readouterr().out


def toy_evaluator(folder) -> list[str]:
    """An evaluator whose files exist, so that what is wrong elsewhere is found; no network is ever loaded from them."""
    (folder / "conf" / "evaluator").mkdir(parents=True)
    (folder / "weights").write_bytes(b"no network")
    part = {"weights": str(folder / "weights")}
    toy = {
        "name": "toy",
        "detector": {"name": "scrfd", **part},
        "recognisers": {"toy": {"name": "arcface_onnx", **part}},
    }
    (folder / "conf" / "evaluator" / "toy.yaml").write_text(json.dumps(toy))
    return ["--config-dir", str(folder / "conf"), "evaluator=toy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["method=copi"], "did you mean 'copy'"),
        (["dataset=foldr"], "did you mean 'folder'"),
        (["method.stpes=3"], "unknown key method.stpes; did you mean"),
        (["method=copy", "+method.stpes=3", ROOT_OPTION], "unknown key method.stpes"),
        (["method=copy", "+protocol.views.fil=3", ROOT_OPTION], "did you mean fill"),
        (["+execution.devise=cpu", ROOT_OPTION], "did you mean device"),
        (["protocol.seed=abc", ROOT_OPTION], "protocol.seed='abc'"),
        (["protocol.samples_per_item=[1]", ROOT_OPTION], "protocol.samples_per_item"),
        (["protocol.samples_per_item=0", ROOT_OPTION], "protocol.samples_per_item=0: input should be greater"),
        (["execution.shard_size=0", ROOT_OPTION], "execution.shard_size=0: input should be greater"),
        (["protocol.views.background=[19]", ROOT_OPTION], "input should be less than or equal to 18"),
        (["protocol.views.fill=[0,0,256]", ROOT_OPTION], "input should be less than or equal to 255"),
        (["method.steps=3", ROOT_OPTION], "unknown key method.steps; known"),
        (["evaluator.detector.tresh=3", ROOT_OPTION], "did you mean threshold"),
        (["execution.order=sideways", ROOT_OPTION], "execution.order='sideways'"),
        (["dataset.root=/a(b)=c"], "quote its value"),
        (["nonsense"], "write KEY=VALUE"),
        (["dataset=folder"], "dataset.root is missing"),
        (["dataset.root=no/such/folder"], "no/such/folder"),
        (["evaluator=nobody"], "unknown evaluator 'nobody'"),
        (["--config-dir", "no/such/folder"], "not found"),
        (["--multirum", ROOT_OPTION], "unrecognized arguments: --multirum"),
        (["-m", "method=copy,shuffel", ROOT_OPTION], "did you mean 'shuffle'"),
        (["method=folder", "method.root=no/such", ROOT_OPTION], "no/such"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)  # which Hydra's application is given
    write_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "photos" / "anna.png", {})
    arguments = [a.replace("PHOTOS", str(tmp_path / "photos")) for a in arguments]
    arguments = [*toy_evaluator(tmp_path), *arguments] if "--config-dir" not in arguments else arguments
    dataset = [] if any(a.startswith("dataset=") for a in arguments) else ["dataset=folder"]
    assert main(["run", "method=copy", *dataset, f"out={tmp_path}", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize("override", ["method.steps=3", "method.lcm_lora=lora.safetensors", "+method.batch=2"])
def test_an_option_that_stands_in_no_yaml_is_an_override_like_others(override, tmp_path):
    shown = bench("run", "--cfg", "job", override, cwd=tmp_path).stdout
    assert override.lstrip("+").removeprefix("method.").replace("=", ": ") in shown


def test_a_process_ends_with_that_line_and_that_code(tmp_path):
    done = bench("run", "method=copi", f"out={tmp_path}", check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "did you mean 'run'"),
        (["ls", "method"], "did you mean 'methods'"),
        (["ls", "runs", "--out", "no/such"], "no/such is not a folder"),
        (["report", "no/such"], "is no run"),
        (["compare", "no/such", "nor/this"], "is no run"),
        (["compare", "--out", "no/such"], "no/such is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_of_the_other_verbs(arguments, said, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_the_composed_config_is_shown_and_nothing_is_left_behind(tmp_path):
    seen = "method.card.relations={arcface: conditioned}"
    done = bench("run", "--cfg", "job", "method=folder", seen, "dataset=folder", cwd=tmp_path)
    assert "samples_per_item: 5" in done.stdout
    assert "arcface: conditioned" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert "method: " in bench("run", "--help", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []


def fake_run(folder, number: int, scored: bool):
    from bench import store

    store.write_json(
        folder / "run.json",
        {"method": "copy", "dataset": "d", "content": f"{number:064d}", "shards": 3, "begun": float(number)},
    )
    for shard in range(3 if scored else number % 3):
        store.table(folder, "samples").write(shard, pd.DataFrame({"row": [shard]}))
    if scored:
        store.write_json(folder / "scores" / "scores.json", {})


def test_ls_says_the_state_of_a_thousand_runs(tmp_path):
    for number in range(6):
        fake_run(tmp_path / "d" / f"copy-{number:08x}", number, scored=number % 2 == 0)
    for number in range(6, 1000):  # copies of the six kinds: the store's careful writing takes its time
        folder = shutil.copytree(tmp_path / "d" / f"copy-{number % 6:08x}", tmp_path / "d" / f"copy-{number:08x}")
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(record | {"content": f"{number:064d}", "begun": float(number)}))
    store_damage = tmp_path / "d" / "copy-000003e7" / "run.json"
    store_damage.write_text("{")
    rows = json.loads(bench("ls", "runs", "--json", "--out", tmp_path).stdout)
    assert len(rows) == 1000
    states = {row["folder"].rsplit("-", 1)[1]: row["state"] for row in rows}
    assert states["00000000"] == "complete"
    assert states["00000001"] == "partial: samples of shards 0 of 3"
    assert states["00000003"] == "partial: samples of shards none of 3"
    assert states["00000005"] == "partial: samples of shards 0-1 of 3"
    assert states["000003e7"] == "run.json is damaged"


def test_in_a_sweep_one_failing_job_does_not_stop_the_others(tmp_path):
    """A folder that vanishes between validation and the job is what a job meets later."""
    from tests.e2e.commands import PHOTOS, WITH_PHOTOS

    if not PHOTOS.exists():
        pytest.skip("photos is not here")
    broken = f"{tmp_path / 'none'}"
    done = bench(
        "generate", "-m", *WITH_PHOTOS, "method=copy", f"dataset.root={broken},{PHOTOS}", f"out={tmp_path / 'runs'}",
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(broken) in done.stderr
    assert len(list((tmp_path / "runs").glob("folder/copy-*/tables/samples/*.parquet"))) == 1
