"""Stages that are built several at a time, each in a Python process of its own."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

from tqdm.auto import tqdm

from ragar_rec.stages.stage import Stage
from recsys import distributed

logger = logging.getLogger(__name__)


def build_apart(stages: Sequence[Stage], processes: int, *, description: str, progress: bool = True) -> None:
    """Build those of the stages that are not built, so many at a time; what they depend on is built here first.

    Whatever fails is noted and left to whoever asks for the stage next. Under a launcher of several processes, which
    build a stage together, nothing is built.

    Args:
        stages: to be built; none of them depends on another.
        processes: at a time.
        description: of the bar.
        progress: show a bar of finished stages.
    """
    if distributed.world_size() > 1:
        return
    missing = {entry.folder: stage for stage in stages if not (entry := stage.entry).complete}
    if len(missing) < 2:
        return
    builders = _Builders()
    with ThreadPoolExecutor(processes) as pool:
        try:
            finished = pool.map(builders.build, missing.values())
            _ = [*tqdm(finished, desc=description, total=len(missing), unit="stage", disable=not progress)]
        except BaseException:
            builders.stop()
            raise


class _Builders:
    """Processes that build stages, which an interruption ends together."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def build(self, stage: Stage) -> None:
        """Build a stage in a process and wait for it; notes why it was not built."""
        try:
            pickled = pickle.dumps(stage)
        except Exception as error:  # An encoder of one's own may hold anything.
            logger.warning("%s is built by this process, as it cannot be sent to another: %s", stage.name, error)
            return
        # The same path: modules are found where this process finds them, and nothing else shadows them.
        path = [entry for entry in sys.path if isinstance(entry, str)]
        command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; from {__name__} import main; main()"]
        # Threads of several processes would wait for each other's cores.
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdin=pipe, stderr=said, env=alone) as process:
            self._started.append(process)
            if self._stopped:
                process.kill()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # It ended before it had read its stage.
                # The pipe stays open while the process runs: it ends where this one is killed.
                process.stdin.write(pickled)
                process.stdin.flush()
            if process.wait() and not self._stopped:
                said.seek(0)
                last = said.read().decode(errors="replace").strip().rpartition("\n")[2]
                logger.warning(
                    "a process that was to build %s ended with code %d: %s", stage.name, process.returncode, last
                )

    def stop(self) -> None:
        """End all that were started, and those that start from now on."""
        self._stopped = True
        for process in self._started:
            process.kill()


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock must be free when the interpreter ends.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Build the stage whose pickle stands on standard input; end with the process that writes there."""
    stage = pickle.load(sys.stdin.buffer)  # noqa: S301  # Written by the parent alone.
    Thread(target=_end_with_parent, daemon=True).start()
    _ = stage.folder
