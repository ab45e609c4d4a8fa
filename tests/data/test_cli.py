import json

import pytest

from bench.cli.data import counter, main
from bench.data.lists import read_list
from bench.errors import UserError
from bench.images import read_image
from tests.data.bad_inputs import PORTRAITS, two_faces
from tests.data.images import put
from tests.shared import SHARED, needs

WEIGHTS = SHARED / "weights" / "retinaface_mobile0.25.pth"


@pytest.fixture
def root(tmp_path):
    for number, size in enumerate((9, 30, 20)):
        put(tmp_path / "photos" / f"{number}_Anna_{number + 20}_f.png", size, size)
    return tmp_path / "photos"


def run(capsys, *argv):
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def test_agedb400(root, tmp_path, capsys):
    out = tmp_path / "out" / "list.csv"
    (root / "notes.png").write_text("x")
    said = run(capsys, "agedb400", "--root", root, "--out", out, "--count", 2)
    assert said == (
        f"{out}: 2 items of 1 subjects, 0 targets\n  'notes.png': not named {{id}}_{{Name}}_{{age}}_{{m|f}}\n"
    )
    assert read_list(out)["image"].tolist() == ["1_Anna_21_f.png", "2_Anna_22_f.png"]


@pytest.mark.parametrize(
    ("command", "options", "items", "targets"),
    [
        ("agedb400", ["--count", "3"], 3, 0),
        ("agedb400", ["--count", "1", "--one-per-subject", "--min-age", "22"], 1, 0),
        ("synth500", ["--count", "3"], 3, 0),
        ("folder", [], 3, 0),
    ],
)
def test_json(root, tmp_path, capsys, command, options, items, targets):
    out = tmp_path / "list.csv"
    summary = json.loads(run(capsys, command, "--root", root, "--out", out, "--json", *options))
    assert summary["list"] == str(out)
    assert (summary["items"], summary["targets"], summary["remarks"]) == (items, targets, [])
    assert len(read_list(out)) == items + targets


def test_london(tmp_path, capsys):
    for view in ("01", "03", "08"):
        put(tmp_path / "set" / f"001_{view}.jpg")
    said = run(capsys, "london", "--root", tmp_path / "set", "--out", tmp_path / "l.csv")
    assert said.endswith("1 items of 1 subjects, 1 targets\n")
    said = run(capsys, "london", "--root", tmp_path / "set", "--out", tmp_path / "l.csv", "--profiles")
    assert said.endswith("1 items of 1 subjects, 2 targets\n")


def test_remove(root, tmp_path, capsys):
    run(capsys, "folder", "--root", root, "--out", tmp_path / "lists" / "a.csv")
    places = ("--runs", tmp_path / "runs", "--lists", tmp_path / "lists")
    said = run(capsys, "remove", "1_Anna_21_f", *places, "--dry-run")
    assert said == f"would remove 1 rows of {tmp_path / 'lists' / 'a.csv'}\n"
    summary = json.loads(run(capsys, "remove", "1_Anna_21_f", *places, "--json"))
    assert summary["lists"] == {str(tmp_path / "lists" / "a.csv"): 1}
    assert len(read_list(tmp_path / "lists" / "a.csv")) == 2


def test_mini(tmp_path, capsys):
    pytest.importorskip("bench.mini.dataset")
    out = tmp_path / "mini"
    said = run(capsys, "mini", "--out", out, "--subjects", 2, "--targets", 1, "--size", 64)
    assert said == f"{out}: 2 subjects, one reference and 1 targets each\n"
    assert len(list(out.glob("*/*.png"))) == 4


@pytest.mark.parametrize("argv", [[], ["agedb"], ["folder"], ["agedb400", "--root", "x", "--out", "y", "--count", "0"]])
def test_wrong_arguments(argv):
    with pytest.raises(UserError, match=r"`python -m bench data.* --help` shows what there is"):
        main(argv)


def test_user_errors(tmp_path):
    with pytest.raises(UserError, match="no folder of images"):
        main(["folder", "--root", str(tmp_path / "gone"), "--out", str(tmp_path / "x.csv")])
    assert not (tmp_path / "x.csv").exists()


def test_detector_settings():
    assert counter(None, []) is None
    for name, settings, message in [
        (None, ["weights=x"], "--set weights=x is for a detector; give one with --detector NAME"),
        ("retinafase", [], "unknown detector 'retinafase'; did you mean 'retinaface'"),
        ("retinaface", ["threshold"], "--set threshold: give it as KEY=VALUE"),
        ("retinaface", [], r"--set weights: .*; known: .*threshold"),
        ("retinaface", ["weights=x", "treshold=1"], r"--set treshold: .*; known: .*threshold"),
    ]:
        with pytest.raises(UserError, match=message):
            counter(name, settings)


@needs(WEIGHTS)
@needs(PORTRAITS[0])
def test_counting_faces_with_a_real_detector(tmp_path):
    count = counter("retinaface", [f"weights={WEIGHTS}", "network=mobile0.25"])
    assert count(read_image(PORTRAITS[0])) == 1
    two_faces().save(tmp_path / "two.png")
    assert count(read_image(tmp_path / "two.png")) == 2
    put(tmp_path / "none.png", 200, 200)
    assert count(read_image(tmp_path / "none.png")) == 0
