"""A training that can be stopped at any step and goes on to the same bits; what it measured on the way."""

import copy
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.checkpoint import read_notes, read_tensors

Curve = list[tuple[int, float]]
Model = TypeVar("Model", bound=nn.Module)

TIMED = 5
"""Steps, after the very first, that the estimate of the minutes left is made from."""


@dataclass
class Curves:
    """Loss against step, by what was trained."""

    values: dict[str, Curve] = field(default_factory=dict)
    tell: Callable[[str, int, float], object] | None = None
    """Hears every point as it comes, for whoever wants to watch."""

    def add(self, name: str, step: int, value: float) -> None:
        """Append one point."""
        self.values.setdefault(name, []).append((step, value))
        if self.tell is not None:
            self.tell(name, step, value)


@dataclass(frozen=True)
class Resume:
    """Where an unfinished training is kept, and how often."""

    file: Path
    """Safetensors, rewritten in one piece: it is whole, whenever the process ends."""
    every: int
    """Steps from one writing to the next: as many are done again at worst, to the same result."""

    @property
    def begun(self) -> Path:
        """The next one while it is being written."""
        return self.file.with_suffix(".partial")

    def delete(self) -> None:
        """For whoever has the result."""
        for file in (self.file, self.begun):
            file.unlink(missing_ok=True)


def draw(
    queue: Int[Tensor, " queue"], n: int, size: int, generator: torch.Generator
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " rest"]]:
    """The next batch of at most ``size`` of ``n`` indices, and what is left; each epoch has a new order."""
    while len(queue) < min(size, n):
        queue = torch.cat([queue, torch.randperm(n, generator=generator)])
    return queue[:size], queue[size:]


def batches(n: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Int[Tensor, " batch"]]:
    """``steps`` batches of at most ``size`` of ``n`` indices, epoch after epoch, each epoch in a new order."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        rows, queue = draw(queue, n, size, generator)
        yield rows


def one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over 5 % of the steps, then linear decay to zero."""
    warm = max(1, steps // 20)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )


def follow(average: Iterable[Tensor], weights: Iterable[Tensor], step: int, decay: float) -> None:
    """Move a moving average towards the weights of this step; the decay begins lower, at (1 + step) / (15 + step)."""
    decay = min(decay, (1 + step) / (15 + step))
    for kept, fresh in zip(average, weights, strict=True):
        kept.lerp_(fresh.detach(), 1 - decay)


def time_left(seconds: float, done: int, left: int) -> str:
    """What ``left`` steps will take if they take as long as the ``done`` ones did, in words."""
    minutes = seconds / done * left / 60
    return f"about {minutes:.0f} minutes" if minutes >= 2 else f"about {60 * minutes:.0f} seconds"


class Training(Generic[Model]):
    """AdamW under :func:`one_cycle`, batch after batch, with an optional moving average of the weights.

    Iterate over it for the rows of each batch, and give each batch's loss to :meth:`learn`. Whatever else is random in
    a step must be drawn from ``generator``; then a training that goes on from its file ends at the same bits.

    Args:
        name: of the training, for bar and curve: ``"UNet: denoising loss"``.
        model: what learns; all its parameters do.
        examples: how many there are to draw batches from.
        average: the highest decay of the moving average; it begins lower, at min(average, (1 + step) / (15 + step)).
            0 keeps none.
        generator: of the batches, and of everything else that is random in a step.
        resume: where to go on from if there is something, and to keep what is unfinished.
        progress: show a bar and, after the first steps, how many minutes are left.

    Raises:
        ValueError: what is kept there belongs to another training, or does not read.
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
            self._read(resume.file)

    def __iter__(self) -> Iterator[Int[Tensor, " batch"]]:
        """The rows of each batch that is left."""
        what, began, clock = self.name.partition(":")[0], self.step, 0.0
        bar = tqdm(total=self.steps, initial=self.step, desc=what, unit="step", disable=not self.progress)
        with bar:
            while self.step < self.steps:
                rows, self.queue = draw(self.queue, self.examples, self.batch_size, self.generator)
                yield rows
                bar.update()
                if self.step == began + 1:
                    clock = time.perf_counter()
                left = self.steps - self.step
                if self.progress and self.step == began + 1 + TIMED and left:
                    rest = time_left(time.perf_counter() - clock, TIMED, left)
                    bar.write(f"{what}: {rest} for the {left:,} steps that are left of {self.steps:,}")

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step down the gradient of a batch's loss, its norm clipped at 1."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        if self.decay:
            follow(self.average.parameters(), self.model.parameters(), self.step, self.decay)
        self.curves.add(self.name, self.step, loss.item())
        self.step += 1
        if self.resume is not None and self.step % self.resume.every == 0 and self.step < self.steps:
            self._write(self.resume)

    @property
    def _identity(self) -> list[Any]:
        return [self.name, self.examples, self.batch_size, self.steps, self.decay]

    def _write(self, resume: Resume) -> None:
        """Everything that the next step depends on, in one file that is whole or not there."""
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
        plain = {
            "identity": self._identity,
            "step": self.step,
            "groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
            "curve": self.curves.values[self.name],
        }
        save_file({name: value.clone() for name, value in tensors.items()}, resume.begun, {"plain": json.dumps(plain)})
        resume.begun.replace(resume.file)

    def _read(self, file: Path) -> None:
        """Take up what :meth:`_write` left; the curve is told again, for those who watch from here."""
        tensors = read_tensors(file)
        plain = json.loads(read_notes(file).get("plain", "{}"))
        if plain.get("identity") != self._identity:
            raise ValueError(
                f"{file} keeps the training {plain.get('identity')}, this one is {self._identity} (name, examples, "
                "batch size, steps, moving average): delete the file to begin anew"
            )
        self.model.load_state_dict(_under("model.", tensors))
        if self.decay:
            self.average.load_state_dict(_under("average.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            number, _, entry = name.partition(".")
            state.setdefault(int(number), {})[entry] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})
        self.schedule.load_state_dict(plain["schedule"])
        self.generator.set_state(tensors["generator"])
        self.queue, self.step = tensors["queue"], plain["step"]
        for step, value in plain["curve"]:
            self.curves.add(self.name, step, value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
