"""Training curves: kept beside the trained weights, and shown by TensorBoard during training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generation.training import Curves

FILE = "curves.json"


@contextmanager
def recorded_curves(output: Path, stage: Path) -> Iterator[Curves]:
    """Curves that TensorBoard shows while they grow (``--logdir OUTPUT/tensorboard``) and that ``stage`` keeps.

    TensorBoard shows them under the name that the stage's folder will have, key included; curves of an earlier attempt
    at the same stage are removed. The file is written at the end: a training that is stopped leaves none.

    Args:
        output: the run's output folder.
        stage: the folder in which the stage is being built.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and a finished stage needs none

    folder = output / "tensorboard" / stage.stem  # the stem is without ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def write_scalar(name: str, step: int, value: float) -> None:
            # TensorBoard groups the curves whose names begin alike up to a slash.
            writer.add_scalar(name.replace(": ", "/"), value, step)

        yield (curves := Curves(tell=write_scalar))
    (stage / FILE).write_text(json.dumps(curves.values))


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the curves of a finished stage as name -> (step, value); empty if nothing was trained there."""
    file = folder / FILE
    curves = json.loads(file.read_text()) if file.is_file() else {}
    return {name: [(step, value) for step, value in points] for name, points in curves.items()}
