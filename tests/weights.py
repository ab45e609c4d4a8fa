"""Random weights in the official layouts, for tests of loading and of inputs: the answers mean nothing."""

from functools import lru_cache

import torch

from tests.parity.formula import parameter


@lru_cache(maxsize=2)
def deca(name):
    """E_flame or E_expression, by their official keys without the name."""
    from torchvision.models import resnet50

    rows = {"E_flame": 236, "E_expression": 50}[name]
    with torch.device("meta"):
        trunk = resnet50()
        trunk.fc = torch.nn.Identity()
        layers = torch.nn.Sequential(torch.nn.Linear(2048, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, rows))
    return state_of(torch.nn.ModuleDict({"encoder": trunk, "layers": layers}), name)


def state_of(network, name="tests", dtype=torch.float32):
    """A state dict with well-scaled numbers for a network, which may lie on the device "meta"."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return {key: number(name, key, shape).to(dtype) for key, shape in shapes.items() if not key.endswith("tracked")}


def number(name, key, shape):
    return torch.from_numpy(parameter(name, key, shape))


def lpips_trunk(net):
    """torchvision's trunk of LPIPS, by its official keys, with a piece of the classifier."""
    from torchvision import models

    with torch.device("meta"):
        whole = {"alex": models.alexnet, "vgg": models.vgg16, "squeeze": models.squeezenet1_1}[net]()
    features = {f"features.{key}": value for key, value in state_of(whole.features, net).items()}
    return features | {"classifier.1.bias": torch.zeros(3)}


def inception(*parts):
    """FID-Inception's state dict; only `parts` of it where they are named."""
    from bench.extractors.inception import _whole

    with torch.device("meta"):
        whole = _whole()
    state = state_of(whole, "inception")
    return {key: value for key, value in state.items() if not parts or key.startswith(parts)}


TRUNK_192 = ("Conv2d_1a_3x3.", "Conv2d_2a_3x3.", "Conv2d_2b_3x3.", "Conv2d_3b_1x1.", "Conv2d_4a_3x3.")


def smirk(pose="small", expression="large"):
    """SMIRK's pose and expression encoders with trunks of the named sizes, and no shape encoder."""
    return _smirk(pose, "pose_encoder", "pose_cam_layers", 6) | _smirk(
        expression, "expression_encoder", "expression_layers", 55
    )


def _smirk(size, name, head, rows):
    import timm

    with torch.device("meta"):
        trunk = timm.create_model(f"tf_mobilenetv3_{size}_minimal_100", features_only=True)
        layers = torch.nn.Sequential(torch.nn.Linear({"small": 576, "large": 960}[size], rows))
    state = state_of(torch.nn.ModuleDict({"encoder": trunk, head: layers}), name)
    return {f"{name}.{key}": value for key, value in state.items()}


def facenet():
    """FaceNet by the keys of facenet-pytorch, with the classifier that its file holds too."""
    from bench.extractors.inception_resnet import InceptionResnetV1

    with torch.device("meta"):
        return state_of(InceptionResnetV1(), "facenet") | {"logits.bias": torch.zeros(3)}


@lru_cache(maxsize=1)
def iresnet50():
    """insightface's network by its own keys."""
    from bench.extractors.iresnet import ENDS, UNIT, IResNet
    from bench.extractors.layouts import LAYOUTS

    with torch.device("meta"):
        state = state_of(IResNet("iresnet50"), "iresnet50")
    names = {inner: outer for outer, inner in ENDS.items()}
    for stage, count in enumerate(LAYOUTS["iresnet50"].units, start=1):
        first = sum(LAYOUTS["iresnet50"].units[: stage - 1])
        blocks = [(f"body.{first + index}.", f"layer{stage}.{index}.") for index in range(count)]
        names |= {f"{ours}{inner}": f"{theirs}{outer}" for ours, theirs in blocks for outer, inner in UNIT.items()}
    return {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}


def crfiqa():
    """CR-FIQA(S): the same with a head for the quality."""
    return iresnet50() | {"qs.weight": number("crfiqa", "qs.weight", (1, 512)), "qs.bias": torch.zeros(1)}


def edgeface():
    """EdgeFace's smallest network."""
    import timm

    with torch.device("meta"):
        network = timm.create_model("edgenext_xx_small", num_classes=512)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    weights = {key: shape for key, shape in shapes.items() if key.endswith((".weight", ".bias"))}
    others = {key: torch.full(shapes[key], 0.5) for key in shapes if key not in weights}
    return {
        f"model.{key}": value
        for key, value in ({k: number("edgeface", k, s) for k, s in weights.items()} | others).items()
    }


def cvlface_vit():
    """CVLface's small transformer with KP-RPE."""
    from bench.extractors.kprpe_vit import SIZES, Transformer

    with torch.device("meta"):
        network = Transformer(SIZES["small"], kprpe=True)
    position = network.state_dict()["pos_embed"].shape
    del network.pos_embed
    state = state_of(network, "cvlface") | {"pos_embed": torch.zeros(position)}
    return {f"model.net.{key}": value for key, value in state.items()}


def sscd():
    """SSCD's ResNet-50 by the keys of its plain file."""
    from bench.extractors.sscd import descriptor

    with torch.device("meta"):
        return {f"backbone.{key}": value for key, value in state_of(descriptor(), "sscd").items()}


def sixdrepnet():
    """6DRepNet360."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        state = state_of(resnet50(num_classes=6), "6drepnet")
    return {key.replace("fc.", "linear_reg."): value for key, value in state.items()}


def bisenet():
    from facexlib.parsing.bisenet import BiSeNet

    with torch.device("meta"):
        return state_of(BiSeNet(19), "bisenet")


SMALL_PARSENET = {"in_size": 64, "out_size": 64, "min_feat_size": 16, "base_ch": 8, "res_depth": 2, "ch_range": [8, 24]}


def parsenet(**configuration):
    from facexlib.parsing.parsenet import ParseNet

    with torch.device("meta"):
        return state_of(ParseNet(**(configuration or SMALL_PARSENET)), "parsenet")


def dinov2(folder, image_size=70):
    """A tiny DINOv2 in Hugging Face layout."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=image_size, patch_size=14
    )
    model = Dinov2Model(config)
    model.load_state_dict(state_of_transformer(model, "dinov2"))
    model.save_pretrained(folder)


def clip(folder):
    """A tiny CLIP, with its text half, in Hugging Face layout."""
    from transformers import CLIPConfig, CLIPModel

    width = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    vision = {**width, "image_size": 56, "patch_size": 14, "projection_dim": 16}
    text = {**width, "projection_dim": 16, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    model.load_state_dict(state_of_transformer(model, "clip"))
    model.save_pretrained(folder)


def state_of_transformer(model, name):
    """Every tensor small and different, whatever its role."""
    return {key: 0.2 * number(name, f"{key}.bias", tuple(v.shape)) * 50 for key, v in model.state_dict().items()}
