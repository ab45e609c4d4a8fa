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
    # The metrics' modules need pandas, which loads pyarrow; the other lists and the help need neither.
    assert done.stderr.strip() == ("['pyarrow']" if "metrics" in arguments else "[]")
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
        (["method=folder", "method.root=PHOTOS", "method.pattern='{index}.png'", ROOT_OPTION], "a pattern has {item}"),
        (["method=folder", "method.root=PHOTOS", "method.pattern='{item}_{no}'", ROOT_OPTION], "a pattern has {item}"),
        (["method=external", ROOT_OPTION], "method.command is missing"),
        (["method=external", "method.command=''", "method.version=v1", ROOT_OPTION], "method.command=''"),
        (
            ["method=external", "method.command=a", "method.version=v1", "method.timeout=0", ROOT_OPTION],
            "greater than 0",
        ),
        (["method.label=a/b", ROOT_OPTION], "method.label='a/b': it names a folder"),
        (["method.label=photos", ROOT_OPTION], "must not be one of"),
        (["dataset.label=mine/v2", ROOT_OPTION], "dataset.label='mine/v2': it names a folder"),
        (["dataset.label=../../escaped", ROOT_OPTION], "dataset.label='../../escaped'"),
        (["dataset.label=compare", ROOT_OPTION], "must not be one of"),
        (["dataset.limit=0", ROOT_OPTION], "dataset.limit=0"),
        (["dataset.references=some", ROOT_OPTION], "dataset.references='some'"),
        (["dataset.list=no/such.csv", ROOT_OPTION], "no/such.csv"),
        (["dataset.list=FILE", ROOT_OPTION], "line 1: no column item"),
        (["dataset.root=FILE"], "no folder of images at"),
        (["dataset.root=EMPTY"], "no photo in"),
        (["protocol.seed=-1", ROOT_OPTION], "protocol.seed=-1: input should be greater"),
        (["+protocol.sampels=3", ROOT_OPTION], "did you mean samples_per_item?"),
        (["protocol.metrics=[fid,fid]", ROOT_OPTION], "name each one once; twice: fid"),
        (["protocol.metrics=[fdi]", ROOT_OPTION], "unknown metric 'fdi'; did you mean 'fid'"),
        (["protocol.metrics=[fid]", ROOT_OPTION], "metric fid needs a network of the role inception"),
        (["protocol.reference_set=no/such", ROOT_OPTION], "no/such"),
        (["protocol=papr"], "unknown protocol 'papr'"),
        (["profile=papr"], "unknown profile 'papr'; did you mean 'paper'"),
        (["evaluator.recognisers.toy.view=arcface113", ROOT_OPTION], "did you mean 'arcface112'"),
        (["evaluator.recognisers.toy.name=arcfac_onnx", ROOT_OPTION], "did you mean 'arcface_onnx'"),
        (["evaluator.detector.weights=no/such.onnx", ROOT_OPTION], "no file at no/such.onnx"),
        (["protocol.views.transform_size=4096", ROOT_OPTION], "is not an ONNX network that can be run"),
        (["execution.device=banana", ROOT_OPTION], "execution.device='banana'; allowed: cpu, cuda"),
        (["execution.device=cuda:x", ROOT_OPTION], "execution.device='cuda:x'; allowed"),
        (["execution.device=cuda:99", ROOT_OPTION], "execution.device=cuda:99 cannot be used: torch"),
        (["execution.workers=0", ROOT_OPTION], "execution.workers=0"),
        (["execution.threads=none", ROOT_OPTION], "execution.threads='none'"),
        (["execution.on_existing=maybe", ROOT_OPTION], "execution.on_existing='maybe'"),
        (["execution.retry=all", ROOT_OPTION], "execution.retry='all'"),
        (["out=FILE/below", ROOT_OPTION], "not a directory"),
        (["out=/proc/nothing", ROOT_OPTION], "/proc/nothing"),
        (["-m", "method=copy,copy", ROOT_OPTION], "asks for copy on folder twice"),
        (["-m", "protocol.seed=0,-1", ROOT_OPTION], "protocol.seed=-1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)  # which Hydra's application is given
    write_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "photos" / "anna.png", {})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no list of photos")
    places = {"PHOTOS": tmp_path / "photos", "EMPTY": tmp_path / "empty", "FILE": tmp_path / "file"}
    for word, place in places.items():
        arguments = [argument.replace(word, str(place)) for argument in arguments]
    arguments = [*toy_evaluator(tmp_path), *arguments] if "--config-dir" not in arguments else arguments
    dataset = [] if any(a.startswith("dataset=") for a in arguments) else ["dataset=folder"]
    given = [f"out={tmp_path}"] if not any(a.startswith("out=") for a in arguments) else []
    assert main(["run", "method=copy", *dataset, *given, *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize(
    "override",
    [
        "method.steps=3",
        pytest.param("method.lcm_lora=lora.safetensors", marks=pytest.mark.exhaustive),
        pytest.param("+method.batch=2", marks=pytest.mark.exhaustive),
    ],
)
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
        (["report", "no/such"], "is not the folder of a run"),
        (["compare", "no/such", "nor/this"], "is not the folder of a run"),
        (["compare", "--out", "no/such"], "no/such is not a folder"),
        (["compare", "--uot", "x"], "unrecognized arguments: --uot"),
        (["report", "--out"], "expected one argument"),
        (["export"], "arguments are required: RUN"),
        (["export", "no/such"], "is not the folder of a run"),
        (["check", "no/such", "--golden", "no/such.json"], "no/such"),
        (["data", "folder", "--root", "no/such", "--out", "x.csv"], "no folder of images at no/such"),
        (["data", "mini", "--out", "/proc/x", "--subjects", "1"], "/proc/x"),
        (["data", "mini", "--out", "x", "--subjects", "many"], "invalid _positive value"),
        (["doctor", "--depe"], "unrecognized arguments: --depe"),
        (["leaderboard", "no/such"], "no/such"),
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
        store.shard_table(folder, "samples").write(shard, pd.DataFrame({"row": [shard]}))
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


@pytest.mark.exhaustive
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
