"""From a RecBole configuration to a trained ranker on disk, continued after an interruption."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from recsys import distributed
from recsys.recbole import checkpoint
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.recbole.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRanker:
    """A ranker with the weights of its best validation, in evaluation mode.

    Attributes:
        ranker: the RecBole model.
        dataset: what it was trained on.
        history: one row per epoch: `epoch` (from 1), `seconds`, `loss.<name>`, and `valid.<metric>` where measured.
        best_epoch: the epoch of the weights, from 1.
        best_valid: its value of `valid_metric`; None if there was nothing to validate on.
    """

    ranker: Any
    dataset: Dataset
    history: list[dict[str, float]]
    best_epoch: int
    best_valid: float | None

    @one_thread()
    def metrics(self, phase: Literal["valid", "test"] = "test") -> dict[str, float]:
        """RecBole's evaluator on `valid` or `test`, for example `{"recall@10": 0.12, ...}`."""
        metrics = Trainer(self.dataset, self.ranker).evaluate_on(phase)
        self.ranker.eval()
        return metrics


def train_ranker(config: Mapping[str, Any], folder: Path, *, progress: bool = True) -> TrainedRanker:
    """Train the configured ranker, keep the weights of the best validation, write them to `folder`.

    A finished checkpoint of the same configuration, data and features is returned as it is; an unfinished one is
    continued after its last validation and ends at the same numbers; any other is replaced, and a warning says what
    differs.

    Under `accelerate launch` every process calls this and trains with the first one's arguments; that one writes. The
    folder must be seen by all. A program that does more than training is better run by `led`.

    Args:
        config: RecBole's keys, with `model`, `data_path` and `dataset`.
        folder: receives ranker.safetensors and ranker.json.
        progress: show a bar with the time left.

    Raises:
        ValueError: an unknown key, or data that cannot be trained on.
        FileNotFoundError: the data or a feature file is missing.
    """
    return distributed.together(_train, dict(config), folder, progress)


def led(program: Callable[[], None]) -> None:
    """Run a program once, on the first process; the others only join its `train_ranker` and `distributed.together`.

    So one process leads, prints and writes, however many `accelerate launch` started. Alone, the program just runs.
    """
    if distributed.rank() == 0:
        program()
        distributed.from_first(())
    else:
        while task := distributed.from_first(()):
            function, arguments = task
            function(*arguments)
    distributed.leave()


@one_thread()
def _train(config: Mapping[str, Any], folder: Path, progress: bool) -> TrainedRanker:
    dataset = Dataset.load(config)
    identity = checkpoint.identity(dataset.config.plain(), dataset.digest(), dataset.config.code)
    state = checkpoint.read_state(folder)
    different = [] if state is None else checkpoint.differences(state["identity"], identity)
    if different and distributed.rank() == 0:
        logger.warning("the ranker in %s is another one and is replaced; different: %s", folder, "; ".join(different))
    if state is None or different:
        state = {"identity": identity, "epoch": 0, "best_epoch": 0, "best_valid": None, "since_best": 0, "history": []}
        state["finished"] = False
    elif state["finished"]:
        return _restored(dataset, state, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _Run(dataset, state, folder).to_the_end(progress=progress and distributed.rank() == 0)
    return _restored(dataset, state, folder)


@one_thread()
def load_ranker(config: Mapping[str, Any], folder: Path) -> TrainedRanker:
    """The ranker that `train_ranker` finished in this folder.

    Raises:
        FileNotFoundError: there is no finished checkpoint.
        ValueError: the checkpoint belongs to another configuration, catalogue or feature table (says which), or is
            damaged.
    """
    dataset = Dataset.load(config)
    state = checkpoint.read_state(folder)
    if state is None or not state["finished"]:
        raise FileNotFoundError(f"{folder} holds no finished ranker; train one first")
    wanted = checkpoint.identity(dataset.config.plain(), dataset.digest(), dataset.config.code)
    if different := checkpoint.differences(state["identity"], wanted):
        raise ValueError(f"the ranker in {folder} is another one; different: {'; '.join(different)}")
    return _restored(dataset, state, folder)


def _restored(dataset: Dataset, state: Mapping[str, Any], folder: Path) -> TrainedRanker:
    ranker = dataset.new_ranker()
    tensors = checkpoint.read_tensors(folder / checkpoint.WEIGHTS)
    try:
        checkpoint.restore_ranker(ranker, tensors)
    except RuntimeError as error:
        raise ValueError(f"{folder / checkpoint.WEIGHTS} does not fit the ranker: {error}") from error
    return TrainedRanker(ranker.eval(), dataset, state["history"], state["best_epoch"], state["best_valid"])


class _Run:
    """One training run: the trainer, and the state that goes to disk at every validation."""

    def __init__(self, dataset: Dataset, state: dict[str, Any], folder: Path) -> None:
        self.trainer = Trainer(dataset, dataset.new_ranker())
        self.state, self.folder = state, folder
        if state["epoch"]:
            tensors = checkpoint.read_tensors(checkpoint.resume_file(folder, state["epoch"]))
            checkpoint.restore_ranker(self.trainer.model, tensors)
            checkpoint.restore_optimizer(self.trainer.optimizer, tensors)
            checkpoint.restore_scaler(self.trainer.scaler, tensors)
            self.trainer.cur_step = state["since_best"]
            if state["best_valid"] is not None:
                self.trainer.best_valid_score = state["best_valid"]

    def to_the_end(self, *, progress: bool) -> None:
        trainer, first = self.trainer, self.state["epoch"]
        bar = tqdm(total=trainer.epochs, initial=first, desc=type(trainer.model).__name__, disable=not progress)
        with bar:
            for epoch in range(first, trainer.epochs):
                if trainer.should_stop:
                    break
                bar.set_postfix(self._one_epoch(epoch))
                bar.update()
        self.state["finished"] = True
        if distributed.rank() == 0:
            checkpoint.write_json(self.folder / checkpoint.STATE, self.state)
            self._drop_resume_files(but=None)
        distributed.from_first(None)  # Nobody reads before all is written.

    def _one_epoch(self, epoch: int) -> dict[str, str]:
        start = time.perf_counter()
        losses = self.trainer.run_epoch(epoch)
        row = {"epoch": epoch + 1, "seconds": time.perf_counter() - start}
        row |= {f"loss.{name}": value for name, value in losses.items()}
        validation = self.trainer.validate(epoch)
        if validation is not None:
            row |= {f"valid.{name}": value for name, value in validation[0].items()}
        self.state["history"].append(row)
        last = epoch + 1 == self.trainer.epochs
        if validation is not None or last:
            self._save(epoch, best=validation[1] if validation is not None else True)
        shown = {"loss": f"{sum(losses.values()):.4f}"}
        if self.state["best_valid"] is not None:
            shown[f"best {self.trainer.valid_metric}"] = f"{self.state['best_valid']:.4f}"
        return shown

    def _save(self, epoch: int, *, best: bool) -> None:
        if best:
            score = self.trainer.best_valid_score
            self.state |= {"best_epoch": epoch + 1, "best_valid": float(score) if self._validated else None}
        self.state |= {"epoch": epoch + 1, "since_best": self.trainer.cur_step}
        if distributed.rank() == 0:
            self._write(best=best)

    def _write(self, *, best: bool) -> None:
        trainer, epoch = self.trainer, self.state["epoch"]
        weights = checkpoint.ranker_tensors(trainer.model)
        if best:
            checkpoint.write_tensors(self.folder / checkpoint.WEIGHTS, weights)
        moving = checkpoint.optimizer_tensors(trainer.optimizer) | checkpoint.scaler_tensors(trainer.scaler)
        # In this order a kill at any point leaves a state and the file that belongs to it.
        checkpoint.write_tensors(checkpoint.resume_file(self.folder, epoch), weights | moving)
        checkpoint.write_json(self.folder / checkpoint.STATE, self.state)
        self._drop_resume_files(but=epoch)

    def _drop_resume_files(self, *, but: int | None) -> None:
        for file in self.folder.glob("resume-*.safetensors"):
            if but is None or file != checkpoint.resume_file(self.folder, but):
                file.unlink()

    @property
    def _validated(self) -> bool:
        return any(key.startswith("valid.") for row in self.state["history"] for key in row)
