"""The training loop: AdamW, a schedule, a moving average, and a file from which a stopped training goes on."""

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.checkpoint import read_metadata, read_tensors
from generation.training.curves import Curves
from generation.training.resume import Resume
from generation.training.schedule import next_batch, one_cycle, update_average

Model = TypeVar("Model", bound=nn.Module)

TIMED = 5
"""Steps that the estimate of the remaining time is made from; the very first, which is slower, is not among them."""


def time_left(seconds: float, done: int, left: int) -> str:
    """Estimate of the time for ``left`` steps from the seconds of ``done`` steps, in words."""
    minutes = seconds / done * left / 60
    return f"about {minutes:.0f} minutes" if minutes >= 2 else f"about {60 * minutes:.0f} seconds"


class Training(Generic[Model]):
    """AdamW under :func:`one_cycle`, batch after batch, with an optional moving average of the weights.

    Iterate over it for the rows of each batch, and give each batch's loss to :meth:`update`. Everything else that is
    random in a step must be drawn from ``generator``: then a training that goes on from its file ends at the same bits.

    Args:
        name: of the training, for bar and curve: ``"UNet: denoising loss"``.
        model: all its parameters are trained.
        examples: number of examples to draw batches from.
        average: the highest decay of the moving average, see :func:`follow`; 0 keeps none.
        generator: of the batches, and of everything else that is random in a step.
        resume: where the unfinished training is kept; if the file exists, the training goes on from it.
        progress: show a bar and, after the first steps, the estimated time for the rest.

    Raises:
        ValueError: the file of ``resume`` belongs to another training, or does not read.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        *,
        examples: int,
        batch_size: int,
        steps: int,
        learning_rate: float,
        weight_decay: float,
        generator: torch.Generator,
        curves: Curves,
        average: float = 0.0,
        resume: Resume | None = None,
        progress: bool = True,
    ) -> None:
        self.name, self.model, self.generator, self.curves = name, model, generator, curves
        self.examples, self.batch_size, self.steps = examples, batch_size, steps
        self.decay, self.resume, self.progress = average, resume, progress
        self.average: Model = copy.deepcopy(model).requires_grad_(False) if average else model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.schedule = one_cycle(self.optimizer, steps)
        self.queue, self.step = torch.empty(0, dtype=torch.long), 0
        if resume is not None and resume.file.is_file():
            self._restore(resume.file)

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        """The rows of each batch from the current step to the last."""
        title, first, clock = self.name.partition(":")[0], self.step, 0.0
        bar = tqdm(total=self.steps, initial=self.step, desc=title, unit="step", disable=not self.progress)
        with bar:
            while self.step < self.steps:
                rows, self.queue = next_batch(self.queue, self.examples, self.batch_size, self.generator)
                yield rows  # the caller gives the loss to `update`, which counts the step
                bar.update()
                if self.step == first + 1:
                    clock = time.perf_counter()
                left = self.steps - self.step
                if self.progress and self.step == first + 1 + TIMED and left:
                    estimate = time_left(time.perf_counter() - clock, TIMED, left)
                    bar.write(f"{title}: {estimate} for the {left:,} steps that are left of {self.steps:,}")

    def update(self, loss: Float[Tensor, ""]) -> None:
        """One optimiser step on a batch's loss, the norm of its gradient clipped at 1."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        if self.decay:
            update_average(self.average.parameters(), self.model.parameters(), self.step, self.decay)
        self.curves.add(self.name, self.step, loss.item())
        self.step += 1
        # Behind everything that changes the state; the last step is not written, its result is the model.
        if self.resume is not None and self.step % self.resume.every == 0 and self.step < self.steps:
            self._save(self.resume)

    @property
    def _identity(self) -> list[Any]:
        """What must be equal for a file to belong to this training."""
        return [self.name, self.examples, self.batch_size, self.steps, self.decay]

    def _save(self, resume: Resume) -> None:
        """Write everything that the next step depends on to one file, which is whole or not there."""
        optimizer = self.optimizer.state_dict()
        tensors = {
            "queue": self.queue,
            "generator": self.generator.get_state(),
            **{f"model.{name}": value for name, value in self.model.state_dict().items()},
            **({f"average.{name}": value for name, value in self.average.state_dict().items()} if self.decay else {}),
            **{
                f"optimizer.{number}.{name}": value
                for number, entries in optimizer["state"].items()
                for name, value in entries.items()
            },
        }
        metadata = {
            "identity": self._identity,
            "step": self.step,
            "groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
            "curve": self.curves.values[self.name],
        }
        # safetensors refuses tensors that share memory, as tied weights do, and keeps in its header strings alone.
        copies = {name: value.clone() for name, value in tensors.items()}
        save_file(copies, resume.begun, {"plain": json.dumps(metadata)})
        resume.begun.replace(resume.file)  # atomic: a process that is killed leaves the old file or the new one

    def _restore(self, file: Path) -> None:
        """Go on from what :meth:`_save` wrote; listeners of the curve hear its points again."""
        tensors = read_tensors(file)
        metadata = json.loads(read_metadata(file).get("plain", "{}"))
        if metadata.get("identity") != self._identity:
            raise ValueError(
                f"{file} keeps the training {metadata.get('identity')}, this one is {self._identity} (name, examples, "
                "batch size, steps, moving average): delete the file to begin anew"
            )
        self.model.load_state_dict(_with_prefix("model.", tensors))
        if self.decay:
            self.average.load_state_dict(_with_prefix("average.", tensors))
        state: dict[int, dict[str, Tensor]] = {}  # AdamW's, by the number of the parameter
        for name, value in _with_prefix("optimizer.", tensors).items():
            number, _, entry = name.partition(".")
            state.setdefault(int(number), {})[entry] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": metadata["groups"]})
        self.schedule.load_state_dict(metadata["schedule"])
        self.generator.set_state(tensors["generator"])
        self.queue, self.step = tensors["queue"], metadata["step"]
        for step, value in metadata["curve"]:
            self.curves.add(self.name, step, value)


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
