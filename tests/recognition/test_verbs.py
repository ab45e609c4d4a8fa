"""The verbs identities, faceset and recognition: one-line errors, help, and a way through."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.__main__ import main
from bench.facesets.recordio import _payload, _put
from bench.recognition import testing
from bench.recognition.pairs import STANDARD
from tests.facesets.crops import crop, write
from tests.recognition.test_pairs import save


def call(capsys, *arguments):
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as ended:
        code = ended.code
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["identities", "fitt"], "unknown command 'identities fitt'; did you mean 'identities fit'?"),
        (["identities", "fit", "fit.lenght=raw"], "unknown key fit.lenght; did you mean fit.length?"),
        (["identities", "fit", "fit.length=long"], "fit.length='long'"),
        (["identities", "sample"], "sample.fit is the folder of a fit"),
        (["identities", "sample", "sample.within.law=cone"], "sample.within.law='cone'"),
        (["faceset", "make"], "faceset.identities is missing"),
        (["faceset", "import", "faceset.source=none"], "no face set in none"),
        (["faceset", "export", "faceset.set=none", "faceset.to=x"], "none is not a whole face set"),
        (["recognition", "train"], "recognition.faces is missing"),
        (["recognition", "train", "recipe=adaface"], "unknown recipe 'adaface'; did you mean 'adaface_casia'?"),
        (["recognition", "train", "recipe.batch=1", "recognition.faces=x"], "recipe.batch=1"),
        (["recognition", "test"], "give recognition.pairs=DIR"),
        (["recognition", "gate", "recognition.published=mine"], "unknown published recogniser 'mine'"),
        (["generate", "experiment=table2"], "experiment=table2 runs as a whole"),
        (["run", "experiment=table2", "table2.seed=3"], "unknown key table2.seed"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


def an_oblong(folder):
    sink = io.BytesIO()
    Image.new("RGB", (112, 96)).save(sink, "PNG")
    save(folder / "lfw.bin", [crop(0, 0), sink.getvalue()], [True])


def records(folder, labels, cut=None):
    with (folder / "train.rec").open("wb") as file:
        for key, label in enumerate(labels):
            _put(file, _payload(key, (label,), crop(key, 0)))
    if cut:
        (folder / "train.rec").write_bytes((folder / "train.rec").read_bytes()[:cut])


def a_label(folder, label):
    pq.write_table(pa.table({"image": [{"bytes": crop(0, 0)}], "label": [label]}), folder / "a.parquet")


def one_image_each(folder):
    write(folder, ((0, 1, 2),), images=1)


PAIRS = ["recognition", "test", "recognition.pairs=.", "recognition.sets=[lfw]", "recognition.recognisers=[judge]"]
IMPORT = ["faceset", "import", "faceset.source=."]
TRAIN = ["recognition", "train", "recognition.faces=.", "recipe=mini", "recipe.batch=2"]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda folder: save(folder / "lfw.bin", [crop(0, 0)] * 3, [True]), PAIRS, "lfw.bin: 3 images for 1 labels"),
        (an_oblong, PAIRS, "image 1 (pair 0) has 112 x 96 pixels; a crop must be square"),
        (lambda folder: save(folder / "lfw.bin", [Hostile()], [True]), PAIRS, "it asks for builtins.print"),
        (lambda folder: records(folder, [0.0, 1.0], cut=-9), IMPORT, "train.rec: record 1 is truncated"),
        (lambda folder: records(folder, [0.0, np.nan]), IMPORT, "record 1 has the label nan"),
        (lambda folder: records(folder, [0.0, 3e9]), IMPORT, "image 1 of the set has the label 3000000000"),
        (lambda folder: a_label(folder, -1), IMPORT, "image 0 of the set has the label -1"),
        (lambda folder: a_label(folder, "ada"), IMPORT, "image 0 of the set has the label 'ada'"),
        (one_image_each, TRAIN, "0 crops of 0 identities with at least 2: too few"),
        (one_image_each, ["faceset", "check", "faceset.set=."], "no two crops of one identity"),
    ],
)
def test_bad_files_are_one_line(capsys, tmp_path, monkeypatch, make, arguments, message):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    errors = [line for line in err.splitlines() if line.startswith("error")]
    assert (code, len(errors)) == (2, 1), err
    assert message in errors[0]
    assert "executed" not in out
    assert "Traceback" not in err


@pytest.mark.parametrize("verb", ["identities", "faceset", "recognition"])
def test_help_names_commands_and_keys(capsys, verb):
    code, out, _ = call(capsys, verb, "--help")
    assert code == 0
    assert f"usage: python -m bench {verb} COMMAND" in out
    assert {"identities": "threshold: 0.3", "faceset": "spares: 5", "recognition": "margin: 0.4"}[verb] in out


def test_help_shows_the_recipe_that_is_asked_for(capsys):
    assert "name: arcface" in call(capsys, "recognition", "train", "recipe=vec2face", "--help")[1]


@pytest.mark.parametrize("recipe", ["adaface_casia", "cvlface", "vec2face", "idiff_face", "insightface_wf4m", "mini"])
def test_every_recipe_is_valid(recipe):
    from bench.cli.configured import composed
    from bench.recognition.recipe import parse
    from bench.spec import plain

    found = parse(plain(composed("recognition", [f"recipe={recipe}"]))["recipe"])
    assert (found.name, found.precision) == (recipe, "fp32")


def test_from_embeddings_to_people(capsys, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32))
    code, out, err = call(
        capsys, "identities", "fit", f"fit.vectors={tmp_path}", f"fit.to={tmp_path}/fit", f"out={tmp_path}"
    )
    assert (code, "of 16 components" in out) == (0, True), err
    arguments = [
        f"sample.fit={tmp_path}/fit",
        f"sample.to={tmp_path}/people",
        "sample.groups=[[5,3]]",
        "sample.threshold=0.9",
    ]
    code, out, err = call(capsys, "identities", "sample", *arguments, "sample.within={law: angular, amount: 20}")
    assert (code, "5 people, 15 images" in out) == (0, True), err


def test_sets_there_and_back(capsys, tmp_path):
    faces = write(tmp_path / "set")
    to = tmp_path / "rec"
    assert (
        call(capsys, "faceset", "export", f"faceset.set={faces}", "faceset.format=recordio", f"faceset.to={to}")[0] == 0
    )
    code, out, err = call(capsys, "faceset", "import", f"faceset.source={to}", "faceset.label=mine", f"out={tmp_path}")
    assert (code, "9 crops of 3 identities" in out) == (0, True), err


def test_the_panel_is_tested_and_compared(capsys, tmp_path):
    images = [crop(k % 5, k) for k in range(80)]
    save(tmp_path / "lfw.bin", images, [bool(k % 2) for k in range(40)])
    sets = [f"recognition.pairs={tmp_path}", "recognition.sets=[lfw]", "recognition.batch=16"]
    code, out, err = call(capsys, "recognition", "test", "recognition.recognisers=[arcface,judge]", *sets)
    assert code == 0, err
    assert "40 pairs, not the 6000 of the public file" in out
    assert "McNemar" in out


def test_the_gate_holds_each_recogniser_against_its_own_accuracy(capsys, tmp_path, monkeypatch):
    images = [crop(k % 5, k) for k in range(40)]
    save(tmp_path / "lfw.bin", images, [bool(k % 2) for k in range(20)])
    sets = [f"recognition.pairs={tmp_path}", "recognition.sets=[lfw]", "recognition.batch=16"]
    known = {
        "judge": testing.Published({"lfw": 0.1, "cfp_fp": 0.9}, "its paper"),
        "arcface": testing.Published({}, "its authors gave none"),
        "perfect": testing.Published({"lfw": 1.0}, "a dream"),
    }
    monkeypatch.setattr(testing, "published", lambda: known)
    code, out, err = call(capsys, "recognition", "gate", "recognition.recognisers=[judge,arcface]", *sets)
    assert code == 0, err
    assert "arcface: not tested, no accuracy is published (its authors gave none)" in out
    assert "judge against its paper" in out
    both = "recognition.recognisers=[judge,arcface]"
    code, out, err = call(capsys, "recognition", "gate", both, "recognition.published=perfect", *sets)
    assert code == 2
    assert "judge, arcface: below the published accuracy" in err
    code, out, err = call(capsys, "recognition", "gate", "recognition.recognisers=[arcface]", *sets)
    assert code == 2
    assert "none of these recognisers has a published accuracy" in err


def test_the_accuracy_of_every_recogniser_of_a_panel_is_stored_or_said_to_be_unknown():
    from bench.cli.run import spec_of

    known = testing.published()
    panel = spec_of(["profile=paper", "evaluator=panel2026"]).evaluator.recognisers
    assert {name for name, one in panel.items() if one.options.view == "arcface112"} <= set(known)
    assert sum(bool(one.accuracies) for one in known.values()) == 13
    for one in known.values():
        assert one.source
        assert set(one.accuracies) <= set(STANDARD)
        assert all(0.89 < value <= one.accuracies["lfw"] < 1 for value in one.accuracies.values())
    assert known["edgeface_base"].accuracies["calfw"] == 0.9607
