"""`fetch`, in this process and as one of its own, against a real server on loopback."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from bench import assets, registry
from bench.fetching import bring
from tests.assets.conftest import sha256
from tests.assets.server import COMMIT

DATA = bytes(range(256)) * 40
ONNX = b"\x08\x06" + DATA


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def lock(world):
    return json.loads((world.root / assets.LOCK).read_text())["files"]


def test_a_method_gets_its_files_and_those_that_it_needs(world):
    world.serve("a.onnx", ONNX, sha256(ONNX), len(ONNX))
    world.add(url=world.server.put("/b", DATA), files=[{"file": "sub/b.tar", "used_by": ["two"]}])
    world.add(url=world.server.put("/c", DATA), files=[{"file": "c.tar", "used_by": ["net"]}])
    done = world.fetch("method=two")
    assert (done.returncode, done.stderr) == (0, "licence: MIT; P\n")
    assert done.stdout == f"got f/a.onnx\ngot f/sub/b.tar\nall 2 files are in {world.root}\n"
    assert (world.root / "f/a.onnx").read_bytes() == ONNX
    assert (world.root / "f/sub/b.tar").read_bytes() == DATA
    assert not (world.root / "f/c.tar").exists()


def test_what_is_there_is_not_fetched_again(world):
    world.serve("a.onnx", ONNX, sha256(ONNX))
    assert world.fetch("method=one").returncode == 0
    done = world.fetch("method=one")
    assert (done.returncode, done.stdout) == (0, f"all 1 files are in {world.root}\n")
    assert len(world.server.gets("/a.onnx")) == 1


def test_a_registered_name_without_files_is_no_mistake(world, monkeypatch):
    world.serve("a.onnx", ONNX)
    known = {"methods": "copy", "detectors": "scrfd"}
    monkeypatch.setattr(
        registry, "entries", lambda group: {known[group]: registry.Entry("x:Y")} if group in known else {}
    )
    assert world.fetch("method=copy").stdout == f"all 0 files are in {world.root}\n"
    assert world.fetch("detector=scrfd").returncode == 2


def test_several_selections_name_each_file_once(world):
    world.serve("a.onnx", ONNX)
    world.add(url=world.server.put("/c", DATA), files=[{"file": "c.tar", "used_by": ["net"]}])
    done = world.fetch("profile=small", "extractor=net", "file=f/a.onnx", "file=f", "--jobs", "1")
    assert done.stdout.count("got ") == 2


def test_wrong_bytes_of_the_right_size_are_kept_out(world):
    world.serve("a.onnx", ONNX[:-1] + b"?", sha256(ONNX), len(ONNX))
    done = world.fetch("method=one")
    assert done.returncode == 1
    assert f"not {sha256(ONNX)}; it was not kept" in done.stderr
    assert not (world.root / "f/a.onnx").exists()
    assert not list(world.root.rglob("*.part"))


def test_after_wrong_bytes_the_right_ones_come(world):
    world.serve("a.onnx", ONNX[::-1], sha256(ONNX), len(ONNX))
    assert world.fetch("method=one").returncode == 1
    world.server.put("/a.onnx", ONNX)
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == ONNX


def test_a_wrong_size_is_refused(world):
    world.serve("a.onnx", ONNX, size=7)
    done = world.fetch("method=one")
    assert (done.returncode, "the server offers 10242 bytes, not 7" in done.stderr) == (1, True)


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
def test_a_web_page_is_refused_even_where_no_hash_is_known(world, kind):
    world.serve("a.tar", b"<!DOCTYPE html><title>Too many users</title>", kind=kind)
    done = world.fetch("method=one")
    assert (done.returncode, "web page" in done.stderr) == (1, True)
    assert not (world.root / "f/a.tar").exists()


def test_one_failure_leaves_the_others_alone(world):
    world.serve("a.onnx", ONNX)
    world.add(url=world.server.address + "/gone", files=[{"file": "b.tar"}])
    done = world.fetch("method=one")
    assert done.returncode == 1
    assert "404" in done.stderr
    assert (world.root / "f/a.onnx").exists()


def test_a_slow_and_faulty_server_is_lived_with(world):
    world.serve("a.onnx", ONNX, sha256(ONNX), errors=[500, 503], breaks=[4000, 2000], slow=0.002)
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == ONNX


def test_killed_midway_it_goes_on_where_it_was(world):
    data = ONNX * 20
    world.serve("a.onnx", data, sha256(data), len(data), slow=0.005)
    running = subprocess.Popen(world.command("method=one"), env=world.environment, stdout=subprocess.DEVNULL)
    part = world.root / ".fetch/f__a.onnx.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 20_000)
    running.kill()
    running.wait()
    have = part.stat().st_size
    assert 0 < have < len(data)
    assert not (world.root / "f/a.onnx").exists()
    world.server.files["/a.onnx"].slow = 0.0
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == data
    assert world.server.gets("/a.onnx")[-1]["Range"] == f"bytes={have}-"
    assert not part.exists()


def test_stopped_by_the_user_it_says_how_to_go_on(world):
    data = ONNX * 2000  # would take two minutes
    world.serve("a.onnx", data, slow=0.005)
    running = subprocess.Popen(
        world.command("method=one"), env=world.environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    part = world.root / ".fetch/f__a.onnx.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 5_000)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=40)
    assert running.returncode == 130
    assert said.endswith("interrupted; the same command goes on where this one stopped\n")


def test_two_at_a_time_fetch_once_and_corrupt_nothing(world):
    data = ONNX * 10
    world.serve("a.onnx", data, sha256(data), len(data), slow=0.003)
    world.add(url=world.server.put("/b", DATA, slow=0.01), files=[{"file": "b.tar"}])
    started = [subprocess.Popen(world.command("method=one"), env=world.environment) for _ in range(3)]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert (world.root / "f/a.onnx").read_bytes() == data
    assert len(world.server.gets("/a.onnx")) == 1
    assert set(lock(world)) == {"f/a.onnx", "f/b.tar"}


def test_the_first_fetch_records_what_nobody_published(world):
    world.serve("a.onnx", ONNX)
    assert world.fetch("method=one").returncode == 0
    entry = lock(world)["f/a.onnx"]
    assert (entry["sha256"], entry["size"]) == (sha256(ONNX), len(ONNX))
    (world.root / "f/a.onnx").unlink()
    world.server.put("/a.onnx", ONNX + b"changed")
    done = world.fetch("method=one")
    assert done.returncode == 1
    assert "of the first fetch; if it was replaced at its origin, remove it from assets.lock.json" in done.stderr
    assert not (world.root / "f/a.onnx").exists()


def test_a_file_put_there_by_hand_is_checked_once_and_recorded(world):
    world.serve("a.onnx", ONNX, sha256(ONNX))
    (world.root / "f").mkdir(parents=True)
    (world.root / "f/a.onnx").write_bytes(ONNX)
    assert world.fetch("method=one").returncode == 0
    assert world.server.gets("/a.onnx") == []
    assert lock(world)["f/a.onnx"]["origin"] == "found"


def test_a_wrong_file_put_there_by_hand_is_replaced_by_the_right_one(world):
    world.serve("a.onnx", ONNX, sha256(ONNX))
    (world.root / "f").mkdir(parents=True)
    (world.root / "f/a.onnx").write_bytes(ONNX[::-1])
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == ONNX


def test_a_damaged_file_is_noticed_by_its_time_of_change(world):
    world.serve("a.onnx", ONNX, sha256(ONNX))
    assert world.fetch("method=one").returncode == 0
    (world.root / "f/a.onnx").write_bytes(ONNX[::-1])
    os.utime(world.root / "f/a.onnx", ns=(1, 1))
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == ONNX


def test_gated_files_ask_first_and_nothing_is_fetched(world):
    world.serve("a.onnx", ONNX)
    url = world.server.put("/g", DATA)
    world.add(url=url, gate="click-through", licence="Terms", page="https://t.org", files=[{"file": "g.tar"}])
    done = world.process("method=one")
    assert done.returncode == 2
    assert done.stderr == (
        "error: read the terms, then add --accept-licence if you agree (f/g.tar: Terms, https://t.org)\n"
    )
    assert world.server.requests == []
    done = world.fetch("method=one", "--accept-licence")
    assert (done.returncode, (world.root / "f/g.tar").read_bytes()) == (0, DATA)


@pytest.mark.parametrize("gate", ["manual", "e-mail"])
def test_what_only_a_person_can_get_is_said_and_the_rest_is_fetched(world, gate):
    world.serve("a.onnx", ONNX)
    world.add(gate=gate, page="https://drive.org/x", files=[{"file": "m.tar", "sha256": sha256(DATA)}])
    done = world.fetch("method=one")
    assert done.returncode == 1
    assert f"get it by hand from https://drive.org/x and put it at {world.root}/f/m.tar" in done.stderr
    assert (world.root / "f/a.onnx").exists()
    (world.root / "f/m.tar").write_bytes(DATA[::-1])
    done = world.fetch("method=one")
    assert (done.returncode, f"not {sha256(DATA)}; get it by hand" in done.stderr) == (1, True)
    (world.root / "f/m.tar").write_bytes(DATA)
    assert world.fetch("method=one").returncode == 0


def test_a_mirror_is_copied_from_and_checked(world, tmp_path, monkeypatch):
    world.serve("a.onnx", ONNX, sha256(ONNX))
    world.add(gate="manual", files=[{"file": "m.tar"}, {"file": "pictures/"}])
    mirror = tmp_path / "mirror/f"
    (mirror / "pictures").mkdir(parents=True)
    (mirror / "pictures/1.jpg").write_bytes(b"1")
    (mirror / "m.tar").write_bytes(DATA)
    (mirror / "a.onnx").write_bytes(ONNX[:-1] + b"?")
    done = world.fetch("method=one", "--mirror", str(mirror.parent))
    assert done.returncode == 1
    assert f"in the mirror {mirror.parent}: f/a.onnx: sha256" in done.stderr
    (mirror / "a.onnx").write_bytes(ONNX)
    monkeypatch.setenv("IDBENCH_MIRROR", str(mirror.parent))
    done = world.fetch("method=one")
    assert done.returncode == 0
    assert world.server.requests == []
    assert (world.root / "f/a.onnx").read_bytes() == ONNX
    assert (world.root / "f/pictures/1.jpg").read_bytes() == b"1"


def test_files_out_of_one_archive_are_one_download(world):
    data = zipped({"pack/pack/a.onnx": ONNX, "pack/b.onnx": ONNX[::-1] + b"", "pack/c.onnx": b"\x08c"})
    archive = {"url": world.server.put("/pack.zip", data), "sha256": sha256(data), "size": len(data)}
    world.add(archive=archive, files=[{"file": "a.onnx", "sha256": sha256(ONNX)}, {"file": "c.onnx"}])
    assert world.fetch("method=one").returncode == 0
    assert (world.root / "f/a.onnx").read_bytes() == ONNX
    assert (world.root / "f/c.onnx").read_bytes() == b"\x08c"
    assert len(world.server.gets("/pack.zip")) == 1
    assert sorted(p.name for p in (world.root / "f").iterdir()) == ["a.onnx", "c.onnx"]
    assert not list(world.root.rglob("*.zip"))


def test_a_dataset_comes_out_of_its_archive_as_a_folder(world):
    data = zipped({"front/1.jpg": b"1", "front/2.jpg": b"2", "__MACOSX/front/1.jpg": b"x"})
    world.add(archive={"url": world.server.put("/d", data)}, used_by=["faces"], files=[{"file": "front/"}])
    assert world.fetch("dataset=faces").returncode == 0
    assert sorted(p.name for p in (world.root / "f/front").iterdir()) == ["1.jpg", "2.jpg"]
    assert world.fetch("dataset=faces").stdout == f"all 1 files are in {world.root}\n"


@pytest.mark.parametrize(
    ("entries", "said"),
    [({"a.onnx": ONNX, "../../evil": b"x"}, "would leave its folder"), ({"b.onnx": ONNX}, "holds no files a.onnx")],
)
def test_a_harmful_or_wrong_archive_leaves_nothing(world, entries, said):
    world.add(archive={"url": world.server.put("/p.zip", zipped(entries))}, files=[{"file": "a.onnx"}])
    done = world.fetch("method=one")
    assert (done.returncode, said in done.stderr) == (1, True)
    assert not list(world.folder.rglob("*evil*"))
    assert not (world.root / "f").exists()


def test_a_wrong_archive_is_kept_out(world):
    archive = {"url": world.server.put("/p.zip", zipped({"a.onnx": ONNX})), "sha256": sha256(b"")}
    world.add(archive=archive, files=[{"file": "a.onnx"}])
    done = world.fetch("method=one")
    assert (done.returncode, "it was not kept" in done.stderr) == (1, True)
    assert not list(world.root.rglob("*.zip"))


def test_the_hash_of_an_archive_that_nobody_published_is_shown_and_may_not_change(world):
    first = zipped({"front/1.jpg": b"1"})
    url = world.server.put("/d", first)
    world.add(archive={"url": url}, used_by=["faces"], files=[{"file": "front/"}])
    done = world.fetch("dataset=faces")
    assert f"it is {sha256(first)}, and assets.lock.json remembers that" in done.stderr
    shutil.rmtree(world.root / "f")
    world.server.put("/d", zipped({"front/1.jpg": b"swapped"}))
    done = world.fetch("dataset=faces")
    assert done.returncode == 1
    assert (
        f"not {sha256(first)} (of the first fetch; if it was replaced, remove it from assets.lock.json)" in done.stderr
    )
    assert not (world.root / "f").exists()


def test_no_room_is_said_before_the_first_byte(world):
    world.serve("a.onnx", ONNX, size=1 << 60)
    done = world.fetch("method=one")
    assert (done.returncode, "GiB are needed" in done.stderr) == (2, True)
    assert world.server.requests == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to fetch, such as method=arc2face or profile=paper; --list shows all there is"),
        (["method=on"], "unknown method 'on'; did you mean 'one'? known: one, two"),
        (["methd=one"], "unknown kind of thing to fetch 'methd'; did you mean 'method'?"),
        (["one"], "unknown kind of thing to fetch 'one'"),
        (["profile=smal"], "unknown profile 'smal'; did you mean 'small'?"),
        (["file=f/a.onx"], "no file 'f/a.onx' in the table; did you mean f/a.onnx?"),
        (["method=one", "--jobs", "0"], "--jobs is 0"),
        (["method=one", "--jobs", "many"], "invalid int value"),
        (["method=one", "--json"], "--json goes with --list"),
        (["method=one", "--mirror", "/nowhere"], "the mirror /nowhere is not a folder"),
        (["method=one", "--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(world, words, said):
    world.serve("a.onnx", ONNX)
    done = world.fetch(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broken_lock_is_one_line_and_code_2(world):
    world.serve("a.onnx", ONNX)
    world.root.mkdir()
    (world.root / assets.LOCK).write_text("{")
    done = world.fetch("method=one")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_list_tells_what_is_there_and_what_is_not(world):
    world.serve("a.onnx", ONNX, sha256(ONNX), len(ONNX))
    world.add(gate="manual", files=[{"file": "m.tar", "used_by": ["net"]}])
    world.fetch("method=one")
    done = world.fetch("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["here", "missing", "get", "2"]
    assert f"get it by hand from P and put it at {world.root}/f/m.tar" in done.stdout
    assert "1 not there (0 B, and 1 of unknown size)" in done.stdout
    listed = json.loads(world.fetch("--list", "--json", "extractor=net").stdout)["files"]
    assert [(row["path"], row["state"], row["gate"]) for row in listed] == [("f/m.tar", "missing", "manual")]
    assert "by hand" in listed[0]["get"]


def test_not_on_a_terminal_there_is_no_bar(world):
    world.serve("a.onnx", ONNX, slow=0.02)
    assert world.fetch("method=one").stderr == "licence: MIT; P\n"


# --- the Hub ----------------------------------------------------------------------------------------------------------


def on_hub(hub, name="net/model.onnx", data=ONNX, repository="an/repo", **how):
    hub.server.put_on_hub(repository, name, data, **how)


def test_a_hub_file_comes_at_its_pinned_revision(hub):
    on_hub(hub)
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx", "sha256": sha256(ONNX)}])
    assert hub.fetch("method=one").returncode == 0
    assert (hub.root / "f/net/model.onnx").read_bytes() == ONNX
    asked = [path for _, path, _ in hub.server.requests]
    assert asked == [f"/an/repo/resolve/{COMMIT}/net/model.onnx", "/cdn/an/repo/net/model.onnx"]


def test_without_a_revision_the_first_commit_is_kept_to(hub):
    on_hub(hub)
    on_hub(hub, "b.tar", DATA)
    hub.add(hub="an/repo", files=[{"file": "net/model.onnx"}])
    hub.add(hub="an/repo", files=[{"file": "b.tar", "used_by": ["net"]}])
    assert hub.fetch("method=one").returncode == 0
    assert lock(hub)["f/net/model.onnx"]["revision"] == COMMIT
    assert hub.fetch("extractor=net").returncode == 0
    assert hub.server.gets(f"/an/repo/resolve/{COMMIT}/b.tar")
    assert not hub.server.gets("/an/repo/resolve/main/b.tar")


def test_the_hubs_own_sha256_is_held_to_where_none_is_published(hub):
    on_hub(hub)
    hub.server.put("/cdn/an/repo/net/model.onnx", ONNX[:-1] + b"?")
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx"}])
    done = hub.fetch("method=one")
    assert (done.returncode, f"not {sha256(ONNX)}" in done.stderr) == (1, True)
    assert not (hub.root / "f/net").exists()


def test_a_hub_download_breaks_off_and_goes_on(hub):
    on_hub(hub, breaks=[3000])
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx"}])
    assert hub.fetch("method=one").returncode == 0
    assert (hub.root / "f/net/model.onnx").read_bytes() == ONNX
    assert hub.server.gets("/cdn/an/repo/net/model.onnx")[-1]["Range"] == "bytes=3000-"


def test_the_token_goes_to_the_hub_and_no_further(hub):
    on_hub(hub)
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx"}])
    assert hub.process("method=one", HF_TOKEN="hf_secret").returncode == 0
    (_, at_hub, asked), (_, at_cdn, asked_there) = hub.server.requests
    assert (asked["Authorization"], "Authorization" in asked_there) == ("Bearer hf_secret", False)
    assert ("/resolve/" in at_hub, "/cdn/" in at_cdn) == (True, True)


def test_a_gated_repository_says_what_helps(hub):
    address = f"/an/repo/resolve/{COMMIT}/m.onnx"
    hub.server.put(address, b"", errors=[401], headers={"X-Error-Code": "GatedRepo"})
    hub.add(hub="an/repo", revision=COMMIT, page="https://hub.org/an/repo", files=[{"file": "m.onnx"}])
    done = hub.fetch("method=one")
    assert done.returncode == 1
    assert "accept the terms at https://hub.org/an/repo, then set HF_TOKEN" in done.stderr


def test_an_alternative_name_is_tried_and_kept(hub):
    on_hub(hub, "m.bin", b"PK\x03\x04rest")
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "m.safetensors", "alternatives": ["m.bin"]}])
    assert hub.fetch("method=one").returncode == 0
    assert (hub.root / "f/m.bin").exists()
    assert not (hub.root / "f/m.safetensors").exists()
    assert hub.fetch("method=one").stdout == f"all 1 files are in {hub.root}\n"


def test_a_file_that_the_hub_does_not_have_is_said(hub):
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "m.safetensors", "alternatives": ["m.bin"]}])
    done = hub.fetch("method=one")
    assert (done.returncode, "m.bin: the server answered 404" in done.stderr) == (1, True)


HUB_CLIENT = """
import sys
from huggingface_hub import hf_hub_download
print(hf_hub_download("an/repo", "net/model.onnx", revision=sys.argv[1]))
"""


def test_the_cache_of_hugging_face_is_used_and_offline_is_respected(hub):
    """The library itself downloads from the same server first: the server speaks the Hub's language."""
    on_hub(hub)
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx", "sha256": sha256(ONNX)}])
    done = hub.process("method=one", HF_HUB_OFFLINE="1")
    assert (done.returncode, "HF_HUB_OFFLINE is set" in done.stderr) == (1, True)
    command = [*hub.command()[:1], "-c", HUB_CLIENT, COMMIT]
    library = subprocess.run(command, env=hub.environment, capture_output=True, text=True, check=True, timeout=60)
    before = len(hub.server.requests)
    assert hub.process("method=one", HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.server.requests) == before
    placed = hub.root / "f/net/model.onnx"
    assert placed.read_bytes() == ONNX
    assert os.path.samefile(placed, library.stdout.strip())
    assert lock(hub)["f/net/model.onnx"]["revision"] == COMMIT


def test_a_damaged_cache_is_passed_by(hub):
    on_hub(hub)
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "net/model.onnx", "sha256": sha256(ONNX)}])
    command = [*hub.command()[:1], "-c", HUB_CLIENT, COMMIT]
    library = subprocess.run(command, env=hub.environment, capture_output=True, text=True, check=True, timeout=60)
    with open(library.stdout.strip(), "r+b") as file:
        file.write(b"\x08\x07")
    assert hub.fetch("method=one").returncode == 0
    assert (hub.root / "f/net/model.onnx").read_bytes() == ONNX


def test_an_endpoint_that_is_not_https_is_refused(hub):
    hub.add(hub="an/repo", revision=COMMIT, files=[{"file": "m.onnx"}])
    done = hub.process("method=one", HF_ENDPOINT="http://hub.example.org")
    assert (done.returncode, "only https" in done.stderr) == (1, True)


SMALL = {
    ".json": b"{}",
    ".safetensors": b"\x02\0\0\0\0\0\0\0{}",
    ".bin": b"PK\x03\x04",
    ".jinja": b"{% raw %}",
    ".model": b"\x0a\x0e",
    ".pt": b"PK\x03\x04",
    ".pth": b"PK\x03\x04",
    ".pkl": b"PK\x03\x04",
    ".onnx": b"\x08\x06",
    ".txt": b"#version",
}


def test_every_hub_file_of_the_project_lands_where_its_readers_look(hub, monkeypatch):
    """The project's own table, with small files in the place of the large ones at every repository and revision."""
    whole = yaml.safe_load(assets.TABLE.read_text("utf-8"))
    hub.sources = [source for source in whole["sources"] if "hub" in source]
    for source in hub.sources:
        for file in source["files"]:
            data = SMALL[Path(file["file"]).suffix] + file["file"].encode() * (Path(file["file"]).suffix == ".txt")
            file.pop("size", None)
            file["sha256"] = sha256(data)
            hub.server.put_on_hub(source["hub"], file["file"], data, source.get("revision", COMMIT))
    hub.path.write_text(yaml.safe_dump(whole | {"sources": hub.sources}), "utf-8")
    monkeypatch.setattr(assets, "TABLE", hub.path)
    monkeypatch.setattr(bring, "_sync", lambda path: None)  # many files; a crash is not what this is about
    names = [f"method={name}" for name in whole["names"]["methods"]]
    done = hub.fetch(*names, "extractor=clip,dinov2", "--accept-licence")
    wanted = assets.table().wanted([*whole["names"]["methods"], "clip", "dinov2"])
    assert (done.returncode, done.stdout.count("got ")) == (0, len(wanted))
    for path in (
        "arc2face/arc2face/diffusion_pytorch_model.safetensors",
        "arc2face/encoder/pytorch_model.bin",
        "sd15/tokenizer/merges.txt",
        "sdxl/unet/diffusion_pytorch_model.fp16.safetensors",
        "instantid/ControlNetModel/config.json",
        "infiniteyou/aes_stage2/InfuseNetModel/config.json",
        "vec2face/arcface-r100-glint360k.pth",
        "flux1_dev/tokenizer_2/spiece.model",
        "clip_vit_h14/model.safetensors",
        "insightface/scrfd_10g_bnkps.onnx",
        "dinov2_large/config.json",
    ):
        assert (hub.root / path).is_file(), path
    assert {entry["revision"] for entry in lock(hub).values()} > {COMMIT}
    assert hub.fetch(*names).stdout.startswith("all ")
