"""The project's own table: every entry well formed, and what it claims consistent with itself."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import ValidationError

from bench import assets
from bench.cli.fetch import KINDS, select
from bench.fetching.transport import check_url

TABLE = assets.read_table(assets.TABLE)
OF_2025 = [
    "consistentid",
    "flux2_klein",
    "flux_kontext",
    "qwen_image_edit_plus",
    "pulid_flux",
    "infiniteyou_aes",
    "infiniteyou_sim",
    "withanyone",
]
METHODS = (
    ["arc2face", "fastcomposer", "instantid", "photomaker", "photomaker_v2", "vec2face"]
    + OF_2025
    + [f"ip_adapter_faceid_{kind}" for kind in ("sdxl", "plus", "plusv2")]
)
OTHERS = re.findall(
    r"\w+",
    """arcface glintr100 w600k_r50 ir_se50 vec2face_r100 adaface_ir101_webface12m adaface_ir101_ms1mv3 scrfd_10g fan
    insightface68 bisenet
    parsenet lpips lpips_vgg lpips_squeeze emoca deca smirk inception dinov2 clip synth500 agedb london
    adaface_ir18_vggface2 cvlface_vit_base_webface12m facenet_vggface2 facenet_casia curricularface_glint360k
    curricularface_ms1mv2 magface_r100 edgeface_base edgeface_s_gamma_05 edgeface_xs_gamma_06 edgeface_xxs
    lvface_t_glint360k lvface_s_glint360k lvface_b_glint360k lvface_l_glint360k sface dlib crfiqa_l crfiqa_s
    ediffiqa_t sscd sixdrepnet mica clip_text aesthetic""",
)


def named(assets_):
    return pytest.mark.parametrize("asset", assets_, ids=lambda asset: asset.path)


@pytest.mark.parametrize("name", METHODS + OTHERS)
def test_every_name_of_the_suite_has_files(name):
    assert TABLE.wanted([name])


@named(TABLE.assets)
def test_an_entry_is_complete(asset):
    assert asset.licence
    assert asset.page.startswith("https://")
    assert asset.size is None or asset.size > 0
    assert asset.used_by
    assert set(asset.used_by) <= set(TABLE.needs)
    for digest in (asset.sha256, asset.archive and asset.archive.sha256):
        assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)


@named([asset for asset in TABLE.assets if asset.automatic])
def test_an_origin_is_an_address(asset):
    if asset.hub:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", asset.hub)
        assert asset.revision is None or re.fullmatch("[0-9a-f]{40}", asset.revision)
    else:
        url = asset.archive.url if asset.archive else asset.url
        check_url(url)
        assert "{" not in url
        assert "drive.google" not in urlsplit(url).netloc


@named([asset for asset in TABLE.assets if re.search(r"-[0-9a-f]{8,}\.", asset.path)])
def test_a_name_that_carries_the_hash_agrees_with_it(asset):
    """torch.hub's convention: the name ends in the first digits of the sha256."""
    assert asset.sha256.startswith(re.search(r"-([0-9a-f]{8,})\.", asset.path).group(1))


def test_no_two_files_share_a_place():
    places = [path for asset in TABLE.assets for path in asset.paths]
    assert len(places) == len(set(places))


def test_the_same_bytes_have_the_same_size():
    sizes = {}
    for asset in TABLE.assets:
        if asset.sha256 and asset.size:
            assert sizes.setdefault(asset.sha256, asset.size) == asset.size


def test_an_archive_is_the_same_wherever_it_stands():
    archives = {}
    for asset in TABLE.assets:
        if asset.archive:
            assert archives.setdefault(asset.archive.url, asset.archive) == asset.archive


def test_methods_fetch_the_recogniser_that_conditions_them():
    conditioned = {"arc2face": "arcface", "instantid": "glintr100", "photomaker_v2": "w600k_r50"}
    conditioned |= {"vec2face": "vec2face_r100", "withanyone": "glintr100"}
    conditioned |= {"infiniteyou_aes": "ir_se50", "infiniteyou_sim": "ir_se50"}
    conditioned |= {f"ip_adapter_faceid_{kind}": "w600k_r50" for kind in ("sdxl", "plus", "plusv2")}
    for method, recogniser in conditioned.items():
        assert {method, recogniser, "scrfd_10g"} == TABLE.closure([method])


def test_arc2face_brings_the_published_layout():
    paths = {asset.path for asset in TABLE.wanted(["arc2face"])}
    assert {
        "arc2face/arcface.onnx",
        "arc2face/arc2face/diffusion_pytorch_model.safetensors",
        "arc2face/encoder/pytorch_model.bin",
        "sd15/vae/diffusion_pytorch_model.safetensors",
        "sd15/tokenizer/vocab.json",
        "sd15/scheduler/scheduler_config.json",
        "insightface/scrfd_10g_bnkps.onnx",
    } <= paths
    assert not any("controlnet" in path or "text_encoder/model" in path for path in paths)


def test_every_kind_can_be_asked_for():
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(TABLE.names)
    assert select(["recogniser=arcface"], TABLE) == select(["extractor=arcface"], TABLE)
    assert select(["profile=mini"], TABLE) == []


def broken(**changes):
    source = {"folder": "f", "licence": "MIT", "use": "open", "page": "P", "used_by": ["one"], "url": "https://x/y"}
    source["files"] = [{"file": "a.bin"}]
    names = {"methods": {"one": []}, "extractors": {"net": []}}
    table = {"version": 1, "names": names, "profiles": {"p": ["one"]}, "sources": [source]}
    for key, value in changes.items():
        (source if key in {*source, "gate", "hub", "archive", "colour"} else table)[key] = value
    return yaml.safe_load(yaml.safe_dump(table))


def test_a_sound_table_is_read():
    assert assets.Table.model_validate(broken()).assets[0].path == "f/a.bin"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": [{"file": "a"}, {"file": "a"}]}, "f/a is listed twice"),
        ({"files": [{"file": "a"}, {"file": "b", "alternatives": ["a"]}]}, "f/a is listed twice"),
        ({"files": [{"file": "../a"}]}, "leaves the weights folder"),
        ({"files": [{"file": "a", "save_as": "../../a"}]}, "leaves the weights folder"),
        ({"folder": "/f"}, "leaves the weights folder"),
        ({"files": [{"file": "a", "sha256": "ABC"}]}, "64 small hex digits"),
        ({"archive": {"url": "https://x", "sha256": "0"}, "url": None}, "64 small hex digits"),
        ({"used_by": []}, "used by nobody"),
        ({"used_by": ["tow"]}, "used by tow"),
        ({"profiles": {"p": ["tow"]}}, "tow is not among the names"),
        ({"names": {"methods": {"one": ["tow"]}}}, "tow is not among the names"),
        ({"names": {"methods": {"one": []}, "extractors": {"one": []}}}, "is listed under two kinds"),
        ({"url": None}, "gate free does not go with its origin"),
        ({"gate": "manual"}, "gate manual does not go with its origin"),
        ({"hub": "a/b"}, "gate free does not go with its origin"),
        ({"files": [{"file": "a/"}]}, "a folder comes out of an archive, or by hand"),
        ({"gate": "open"}, "Input should be 'free', 'click-through', 'e-mail' or 'manual'"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_faulty_table_is_refused(changes, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        assets.Table.model_validate(broken(**changes))
