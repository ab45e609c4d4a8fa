"""The table of relations: what follows from it for every method that the project ships, and what it refuses."""

import json

import pytest
import yaml
from hydra import compose, initialize_config_dir
from pydantic import ValidationError

from bench import assets, registry, relations, resources
from bench.cli import ls
from bench.cli.run import register_resolvers
from bench.errors import UserError
from bench.relations import Relations, refuse_unknown
from bench.spec import Card, resolve

TABLE = relations.table()
CONTROLS = ("copy", "real", "shuffle")
UNDECLARED = ("external", "folder")
PAPERS_SEVEN = (
    "arc2face", "fastcomposer", "instantid", "ip_adapter_faceid_plus", "ip_adapter_faceid_plusv2",
    "ip_adapter_faceid_sdxl", "photomaker",
)  # fmt: skip
FACEID = ("ip_adapter_faceid_plus", "ip_adapter_faceid_plusv2", "ip_adapter_faceid_sdxl", "photomaker_v2")

WEBFACE = {"arcface", "w600k_r50", "adaface_ir101_webface12m", "cvlface_vit_base_webface12m", "edgeface_base",
           "edgeface_s_gamma_05", "edgeface_xs_gamma_06", "edgeface_xxs"}  # fmt: skip
LVFACE = {f"lvface_{size}_glint360k" for size in "tsbl"}
GLINT = {"glintr100", "curricularface_glint360k", "mica", "vec2face_r100", *LVFACE}
MS_CELEB = {"adaface_ir101_ms1mv3", "curricularface_ms1mv2", "magface_r100", "crfiqa_l", "ir_se50"}
INDEPENDENT = {"judge", "adaface_ir18_vggface2", "facenet_vggface2", "ediffiqa_t", "facenet_casia", "crfiqa_s", "dlib"}
EXPECTED = {
    "arc2face": ({"arcface"}, WEBFACE),
    "instantid": ({"glintr100"}, GLINT | MS_CELEB),
    **{method: ({"w600k_r50"}, WEBFACE) for method in FACEID},
    "consistentid": ({"w600k_r50"}, WEBFACE),
    "uniportrait": ({"curricularface_glint360k"}, GLINT | MS_CELEB),
    "vec2face": ({"vec2face_r100"}, GLINT | MS_CELEB | WEBFACE),
    "pulid_flux": ({"glintr100"}, GLINT | MS_CELEB),
    "withanyone": ({"glintr100"}, GLINT | MS_CELEB),
    "infiniteyou_aes": ({"ir_se50"}, GLINT | MS_CELEB),
    "infiniteyou_sim": ({"ir_se50"}, GLINT | MS_CELEB),
}
"""Method -> the recogniser that it is conditioned on, and all that share a family of photographs with it."""


def related(method, relation):
    return {name for name in TABLE.recognisers if TABLE.of(method, name) == relation}


def test_the_groups_above_are_the_whole_table():
    assert {*WEBFACE, *GLINT, *MS_CELEB, *INDEPENDENT, "sface"} == set(TABLE.recognisers)


def test_every_method_that_we_ship_is_there():
    # Tests register methods of their own.
    ours = {name for name, target in registry.BUILT_IN["methods"].items() if target.startswith("baselines.")}
    assert ours - set(TABLE.methods) == set(UNDECLARED)


@pytest.mark.parametrize("method", EXPECTED)
def test_conditioned_and_same_training_data(method):
    conditioned, family = EXPECTED[method]
    assert related(method, "conditioned") == conditioned
    assert related(method, "same_training_data") == family - conditioned
    assert related(method, "trained_against") == set()


@pytest.mark.parametrize("method", ["arc2face", "instantid", *FACEID, "consistentid", "uniportrait", "vec2face"])
def test_the_rest_is_independent_but_for_a_recogniser_of_unknown_training(method):
    assert related(method, "unknown") == {"sface"}
    assert related(method, "none") >= INDEPENDENT


@pytest.mark.parametrize("method", [*CONTROLS, "fastcomposer", "photomaker"])
def test_what_no_recogniser_had_to_do_with_is_independent_of_all(method):
    assert related(method, "none") == set(TABLE.recognisers)


@pytest.mark.parametrize("method", UNDECLARED)
def test_what_declares_nothing_is_unknown_to_all(method):
    assert related(method, "unknown") == set(TABLE.recognisers)


@pytest.mark.parametrize("method", ["pulid_flux", "infiniteyou_aes", "withanyone", "flux_kontext"])
def test_unknown_losses_leave_nothing_independent(method):
    assert related(method, "none") == set()


def test_the_headline():
    panel = ["arcface", "adaface_ir101_ms1mv3", "glintr100", "w600k_r50", "adaface_ir18_vggface2", "facenet_vggface2"]
    assert TABLE.independent(PAPERS_SEVEN, panel) == ["adaface_ir18_vggface2", "facenet_vggface2"]
    shipped = set(TABLE.methods) & set(registry.BUILT_IN["methods"])
    stated = [name for name in shipped if TABLE.methods[name].losses != relations.UNKNOWN]
    assert TABLE.independent(stated, panel)[0] == "adaface_ir18_vggface2"
    assert TABLE.independent(shipped, panel) == []
    assert TABLE.independent(["arc2face"], panel)[0] == "adaface_ir101_ms1mv3"
    assert TABLE.independent([*PAPERS_SEVEN, "folder"], panel) == []


@pytest.mark.parametrize("evaluator", ["paper", "panel", "panel2026"])
def test_every_recogniser_of_an_evaluator_has_its_training_set(evaluator):
    names = yaml.safe_load((resources.folder("conf") / "evaluator" / f"{evaluator}.yaml").read_text())["recognisers"]
    assert set(names) <= set(TABLE.recognisers)
    assert not any("trained_on" in options for options in names.values())


def test_an_evaluators_own_training_set_comes_first():
    assert TABLE.of("arc2face", "mine", "WebFace4M") == "same_training_data"
    assert TABLE.of("arc2face", "mine", "VGGFace2") == "none"
    assert TABLE.of("arc2face", "mine") == "unknown"
    assert TABLE.of("arc2face", "mine", "photos of my own") == "unknown"
    assert TABLE.of("fastcomposer", "mine", "photos of my own") == "none"


def small(**changes):
    content = {
        "sets": {"a": ["one"], "b": ["one", "two"], "c": ["two"], "d": ["three"]},
        "recognisers": {"ra": "a", "rb": "b", "rc": "c", "rd": "d", "rx": "unknown"},
        "methods": {"m": {"conditioned_on": ["ra"], "losses": ["rc"]}, "u": {"conditioned_on": ["rx"]}},
    }
    return Relations.model_validate(content | changes)


def test_losses_and_families():
    assert [small().of("m", name) for name in ("ra", "rb", "rc", "rd", "rx")] == [
        "conditioned", "same_training_data", "trained_against", "none", "unknown",
    ]  # fmt: skip
    assert small().of("u", "rd") == "unknown"


def test_an_override_wins():
    by_hand = {"method": "m", "recogniser": "ra", "relation": "none", "because": "a test"}
    assert small(overrides=[by_hand]).of("m", "ra") == "none"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recognisers": {"ra": "aa"}, "methods": {}}, "ra: unknown training set 'aa'"),
        ({"methods": {"m": {"conditioned_on": ["rq"]}}}, "m: unknown recogniser 'rq'; known: "),
        ({"methods": {"m": {"trained": ["ra"]}}}, "Extra inputs are not permitted"),
        (
            {"overrides": [{"method": "m", "recogniser": "q", "relation": "none", "because": "x"}]},
            "the override of m and q",
        ),
        ({"overrides": [{"method": "m", "recogniser": "ra", "relation": "free", "because": "x"}]}, "Input should be"),
    ],
)
def test_a_faulty_table_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        small(**changes)


def test_a_card_may_not_name_what_nobody_has():
    refuse_unknown({"glintr100": "none", "mine": "none", "*": "unknown"}, ["mine"], "folder")
    with pytest.raises(UserError, match="card of folder: 'glint100'; did you mean 'glintr100'"):
        refuse_unknown({"glint100": "none"}, ["mine"], "folder")


def composed(*overrides):
    """The spec of a run as the command composes it; files need not be there."""
    with initialize_config_dir(str(resources.folder("conf")), version_base=None):
        register_resolvers()
        return resolve(compose("config", list(overrides)))


def specs(*overrides):
    return composed("profile=paper", "dataset=synth500", *overrides)


@pytest.mark.parametrize("method", [*PAPERS_SEVEN, "photomaker_v2", *CONTROLS])
def test_a_run_knows_the_relation_to_every_recogniser_of_its_evaluator(method):
    spec = specs("evaluator=panel", f"method={method}")
    expected = {name: TABLE.of(method, name) for name in spec.evaluator.recognisers}
    assert spec.method.card.relations == expected
    assert len(expected) > 12
    assert {name: spec.method.card.relation(name) for name in expected} == expected


def test_the_paper_profile_has_a_headline_for_its_seven():
    cards = [specs(f"method={method}").method.card for method in PAPERS_SEVEN]
    independent = [
        name
        for name in specs("method=copy").evaluator.recognisers
        if {card.relation(name) for card in cards} == {"none"}
    ]
    assert independent == ["adaface_ir18_vggface2"]


def test_what_a_card_says_by_hand_comes_first():
    root = "method.root=/tmp"
    card = specs("method=folder", root, "++method.card.relations={arcface: conditioned}").method.card
    assert card.relations == {
        "arcface": "conditioned", "adaface_ir101_ms1mv3": "unknown", "adaface_ir18_vggface2": "unknown",
    }  # fmt: skip
    card = Card(relations={"arcface": "conditioned", "*": "none"}).completed("folder", {"arcface": "", "sface": ""})
    assert (card.relation("arcface"), card.relation("sface"), card.relation("dlib")) == ("conditioned", "none", "none")


def test_a_run_refuses_a_card_that_names_what_nobody_has():
    with pytest.raises(UserError, match="card of arc2face: 'arcfase'; did you mean 'arcface'"):
        specs("method=arc2face", "++method.card.relations={arcfase: none}")


def test_the_embedded_worlds_judge_is_independent_of_its_arc2face():
    assert composed().method.card.relations == {"arcface": "conditioned", "judge": "none"}


def test_ls_prints_what_a_method_knows_of_each_recogniser(capsys):
    assert ls.main(["recognisers", "--for", "instantid", "--json"]) == 0
    printed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["relation"] for name, row in printed.items()} == {
        name: TABLE.of("instantid", name) for name in TABLE.recognisers
    }
    assert printed["glintr100"]["trained on"] == "Glint360K"
    with pytest.raises(UserError, match="unknown method 'instantids'; did you mean 'instantid'"):
        ls.main(["recognisers", "--for", "instantids"])
    with pytest.raises(UserError, match="--for goes with recognisers"):
        ls.main(["metrics", "--for", "instantid"])


@pytest.mark.parametrize("evaluator", ["paper", "panel", "panel2026"])
def test_an_evaluators_networks_are_in_the_table_of_assets(evaluator):
    """Composed as a run composes it; every file's name is one that `fetch` knows, under its recogniser's name."""
    spec = specs(f"evaluator={evaluator}", "method=copy")
    for name, part in spec.evaluator.recognisers.items():
        path = part.options.weights.relative_to(assets.weights_folder()).as_posix()
        assert path in {asset.path for asset in assets.table().wanted([name])}
