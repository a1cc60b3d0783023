"""Stages that are built several at a time, each in a Python process of its own.

``python -m ragar_rec.stages.apart`` builds the stage whose pickle it reads, and ends with the process that wrote it.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

from tqdm.auto import tqdm

from ragar_rec.stages.stage import Stage
from ragar_rec.store.hashing import digest
from recsys import distributed

Builder = subprocess.Popen[bytes]
"""A process that builds a stage."""


def build_apart(stages: Sequence[Stage], processes: int, *, description: str, progress: bool = True) -> None:
    """Build those of the stages that are not built, so many at a time; what they depend on is built here first.

    Whatever fails is left to whoever asks for the stage next, and then says why. Under a launcher of several processes,
    which build a stage together, nothing is built.

    Args:
        stages: to be built; none of them depends on another.
        processes: at a time.
        description: of the bar.
        progress: show a bar of finished stages.
    """
    if distributed.world_size() > 1:
        return
    missing = {digest([stage.name, stage.key]): stage for stage in stages if not stage.is_built}
    if len(missing) < 2:
        return
    started: list[Builder] = []
    with ThreadPoolExecutor(processes) as pool:
        try:
            finished = pool.map(lambda stage: _build(stage, started), missing.values())
            _ = [*tqdm(finished, desc=description, total=len(missing), unit="stage", disable=not progress)]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for builder in started:
                builder.kill()
            raise


def _build(stage: Stage, started: list[Builder]) -> None:
    """Wait for a process that builds the stage; it is added to those that were started."""
    command = [sys.executable, "-m", __name__]
    # Modules of the user's own are found where this process finds them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    # A process that ends before it has read its stage has failed.
    with suppress(BrokenPipeError), subprocess.Popen(command, stdin=pipe, stderr=nowhere, env=environment) as process:
        started.append(process)
        assert process.stdin is not None
        # The pipe stays open while the process runs: it ends where this one is killed.
        pickle.dump(stage, process.stdin)
        process.stdin.flush()
        process.wait()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Build the stage whose pickle stands on standard input."""
    stage = pickle.load(sys.stdin.buffer)  # noqa: S301  # Written by the parent alone.
    Thread(target=_end_with_parent, daemon=True).start()
    _ = stage.folder


if __name__ == "__main__":
    main()
