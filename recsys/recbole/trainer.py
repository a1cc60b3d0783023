"""RecBole's trainer, one epoch at a time, working with torch >= 2.6."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from recsys import distributed
from recsys.recbole.dataset import Dataset, Phase
from recsys.recbole.isolation import isolated, seed_everything
from recsys.recbole.models import BaseTrainer, is_counting, without_folders
from recsys.settings import check_positive


class Trainer(BaseTrainer):
    """Trains and validates; writes no file and leaves no seed behind.

    Gradients are zeroed, not set to None: a parameter that is used once an epoch (MICRO's feature projections) keeps
    moving by Adam's momentum in between, as in the reference code. Random numbers depend on the key `seed` and the
    number of the epoch only, so that a continued training ends as an uninterrupted one.

    Several processes (`recsys.distributed`) share every batch of `train_batch_size` and all end with the weights of one
    process up to the order of additions, if each part of the loss is a mean over the batch's rows or does not depend on
    them. `enable_amp` multiplies matrices in bfloat16; with `enable_scaler` in float16 and with scaled gradients, for
    GPUs without bfloat16. Weights, sparse products and evaluation stay in float32.

    Raises:
        ValueError: a setting of the training is impossible, or `topk` asks for more than there are items.
    """

    def __init__(self, dataset: Dataset, ranker: Any) -> None:
        _check(dataset)
        with isolated(), without_folders():
            super().__init__(dataset.config, ranker)
            self.model: Any = ranker
            self._dataset, self._loaders = dataset, dict[Phase, Any]()
            self.eval_collector.data_collect(self.loader("train"))
        if (dataset.config["train_neg_sample_args"] or {}).get("dynamic"):
            self.loader("train").get_model(ranker)  # It scores the candidates.
        self.tensorboard = None
        self._is_counting = is_counting(ranker)
        if self._is_counting:
            self.epochs = 1
        self._first_rate = self.learning_rate
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self._half is torch.float16)
        self._can_validate = len(dataset.interactions.valid[0]) > 0 and self.eval_step > 0

    def loader(self, phase: Phase) -> Any:
        """RecBole's loader of a part of the data, made when it is first asked for: a million items take gigabytes."""
        if phase not in self._loaders:
            self._loaders[phase] = self._dataset.loader(phase)
        return self._loaders[phase]

    def run_epoch(self, epoch: int, *, progress: bool = False) -> dict[str, float]:
        """Train one epoch.

        Returns:
            The mean over batches of every part of the loss, by the names in the ranker's `LOSSES`.

        Raises:
            ValueError: the loss is not finite.
        """
        seed = int(np.random.SeedSequence([self.config["seed"], epoch]).generate_state(1)[0])
        with isolated():
            seed_everything(seed)
            batches = self.loader("train")
            batches.generator.manual_seed(seed)
            if hasattr(self.model, "generator"):
                self.model.generator.manual_seed(seed)
            self._set_rate(epoch)
            bar = tqdm(batches, desc=f"epoch {epoch + 1}", leave=False, disable=not progress)
            # Our own rankers keep what they build once an epoch; RecBole's know no such thing.
            with getattr(self.model, "training_epoch", contextlib.nullcontext)():
                self.model.train()
                parts = [self.step(batch) for batch in bar]
        means = np.mean(parts, axis=0)
        names = getattr(self.model, "LOSSES", ("loss",) if len(means) == 1 else range(len(means)))
        return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}

    def _set_rate(self, epoch: int) -> None:
        """learning_rate * lr_decay^(epoch / lr_decay_epochs)."""
        if self.config["lr_decay"] is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._first_rate * self.config["lr_decay"] ** (epoch / self.config["lr_decay_epochs"])

    @property
    def _half(self) -> torch.dtype | None:
        """What matrices are multiplied in; None for the weights' own type."""
        if not self.config["enable_amp"]:
            return None
        return torch.float16 if self.config["enable_scaler"] else torch.bfloat16

    def step(self, batch: Any) -> list[float]:
        """One step of the optimiser on one batch.

        Returns:
            Every part of the loss.

        Raises:
            ValueError: the loss is not finite.
        """
        self.optimizer.zero_grad(set_to_none=False)
        # What a counting ranker keeps is no gradient that could be added up: every process counts all.
        rows, weight = (batch, 1 / distributed.count()) if self._is_counting else distributed.share(batch)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            losses = self.model.calculate_loss(rows.to(self.device))
        losses = losses if isinstance(losses, tuple) else (losses,)
        parts = weight * torch.stack([loss.sum() for loss in losses])
        self.scaler.scale(parts.sum()).backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        parts = parts.detach()
        distributed.add_up([parts, *gradients])
        total = parts.sum().item()
        if not math.isfinite(total):
            raise ValueError(f"the training loss is {total}; try a learning_rate below {self._first_rate}")
        if self.clip_grad_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return parts.tolist()

    def evaluate_on(self, phase: Phase) -> dict[str, float]:
        """RecBole's metrics on `valid` or `test`: full ranking over what the user had not seen before that part."""
        with isolated():
            result = self.evaluate(self.loader(phase), load_best_model=False)
        return {key: float(value) for key, value in (result or {}).items()}

    def validate(self, epoch: int) -> tuple[dict[str, float], bool] | None:
        """Validation metrics after an epoch, and whether they are the best so far; counts for `should_stop`.

        None if no validation is due (every `eval_step` epochs and after the last), or nobody has validation items.
        """
        if not self._can_validate or ((epoch + 1) % self.eval_step and epoch + 1 < self.epochs):
            return None
        # One process measures, so that all stop after the same epoch even where sums differ in the last bit.
        metrics = distributed.from_first(self.evaluate_on("valid") if distributed.rank() == 0 else {})
        score, best = metrics[self.valid_metric], self.best_valid_score
        better = score > best if self.valid_metric_bigger else score < best
        if better:
            self.best_valid_score, self.cur_step = score, 0
        else:
            self.cur_step += 1
        return metrics, bool(better)

    @property
    def should_stop(self) -> bool:
        """Whether `stopping_step` validations in a row brought nothing better."""
        return self.cur_step >= self.stopping_step


def _check(dataset: Dataset) -> None:
    config: Any = dataset.config
    longest, n_items = max(config["topk"]), dataset.n_items - 1  # without padding
    if longest > n_items:
        raise ValueError(f"topk asks for lists of {longest}, but there are {n_items} items")
    if config["lr_decay"] is not None:
        for key in ("lr_decay", "lr_decay_epochs"):
            check_positive(config, key)
    if config["enable_scaler"] and not config["enable_amp"]:
        raise ValueError("enable_scaler goes with enable_amp: true; without it there are no float16 gradients to scale")
