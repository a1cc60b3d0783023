"""Stages that processes of their own build: together, found by whoever asks next, and gone with their parent."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from film_world import config_file
from ragar_rec import Experiment
from ragar_rec.stages import Stage, Workspace, apart, build_apart
from ragar_rec.store import Store


@dataclass(frozen=True, eq=False)
class Meeting(Stage):
    """Written once the other one has begun, too: two that wait for each other end only if they are built together."""

    name: ClassVar[str] = "meeting"
    number: int

    def build(self, to: Path) -> None:
        table = self.workspace.output
        (table / f"{self.number}").touch()
        until = time.monotonic() + 60
        while len(list(table.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        (to / "met.txt").write_text(f"{self.number}: {len(list(table.iterdir()))} in {os.getpid()}")


def workspace(folder: Path) -> Workspace:
    (folder / "table").mkdir()
    return Workspace(folder / "table", Store(folder / "store"), progress=False)


def test_two_are_built_at_the_same_time_by_other_processes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = workspace(tmp_path)
    stages = [Meeting(place, 0), Meeting(place, 1), Meeting(place, 1)]
    assert not any(stage.entry.complete for stage in stages)
    build_apart(stages, 2, description="meetings", progress=False)
    assert all(stage.entry.complete for stage in stages)
    assert place.store.ran == []
    assert not caplog.records  # both ended with code 0
    texts = [(stage.folder / "met.txt").read_text() for stage in stages[:2]]
    assert [text.split(" in ")[0] for text in texts] == ["0: 2", "1: 2"]
    assert str(os.getpid()) not in "".join(texts)
    assert place.store.reused == ["meeting", "meeting"]


def test_one_alone_is_left_to_whoever_asks(tmp_path: Path) -> None:
    stage = Meeting(workspace(tmp_path), 0)
    build_apart([stage], 2, description="meetings", progress=False)
    assert not stage.entry.complete


def test_what_fails_says_why_where_it_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = workspace(tmp_path)
    stages = [Meeting(place, 0), Meeting(place, 1)]
    place.output.rmdir()
    build_apart(stages, 2, description="meetings", progress=False)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "a process that was to build meeting ended with code 1"
    ] * 2
    assert "FileNotFoundError" in caplog.records[0].message
    with pytest.raises(FileNotFoundError, match="table"):
        _ = stages[1].folder


def test_an_interruption_ends_what_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one waits for a second one for a minute; the bar is interrupted as by Ctrl-C once it has begun."""
    place = workspace(tmp_path)

    def interrupted(*_: Any, **__: Any) -> Any:
        while not list(place.output.iterdir()):
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(apart, "tqdm", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build_apart([Meeting(place, 0), Meeting(place, 1)], 1, description="meetings", progress=False)
    assert time.monotonic() - began < 40
    assert [file.name for file in place.output.iterdir()] == ["0"]
    assert not Meeting(place, 0).entry.complete


def test_a_builder_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    place = workspace(tmp_path)
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:] = {sys.path}; from ragar_rec.stages.apart import main; main()",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        pickle.dump(Meeting(place, 0), process.stdin)
        process.stdin.flush()
        while not list(place.output.iterdir()):
            assert process.poll() is None
            time.sleep(0.02)
        process.stdin.close()  # As the system does where a parent is killed.
        assert process.wait(10) == 1
    assert not Meeting(place, 0).entry.complete


@pytest.mark.slow
def test_rankers_trained_apart_are_the_same(films: Path, tmp_path: Path) -> None:
    keys = ["--judges.other={model: VBPR, image_encoder: hog}", "--judges.shuffles=1"]
    runs = [
        Experiment.open(
            config_file(tmp_path), [*keys, f"--judges.processes={n}"], films, None, tmp_path / str(n), progress=False
        )
        for n in (1, 2)
    ]
    for run in runs:
        run.judging.train_apart()
    assert [run.judging.diagnosis.shuffled.entry.complete for run in runs] == [False, True]
    weights = [{name: ranker.content for name, ranker in run.judging.judges().items()} for run in runs]
    assert weights[0] == weights[1]
    assert runs[0].store.ran.count("ranker") == 2
    assert runs[1].store.ran.count("ranker") == 0
