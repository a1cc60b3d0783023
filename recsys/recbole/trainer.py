"""RecBole's trainer, run one epoch at a time and made to work with torch >= 2.6."""

from __future__ import annotations

import contextlib
import math
from typing import Any, get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from recsys import distributed
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import isolated, seed_everything
from recsys.recbole.models import BaseTrainer, is_counting, without_folders
from recsys.recbole.splits import Among, HeldOutPhase, Phase
from recsys.settings import check_positive


class Trainer(BaseTrainer):
    """Trains a ranker and evaluates it; writes no files and leaves the global random state as it was.

    Gradients are zeroed, not set to None: a parameter that is used once an epoch (MICRO's feature projections) keeps
    moving by Adam's momentum in between, as in the reference code. Random numbers depend on the key `seed` and the
    number of the epoch only, so that a resumed training ends with the same weights as an uninterrupted one.

    Several processes (`recsys.distributed`) share every batch of `train_batch_size` and end with the weights of a
    single process up to the order of additions, if each part of the loss is a mean over the batch's rows or does not
    depend on them. `enable_amp` multiplies matrices in bfloat16; with `enable_scaler` in float16 and with scaled
    gradients, for GPUs without bfloat16. Weights, sparse products and evaluation stay in float32.

    Raises:
        ValueError: a training setting is impossible, or `topk` exceeds the number of items.
    """

    def __init__(self, dataset: Dataset, ranker: Any) -> None:
        _check(dataset)
        with isolated(), without_folders():
            super().__init__(dataset.config, ranker)
            self.model: Any = ranker
            self._dataset, self._loaders = dataset, dict[Phase, Any]()
            self.eval_collector.data_collect(self.loader("train"))
        if (dataset.config["train_neg_sample_args"] or {}).get("dynamic"):
            self.loader("train").get_model(ranker)  # The sampler of dynamic negatives scores its candidates.
        self.tensorboard = None
        self._is_counting = is_counting(ranker)
        if self._is_counting:
            self.epochs = 1
        self._initial_rate = self.learning_rate
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self._half_dtype is torch.float16)
        self._ranked: torch.Tensor | None = None  # the items that `evaluate` ranks; None: all
        self._can_validate = len(dataset.interactions.valid[0]) > 0 and self.eval_step > 0

    def loader(self, phase: Phase) -> Any:
        """RecBole's data loader of a phase, built on first use: with a million items it takes gigabytes."""
        if phase not in self._loaders:
            self._loaders[phase] = self._dataset.loader(phase)
        return self._loaders[phase]

    def run_epoch(self, epoch: int, *, progress: bool = False) -> dict[str, float]:
        """Train one epoch.

        Returns:
            The mean over batches of each part of the loss, by the names in the ranker's `LOSSES`.

        Raises:
            ValueError: the loss is not finite.
        """
        # A seed of its own for every epoch: a resumed training needs no saved random state.
        seed = int(np.random.SeedSequence([self.config["seed"], epoch]).generate_state(1)[0])
        with isolated():
            seed_everything(seed)
            batches = self.loader("train")
            batches.generator.manual_seed(seed)
            if hasattr(self.model, "generator"):
                self.model.generator.manual_seed(seed)
            self._set_rate(epoch)
            bar = tqdm(batches, desc=f"epoch {epoch + 1}", leave=False, disable=not progress)
            # This library's rankers keep what they build once an epoch; RecBole's have no such context.
            with getattr(self.model, "training_epoch", contextlib.nullcontext)():
                self.model.train()
                batch_losses = [self.step(batch) for batch in bar]
        means = np.mean(batch_losses, axis=0)
        names = getattr(self.model, "LOSSES", ("loss",) if len(means) == 1 else range(len(means)))
        return {str(name): float(mean) for name, mean in zip(names, means, strict=True)}

    def _set_rate(self, epoch: int) -> None:
        """Set the learning rate to learning_rate * lr_decay^(epoch / lr_decay_epochs)."""
        if self.config["lr_decay"] is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._initial_rate * self.config["lr_decay"] ** (epoch / self.config["lr_decay_epochs"])

    @property
    def _half_dtype(self) -> torch.dtype | None:
        """The type in which autocast multiplies matrices; None without autocast."""
        if not self.config["enable_amp"]:
            return None
        return torch.float16 if self.config["enable_scaler"] else torch.bfloat16

    def step(self, batch: Any) -> list[float]:
        """One step of the optimiser on one batch.

        Returns:
            Each part of the loss.

        Raises:
            ValueError: the loss is not finite.
        """
        self.optimizer.zero_grad(set_to_none=False)
        # A counting ranker has no gradients that could be summed: every process counts the whole batch.
        rows, weight = (batch, 1 / distributed.world_size()) if self._is_counting else distributed.local_rows(batch)
        with torch.autocast(self.device.type, self._half_dtype, enabled=self._half_dtype is not None):
            losses = self.model.calculate_loss(rows.to(self.device))
        losses = losses if isinstance(losses, tuple) else (losses,)
        parts = weight * torch.stack([loss.sum() for loss in losses])
        self.scaler.scale(parts.sum()).backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        parts = parts.detach()
        distributed.all_reduce([parts, *gradients])
        total = parts.sum().item()
        if not math.isfinite(total):
            raise ValueError(f"the training loss is {total}; try a learning_rate below {self._initial_rate}")
        if self.clip_grad_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return parts.tolist()

    def evaluate_on(self, phase: HeldOutPhase, *, among: Among = "split") -> dict[str, float]:
        """RecBole's metrics on `valid` or `test`, by default over all items not seen by the user in earlier parts.

        Under `eval_args: {mode: uni100}` and its like the names say so: `recall@10 (uni100)`.

        Args:
            phase: which part is held out.
            among: `split` ranks the items that the split asks for (`Dataset.candidates`), `all` ranks all items.
        """
        candidates = self._dataset.candidates(phase) if among == "split" else None
        self._ranked = None if candidates is None else torch.from_numpy(candidates).to(self.device)
        with isolated():
            result = self.evaluate(self.loader(phase), load_best_model=False)
        return {self._named(key, phase): float(value) for key, value in (result or {}).items()}

    def _named(self, metric: str, phase: HeldOutPhase) -> str:
        """The metric's name, with the mode behind it where items are sampled: `recall@10 (uni100)`.

        Among 100 sampled items every ranker finds more than among all: the two must not stand under one name.
        """
        mode = self.config["eval_args"]["mode"][phase]
        return metric if mode == "full" else f"{metric} ({mode})"

    def _full_sort_batch_eval(self, batched_data: Any) -> tuple[Any, torch.Tensor, Any, Any]:
        """RecBole's scores of one batch of users; items that are not ranked get -inf, like those seen before."""
        interaction, scores, positive_rows, positive_items = super()._full_sort_batch_eval(batched_data)
        if self._ranked is not None:
            others = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
            others[self._ranked] = False
            scores = scores.masked_fill(others, -torch.inf)
        return interaction, scores, positive_rows, positive_items

    def validate(self, epoch: int) -> tuple[dict[str, float], bool] | None:
        """Validate after an epoch: the metrics and whether they are the best so far; counts for `should_stop`.

        None if no validation is due (every `eval_step` epochs and after the last), or there are no validation items.
        """
        if not self._can_validate or ((epoch + 1) % self.eval_step and epoch + 1 < self.epochs):
            return None
        # One process evaluates, so that all stop after the same epoch even where sums differ in the last bit.
        metrics = distributed.broadcast(self.evaluate_on("valid") if distributed.rank() == 0 else {})
        score, best = metrics[self._named(self.valid_metric, "valid")], self.best_valid_score
        improved = score > best if self.valid_metric_bigger else score < best
        if improved:
            self.best_valid_score, self.cur_step = score, 0
        else:
            self.cur_step += 1
        return metrics, bool(improved)

    @property
    def should_stop(self) -> bool:
        """Whether `stopping_step` validations in a row brought no improvement."""
        return self.cur_step >= self.stopping_step


def _check(dataset: Dataset) -> None:
    config: Any = dataset.config
    k, n_items = max(config["topk"]), dataset.n_items - 1  # without padding
    if k > n_items:
        raise ValueError(f"topk asks for lists of {k}, but there are {n_items} items")
    for phase in get_args(HeldOutPhase):
        candidates = dataset.candidates(phase)
        if candidates is not None and k > len(candidates):
            raise ValueError(
                f"topk asks for lists of {k}, but the split COLD withholds {len(candidates)} items for {phase}"
            )
    if config["lr_decay"] is not None:
        for key in ("lr_decay", "lr_decay_epochs"):
            check_positive(config, key)
    if config["enable_scaler"] and not config["enable_amp"]:
        raise ValueError("enable_scaler goes with enable_amp: true; without it there are no float16 gradients to scale")
