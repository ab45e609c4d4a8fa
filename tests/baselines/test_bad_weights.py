"""Wrong files and wrong embeddings: one clear line before the first sample."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines.arc2face import Arc2Face, Arc2FaceOptions
from baselines.protocol import Reference, Request
from bench import weights
from bench.errors import UserError
from tests.baselines import tiny

UNET = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return tiny.arc2face(tmp_path_factory.mktemp("weights") / "mini")


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "mini")


def make(folder, **changes):
    given = {"model": folder, "base": folder, "embedding_size": tiny.EMBEDDING, "steps": 2}
    return Arc2Face(Arc2FaceOptions(**{**given, **changes}), tiny.CPU)


def refused(folder, *words, **changes):
    with pytest.raises(UserError) as caught:
        make(folder, **changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def change(path, edit):
    state = load_file(path)
    edit(state)
    save_file(state, path, metadata={"format": "pt"})


def test_wrong_layout(folder):
    (folder / "arc2face").rename(folder / "unet")
    refused(folder, "arc2face/config.json", "fetch method=arc2face")


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "fetch method=arc2face")


def test_no_weights(folder):
    (folder / "arc2face" / UNET).unlink()
    refused(folder, "arc2face", "no weights")


def test_another_network_in_the_folder(folder):
    shutil.copytree(folder / "vae", folder / "arc2face", dirs_exist_ok=True)
    refused(folder, "AutoencoderKL", "UNet2DConditionModel")


def test_text_encoder_of_another_method(folder):
    settings = json.loads((folder / "encoder" / "config.json").read_text())
    (folder / "encoder" / "config.json").write_text(json.dumps({**settings, "architectures": ["BertModel"]}))
    refused(folder, "BertModel", "CLIPTextModel")


def test_another_base(folder):
    shutil.rmtree(folder / "arc2face")
    tiny.network(folder / "arc2face", "UNet2DConditionModel", {**tiny.UNET, "cross_attention_dim": 48}, 1)
    refused(folder, "48", "32")


def test_config_of_another_size(folder):
    path = folder / "arc2face" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "cross_attention_dim": 48}))
    refused(folder, "arc2face")


def test_missing_tensor(folder):
    change(folder / "arc2face" / UNET, lambda state: state.pop("conv_in.weight"))
    refused(folder, "conv_in.weight")


def test_foreign_tensor(folder):
    change(folder / "arc2face" / UNET, lambda state: state.update({"extra.weight": torch.zeros(1)}))
    refused(folder, "extra.weight", "another method")


def test_missing_text_tensor(folder):
    path = folder / "encoder" / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    torch.save({k.replace("fc1", "fc9"): v for k, v in state.items()}, path)
    refused(folder, "fc9")


def test_nan(folder):
    change(folder / "arc2face" / UNET, lambda state: state["conv_in.bias"].fill_(float("nan")))
    refused(folder, "conv_in.bias", "not finite")


def test_broken_file(folder):
    (folder / "arc2face" / UNET).write_bytes(b"<html>not found</html>")
    refused(folder, "arc2face")


def split(folder):
    """The UNet in two shards."""
    state = load_file(folder / "arc2face" / UNET)
    names = sorted(state)
    shards = {"a.safetensors": names[: len(names) // 2], "b.safetensors": names[len(names) // 2 :]}
    for file, keys in shards.items():
        save_file({k: state[k] for k in keys}, folder / "arc2face" / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {k: file for file, keys in shards.items() for k in keys}}
    (folder / "arc2face" / f"{UNET}.index.json").write_text(json.dumps(index))
    (folder / "arc2face" / UNET).unlink()


def test_shards(folder, good):
    split(folder)
    one, other = make(folder).unet.state_dict(), make(good).unet.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_missing_shard(folder):
    split(folder)
    (folder / "arc2face" / "b.safetensors").unlink()
    refused(folder, "b.safetensors", "shard")


def test_fp16_file_is_upcast(folder, good):
    path = folder / "arc2face" / UNET
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    method = make(folder)
    assert method.unet.dtype == torch.float32
    expected = make(good).unet.conv_in.weight.half().float()
    assert torch.equal(method.unet.conv_in.weight, expected)


def test_old_names_of_attention(folder, good):
    """Stable Diffusion 1.5's VAE still has them."""
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def rename(state):
        for key in list(state):
            for new, name in old.items():
                if new in key:
                    state[key.replace(new, name)] = state.pop(key)

    change(folder / "vae" / UNET, rename)
    assert any("proj_attn" in key for key in load_file(folder / "vae" / UNET))
    one, other = make(folder).vae.state_dict(), make(good).vae.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_fp16_needs_a_gpu(good):
    refused(good, "method.precision=fp32", precision="fp16")


class Code:
    def __reduce__(self):
        return (print, ("ran",))


def test_pickled_code_does_not_run(folder, capsys):
    path = folder / "encoder" / "pytorch_model.bin"
    torch.save({"text_model.final_layer_norm.bias": Code()}, path)
    refused(folder, "encoder")
    assert "ran" not in capsys.readouterr().out
    with pytest.raises(UserError, match="bench convert"):
        weights.read(path)


def test_tokenizer_without_the_word(folder):
    shutil.rmtree(folder / "tokenizer")
    tiny.tokenizer(folder / "tokenizer", "xx")
    refused(folder, "'id'")


def test_not_a_tokenizer(folder):
    (folder / "tokenizer" / "vocab.json").write_text("[]")
    refused(folder, "tokenizer")


def test_adapter_of_another_method(good, tmp_path):
    torch.save({"id_encoder": {}, "lora_weights": {}}, tmp_path / "a.bin")
    refused(good, "id_encoder", exp_adapter=tmp_path / "a.bin", expression=(0.0,) * 55)


def test_adapter_of_another_base(good, tmp_path):
    path = tiny.adapter(tmp_path / "a.bin", 55, width=48)
    refused(good, "another base", exp_adapter=path, expression=(0.0,) * 55)


def test_adapter_that_reads_something_else(good, tmp_path):
    path = tiny.adapter(tmp_path / "a.bin", 54)
    refused(good, "54", exp_adapter=path, expression=(0.0,) * 55)


def test_lora_of_another_base(good, tmp_path):
    path = tiny.lora(tmp_path / "lora.safetensors")
    change(path, lambda state: state.update({k: v.repeat(1, 2) for k, v in state.items() if "lora_down" in k}))
    refused(good, "lora.safetensors", lcm_lora=path)


def test_lora_with_nothing_in_it(good, tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora_te_nothing.lora_down.weight": torch.ones(4, 4)}, path)
    refused(good, "lora.safetensors", lcm_lora=path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.ones(tiny.EMBEDDING + 1, np.float32), ("17", "16")),
        (np.zeros(tiny.EMBEDDING, np.float32), ("zero",)),
        (np.full(tiny.EMBEDDING, np.nan, np.float32), ("not finite",)),
    ],
)
def test_embeddings(good, rows, words):
    method, calls = make(good), []
    method.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    fine = tiny.requests(1, 1)
    with pytest.raises(UserError) as caught:
        method.generate([*fine, Request(Reference("nobody", "s", embeddings={"arcface": rows}), 0, 0, "")])
    assert all(word in str(caught.value) for word in (*words, "nobody"))
    assert not calls


def test_no_embedding(good):
    with pytest.raises(UserError, match="no embedding of 'arcface'"):
        make(good).generate([Request(Reference("nobody", "s"), 0, 0, "")])


def test_embedding_wider_than_the_encoder(good):
    refused(good, "too narrow", embedding_size=33)


def test_embedding_file(good, tmp_path):
    (tmp_path / "e.npy").write_bytes(b"no")
    refused(good, "e.npy", embedding=tmp_path / "e.npy")
