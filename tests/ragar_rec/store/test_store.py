import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragar_rec.store.hashing import hash_file, hash_files
from ragar_rec.store.store import HASHES, Store, content, read_manifest


def write(name: str, text: str):
    return lambda folder: (folder / name).write_text(text) and None


def test_a_stage_runs_once_and_is_then_reused(tmp_path):
    store, calls = Store(tmp_path), []

    def build(folder: Path) -> None:
        calls.append(1)
        (folder / "a.txt").write_text("hello")

    first = store.run("features", {"width": 3}, build)
    second = Store(tmp_path)
    assert second.run("features", {"width": 3}, build) == first
    assert (first / "a.txt").read_text() == "hello"
    assert calls == [1]
    assert (store.ran, store.reused) == (["features"], [])
    assert (second.ran, second.reused) == ([], ["features"])
    assert not list(tmp_path.glob("*.partial"))


def test_the_manifest_says_what_the_stage_depends_on_and_holds(tmp_path):
    store = Store(tmp_path, version="7")
    folder = store.run("features", {"width": 3}, write("a.txt", "hello"))
    manifest = read_manifest(folder)
    assert manifest["parts"] == {"width": 3}
    assert manifest["version"] == "7"
    # SHA-256 of the five bytes "hello".
    sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert manifest["files"] == {"a.txt": {"bytes": 5, "sha256": sha}}
    assert manifest["key"].startswith(folder.name.removeprefix("features-"))
    assert store.seconds() == {"features": manifest["seconds"]}


def test_name_parts_and_version_all_move_the_key(tmp_path):
    keys = {
        Store(tmp_path, version=version).entry(name, parts).key
        for name in ("a", "b")
        for parts in ({"x": 1}, {"x": 2}, {"y": 1}, {"x": "1"}, {"x": 1.5}, {})
        for version in ("1", "2")
    }
    assert len(keys) == 2 * 6 * 2
    assert Store(tmp_path).entry("a", {"x": 1, "y": 2}).key == Store(tmp_path).entry("a", {"y": 2, "x": 1}).key


def test_one_pixel_runs_exactly_the_dependents_again(tmp_path):
    """pictures -> features -> ranker -> table; words -> vocabulary. A pixel concerns the first chain only."""
    picture = tmp_path / "cover.png"
    pixels = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(picture, compress_level=0)
    before = picture.stat()

    def chain() -> Store:
        store = Store(tmp_path / "store")

        def encode(folder: Path) -> None:
            (folder / "mean.json").write_text(json.dumps(float(np.asarray(Image.open(picture)).mean())))

        features = store.run("features", {"pictures": hash_files([picture])}, encode)
        store.run("vocabulary", {"words": ["comedy", "drama"]}, write("words.txt", "comedy drama"))
        ranker = store.run("ranker", {"features": content(features)}, write("weights.txt", content(features)))
        store.run("table", {"ranker": content(ranker)}, write("table.txt", "0.1"))
        return store

    assert chain().ran == ["features", "vocabulary", "ranker", "table"]
    assert chain().ran == []
    pixels[3, 4, 1] = 1
    Image.fromarray(pixels).save(picture, compress_level=0)
    # Same size and same date: only the content tells.
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert picture.stat().st_size == before.st_size
    after = chain()
    assert after.ran == ["features", "ranker", "table"]
    assert after.reused == ["vocabulary"]


def test_a_rebuilt_stage_with_the_same_content_stops_the_wave(tmp_path):
    store = Store(tmp_path)
    one = store.run("features", {"comment": "a"}, write("f", "1"))
    two = store.run("features", {"comment": "b"}, write("f", "1"))
    assert one != two
    assert content(one) == content(two)


def test_a_stopped_stage_leaves_finished_ones_and_continues(tmp_path):
    store, done = Store(tmp_path), []

    def shards(folder: Path, stop_at: int | None) -> None:
        for number in range(4):
            path = folder / str(number)
            if path.exists():
                continue
            if number == stop_at:
                raise KeyboardInterrupt
            path.write_text("x")
            done.append(number)

    store.run("before", {}, write("a", "1"))
    with pytest.raises(KeyboardInterrupt):
        store.run("images", {}, lambda folder: shards(folder, 2), resumable=True)
    again = Store(tmp_path)
    assert not again.entry("images", {}).complete
    again.run("before", {}, write("a", "2"))
    folder = again.run("images", {}, lambda folder: shards(folder, None), resumable=True)
    assert done == [0, 1, 2, 3]
    assert again.reused == ["before"]
    assert sorted(read_manifest(folder)["files"]) == ["0", "1", "2", "3"]
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*"))


def test_a_stage_that_cannot_continue_begins_with_an_empty_folder(tmp_path):
    store = Store(tmp_path)

    def half(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "half.txt").write_text("x")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        store.run("ranker", {}, half)
    folder = store.run("ranker", {}, write("whole.txt", "y"))
    assert list(read_manifest(folder)["files"]) == ["whole.txt"]


def test_a_folder_from_which_something_was_taken_is_built_anew(tmp_path):
    folder = Store(tmp_path).run("a", {}, write("x", "1"))
    (folder / "x").unlink()
    again = Store(tmp_path)
    assert again.run("a", {}, write("x", "1")) == folder
    assert again.ran == ["a"]
    assert (folder / "x").read_text() == "1"


def test_a_place_that_cannot_be_written_names_itself_and_the_flag(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PermissionError, match=rf"cannot write to {root} .*--output"):
            Store(root)


def test_a_key_part_that_is_no_plain_data_says_what_to_do(tmp_path):
    with pytest.raises(TypeError, match="hash_file"):
        _ = Store(tmp_path).entry("a", {"path": tmp_path}).key


def test_seconds_of_entries_of_one_name_are_summed_and_a_reused_one_counts_once(tmp_path, monkeypatch):
    """The clock advances by what each build takes: two rankers of 2 and 3 seconds, features of 0.5."""
    clock = [0.0]
    monkeypatch.setattr("ragar_rec.store.store.time.perf_counter", lambda: clock[0])

    def lasting(seconds: float):
        def build(folder: Path) -> None:
            clock[0] += seconds

        return build

    store = Store(tmp_path)
    store.run("features", {}, lasting(0.5))
    store.run("ranker", {"seed": 0}, lasting(2))
    store.run("ranker", {"seed": 1}, lasting(3))
    store.run("ranker", {"seed": 0}, lasting(100))
    assert (store.ran, store.reused) == (["features", "ranker", "ranker"], ["ranker"])
    assert store.seconds() == {"features": 0.5, "ranker": 5}
    again = Store(tmp_path)
    assert again.seconds() == {}
    again.run("ranker", {"seed": 1}, lasting(100))
    assert again.seconds() == {"ranker": 3}


def test_a_continued_build_counts_the_seconds_before_the_stop_too(tmp_path, monkeypatch):
    """Stopped after 4 seconds and finished in 3: 7. A build that begins anew counts its own 3 alone."""
    clock = [0.0]
    monkeypatch.setattr("ragar_rec.store.store.time.perf_counter", lambda: clock[0])

    def stopped(folder: Path) -> None:
        clock[0] += 4
        raise KeyboardInterrupt

    def finished(folder: Path) -> None:
        clock[0] += 3

    for name, resumable, seconds in (("images", True, 7), ("ranker", False, 3)):
        with pytest.raises(KeyboardInterrupt):
            Store(tmp_path).run(name, {}, stopped, resumable=resumable)
        store = Store(tmp_path)
        store.run(name, {}, finished, resumable=resumable)
        assert store.seconds() == {name: seconds}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of weights that was written an hour ago, with what a download leaves beside them."""
    folder = tmp_path / "weights"
    (folder / ".cache").mkdir(parents=True)
    for name, text in (("config.json", "{}"), ("model.safetensors", "1234"), (".cache/notes", "today")):
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed; the clock is an hour ahead, so that files are old."""
    names: list[str] = []

    def watched(path: Path) -> str:
        names.append(path.name)
        return hash_file(path)

    monkeypatch.setattr("ragar_rec.store.hashing.hash_file", watched)
    now = time.time_ns
    monkeypatch.setattr("ragar_rec.store.store.time.time_ns", lambda: now() + 3_600 * 10**9)
    return names


def test_a_folder_of_weights_is_read_once(tmp_path: Path, weights: Path, reads: list[str]):
    first = Store(tmp_path / "store").hash_source(str(weights))
    assert sorted(reads) == ["config.json", "model.safetensors"]
    assert Store(tmp_path / "store").hash_source(str(weights)) == first
    assert len(reads) == 2
    (weights / ".cache" / "notes").write_text("tomorrow")
    elsewhere = shutil.copytree(weights, tmp_path / "elsewhere")
    assert Store(tmp_path / "store").hash_source(str(elsewhere)) == first
    assert len(reads) == 4


def test_a_folder_of_weights_is_known_by_names_and_bytes_whatever_its_dates_say(
    tmp_path: Path, weights: Path, reads: list[str]
):
    store = Store(tmp_path / "store")
    found = [store.hash_source(str(weights))]
    before = (weights / "model.safetensors").stat()
    (weights / "model.safetensors").write_text("4321")
    os.utime(weights / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    found.append(store.hash_source(str(weights)))
    (weights / "config.json").rename(weights / "settings.json")
    found.append(store.hash_source(str(weights)))
    assert len(set(found)) == 3
    assert store.hash_source("org/model") == "org/model"


def test_the_hash_of_files_that_have_just_changed_is_not_kept(tmp_path: Path, weights: Path):
    """Two changes within one tick of the file system's clock leave the same times."""
    store = Store(tmp_path / "store")
    first = store.hash_source(str(weights))
    assert not (tmp_path / "store" / HASHES).exists()
    (weights / "config.json").write_text("[]")
    assert store.hash_source(str(weights)) != first


def _hold(root: str, begun, finish) -> None:
    def build(folder: Path) -> None:
        begun.set()
        finish.wait(30)

    Store(Path(root), version="1").run("slow", {}, build)


def test_two_runs_do_not_build_the_same_stage(tmp_path):
    fork = multiprocessing.get_context("fork")
    begun, finish = fork.Event(), fork.Event()
    other = fork.Process(target=_hold, args=(str(tmp_path), begun, finish))
    other.start()
    try:
        assert begun.wait(30)
        with pytest.raises(RuntimeError, match="another run is building"):
            Store(tmp_path, version="1").run("slow", {}, write("x", "1"))
    finally:
        finish.set()
        other.join()
    assert Store(tmp_path, version="1").entry("slow", {}).complete
