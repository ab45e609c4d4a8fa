"""A run that is begun and rebuilt from its folder; its identity, its warnings, and what its method gets."""

import numpy as np
import pytest

from baselines.protocol import Output
from bench import registry
from bench.conditions.kinds import ConditionKind
from bench.data.removal import remove
from bench.errors import UserError
from bench.identity import Spec
from bench.images import read_image, write_png
from bench.mini.world import render, sample_identities, sample_scenes
from bench.spec import from_mapping, recorded
from bench.stages import plan as planning
from bench.stages.plan import load
from bench.stages.run import run_stages
from bench.store import read_json, write_record
from tests.guard import world

CLOSED = []


class Told:
    """Paints what it is asked for: the number of references, of components, and the index."""

    class Options(Spec):
        """None."""

    needs = frozenset({"image"})
    accepts = frozenset({ConditionKind.COMPONENTS})
    many_references = True

    def __init__(self, options, runtime):
        pass

    def generate(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request):
        colour = (len(request.references), request.condition.components or 0, request.index)
        return Output(image=np.full((8, 8, 3), colour, np.uint8))

    def close(self):
        CLOSED.append(self)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people with four photos each; one photo of the third shows nobody."""
    root = tmp_path_factory.mktemp("people")
    for k, identity in enumerate(sample_identities(5, 3, "eval")):
        scenes = sample_scenes(np.repeat(identity[None], 4, 0), k, frontal=1.0)
        for j, image in enumerate(render(scenes, 96).images):
            blank = np.zeros_like(image)
            write_png(blank if (k, j) == (2, 1) else image, root / f"p{k}" / f"{j}.png", {})
    return root


@pytest.fixture
def spec(people, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.BUILT_IN["methods"], "told", "tests.stages.test_job:Told")
    registry.entries.cache_clear()
    plain = world.composed(tmp_path, tmp_path / "runs")
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}, "only_for": []}
    plain["dataset"] = {"name": "folder", "label": "people", "root": str(people)}
    plain["protocol"]["samples_per_item"] = 2
    yield {**plain, "method": {"name": "told"}}
    registry.entries.cache_clear()


def begun(spec, **changes):
    """The job of a run whose samples are made; `changes` by section."""
    plain = {**spec, **{name: {**spec.get(name, {}), **more} for name, more in changes.items()}}
    return run_stages(from_mapping(plain), ("generate",))


def colours(job):
    return {
        (row["item"], row["index"]): tuple(int(v) for v in read_image(job.folder / row["path"])[0, 0])
        for row in job.sample_images().frame.assign(path=lambda f: f["file"]).to_dict("records")
        if row["status"] == "ok"
    }


def test_a_job_is_rebuilt_from_its_folder_without_the_dataset(spec, people):
    job = begun(spec, execution={"shard_size": 2}, dataset={"references_per_item": 2})
    again = load(job.folder)
    assert again.spec == job.spec
    assert (again.id, again.content, again.conditions, again.needs) == (job.id, job.content, None, job.needs)
    assert (again.bounds, again.shards) == ((0, 4, 6), 2)
    assert again.photos_folder == job.photos_folder
    for name in ("photos", "items", "samples"):
        # What became of a photo is known only afterwards.
        one, other = (getattr(each, name).drop(columns=["status", "reason"], errors="ignore") for each in (again, job))
        assert one.to_dict("list") == other.to_dict("list")


def test_a_resumed_run_is_rebuilt_as_it_is_worked_on_now(spec):
    job = begun(spec)
    begun(spec, execution={"order": "reversed", "shard_size": 1})
    again = load(job.folder)
    assert again.spec.execution.order == "reversed"
    # Shards stay as the run was begun.
    assert again.shards == 1


def test_a_part_of_another_version_is_another_run_and_no_rebuilt_one(spec, monkeypatch):
    job = begun(spec)
    monkeypatch.setattr(Told, "version", 2, raising=False)
    with pytest.raises(UserError, match=r"told has version 2, the run was begun with 1; run its command again"):
        load(job.folder)
    assert begun(spec).id != job.id


def test_version_1_is_no_version(spec, monkeypatch):
    one = from_mapping(spec)
    monkeypatch.setattr(Told, "version", 1, raising=False)
    assert from_mapping(spec) == one
    assert recorded(one.model_dump(mode="json")) == one


def test_a_table_that_was_changed_is_not_taken_for_the_runs(spec, tmp_path):
    job = begun(spec, conditions=table(tmp_path, "item,components\np0,3\np1,4\np2,5\n"))
    record = read_json(job.folder / "run.json")
    write_record(job.folder / "run.json", {**record, "conditions": "0" * 64})
    with pytest.raises(UserError, match="is not the one that the run was begun with"):
        load(job.folder)


def table(folder, text, name="t.csv"):
    (folder / name).write_text(text)
    return {"name": "table", "file": str(folder / name)}


def test_items_may_have_unequal_numbers_of_samples(spec, tmp_path):
    job = begun(
        spec, conditions=table(tmp_path, "item,components\np1,4\np0,3\np1,5\np2,\n"), execution={"shard_size": 1}
    )
    assert job.bounds == (0, 1, 3, 4)
    found = colours(job)
    assert {key: colour[1] for key, colour in found.items()} == {
        ("p0", 0): 3, ("p1", 0): 4, ("p1", 1): 5, ("p2", 0): 0,
    }  # fmt: skip


def test_the_content_of_a_table_is_in_the_id_and_its_place_is_not(spec, tmp_path):
    text = "item,components\np0,3\np1,4\np2,5\n"
    one, copy = (begun(spec, conditions=table(tmp_path, text, name)) for name in ("a.csv", "b.csv"))
    other = begun(spec, conditions=table(tmp_path, text.replace("5", "6")))
    assert one.id == copy.id != other.id


def test_a_table_that_says_what_the_default_says_is_the_default(spec, tmp_path):
    rows = "".join(f"p{k},{j}\n" for k in range(3) for j in range(2))
    assert begun(spec, conditions=table(tmp_path, f"item,index\n{rows}")).id == begun(spec).id


def test_further_references_reach_the_method_and_are_no_targets(spec):
    job = begun(spec, dataset={"references_per_item": 3})
    roles = job.photos.groupby("subject")["role"].agg(list).to_dict()
    assert roles == {name: ["reference", "further", "further", "target"] for name in ("p0", "p1", "p2")}
    # One further photo of p2 has no face.
    assert {item: colour[0] for (item, _), colour in colours(job).items()} == {"p0": 3, "p1": 3, "p2": 2}


def test_a_sample_may_name_photos_of_others_and_fails_with_them(spec, tmp_path):
    rows = 'item,references\np0,"[""p0/0.png"", ""p1/0.png""]"\np1,p2/1.png\np2,\n'
    job = begun(spec, conditions=table(tmp_path, rows), dataset={"references_per_item": 2})
    frame = job.sample_images().frame
    assert frame["status"].tolist() == ["ok", "reference_failed", "ok"]
    assert frame["reason"][1].startswith("reference: no face")
    assert colours(job)["p0", 0][0] == 2


def test_a_method_of_one_reference_gets_the_items_own_and_the_run_says_so(spec, monkeypatch):
    monkeypatch.setattr(Told, "many_references", False)
    job = begun(spec, dataset={"references_per_item": 9})
    assert {colour[0] for colour in colours(job).values()} == {1}
    found = planning.warnings(job)
    assert "method told reads one reference of each item, the item's own" in found
    assert "3 of 3 items have fewer than 9 references" in found
    assert read_json(job.folder / "run.json")["warnings"] == found


def test_samples_that_differ_by_more_than_noise_are_warned_of(spec, tmp_path):
    job = begun(spec, conditions=table(tmp_path, "item,components\np1,4\np0,3\np1,5\np2,\n"))
    assert any("differ by components" in warning for warning in planning.warnings(job))
    assert not any("differ by" in warning for warning in planning.warnings(begun(spec)))
    two = begun(spec, protocol={"prompts": {"neutral": "a person", "hat": "a person with a hat"}})
    assert any("differ by prompt_id" in warning for warning in planning.warnings(two))


def test_a_method_is_closed_once(spec):
    CLOSED.clear()
    begun(spec, execution={"shard_size": 1})
    assert len(CLOSED) == 1


def test_the_package_of_a_part_is_recorded(spec, monkeypatch):
    entry = registry.Entry("tests.stages.test_job:Told", registry.Package("example", "1.2"))
    monkeypatch.setitem(registry.entries("methods"), "told", entry)
    [stage] = read_json(begun(spec).folder / "run.json")["stages"]
    assert stage["parts"]["method"]["package"] == {"name": "example", "version": "1.2"}
    assert stage["parts"]["conditions"]["package"] is None


def test_workers_go_by_the_latest_spec_and_scores_by_their_own(spec):
    """A later command with another threshold of the detector keeps what scores were measured with."""
    job = begun(spec)
    (job.folder / "scores").mkdir()
    write_record(job.folder / "scores" / "scores.json", {})
    plain = from_mapping(spec)
    begun(spec, protocol={"metrics": ["failure_to_acquire"]})
    assert read_json(job.folder / "run.json")["spec"]["protocol"]["metrics"] == plain.protocol.metrics
    assert load(job.folder).spec.protocol.metrics == ("failure_to_acquire",)


def test_a_person_who_is_removed_takes_runs_with_vectors_along(spec, tmp_path, monkeypatch):
    np.save(tmp_path / "e.npy", np.ones((1, 4), np.float32))
    monkeypatch.setattr(Told, "accepts", frozenset({ConditionKind.EMBEDDING}))
    job = begun(spec, conditions=table(tmp_path, "item,embedding\np0,e.npy\np1,\np2,\n"))
    plain = begun(spec)
    remove("p1", runs=tmp_path / "runs", lists=tmp_path / "lists")
    assert not job.folder.exists()
    assert set(load(plain.folder).samples["item"]) == {"p0", "p2"}


def test_a_spec_whose_secrets_were_masked_cannot_be_worked_by(spec):
    job = begun(spec)
    record = read_json(job.folder / "run.json")
    masked = record["spec"] | {"profile": "--api-key ***"}
    write_record(job.folder / "run.json", {**record, "spec": masked})
    with pytest.raises(UserError, match="keeps no secret"):
        load(job.folder)
