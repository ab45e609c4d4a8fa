"""The configurations of the diffusion methods, and what importing them costs."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bench import registry, relations
from bench.cli.run import register_resolvers
from bench.identity import mark_of
from tests.shared import ROOT

METHODS = {
    "arc2face": {"embedding:arcface"},
    "consistentid": {"embedding:w600k_r50", "image"},
    "fastcomposer": {"image"},
    "flux2_klein": {"image"},
    "flux_kontext": {"image"},
    "infiniteyou_aes": {"embedding:ir_se50"},
    "infiniteyou_sim": {"embedding:ir_se50"},
    "instantid": {"embedding:glintr100", "image", "face"},
    "ip_adapter_faceid_plus": {"embedding:w600k_r50", "image", "face"},
    "ip_adapter_faceid_plusv2": {"embedding:w600k_r50", "image", "face"},
    "ip_adapter_faceid_sdxl": {"embedding:w600k_r50"},
    "photomaker": {"image"},
    "photomaker_v2": {"image", "embedding:w600k_r50"},
    "pulid_flux": {"embedding:glintr100", "image", "face"},
    "qwen_image_edit_plus": {"image"},
    "withanyone": {"embedding:glintr100", "image", "face"},
}


ONE_PRECISION = {"vec2face": {"embedding:vec2face_r100"}}
"""Small networks that compute in 32 bits everywhere."""


def composed(*overrides):
    """The method's part of the configuration."""
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)["method"]


def test_the_embedded_world_brings_weights_and_card_of_its_own():
    mini = composed()
    assert mini["name"] == "arc2face"
    assert mini["model"] == str(ROOT / "bench" / "mini" / "weights" / "arc2face")
    assert mini["card"]["licence"] == "MIT"
    assert "relations" not in mini["card"]
    assert composed("profile=paper")["model"] == "weights/arc2face"


@pytest.mark.parametrize("name", METHODS)
def test_a_cpu_computes_in_32_bits(name):
    assert composed("profile=paper", f"method={name}", "execution.device=cpu")["precision"] == "fp32"


@pytest.mark.parametrize("name", METHODS | ONE_PRECISION)
def test_configuration(name):
    plain = composed("profile=paper", f"method={name}")
    options_class = registry.get("methods", name).Options
    options = options_class(**{k: v for k, v in plain.items() if k not in ("name", "card")})
    needs = (METHODS | ONE_PRECISION)[name]
    assert getattr(options, "precision", "fp32") in (("fp32",) if name in ONE_PRECISION else ("fp16", "bf16"))
    assert getattr(options, "needs", getattr(registry.get("methods", name), "needs", None)) == needs
    assert plain["name"] == name
    assert "relations" not in plain["card"]
    asked = {need.removeprefix("embedding:") for need in needs if need.startswith("embedding:")}
    assert set(relations.table().methods[name].conditioned_on) == asked
    assert plain["card"]["licence"]
    assert plain["card"]["training_sets"]


@pytest.mark.parametrize("what", ["needs", "accepts"])
@pytest.mark.parametrize("name", sorted(registry.entries("methods")))
def test_what_a_method_declares_stands_in_one_place(name, what):
    method = registry.get("methods", name)
    assert not (hasattr(method, what) and hasattr(method.Options, what))


@pytest.mark.parametrize("name", METHODS | ONE_PRECISION)
def test_every_option_is_marked(name):
    options = registry.get("methods", name).Options
    assert all(mark_of(options, field) for field in options.model_fields)


def test_importing_loads_no_heavy_package():
    heavy = {"torch", "diffusers", "transformers", "cv2", "safetensors", "PIL"}
    names = sorted(METHODS | ONE_PRECISION)
    code = f"import sys; from bench import registry; [registry.get('methods', n) for n in {names}]; "
    code += f"print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"
