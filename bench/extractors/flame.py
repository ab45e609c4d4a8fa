"""FLAME parameters of a face: expression, global rotation and jaw, by EMOCA v2, DECA or SMIRK.

Only encoders are needed to compare parameters: no FLAME model, no renderer. The three networks have
different parameter spaces: numbers of one must not be compared with numbers of another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import State, fill, load_state, pixels, select
from bench.runtime import Runtime

if TYPE_CHECKING:
    from torch import Tensor, nn

E_FLAME = {"shape": 100, "texture": 50, "expression": 50, "rotation": 3, "jaw": 3, "camera": 3, "light": 27}
"""DECA's 236 outputs in order. The light is (9, 3); the camera is scale, x and y of a weak perspective."""

SMIRK_TRUNKS = {576: "tf_mobilenetv3_small_minimal_100", 960: "tf_mobilenetv3_large_minimal_100"}
"""Channels of the last feature map -> timm's name."""

JAW_TURN = 0.2
"""Radians: SMIRK's bound for the jaw's sideways turn and roll."""


class FlameOptions(Spec):
    """Options of the FLAME encoders.

    Attributes:
        weights: DECA: `deca_model.tar`. EMOCA v2: what `python -m bench convert` makes of the `EMOCA_v2_lr_mse_20`
            checkpoint. Or a file in the same layout.
        view: the crop it reads.
        batch: crops at a time.
    """

    weights: WeightFile
    view: Annotated[str, IDENTITY] = "flame224"
    batch: Annotated[int, Field(gt=0), RECORDED] = 8


class SmirkOptions(Spec):
    """Options of SMIRK.

    Attributes:
        weights: `SMIRK_em1.pt`, or a file in the same layout.
        view: the crop it reads.
        size: pixels of a side at which the network sees the crop: 224 for the official file.
        batch: crops at a time.
    """

    weights: WeightFile
    view: Annotated[str, IDENTITY] = "flame224"
    size: Annotated[int, Field(gt=0), IDENTITY] = 224
    batch: Annotated[int, Field(gt=0), RECORDED] = 8


class Code(NamedTuple):
    """What a network says of b faces.

    Attributes:
        expression: (b, 50) FLAME expression coefficients.
        rotation: (b, 3) global rotation, axis-angle, radians.
        jaw: (b, 3) jaw rotation, axis-angle, radians.
        camera: (b, 3) scale, x, y.
        eyelids: (b, 2) FLAME's left and right, 0 open to 1 closed; None where the network has none.
    """

    expression: Tensor
    rotation: Tensor
    jaw: Tensor
    camera: Tensor
    eyelids: Tensor | None = None


def columns(code: Code) -> dict[str, NDArray[np.float32]]:
    """Return the code as columns of a feature table.

    Returns:
        "feature": (b, 56): expression, rotation and jaw, as `bench.metrics.functional.flame` lays them out; the other
        columns are (b,): camera and, where the network has them, eyelids.
    """
    import torch

    named = {"feature": torch.cat([code.expression, code.rotation, code.jaw], dim=1)}
    named |= dict(zip(("cam_scale", "cam_x", "cam_y"), code.camera.unbind(1), strict=True))
    if code.eyelids is not None:
        named |= dict(zip(("eyelid_left", "eyelid_right"), code.eyelids.unbind(1), strict=True))
    return {name: value.cpu().numpy() for name, value in named.items()}


def _extract(encode: Callable[[Tensor], Code], crops: Crops, device: str) -> dict[str, NDArray[np.float32]]:
    import torch

    with torch.inference_mode():
        return columns(encode(pixels(crops, device)))


class Deca:
    """DECA (Feng et al., SIGGRAPH 2021): one ResNet-50 for everything. Input RGB in [0, 1], 224, no mean and std."""

    Options = FlameOptions
    role: ClassVar[str] = "flame"
    pairwise: ClassVar[bool] = False

    def __init__(self, options: FlameOptions, runtime: Runtime) -> None:
        state = load_state(options.weights)
        self.flame = deca_encoder(state, "E_flame", f"{options.weights} (DECA)").to(runtime.device)
        self.device = runtime.device

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return columns (see `columns`) of (b, 224, 224, 3) RGB crops, float32 in [0, 1] or uint8."""
        return _extract(self.encode, crops, self.device)

    def encode(self, images: Tensor) -> Code:
        """Return the code of (b, 3, 224, 224) float32 RGB in [0, 1]."""
        return _flame_code(self.flame(images))


class Emoca:
    """EMOCA v2 (Danecek et al., CVPR 2022): expression by its own ResNet-50, pose by the frozen encoder of DECA.

    Input RGB in [0, 1], 224, no mean and std. The released model's expression encoder answers 50 numbers; shape,
    rotation, jaw and camera are DECA's (radekd91/emoca#25, #33).
    """

    Options = FlameOptions
    role: ClassVar[str] = "flame"
    pairwise: ClassVar[bool] = False

    def __init__(self, options: FlameOptions, runtime: Runtime) -> None:
        state = load_state(options.weights)
        source = f"{options.weights} (EMOCA)"
        self.flame = deca_encoder(state, "E_flame", source).to(runtime.device)
        self.expression = deca_encoder(state, "E_expression", source).to(runtime.device)
        self.device = runtime.device

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return columns (see `columns`) of (b, 224, 224, 3) RGB crops, float32 in [0, 1] or uint8."""
        return _extract(self.encode, crops, self.device)

    def encode(self, images: Tensor) -> Code:
        """Return the code of (b, 3, 224, 224) float32 RGB in [0, 1]."""
        return _flame_code(self.flame(images))._replace(expression=self.expression(images))


def _flame_code(flame: Tensor) -> Code:
    parts = dict(zip(E_FLAME, flame.split(list(E_FLAME.values()), dim=1), strict=True))
    return Code(parts["expression"], parts["rotation"], parts["jaw"], parts["camera"])


def deca_encoder(state: State, name: str, source: str) -> nn.Module:
    """Build an encoder of DECA or EMOCA, (b, 3, 224, 224) -> (b, 236) for "E_flame" and (b, 50) for "E_expression".

    ResNet-50 without its classifier, 7x7 average pool, Linear 2048-1024, ReLU, Linear 1024-n; by torchvision's names,
    as the official checkpoints have them: `E_flame.*` in DECA's, `deca.E_flame.*` in EMOCA's.
    """
    import torch
    from torch import nn
    from torchvision.models import resnet50

    outputs = sum(E_FLAME.values()) if name == "E_flame" else E_FLAME["expression"]
    with torch.device("meta"):
        trunk = resnet50()
        trunk.avgpool = nn.AvgPool2d(7)
        trunk.fc = nn.Identity()
        layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, outputs))
    network = nn.Sequential(OrderedDict(encoder=trunk, layers=layers))
    prefixes = [f"{wrapper}{name}." for wrapper in ("", "deca.", "state_dict.deca.")]
    fill(network, select(state, *prefixes), f"{source}: {name}")
    return network


class Smirk:
    """SMIRK (Retsinas et al., CVPR 2024): MobileNetV3 regressors. Input RGB in [0, 1], 224, no mean and std.

    A crop of another size than the network's is scaled to it first (bilinear, antialiased).
    The size of each trunk is read off the file. The shape encoder is not loaded and may be absent: no metric reads it.
    """

    Options = SmirkOptions
    role: ClassVar[str] = "flame"
    columns: ClassVar[Mapping[str, str]] = {"feature": "flame", "eyelid_left": "eyelid", "eyelid_right": "eyelid"}
    pairwise: ClassVar[bool] = False

    def __init__(self, options: SmirkOptions, runtime: Runtime) -> None:
        state = load_state(options.weights)
        source = f"{options.weights} (SMIRK)"
        self.pose = smirk_encoder(state, "pose_encoder", "pose_cam_layers", 6, source).to(runtime.device)
        self.expression = smirk_encoder(state, "expression_encoder", "expression_layers", 55, source).to(runtime.device)
        self.size = options.size
        self.device = runtime.device

    def extract(self, crops: Crops) -> dict[str, NDArray[np.float32]]:
        """Return columns (see `columns`) of (b, 224, 224, 3) RGB crops, float32 in [0, 1] or uint8."""
        return _extract(self.encode, crops, self.device)

    def encode(self, images: Tensor) -> Code:
        """Return the code of (b, 3, 224, 224) float32 RGB in [0, 1]."""
        import torch

        if self.size != images.shape[-1]:
            images = torch.nn.functional.interpolate(images, (self.size,) * 2, mode="bilinear", antialias=True)
        rotation, camera = _regress(self.pose, images).split([3, 3], dim=1)
        expression, eyelids, opening, turn = _regress(self.expression, images).split([50, 2, 1, 2], dim=1)
        jaw = torch.cat([opening.relu(), turn.clamp(-JAW_TURN, JAW_TURN)], dim=1)
        return Code(expression, rotation, jaw, camera, eyelids.clamp(0, 1))


def smirk_encoder(state: State, name: str, head: str, outputs: int, source: str) -> nn.ModuleDict:
    """Build an encoder of SMIRK: a timm trunk and a linear layer of `outputs` rows.

    Raises:
        UserError: the file lacks the encoder, or holds one of another layout.
    """
    import timm
    import torch
    from torch import nn

    part = select(state, f"{name}.", f"smirk_encoder.{name}.")
    weight = part.get(f"{head}.0.weight")
    if weight is None or weight.shape[-1] not in SMIRK_TRUNKS:
        found = "is missing" if weight is None else f"reads {weight.shape[-1]} channels"
        raise UserError(
            f"{source}: {name}.{head}.0.weight {found}; expected a SMIRK head that reads 576 or 960 channels"
        )
    with torch.device("meta"):
        trunk = timm.create_model(SMIRK_TRUNKS[weight.shape[-1]], pretrained=False, features_only=True)
        layers = nn.Sequential(nn.Linear(weight.shape[-1], outputs))
    network = nn.ModuleDict({"encoder": trunk, head: layers})
    fill(network, part, f"{source}: {name}")
    return network


def _regress(encoder: nn.ModuleDict, images: Tensor) -> Tensor:
    trunk, head = encoder.values()
    output: Tensor = head(trunk(images)[-1].mean(dim=(2, 3)))
    return output
