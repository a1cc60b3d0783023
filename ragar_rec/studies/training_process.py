"""A training of a ranker in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragar_rec.studies.memory import peak_memory
from recsys.recbole import checkpoint
from recsys.recbole.training import train_ranker

PEAK = "peak.json"
PRELOADED = ["recsys.recbole.training", "recsys.scoring.statistics", "recsys.rankers.micro", "torch._dynamo"]
"""What trainings import, some of it when they first need it; one process pays for all."""


def train_and_measure(config: Mapping[str, Any], folder: Path) -> None:
    """Train unless it is done; leave peak memory and seconds beside the ranker. Runs in a process of its own."""
    before = peak_memory()
    trained = train_ranker(config, folder, progress=False)
    seconds = [row["seconds"] for row in trained.history]
    file = folder / PEAK
    # Seconds tell one training from another: whoever only finds it finished must not replace the peak.
    if not file.is_file() or json.loads(file.read_text())["seconds"] != seconds:
        peak = peak_memory()
        began = time.perf_counter()
        # Once more for the clock; the training may have been constructed days ago.
        trained.dataset.new_ranker()
        fit = time.perf_counter() - began + sum(seconds)
        checkpoint.write_json(file, {"seconds": seconds, "bytes": peak, "before": before, "fit": fit})


def train_apart(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run :func:`train_and_measure` in a new process; prints a line on the training.

    Args:
        config: RecBole's keys.
        folder: of the training, ``<model>/<point>/<seed>``.

    Returns:
        The ranker's state with its `memory`, in bytes, and `fit`, seconds or None.

    Raises:
        RuntimeError: the process failed.
    """
    # Not fork, which would begin at this process's memory; the fork server holds no more than what is preloaded.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=train_and_measure, args=(config, folder))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the training in {folder} ended with exit code {process.exitcode}; see its message above")
    state = checkpoint.read_state(folder)
    assert state is not None
    seconds, best = np.median([row["seconds"] for row in state["history"]]), state["best_valid"]
    state["memory"] = json.loads((folder / PEAK).read_text())
    state["fit"] = state["memory"].get("fit")  # None if a version that did not measure it trained the ranker.
    print(
        f"{folder.parent.parent.name}/{folder.parent.name}/{folder.name}: validation {best:.4f} after epoch "
        f"{state['best_epoch']} of {state['epoch']}, {seconds:.2f} s an epoch, {state['memory']['bytes'] / 1e9:.2f} GB",
        flush=True,
    )
    return state


def cut_short(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """The best epochs of trainings that used all `epochs` and were best within `eval_step` of the last."""
    best = []
    for state in states:
        settings = state["identity"]["settings"]
        if state["epoch"] == settings["epochs"] and state["best_epoch"] + settings["eval_step"] >= state["epoch"]:
            best.append(f"best epoch {state['best_epoch']} of {state['epoch']}")
    return list(dict.fromkeys(best))
