"""The verb `check`: verdicts, settings before numbers, the golden file, and what CI systems read."""

import json
from xml.etree import ElementTree

import pytest

from bench import registry
from bench.__main__ import main as bench
from bench.cli.check import main as check
from bench.errors import UserError
from bench.metrics.protocol import Number
from bench.report.golden import Tolerance, Verdict, judge, read_golden, spread, write_golden
from tests.guard.scored import NUMBERS, WEIGHTS, scored, settings
from tests.shared import ROOT

MEAN, Q05, FID, GROUPS = NUMBERS


@pytest.fixture
def golden(tmp_path):
    path = tmp_path / "golden.json"
    assert check([str(scored(tmp_path / "first")), "--golden", str(path), "--update"]) == 0
    return path


def run(golden, *options, **changes):
    """Checks a run that differs by `changes`; the exit code."""
    folder = scored(golden.parent / "now", **changes)
    return check([str(folder), "--golden", str(golden), *options])


def found(golden, capsys, *options, **changes):
    """Exit code and what `--json` says."""
    capsys.readouterr()
    code = run(golden, "--json", *options, **changes)
    return code, json.loads(capsys.readouterr().out)


def verdicts(plain):
    return {row["number"]: row["said"] for row in plain["numbers"]}


def changed_settings(path, value):
    """Settings with one of them changed; `path` is dotted."""
    whole = settings()
    *way, last = path.split(".")
    part = whole
    for step in way:
        part = part[step]
    part[last] = value
    return whole


def test_the_same_run_passes(golden, capsys):
    capsys.readouterr()
    assert run(golden) == 0
    assert capsys.readouterr().out == "4 of 4 numbers hold\n"


def test_the_file_is_readable_sorted_and_whole(golden):
    text = golden.read_text()
    plain = json.loads(text)
    assert text == json.dumps(plain, indent=2, sort_keys=True) + "\n"
    assert plain["scores"]["fid[inception].distance"]["value"] == 20
    assert plain["scores"]["groups.mean_detected"]["value"] is None
    assert plain["identity"]["evaluator"]["recognisers"]["arcface"]["options"]["weights"] == WEIGHTS
    assert plain["identity"]["dataset"]["content"] == "c" * 64
    assert plain["identity"]["metrics"] == {"fid": 1, "groups": 1, "id_similarity": 1}
    assert plain["made"]["platform"] == "here"
    assert plain["tolerances"]["default"]["absolute"] == spread().default.absolute


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({"numbers": {MEAN: (0.51, 0.45, 0.55)}}, "id_similarity[arcface].mean_detected", "changed"),
        ({"numbers": {MEAN: (0.5, 0.40, 0.55)}}, "id_similarity[arcface].mean_detected", "interval was"),
        ({"numbers": {MEAN: (0.5, None, None)}}, "id_similarity[arcface].mean_detected", "interval was"),
        ({"numbers": {MEAN: (None, None, None)}}, "id_similarity[arcface].mean_detected", "now n/a"),
        ({"numbers": {GROUPS: (0.1, None, None)}}, "groups.mean_detected", "was n/a"),
        ({"numbers": {Q05: ("gone", None, None)}}, "id_similarity[arcface].q05", "missing"),
        ({"numbers": {Number("kid", "inception", "plain"): (0.0, None, None)}}, "kid[inception].plain", "new"),
        ({"counts": {FID: {"n_failed": 3}}}, "fid[inception].distance", "n_failed was 2, is 3"),
        ({"counts": {GROUPS: {"n": 49}}}, "groups.mean_detected", "n was 50, is 49"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_number_is_said(golden, capsys, changes, name, verdict):
    code, plain = found(golden, capsys, **changes)
    assert code == 1
    wrong = {number: text for number, text in verdicts(plain).items() if text != "ok"}
    assert list(wrong) == [name]
    assert wrong[name].startswith(verdict)


def test_the_table_names_metric_golden_now_tolerance_and_verdict(golden, capsys):
    capsys.readouterr()
    assert run(golden, numbers={FID: (21.0, 18.0, 22.0)}) == 1
    header, row, end = capsys.readouterr().out.splitlines()
    assert header.split() == ["metric", "golden", "now", "tolerance", "verdict"]
    assert row.split()[0::4] == ["fid[inception].distance", "changed"]
    assert row.split()[1:3] == ["20", "21"]
    assert end == "3 of 4 numbers hold"


def test_rounding_between_platforms_is_allowed_and_more_is_not(golden):
    allowed = spread().default.around(0.5)
    assert run(golden, numbers={MEAN: (0.5 + 0.9 * allowed, 0.45, 0.55)}) == 0
    assert run(golden, numbers={MEAN: (0.5 + 1.1 * allowed, 0.45, 0.55)}) == 1


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("metrics.fid", 2, "metric version"),
        ("identity.evaluator.recognisers.arcface.options.weights", "b" * 64, "weights"),
        ("identity.protocol.views.fill", [1, 1, 1], "protocol"),
        ("identity.protocol.name", "q", "protocol"),
        ("dataset.content", "e" * 64, "photos or list"),
        ("identity.dataset.options.limit", 3, "dataset"),
        ("identity.method.options.steps", 20, "method"),
        ("identity.method.options.new", None, "method"),
    ],
)
def test_another_setting_is_named_and_no_number_is_judged(golden, capsys, path, value, kind):
    code, plain = found(golden, capsys, comparable=changed_settings(path, value), numbers={MEAN: (0.9, 0.45, 0.55)})
    assert code == 1
    [change] = plain["changes"]
    assert change["path"] == path.removeprefix("identity.")
    assert change["kind"] == kind
    assert plain["numbers"] == []


def test_numbers_are_judged_in_spite_of_other_settings_on_request(golden, capsys):
    other = changed_settings("metrics.fid", 2)
    code, plain = found(golden, capsys, "--judge-anyway", comparable=other)
    assert code == 0
    assert len(plain["changes"]) == 1
    assert len(plain["numbers"]) == 4
    assert run(golden, "--judge-anyway", comparable=other, numbers={FID: (30.0, 18.0, 22.0)}) == 1


def test_a_metric_that_only_one_side_has_keeps_no_number_from_being_judged(golden, capsys):
    code, plain = found(
        golden,
        capsys,
        comparable=changed_settings("metrics.kid", 1),
        numbers={Number("kid", "inception", "plain"): (0.0, None, None)},
    )
    assert code == 1
    assert plain["changes"] == []
    assert [number for number, verdict in verdicts(plain).items() if verdict != "ok"] == ["kid[inception].plain"]


def other_seed():
    return changed_settings("identity.protocol.seed", 1)


def test_with_another_seed_a_number_must_lie_in_its_interval(golden, capsys):
    inside = {MEAN: (0.54, 0.5, 0.6), Q05: (0.3, None, None), FID: (18.1, 16.0, 20.0)}
    code, plain = found(golden, capsys, numbers=inside, comparable=other_seed(), counts={MEAN: {"n_failed": 9}})
    assert code == 0
    assert verdicts(plain)["id_similarity[arcface].q05"] == "not judged: no interval"
    code, plain = found(golden, capsys, numbers={MEAN: (0.56, 0.5, 0.6)}, comparable=other_seed())
    assert code == 1
    assert verdicts(plain)["id_similarity[arcface].mean_detected"] == "outside the interval"


def test_a_given_tolerance_holds_with_any_seed(golden):
    far = {MEAN: (0.56, 0.45, 0.55)}
    for comparable in (settings(), other_seed()):
        assert run(golden, numbers=far, comparable=comparable) == 1
        assert run(golden, "--tolerance", "id_similarity=0.07", numbers=far, comparable=comparable) == 0
        assert run(golden, "--tolerance", "id_similarity[arcface].mean_detected=15%", numbers=far) == 0
    assert run(golden, "--tolerance", "0.07", numbers=far) == 0
    assert run(golden, "--tolerance", "0.07", numbers={FID: (20.1, 18.0, 22.0)}) == 1
    assert run(golden, "--tolerance", "0.07", "--tolerance", "fid=0.2", numbers={FID: (20.1, 18.0, 22.0)}) == 0


def test_tolerances_written_into_the_file_count_and_stay(golden):
    plain = json.loads(golden.read_text())
    plain["tolerances"]["given"] = {"fid": {"relative": 0.1}}
    golden.write_text(json.dumps(plain))
    assert run(golden, numbers={FID: (21.5, 18.0, 22.0)}) == 0
    assert run(golden, "--update", numbers={FID: (21.5, 18.0, 22.0)}) == 0
    assert read_golden(golden).tolerances.given == {"fid": Tolerance(relative=0.1)}


def test_update_shows_the_difference_and_then_the_check_passes(golden, capsys):
    capsys.readouterr()
    changes = {"numbers": {FID: (25.0, 18.0, 22.0)}, "comparable": changed_settings("metrics.fid", 2)}
    assert run(golden, "--update", **changes) == 0
    out = capsys.readouterr().out
    assert "metric version" in out
    assert "fid[inception].distance  20      25" in out
    assert "1 of 4 numbers changed" in out
    assert run(golden, **changes) == 0


def test_the_spread_between_platforms_becomes_the_tolerance(golden, tmp_path):
    there = scored(tmp_path / "there", numbers={FID: (20.004, 18.0, 22.007)}, platform="there")
    assert run(golden, "--update", "--spread", str(there)) == 0
    tolerances = read_golden(golden).tolerances
    assert tolerances.metrics == {"fid": Tolerance(absolute=0.03)}
    assert "here" in tolerances.measured
    assert "there" in tolerances.measured
    assert check([str(there), "--golden", str(golden)]) == 0


def test_a_spread_over_other_settings_is_refused(golden, tmp_path):
    other = scored(tmp_path / "other", comparable=changed_settings("metrics.fid", 2))
    with pytest.raises(UserError, match=r"metrics\.fid"):
        run(golden, "--update", "--spread", str(other))


def test_github_gets_an_escaped_annotation_for_each_thing_and_ten_at_most(golden, capsys):
    capsys.readouterr()
    odd = {Number("id_similarity", f"50 %,a:b\n{k}", "x"): (0.1, None, None) for k in range(20)}
    assert run(golden, "--github", numbers=odd) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::error ")]
    assert len(lines) == 10
    assert "title=id_similarity[50 %25%2Ca%3Ab%0A0].x::golden n/a, now 0.1" in lines[0]
    assert lines[-1].endswith("and 11 more; the log names them")


def test_junit_has_a_case_for_each_number(golden, tmp_path):
    path = tmp_path / "deep" / "junit.xml"
    odd = {Number("fid", "<&\x00\x1b>", "x"): (0.1, None, None)}
    assert run(golden, "--junit", str(path), numbers=odd) == 1
    suite = ElementTree.parse(path).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    [failed] = [case for case in suite if case.find("failure") is not None]
    assert failed.get("name") == "fid[<&\ufffd\ufffd>].x"
    assert run(golden, "--junit", str(path), comparable=changed_settings("metrics.fid", 2)) == 1
    [case] = ElementTree.parse(path).getroot()
    assert case.get("name") == "metrics.fid"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--golden", "nowhere.json"], "--update writes it"),
        (["--golden", "{golden}", "--tolerance", "fit=1"], "did you mean 'fid'"),
        (["--golden", "{golden}", "--spread", "{golden}"], "--spread goes with --update"),
        (["--golden", "{bad}"], "not a golden file: scores"),
        (["--golden", "{text}"], "cannot read"),
        (["--golden", "{deep}"], "nested in more than 20 levels"),
        (["--golden", "{lines}"], "scores.a b.n: Input should be greater than or equal to 0"),
    ],
)
def test_a_user_s_mistake_is_one_line_and_exit_code_2(golden, capsys, options, said):
    places = {"golden": golden, "bad": golden.parent / "bad.json", "text": golden.parent / "text.json"}
    places["bad"].write_text(json.dumps({**json.loads(golden.read_text()), "scores": [1]}))
    places["text"].write_text("<html>")
    deep = json.loads('{"a": ' * 500 + "0" + "}" * 500)
    for name, change in (("deep", {"identity": deep}), ("lines", {"scores": {"a\nb": {"value": 0, "n": -5}}})):
        places[name] = golden.parent / f"{name}.json"
        places[name].write_text(json.dumps({**json.loads(golden.read_text()), **change}))
    folder = scored(golden.parent / "now")
    assert bench(["check", str(folder), *(o.format(**places) for o in options)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_no_tolerance_is_a_mistake(golden):
    for text in ("fid=", "fid=-1", "nan", "inf%"):
        with pytest.raises(UserError, match="is not a tolerance"):
            run(golden, "--tolerance", text)


def test_a_run_of_an_older_version_says_so(golden):
    old = settings()
    del old["identity"]
    with pytest.raises(UserError, match="older version"):
        run(golden, comparable=old)


BEFORE = ROOT / "tests" / "guard" / "golden_before_numbers_had_parts.json"


def test_a_golden_file_from_before_numbers_had_parts_is_read(tmp_path):
    """Its keys are still the texts of the numbers' names, and writing it again changes no byte."""
    before = read_golden(BEFORE)
    write_golden(tmp_path / "again.json", before)
    assert (tmp_path / "again.json").read_bytes() == BEFORE.read_bytes()
    for number in (
        Number("lpips_diversity", "lpips", "mean_items", "1e-2", "verified arcface"),
        Number("verification", "judge", "fnmr", "1e-3"),
        Number("failure_to_acquire", "", "rate"),
        Number("groups", "", "mean_detected"),
    ):
        assert str(number) in before.scores
    rows = judge(before, before, before.tolerances)
    assert {row.verdict for row in rows} == {Verdict.OK}
    assert len(rows) == len(before.scores) > 90


STORED = sorted((ROOT / "reports" / "golden").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_golden_file_is_of_these_metrics_and_sorted(path):
    stored = read_golden(path)
    versions = stored.identity["metrics"]
    assert versions == {name: registry.get("metrics", name).version for name in versions}
    assert (
        path.read_text(encoding="utf-8")
        == json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    )
