"""The verbs identities, faceset and recognition: one-line errors, help, and a way through."""

import numpy as np
import pytest

from bench.__main__ import main
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
    code, out, err = call(capsys, "recognition", "gate", "recognition.recognisers=[judge]", *sets)
    assert code == 2
    assert "judge: below the published accuracy" in err
