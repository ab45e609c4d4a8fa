"""What the panel of judges costs on one core, next to the bare forward passes. A script, not a test.

    python -m tests.perf.panel [--people 4] [--folder DIR]

One network of each family, in the official layout and size with numbers by a formula (`tests.parity.judges`), CLIP in
the size of ViT-B/16. They read a reference and a sample of each person, textured images of 512 pixels; the face that
the detector would have to find is planted (`tests.perf.networks`), the detector runs in full.

- ours: stage extract of `python -m bench run evaluator=panel method=folder`, without loading networks;
- bare: detection of each image, and each network's forward pass over crops that are at hand, at the same batches.

Both in seconds of the processor, so that other work on the machine changes neither.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from tests.parity.judges import case, state

PANEL = {
    "adaface_ir18_vggface2": "adaface/adaface_ir18_vggface2.safetensors",
    "facenet_vggface2": "facenet/20180402-114759-vggface2.pt",
    "curricularface_ms1mv2": "curricularface/CurricularFace_Backbone.pth",
    "magface_r100": "magface/magface_epoch_00025.pth",
    "edgeface_base": "edgeface/edgeface_base.pt",
    "cvlface_vit_base_webface12m": "cvlface/vit_base_kprpe_webface12m.safetensors",
}
FURTHER = {
    "crfiqa_s": "crfiqa/32572backbone.pth",
    "ediffiqa_t": "opencv_zoo/ediffiqa_tiny_jun2024.onnx",
    "sscd": "sscd/sscd_disc_mixup.torchvision.pt",
    "sixdrepnet": "sixdrepnet/6DRepNet_300W_LP_AFLW2000.pth",
    "mica": "mica/mica.tar",
    "clip_text": "clip_vit_l14",
}
"""Entry of the panel -> its file below the weights folder."""


def states() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield entry and state of every network that is stored as a state dict."""
    from bench.extractors.iresnet import IResNet
    from tests.perf.networks import formula_state

    cases = {
        "facenet_vggface2": ("facenet", "net"), "curricularface_ms1mv2": ("curricularface", "net"),
        "magface_r100": ("magface", "net"), "edgeface_base": ("edgeface", "base"),
        "cvlface_vit_base_webface12m": ("cvlface_vit", "base"), "crfiqa_s": ("crfiqa", "iresnet50"),
        "sscd": ("sscd", "net"), "sixdrepnet": ("sixdrepnet", "deploy"),
    }  # fmt: skip
    yield "adaface_ir18_vggface2", formula_state(IResNet("ir_18"))
    for entry, (name, net) in cases.items():
        yield entry, state(case(name), net)
    mica = case("mica")
    yield "mica", {"arcface": state(mica, "arcface", "arcface."), "flameModel": state(mica, "mapping", "flameModel.")}


def write_weights(root: Path) -> None:
    """Write the files of the panel, and the detector."""
    from safetensors.torch import save_file

    from tests.parity.ediffiqa_onnx import write as write_ediffiqa
    from tests.perf.networks import CANVAS, Scrfd10, write_onnx

    files = PANEL | FURTHER
    for path in (*files.values(), "insightface/scrfd_10g_bnkps.onnx"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    for entry, found in states():
        path = root / files[entry]
        save_file(found, path) if path.suffix == ".safetensors" else torch.save(found, path)
    write_onnx(Scrfd10(), CANVAS, root / "insightface" / "scrfd_10g_bnkps.onnx", [f"out{k}" for k in range(9)], False)
    write_ediffiqa(state(case("ediffiqa"), "net"), root / files["ediffiqa_t"])
    write_clip(root / files["clip_text"])


def write_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    from tests.parity.test_clip_text import write_tokenizer

    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(vision_config={"patch_size": 16}))
    model.save_pretrained(folder)
    write_tokenizer(folder)


def spec_of(root: Path, people: int) -> Any:
    from hydra import compose, initialize_config_dir

    from bench import resources
    from bench.cli.run import register_resolvers
    from bench.spec import resolve

    register_resolvers()
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        panel = compose("config", ["profile=paper", "evaluator=panel", "method=copy"])["evaluator"]
    absent = [f"evaluator.{kind}.{name}=null" for kind, kept in (("recognisers", PANEL), ("extractors", FURTHER))
              for name in panel[kind] if name not in kept]  # fmt: skip
    batches = [f"+evaluator.{kind}.{name}.batch={people}" for kind, kept in
               (("recognisers", PANEL), ("extractors", FURTHER)) for name in kept]  # fmt: skip
    overrides = [
        "profile=paper", "evaluator=panel", "dataset=folder", f"dataset.root={root / 'references'}", "method=folder",
        f"method.root={root / 'samples'}", f"weights_dir={root / 'weights'}", f"out={root / 'runs'}",
        "execution.device=cpu", "evaluator.detector.fallback_sizes=[]", "++evaluator.detector.further_scales=[]",
        "evaluator.landmarker=null",
        "evaluator.parser=null", "evaluator.extractors.clip_text.aesthetic=null", "protocol.samples_per_item=1",
        f"execution.shard_size={people}", *absent, *batches,
    ]  # fmt: skip
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        return resolve(compose("config", overrides))


def write_images(root: Path, people: int) -> list[Path]:
    from bench.images import write_png
    from tests.parity.formula import simg, timg

    paths = []
    for person in range(people):
        for index, name in enumerate((f"references/p{person:02d}/0.png", f"samples/p{person:02d}/0.png")):
            k = 2 * person + index
            write_png(timg(512, 512, k, 3) // 4 + simg(512, 512, k, 5) // 4 * 3, root / name, {})
            paths.append(root / name)
    return paths


@contextmanager
def clocked(seconds: dict[str, float], row: str) -> Iterator[None]:
    start = time.process_time()
    yield
    seconds[row] = seconds.get(row, 0.0) + time.process_time() - start


def ours(spec: Any) -> dict[str, float]:
    """Return the seconds of the whole stage, and of those the seconds of loading networks."""
    from bench.stages import networks
    from bench.stages.run import run_stages

    seconds: dict[str, float] = {}
    load = networks.Networks.load

    def timed(self: Any, group: str, part: Any) -> Any:
        with clocked(seconds, "loading"):
            return load(self, group, part)

    run_stages(spec, ("generate",))
    networks.Networks.load = timed
    with clocked(seconds, "stage"):
        run_stages(spec, ("extract",))
    networks.Networks.load = load
    return seconds


def bare(spec: Any, paths: list[Path], people: int) -> dict[str, float]:
    """Return the seconds of detection and of each network's forward passes."""
    from bench.extractors.protocol import ReadsKeypoints
    from bench.faces.search import detect
    from bench.faces.views import ViewOptions, cut
    from bench.images import read_image
    from bench.spec import view_of
    from bench.stages.networks import Networks

    networks, seconds = Networks(spec), {}
    detector = networks.part("detectors", spec.evaluator.detector)
    views = {view_of(part) for part in spec.evaluator.all_extractors.values()}
    crops = []
    for path in paths:
        image = read_image(path)
        with clocked(seconds, "detection"):
            [face] = detect(detector, image, spec.protocol.faces).faces
        crops.append(cut(image, face, views, ViewOptions()))
    for name, part in spec.evaluator.all_extractors.items():
        network, view = networks.part("extractors", part), view_of(part)
        for start in range(0, len(crops), people):
            chunk = [crop[view] for crop in crops[start : start + people]]
            pixels = np.stack([crop.pixels for crop in chunk])
            with clocked(seconds, name):
                if isinstance(network, ReadsKeypoints):
                    network.embed(pixels, np.stack([crop.keypoints for crop in chunk]))
                else:
                    network.extract(pixels)
    return seconds


def measure(root: Path, people: int) -> None:
    torch.set_num_threads(1)
    paths = write_images(root, people)
    if not (root / "weights").exists():
        write_weights(root / "weights")
    spec = spec_of(root, people)
    forward = bare(spec, paths, people)
    stage = ours(spec)
    for name, seconds in forward.items():
        print(f"{name:30} {seconds / len(paths):.3f} s per image")
    whole, own = sum(forward.values()), stage["stage"] - stage["loading"]
    print(f"bare {whole / len(paths):.3f} s, ours {own / len(paths):.3f} s per image: {own / whole:.3f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.folder:
        measure(arguments.folder, arguments.people)
        return
    with TemporaryDirectory() as folder:
        measure(Path(folder), arguments.people)


if __name__ == "__main__":
    main()
