"""The configurations of the diffusion methods, and what importing them costs."""

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from bench import registry
from bench.identity import mark_of
from tests.shared import ROOT

METHODS = {
    "arc2face": {"embedding:arcface"},
    "fastcomposer": {"image"},
    "instantid": {"embedding:glintr100", "image", "face"},
    "ip_adapter_faceid_plus": {"embedding:w600k_r50", "image", "face"},
    "ip_adapter_faceid_plusv2": {"embedding:w600k_r50", "image", "face"},
    "ip_adapter_faceid_sdxl": {"embedding:w600k_r50"},
    "photomaker": {"image"},
    "photomaker_v2": {"image", "embedding:w600k_r50"},
}
PANEL = {"arcface", "glintr100", "w600k_r50", "adaface_ir101_webface12m", "adaface_ir101_ms1mv3"}


@pytest.mark.parametrize("name", METHODS)
def test_configuration(name):
    config = OmegaConf.merge({"weights_dir": "w"}, OmegaConf.load(ROOT / "conf" / "method" / f"{name}.yaml"))
    plain = OmegaConf.to_container(config, resolve=True)
    options_class = registry.get("methods", name).Options
    options = options_class(**{k: v for k, v in plain.items() if k not in ("name", "card", "weights_dir")})
    assert getattr(options, "needs", registry.get("methods", name).needs) == METHODS[name]
    assert options.needs <= registry.get("methods", name).needs if hasattr(options, "needs") else True
    assert plain["name"] == name
    relations = plain["card"]["relations"]
    assert set(relations) == PANEL
    asked = {need.removeprefix("embedding:") for need in METHODS[name] if need.startswith("embedding:")}
    assert {k for k, v in relations.items() if v == "conditioned"} == asked
    assert plain["card"]["licence"]
    assert plain["card"]["training_sets"]


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_marked(name):
    options = registry.get("methods", name).Options
    assert all(mark_of(options, field) for field in options.model_fields)


def test_importing_loads_no_heavy_package():
    heavy = {"torch", "diffusers", "transformers", "cv2", "safetensors", "PIL"}
    names = sorted(METHODS)
    code = f"import sys; from bench import registry; [registry.get('methods', n) for n in {names}]; "
    code += f"print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"
