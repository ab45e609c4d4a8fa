"""Fig. 3 and 9: runs of models that differ in one factor, and numbers that are stored with the project."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bench
from baselines import mlp_prompts
from bench.errors import UserError
from bench.mini import training
from bench.paper import ablations
from bench.report.results import FILE, read_finding
from bench.store import read_json, write_json
from tests.report.world import write_run

torch.manual_seed(0)


def written(folder, sizes, **more):
    from safetensors.torch import save_file

    network = mlp_prompts.mlp(sizes, "gelu")
    state = {
        f"net.{2 * place}.{name}": value
        for place, layer in enumerate(network[::2])
        for name, value in layer.state_dict().items()
    }
    save_file({**{name: value.contiguous() for name, value in state.items()}, **more}, folder / mlp_prompts.FILE)
    return network


def test_an_mlp_is_read_with_the_sizes_of_its_file(tmp_path):
    network = written(tmp_path, [6, 8, 10, 12, 8])
    prompts = mlp_prompts.load(tmp_path / mlp_prompts.FILE, 4, "gelu")
    rows = torch.randn(3, 6) * 5
    found = prompts.identities(rows)
    assert prompts.reads == 6
    assert found.shape == (3, 2, 4)
    unit = rows / rows.norm(dim=1, keepdim=True)
    assert torch.allclose(found, network(unit).reshape(3, 2, 4), atol=1e-6)
    # The length of an embedding says nothing; the unconditional prompt is that of zeros.
    assert torch.allclose(prompts.identities(rows * 2), found, atol=1e-6)
    assert torch.allclose(prompts.unconditional(), network(torch.zeros(1, 6)).reshape(1, 2, 4))


def test_layers_are_ordered_by_number_not_by_letter(tmp_path):
    sizes = [4] * 13
    network = written(tmp_path, sizes)
    prompts = mlp_prompts.load(tmp_path / mlp_prompts.FILE, 4, "gelu")
    row = torch.eye(1, 4)
    assert torch.allclose(prompts.identities(row)[0], network(row), atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "width", "more", "words"),
    [
        ([4, 6], 4, {}, "gives 6 numbers, no multiple of 4"),
        ([4, 4], 4, {"norm.weight": torch.ones(4)}, "is not an MLP"),
        (
            [4, 4],
            4,
            {"net.2.weight": torch.ones(4, 5), "net.2.bias": torch.ones(4)},
            "gives 4 numbers and the next one takes 5",
        ),
        ([4, 4], 4, {"net.2.weight": torch.full((4, 4), np.nan), "net.2.bias": torch.ones(4)}, "is not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, sizes, width, more, words):
    written(tmp_path, sizes, **more)
    with pytest.raises(UserError, match=words):
        mlp_prompts.load(tmp_path / mlp_prompts.FILE, width, "gelu")


def test_a_model_says_how_it_was_trained(tmp_path):
    known = training.Training(
        people=100,
        images=100,
        projection="mlp",
        steps=7,
        batch=3,
        seed=0,
        device="cpu",
        threads=1,
        seconds=5,
        cpu_seconds=4,
    )
    training.write(tmp_path, known)
    assert training.read(tmp_path) == known
    with pytest.raises(UserError, match=r"training\.json cannot be read; `python -m bench\.mini\.train\.ablation`"):
        training.read(tmp_path / "nothing")


def model(folder, people):
    (folder / "arc2face").mkdir(parents=True)
    (folder / "arc2face" / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    known = training.Training(
        people=people, images=2 * people, projection="clip", steps=7, batch=3, seed=0, device="cpu", threads=1,
        seconds=120, cpu_seconds=60,
    )  # fmt: skip
    training.write(folder, known)
    return folder


def test_models_become_rows_in_the_order_of_their_people(tmp_path, monkeypatch):
    """Stand-in runs take the place of generation and extraction."""

    def finished(spec, changes):
        method = changes["method"]
        people = method["card"]["training_people"]
        folder = tmp_path / f"run-{people}"
        write_run(folder, "arc2face", keep=people / 1000, seed=1, items=8, pictures=False, metrics=["id_similarity"])
        record = read_json(folder / "run.json")
        told = {"options": {"projection": method["projection"]}, "card": method["card"]}
        write_json(
            folder / "run.json", {**record, "label": method["label"], "spec": {**record["spec"], "method": told}}
        )
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(ablations, "finished", finished)
    models = [str(model(tmp_path / name, people)) for name, people in (("b", 900), ("a", 300))]
    folder = bench.run_experiment("fig3", [f"fig3.models=[{','.join(models)}]", f"out={tmp_path / 'out'}"])
    found = read_finding(folder / FILE)
    similarity, trained = found.tables
    assert [row[0].value for row in similarity.rows[:2]] == [300, 900]
    assert similarity.rows[1][3].value > 0
    assert [row[1].value for row in trained.rows] == [900, 300]
    assert [row[2].value for row in trained.rows] == [1800, 600]
    assert trained.rows[0][6].value == 2
    assert found.again == []
    assert [(folder / figure.file).exists() for figure in found.figures] == [True]
