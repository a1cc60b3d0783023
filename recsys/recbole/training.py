"""Training of the ranker that a RecBole configuration describes, with checkpoints from which it is resumed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from recsys import distributed
from recsys.recbole import checkpoint
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.recbole.splits import HeldOutPhase
from recsys.recbole.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRanker:
    """A ranker with the weights of its best validation, in evaluation mode.

    Attributes:
        ranker: the RecBole model.
        dataset: the data set it was trained on.
        history: one row per epoch: `epoch` (from 1), `seconds`, `loss.<name>`, and `valid.<metric>` where measured.
        best_epoch: the epoch of the weights, from 1.
        best_valid: `valid_metric` after that epoch; None if there was nothing to validate on.
    """

    ranker: Any
    dataset: Dataset
    history: list[dict[str, float]]
    best_epoch: int
    best_valid: float | None

    @one_thread()
    def metrics(self, phase: HeldOutPhase = "test") -> dict[str, float]:
        """RecBole's evaluator on `valid` or `test`, for example `{"recall@10": 0.12, ...}`.

        Under the split `COLD` these rank the phase's withheld items among each other; `recall@10 among all` and its
        like rank them among all items.
        """
        trainer = Trainer(self.dataset, self.ranker)
        metrics = trainer.evaluate_on(phase)
        if self.dataset.candidates(phase) is not None:
            among_all = trainer.evaluate_on(phase, among="all")
            metrics |= {f"{name} among all": value for name, value in among_all.items()}
        self.ranker.eval()
        return metrics

    @one_thread()
    def with_features(self, features: Mapping[str, Path]) -> TrainedRanker:
        """The same weights, reading other tables; what is computed from features (item graphs) is computed anew.

        Args:
            features: tables by modality, as wide as those of the training; other modalities stay as they are.
        """
        dataset = self.dataset.with_features(features)
        ranker = dataset.new_ranker()
        checkpoint.restore_ranker(ranker, checkpoint.ranker_tensors(self.ranker))
        return replace(self, ranker=ranker.eval(), dataset=dataset)


def train_ranker(config: Mapping[str, Any], folder: Path, *, progress: bool = True) -> TrainedRanker:
    """Train the configured ranker and write the weights of its best validation to `folder`.

    A finished checkpoint of the same configuration, data and features is loaded instead; an unfinished one is resumed
    after its last validation and ends with the same numbers; any other one is replaced, and a warning lists the
    differences.

    Under `accelerate launch` every process calls this function and trains with the arguments of the first one, which
    alone writes. All processes must see the folder. `distributed.run_on_first_process` runs a program that does more
    than training.

    Args:
        config: RecBole's keys, with `model`, `data_path` and `dataset`.
        folder: receives ranker.safetensors and ranker.json.
        progress: show a progress bar.

    Raises:
        ValueError: an unknown key, or data that cannot be trained on.
        FileNotFoundError: the data or a feature file is missing.
    """
    return distributed.call_on_all(_train, dict(config), folder, progress)


@one_thread()
def _train(config: Mapping[str, Any], folder: Path, progress: bool) -> TrainedRanker:
    dataset = Dataset.load(config)
    identity = checkpoint.identity(dataset.config.plain(), dataset.digest(), dataset.config.code)
    state = checkpoint.read_state(folder)
    differences = [] if state is None else checkpoint.differences(state["identity"], identity)
    if differences and distributed.rank() == 0:
        logger.warning("the ranker in %s is another one and is replaced; different: %s", folder, "; ".join(differences))
    if state is None or differences:
        state = {"identity": identity, "epoch": 0, "best_epoch": 0, "best_valid": None, "since_best": 0, "history": []}
        state["finished"] = False
    elif state["finished"]:
        return _restored(dataset, state, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _TrainingRun(dataset, state, folder).finish(progress=progress and distributed.rank() == 0)
    return _restored(dataset, state, folder)


@one_thread()
def load_ranker(config: Mapping[str, Any], folder: Path) -> TrainedRanker:
    """Load the ranker that `train_ranker` finished in this folder.

    Raises:
        FileNotFoundError: there is no finished checkpoint.
        ValueError: the checkpoint belongs to another configuration, catalogue or feature table (the message says
            which), or is damaged.
    """
    dataset = Dataset.load(config)
    state = checkpoint.read_state(folder)
    if state is None or not state["finished"]:
        raise FileNotFoundError(f"{folder} holds no finished ranker; train one first")
    identity = checkpoint.identity(dataset.config.plain(), dataset.digest(), dataset.config.code)
    if differences := checkpoint.differences(state["identity"], identity):
        raise ValueError(f"the ranker in {folder} is another one; different: {'; '.join(differences)}")
    return _restored(dataset, state, folder)


def _restored(dataset: Dataset, state: Mapping[str, Any], folder: Path) -> TrainedRanker:
    ranker = dataset.new_ranker()
    tensors = checkpoint.read_tensors(folder / checkpoint.WEIGHTS)
    try:
        checkpoint.restore_ranker(ranker, tensors)
    except RuntimeError as error:
        raise ValueError(f"{folder / checkpoint.WEIGHTS} does not fit the ranker: {error}") from error
    return TrainedRanker(ranker.eval(), dataset, state["history"], state["best_epoch"], state["best_valid"])


class _TrainingRun:
    """One training run: the trainer, and the state that is written at every validation and read to resume it."""

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

    def finish(self, *, progress: bool) -> None:
        """Train the remaining epochs, or until validation stops improving, and mark the checkpoint as finished."""
        trainer, first = self.trainer, self.state["epoch"]
        bar = tqdm(total=trainer.epochs, initial=first, desc=type(trainer.model).__name__, disable=not progress)
        with bar:
            for epoch in range(first, trainer.epochs):
                if trainer.should_stop:
                    break
                bar.set_postfix(self._train_epoch(epoch))
                bar.update()
        self.state["finished"] = True
        if distributed.rank() == 0:
            checkpoint.write_json(self.folder / checkpoint.STATE, self.state)
            self._delete_resume_files(keep=None)
        distributed.broadcast(None)  # No process reads the files before all are written.

    def _train_epoch(self, epoch: int) -> dict[str, str]:
        """Train and validate one epoch, add its row to the history and save; returns what the progress bar shows."""
        start = time.perf_counter()
        losses = self.trainer.run_epoch(epoch)
        row = {"epoch": epoch + 1, "seconds": time.perf_counter() - start}
        row |= {f"loss.{name}": value for name, value in losses.items()}
        validation = self.trainer.validate(epoch)
        if validation is not None:
            row |= {f"valid.{name}": value for name, value in validation[0].items()}
        self.state["history"].append(row)
        is_last = epoch + 1 == self.trainer.epochs
        if validation is not None or is_last:
            self._save(epoch, best=validation[1] if validation is not None else True)
        postfix = {"loss": f"{sum(losses.values()):.4f}"}
        if self.state["best_valid"] is not None:
            postfix[f"best {self.trainer.valid_metric}"] = f"{self.state['best_valid']:.4f}"
        return postfix

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
        training = checkpoint.optimizer_tensors(trainer.optimizer) | checkpoint.scaler_tensors(trainer.scaler)
        # The order matters: a process killed at any point leaves a state and the resume file that belongs to it.
        checkpoint.write_tensors(checkpoint.resume_file(self.folder, epoch), weights | training)
        checkpoint.write_json(self.folder / checkpoint.STATE, self.state)
        self._delete_resume_files(keep=epoch)

    def _delete_resume_files(self, *, keep: int | None) -> None:
        for file in self.folder.glob("resume-*.safetensors"):
            if keep is None or file != checkpoint.resume_file(self.folder, keep):
                file.unlink()

    @property
    def _validated(self) -> bool:
        return any(key.startswith("valid.") for row in self.state["history"] for key in row)
