"""Training curves: kept beside what was trained, and shown by TensorBoard while they grow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from generation.training import Curves

FILE = "curves.json"


@contextmanager
def watched(output: Path, stage: Path) -> Iterator[Curves]:
    """Curves that TensorBoard shows while they grow (``--logdir OUTPUT/tensorboard``), and that ``stage`` then keeps.

    TensorBoard has them under the name that the stage's folder will have, key included, in place of what an earlier
    attempt at the same stage drew.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and a finished stage needs none

    folder = output / "tensorboard" / stage.stem
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def tell(name: str, step: int, value: float) -> None:
            writer.add_scalar(name.replace(": ", "/"), value, step)

        yield (curves := Curves(tell=tell))
    (stage / FILE).write_text(json.dumps(curves.values))


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What :func:`watched` kept; nothing where nothing was trained."""
    file = folder / FILE
    curves = json.loads(file.read_text()) if file.is_file() else {}
    return {name: [(step, value) for step, value in points] for name, points in curves.items()}
