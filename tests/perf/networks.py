"""Files of the size of the official networks, in the official layouts, with numbers by a formula instead of weights.

The detector is SCRFD-10GF by its published layout (basic blocks 3, 4, 2, 3 of 56, 88, 88, 224 channels, a pyramid of
56, three shared convolutions of 80): 10 G multiply-adds at 640 x 480. It runs in full and answers with one planted
face. The three further networks of insightface's pack are stand-ins of like cost: ResNet-50 for 1k3d68,
MobileNetV2 for 2d106det and genderage.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.extractors.iresnet import IResNet
from tests.parity.formula import parameter

SALT = "perf"
BOX = (118.0, 96.0, 396.0, 468.0)
KEYPOINTS = ((193.0, 240.0), (319.0, 240.0), (256.0, 314.0), (201.0, 371.0), (313.0, 371.0))
"""The planted face: where FFHQ's alignment puts one in 512 pixels."""
CANVAS, ANCHOR = 640, (10, 10)
PLANTED = [f"{part}{level}" for part in ("scores", "places") for level in range(3)]


def formula_state(module: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """The formula's numbers for all parameters of a module."""
    slopes = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.PReLU)}
    found = {}
    for key, value in module.state_dict().items():
        if not key.endswith(("num_batches_tracked", *PLANTED)):
            array = parameter(SALT, prefix + key, tuple(value.shape), key in slopes)
            found[key] = torch.from_numpy(array).reshape(value.shape)
    return found


def filled(module: nn.Module) -> nn.Module:
    module.load_state_dict(formula_state(module), strict=False)
    return module.eval()


def conv(before: int, after: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    layers = nn.Conv2d(before, after, side, stride, side // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    return nn.Sequential(*layers)


class Basic(nn.Module):
    """A basic residual block; the shortcut averages where the stride is 2."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(before, after, stride), *conv(after, after)[:2])
        pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        changed = stride > 1 or before != after
        self.shortcut = nn.Sequential(pool, *conv(before, after, 1, 1)[:2]) if changed else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class Scrfd10(nn.Module):
    """(1, 3, 640, 640) to SCRFD's nine outputs: everywhere the same face, which has a score in one place only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 28, 2), conv(28, 28), conv(28, 56), nn.MaxPool2d(2))
        widths, blocks = (56, 88, 88, 224), (3, 4, 2, 3)
        self.stages, before = nn.ModuleList(), 56
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            units = [Basic(before, width, 2 if level else 1), *(Basic(width, width, 1) for _ in range(count - 1))]
            self.stages.append(nn.Sequential(*units))
            before = width
        self.side = nn.ModuleList(nn.Conv2d(width, 56, 1) for width in widths[1:])
        self.smooth, self.down, self.again = (nn.ModuleList(nn.Conv2d(56, 56, 3, s, 1) for _ in range(n))
                                              for s, n in ((1, 3), (2, 2), (1, 2)))  # fmt: skip
        self.towers = nn.ModuleList(nn.Sequential(conv(56, 80), conv(80, 80), conv(80, 80)) for _ in range(3))
        self.heads = nn.ModuleList(nn.Conv2d(80, 2 * (1 + 4 + 10), 3, 1, 1) for _ in range(3))
        for level, (scores, places) in enumerate(planted()):
            self.register_buffer(f"scores{level}", torch.from_numpy(scores))
            self.register_buffer(f"places{level}", torch.from_numpy(places))

    def forward(self, x):
        x, levels = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        merged = [side(feature) for side, feature in zip(self.side, levels[1:], strict=True)]
        for k in (1, 0):
            merged[k] = merged[k] + F.interpolate(merged[k + 1], scale_factor=2.0)
        merged = [smooth(level) for smooth, level in zip(self.smooth, merged, strict=True)]
        for k in (1, 2):
            merged[k] = self.again[k - 1](merged[k] + self.down[k - 1](merged[k - 1]))
        return self._rows(merged)

    def _rows(self, merged):
        rows = []
        for head, tower, level in zip(self.heads, self.towers, merged, strict=True):
            rows.append(head(tower(level)).permute(0, 2, 3, 1).reshape(-1, 15).clamp(-1, 1) * 1e-9)
        names = range(len(rows))
        scores = [row[:, :1] + getattr(self, f"scores{k}") for row, k in zip(rows, names, strict=True)]
        places = [row[:, 1:] + getattr(self, f"places{k}") for row, k in zip(rows, names, strict=True)]
        return [*scores, *(place[:, :4] for place in places), *(place[:, 4:] for place in places)]


def planted() -> list[tuple[np.ndarray, np.ndarray]]:
    """For the strides 8, 16 and 32: scores (rows, 1), and box and points (1, 14) in strides from the planted anchor."""
    found, factor = [], CANVAS / 512
    for stride in (8, 16, 32):
        scores = np.zeros((2 * (CANVAS // stride) ** 2, 1), np.float32)
        if stride == 32:
            scores[2 * (ANCHOR[1] * (CANVAS // stride) + ANCHOR[0])] = 0.9
        x, y = (place * 32.0 for place in ANCHOR)
        left, top, right, bottom = (value * factor for value in BOX)
        box = [x - left, y - top, right - x, bottom - y]
        points = [value * factor - (x, y)[axis] for point in KEYPOINTS for axis, value in enumerate(point)]
        found.append((scores, np.float32([[*box, *points]]) / stride))
    return found


def write_onnx(module: nn.Module, side: int, path: Path, outputs: Sequence[str], batch: bool = True) -> None:
    axes = {name: {0: "None"} for name in ("input.1", *outputs)} if batch else {}
    torch.onnx.export(
        filled(module), (torch.zeros(1, 3, side, side),), str(path), input_names=["input.1"],
        output_names=list(outputs), dynamic_axes=axes, opset_version=17, dynamo=False,
    )  # fmt: skip


def write_pack(root: Path) -> None:
    from torchvision.models import mobilenet_v2, resnet50

    detector = root / "insightface" / "scrfd_10g_bnkps.onnx"
    write_onnx(Scrfd10(), CANVAS, detector, [f"out{k}" for k in range(9)], batch=False)
    write_onnx(IResNet("ir_101"), 112, root / "arc2face" / "arcface.onnx", ["embedding"])
    pack = root / "models" / "antelopev2"
    pack.mkdir(parents=True)
    write_onnx(resnet50(num_classes=3309), 192, pack / "1k3d68.onnx", ["fc1"])
    write_onnx(mobilenet_v2(width_mult=0.5, num_classes=212), 192, pack / "2d106det.onnx", ["fc1"])
    write_onnx(mobilenet_v2(width_mult=0.25, num_classes=3), 96, pack / "genderage.onnx", ["fc1"])
    os.link(detector, pack / detector.name)
    os.link(root / "arc2face" / "arcface.onnx", pack / "glintr100.onnx")


def write_emoca(path: Path) -> None:
    from safetensors.torch import save_file
    from torchvision.models import resnet50

    state = {}
    for name, outputs in (("E_flame", 236), ("E_expression", 50)):
        trunk = resnet50()
        trunk.fc = nn.Identity()
        layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, outputs))
        both = nn.ModuleDict({"encoder": trunk, "layers": layers})
        state |= {f"deca.{name}.{key}": value for key, value in formula_state(both, f"{name}.").items()}
    save_file(state, path)


def torch_networks() -> dict[str, Callable[[], nn.Module]]:
    """Path below the weights folder -> the network whose state is stored there."""
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN
    from facexlib.parsing.bisenet import BiSeNet
    from torchvision.models import alexnet

    from bench.extractors.inception import _whole

    return {
        "fan/2DFAN4-11f355bf06.pth.tar": lambda: FAN(4),
        "fan/s3fd-619a316812.pth": s3fd,
        "facexlib/parsing_bisenet.pth": lambda: BiSeNet(num_class=19),
        "torchvision/alexnet-owt-7be5be79.pth": alexnet,
        "inception/pt_inception-2015-12-05-6726825d.pth": _whole,
    }


def quiet_s3fd(state: dict[str, torch.Tensor]) -> None:
    """Its scores favour the background everywhere: with numbers by a formula it would find thousands of faces."""
    for key in state:
        if key.endswith("mbox_conf.bias"):
            state[key] = torch.zeros_like(state[key])
            state[key][0 if len(state[key]) == 2 else slice(0, 3)] = 60.0


def write_all(root: Path) -> None:
    """All files, as `weights_dir` has them, and below `hub/checkpoints` once more for the packages that look there."""
    from safetensors.torch import save_file

    for folder in ("insightface", "arc2face", "adaface", "emoca", "hub/checkpoints"):
        (root / folder).mkdir(parents=True)
    write_pack(root)
    write_emoca(root / "emoca" / "emoca_v2_lr_mse_20.safetensors")
    judge = {f"model.{key}": value for key, value in formula_state(IResNet("ir_101")).items()}
    torch.save({"state_dict": judge}, root / "adaface" / "adaface_ir101_ms1mv3.ckpt")
    save_file(formula_state(IResNet("ir_18")), root / "adaface" / "adaface_ir18_vggface2.safetensors")
    for name, make in torch_networks().items():
        (root / name).parent.mkdir(exist_ok=True)
        state = formula_state(make(), f"{Path(name).stem}.")
        if "s3fd" in name:
            quiet_s3fd(state)
        torch.save(state, root / name)
        os.link(root / name, root / "hub" / "checkpoints" / Path(name).name)
