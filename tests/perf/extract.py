"""Our extraction and scoring against what a user would write from the packages' READMEs. A script, not a test.

    python -m tests.perf.extract [--people 4] [--cores 1] [--device cpu] [--folder DIR]

Networks of official size with numbers by a formula (tests/perf/networks.py) on textured pictures of 512 pixels,
5 samples and a reference for each person; three ways to the same numbers, one after the other in this process:

- ours: `python -m bench run profile=paper method=folder`, stages extract and score;
- naive: per image insightface's `FaceAnalysis.get` with the whole pack, face-alignment with its own detector (S3FD)
  for the alignment and once more on the aligned crop, as the paper's authors do, Pillow's FFHQ alignment, facexlib's
  parser, skimage's warp and EMOCA's three ResNet-50 (in its mode "detail", which the authors use, its encoder of
  wrinkles runs, too), AdaFace; `lpips` over all pairs; `python -m pytorch_fid`, which takes scipy's matrix root;
- bare: only the forward passes and the official warps that are needed once, at our batch sizes.

The face that every detector would have to find is planted (the networks run in full).
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SAMPLES = 5
Seconds = dict[str, float]


@contextmanager
def clocked(seconds: Seconds, stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - start


def write_pictures(root: Path, people: int) -> None:
    """`references/p00.png` and `samples/p00/0.png`, textured and smooth at once, all different."""
    from bench.images import write_png
    from tests.parity.formula import simg, timg

    for person in range(people):
        for index in range(SAMPLES + 1):
            k = person * (SAMPLES + 1) + index
            image = timg(512, 512, k, 3) // 4 + simg(512, 512, k, 5) // 4 * 3
            name = f"references/p{person:02d}/0.png" if index == SAMPLES else f"samples/p{person:02d}/{index}.png"
            write_png(image, root / name, {})


BATCHED = ("recognisers.arcface", "recognisers.adaface_ir101_ms1mv3", "extractors.flame", "extractors.inception")
"""Networks that run at a batch of as many crops as there are people here, which divides the references and the samples:
the padding of a last batch, which long lists hardly have, is not timed. Shards are the smallest without padding: of one
item for 5 people, so that the views of one are cut while the networks run over another, if there is a core for it."""


def spec_of(root: Path, device: str, people: int) -> Any:
    from hydra import compose, initialize_config_dir

    from bench import resources
    from bench.cli.run import register_resolvers
    from bench.spec import resolve

    register_resolvers()
    overrides = [
        "profile=paper", "dataset=folder", f"dataset.root={root / 'references'}", "method=folder",
        f"method.root={root / 'samples'}", f"weights_dir={root / 'weights'}", f"out={root / 'runs'}",
        f"execution.device={device}", "evaluator.detector.fallback_sizes=[]", "protocol.faces.scales=single",
        "evaluator.detector.further_scales=[[640,0.3]]",
        *(f"+evaluator.{name}.batch={people}" for name in BATCHED),
        f"execution.shard_size={people // gcd(people, SAMPLES)}",
    ]  # fmt: skip
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        return resolve(compose("config", overrides))


STAGES = {
    ("faces.detection", "Scrfd", "detect"): "detection",
    ("faces.landmarks", "Fan", "landmarks"): "landmarks",
    ("faces.parsing", "BiSeNet", "labels"): "parsing",
    ("extractors.recognition", "ArcFaceOnnx", "extract"): "ArcFace",
    ("extractors.adaface", "AdaFace", "extract"): "AdaFace",
    ("extractors.lpips", "Lpips", "distances"): "LPIPS",
    ("extractors.flame", "Emoca", "extract"): "EMOCA",
    ("extractors.inception", "Inception", "extract"): "Inception",
}
"""Module, class and method whose time is a stage's."""


def ours(root: Path, spec: Any) -> tuple[Seconds, float, dict[str, float]]:
    """Seconds by stage (a network's are those inside its class), in all without loading networks, and the scores."""
    from importlib import import_module

    from bench.report.frames import load_run
    from bench.stages import crops, networks
    from bench.stages.run import run_stages

    run_stages(spec, ("generate",))
    seconds: Seconds = defaultdict(float)
    for (module, name, method), row in STAGES.items():
        owner = getattr(import_module(f"bench.{module}"), name)
        setattr(owner, method, _timed(getattr(owner, method), seconds, row))
    crops.cut = _timed(crops.cut, seconds, "alignment")
    networks.Networks.load = _timed(networks.Networks.load, seconds, "loading")
    start = time.perf_counter()
    run_stages(spec, ("extract",))
    middle = time.perf_counter()
    job = run_stages(spec, ("score",))
    seconds["score"] = time.perf_counter() - middle
    scores = load_run(job.folder).scores.set_index(["metric", "variant", "statistic"])["value"]
    kept = {"ID similarity": ("id_similarity", "arcface", "mean_detected"), "FID": ("fid", "inception", "distance"),
            "LPIPS diversity": ("lpips_diversity", "lpips", "mean_items")}  # fmt: skip
    spent = time.perf_counter() - start - seconds["loading"]
    # a copy: the naive way uses two of these classes, too
    return dict(seconds), spent, {name: float(scores.loc[key]) for name, key in kept.items()}


def _timed(function: Callable[..., Any], seconds: Seconds, stage: str) -> Callable[..., Any]:
    def inner(*args: Any, **options: Any) -> Any:
        with clocked(seconds, stage):
            return function(*args, **options)

    return inner


class Naive:
    """The packages as their READMEs use them, one image at a time."""

    def __init__(self, root: Path, device: str) -> None:
        import face_alignment
        import lpips
        import torch
        from facexlib.parsing import init_parsing_model
        from insightface.app import FaceAnalysis
        from torchvision.models import resnet50

        from bench.extractors.adaface import AdaFace
        from bench.extractors.flame import Emoca, FlameOptions
        from bench.runtime import Runtime
        from tests.perf.networks import filled

        weights = root / "weights"
        providers = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider"]
        self.app = FaceAnalysis(name="antelopev2", root=str(weights), providers=providers)
        self.app.prepare(ctx_id=-1 if device == "cpu" else 0, det_size=(640, 640))
        points = face_alignment.LandmarksType.TWO_D
        self.fan = face_alignment.FaceAlignment(points, flip_input=False, device=device, compile=False)
        self.parser = init_parsing_model("bisenet", device=device, model_rootpath=str(weights / "facexlib"))
        self.emoca = Emoca(FlameOptions(weights=weights / "emoca" / "emoca_v2_lr_mse_20.safetensors"), Runtime(device))
        self.detail = filled(resnet50(num_classes=128)).to(device)
        options = AdaFace.Options(weights=weights / "adaface" / "adaface_ir101_ms1mv3.ckpt", batch=1)
        self.adaface = AdaFace(options, Runtime(device))
        self.lpips = lpips.LPIPS(net="alex", verbose=False).to(device).eval()
        self.device, self.torch, self.seconds = device, torch, defaultdict(float)

    def picture(self, path: Path) -> tuple[Any, np.ndarray, Any]:
        """Embedding, masked crop, FLAME code."""
        import cv2

        with clocked(self.seconds, "decode"):
            bgr = cv2.imread(str(path))
        with clocked(self.seconds, "insightface pack"):
            face = self.app.get(bgr)[0]
        with clocked(self.seconds, "AdaFace"):
            from insightface.utils import face_align

            self.adaface.extract(face_align.norm_crop(bgr, face.kps)[None, :, :, ::-1])
        rgb = np.ascontiguousarray(bgr[:, :, ::-1])
        portrait = self.aligned(rgb, self.points(rgb, face.bbox))
        code = self.flame(portrait, self.points(portrait, face.bbox))
        return face.normed_embedding, self.masked(portrait), code

    def points(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        with clocked(self.seconds, "S3FD"):
            self.fan.face_detector.detect_from_image(image)
        with clocked(self.seconds, "landmarks"):
            return self.fan.get_landmarks_from_image(image, detected_faces=[np.append(box, 0.9)])[0]

    def aligned(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        with clocked(self.seconds, "FFHQ alignment"):
            return official_ffhq(image, points)

    def masked(self, portrait: np.ndarray) -> np.ndarray:
        from torchvision.transforms.functional import normalize

        with clocked(self.seconds, "parsing"), self.torch.no_grad():
            values = self.torch.from_numpy(portrait.transpose(2, 0, 1) / 255.0).float()
            values = normalize(values, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[None].to(self.device)
            labels = self.parser(values)[0][0].argmax(0).cpu().numpy()
        return np.where((labels == 0)[..., None], 0, portrait).astype(np.uint8)

    def flame(self, portrait: np.ndarray, points: np.ndarray) -> Any:
        with clocked(self.seconds, "EMOCA warp"):
            crop = official_flame(portrait, points)
        crops = crop[None].astype(np.float32)
        with clocked(self.seconds, "EMOCA"), self.torch.no_grad():
            self.detail(self.torch.from_numpy(crops).permute(0, 3, 1, 2).to(self.device))
            return self.emoca.extract(crops)

    def pairs(self, crops: list[np.ndarray], reference: np.ndarray) -> float:
        def value(image: np.ndarray) -> Any:
            return self.torch.from_numpy(image.transpose(2, 0, 1) / 127.5 - 1).float()[None].to(self.device)

        with clocked(self.seconds, "LPIPS"), self.torch.no_grad():
            own = [float(self.lpips(value(a), value(b))) for a, b in combinations(crops, 2)]
            for crop in crops:
                self.lpips(value(crop), value(reference))
        return float(np.mean(own))


def official_ffhq(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """FFHQ's alignment by Pillow at its transform size of 4096: shrinking, cropping and padding are ours."""
    from PIL import Image

    from bench.faces import align

    source = align._pad(align._cut(image, align.ffhq_quad(points), 512))
    quad, size = (source.quad + 0.5).ravel(), (4096, 4096)
    big = Image.fromarray(source.image).transform(size, Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    return np.asarray(big.resize((512, 512), Image.Resampling.LANCZOS))


def official_flame(portrait: np.ndarray, points: np.ndarray) -> np.ndarray:
    """DECA's crop as its dataset class makes it, by skimage."""
    from skimage.transform import estimate_transform, warp

    low, high = points.min(0), points.max(0)
    size = int((high - low).mean() * 1.1 * 1.25)
    x, y = (low + high) / 2
    corners = np.array([[x - size / 2, y - size / 2], [x - size / 2, y + size / 2], [x + size / 2, y - size / 2]])
    transform = estimate_transform("similarity", corners, np.array([[0, 0], [0, 223], [223, 0]]))
    return warp(portrait / 255.0, transform.inverse, output_shape=(224, 224))


def naive(root: Path, device: str) -> tuple[Seconds, float, dict[str, float]]:
    """Seconds by stage, in all (without loading the networks of this process), and three of the scores."""
    work = Naive(root, device)
    start, similarity, diversity = time.perf_counter(), [], []
    for folder in sorted((root / "references").iterdir()):
        known = work.picture(folder / "0.png")
        made = [work.picture(root / "samples" / folder.name / f"{k}.png") for k in range(SAMPLES)]
        similarity += [float(known[0] @ sample[0]) for sample in made]
        diversity.append(work.pairs([sample[1] for sample in made], known[1]))
    with clocked(work.seconds, "pytorch_fid"):
        fid = pytorch_fid(root, device)
    scores = {"ID similarity": float(np.mean(similarity)), "FID": fid, "LPIPS diversity": float(np.mean(diversity))}
    return work.seconds, time.perf_counter() - start, scores


def pytorch_fid(root: Path, device: str) -> float:
    """The package's program over two folders of files; the photos that the run kept serve as the second."""
    flat = {}
    for name in ("references", "samples"):
        flat[name] = root / f"flat-{name}"
        flat[name].mkdir(exist_ok=True)
        for path in sorted((root / name).rglob("*.png")):
            link = flat[name] / f"{path.parent.name}-{path.name}"
            link.unlink(missing_ok=True)
            os.link(path, link)
    command = [sys.executable, "-m", "pytorch_fid", *(str(p) for p in flat.values()), "--device", device]
    done = subprocess.run([*command, "--num-workers", "0"], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def bare(root: Path, spec: Any, device: str) -> Seconds:
    """The forward passes that are needed once, at our batches, and the official warps."""
    import torch

    from bench.stages.networks import Networks
    from tests.perf.networks import BOX, KEYPOINTS

    count = len(list((root / "samples").rglob("*.png"))) + len(list((root / "references").rglob("*.png")))
    networks, evaluator = Networks(spec), spec.evaluator
    part = {
        name: networks.part("extractors", p) for name, p in {**evaluator.recognisers, **evaluator.extractors}.items()
    }
    detector, fan = networks.part("detectors", evaluator.detector), networks.part("landmarkers", evaluator.landmarker)
    parser = networks.part("parsers", evaluator.parser)
    seconds: Seconds = defaultdict(float)

    def forward(stage: str, call: Callable[[np.ndarray], Any], batch: int, side: int) -> None:
        values = np.random.default_rng(0).normal(size=(batch, 3, side, side)).astype(np.float32)
        call(values)
        with clocked(seconds, stage), torch.inference_mode():
            for _ in range(0, count, batch):
                call(values)

    def session(found: Any) -> Callable[[np.ndarray], Any]:
        return lambda values: found.run(None, {found.get_inputs()[0].name: values})

    def torched(network: Any) -> Callable[[np.ndarray], Any]:
        return lambda values: network(torch.from_numpy(values).to(device))

    recogniser, lpips = part["arcface"], part["lpips"].network
    judge = next(value for name, value in part.items() if name.startswith("adaface"))
    forward("detection", session(detector._model.session), 1, 640)
    forward("landmarks", torched(fan._network), fan.options.batch, 256)
    forward("parsing", torched(parser.network), evaluator.parser.options.batch, 512)
    forward("ArcFace", session(recogniser.session), recogniser.options.batch, 112)
    forward("AdaFace", torched(judge._network), judge.options.batch, 112)
    forward("LPIPS", torched(lambda x: lpips.net(lpips.scaling_layer(x))), part["lpips"].batch, 512)
    both = (part["flame"].flame, part["flame"].expression)
    forward("EMOCA", torched(lambda x: [n(x) for n in both]), evaluator.extractors["flame"].options.batch, 224)
    inception = evaluator.extractors["inception"].options.batch
    forward("Inception", torched(part["inception"].network), inception, 299)
    warps(root, seconds, np.array(BOX), np.array(KEYPOINTS))
    return seconds


def warps(root: Path, seconds: Seconds, box: np.ndarray, keypoints: np.ndarray) -> None:
    """insightface's crop, FFHQ's and DECA's, by the official means, with the landmarks of an upright face."""
    from insightface.utils import face_align

    from bench.images import read_image

    points = upright_face(keypoints)
    for path in sorted(root.glob("[rs]*s/*/*.png")):
        image = read_image(path)
        with clocked(seconds, "alignment"):
            face_align.norm_crop(image, keypoints.astype(np.float32))
            official_flame(official_ffhq(image, points), points)


def upright_face(keypoints: np.ndarray) -> np.ndarray:
    """68 points whose eyes and mouth lie at the key points: enough for the two alignments."""
    points = np.repeat(keypoints[2:3], 68, axis=0)
    points[:17] = np.linspace([120, 240], [392, 240], 17)
    points[36:42], points[42:48] = keypoints[0], keypoints[1]
    points[48], points[54], points[8] = keypoints[3], keypoints[4], [256, 460]
    return points


ROWS = (
    ("detection", ("detection",), ("insightface pack",)),
    ("landmarks", ("landmarks",), ("S3FD", "landmarks")),
    ("alignment", ("alignment",), ("FFHQ alignment", "EMOCA warp")),
    ("parsing", ("parsing",), ("parsing",)),
    ("ArcFace", ("ArcFace",), ()),
    ("AdaFace", ("AdaFace",), ("AdaFace",)),
    ("LPIPS", ("LPIPS",), ("LPIPS",)),
    ("EMOCA", ("EMOCA",), ("EMOCA",)),
    ("Inception, score", ("Inception", "score"), ("pytorch_fid",)),
)


def table(own: tuple, other: tuple, least: Seconds) -> str:
    """Seconds and ratios as Markdown; the naive pack includes ArcFace."""
    lines = ["| stage | ours | naive | bare | naive / ours | ours / bare |", "|---|---|---|---|---|---|"]
    for name, mine, theirs in ROWS:
        a, b, c = (sum(s[k] for k in keys) for s, keys in ((own[0], mine), (other[0], theirs), (least, mine)))
        ratios = f"{b / a:.1f}" if b else "", f"{a / c:.2f}" if c else ""
        lines.append(f"| {name} | {a:.2f} | {b:.2f} | {c:.2f} | {ratios[0]} | {ratios[1]} |")
    total = sum(least.values())
    lines.append(
        f"| all | {own[1]:.2f} | {other[1]:.2f} | {total:.2f} | {other[1] / own[1]:.2f} | {own[1] / total:.3f} |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=4, help="at least 2: one picture has no covariance")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    os.environ["OMP_NUM_THREADS"] = str(asked.cores)
    with TemporaryDirectory(prefix="perf-") as scratch:
        root = asked.folder or Path(scratch)
        os.environ["TORCH_HOME"] = str(root / "weights")
        compare(root, asked.people, asked.device, asked.cores)


def use_threads(count: int) -> None:
    """As many threads as there are cores, for the naive and the bare way: a run of ours sets its own number, 1."""
    import torch

    torch.set_num_threads(count)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)


def compare(root: Path, people: int, device: str, cores: int) -> None:
    from tests.perf.networks import write_all

    if not (root / "weights").exists():
        write_all(root / "weights")
    write_pictures(root, people)
    spec = spec_of(root, device, people)
    own = ours(root, spec)
    print(f"ours: {own[1]:.1f} s", flush=True)
    use_threads(cores)
    other = naive(root, device)
    print(f"naive: {other[1]:.1f} s", flush=True)
    threads = spec.execution.model_copy(update={"threads": cores})
    least = bare(root, spec.model_copy(update={"execution": threads}), device)
    print(f"{people} people, {SAMPLES} samples and a reference each, {cores} cores; seconds\n")
    print(table(own, other, least))
    for name, value in own[2].items():
        print(f"{name}: ours {value:.6f}, naive {other[2][name]:.6f}")


if __name__ == "__main__":
    main()
