"""Types and ranges of RecBole's keys, and of the keys of this library's rankers, checked when a config is read.

A key that is not in the tables is not checked here; nor are the keys of a ranker of the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from ragar_rec.config.schema import Count, Natural, Range, accepts, conform, nearest_key
from recsys.recbole.keys import DEFAULTS, MODE, check_split, metric_names
from recsys.recbole.registry import is_of_library, is_own, own_defaults

NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Dropout = Annotated[float, Range(0, 1, below=True)]


@dataclass(frozen=True)
class Metric:
    """Names of RecBole's metrics, in any case of letters."""

    def __contains__(self, name: str) -> bool:
        return name.lower() in {metric.lower() for metric in metric_names()}

    def __str__(self) -> str:
        return f"a metric of RecBole's ({', '.join(metric_names())})"

    def hint(self, value: str) -> str:
        """The nearest metric, for the end of an error message; "" if none is near."""
        by_lower = {metric.lower(): metric for metric in metric_names()}
        near = get_close_matches(value.lower(), by_lower, n=1)
        return f"; did you mean {by_lower[near[0]]} by {value!r}?" if near else ""


@dataclass(frozen=True)
class Mode:
    """Values of ``eval_args.mode``."""

    def __contains__(self, mode: str) -> bool:
        return MODE.fullmatch(mode) is not None

    def __str__(self) -> str:
        return "full, labeled, or a number of sampled items (uni100: uniformly, pop100: by popularity)"


def _optional(kind: Any) -> Any:
    return kind | None


MetricName = Annotated[str, Metric()]
EvaluationMode = Annotated[str, Mode()]

RECBOLE_VALUES: Mapping[str, Any] = {
    "dataset": str,
    "epochs": Count,
    "train_batch_size": Count,
    "eval_batch_size": _optional(Count),
    "learner": Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"],
    "learning_rate": Positive,
    "lr_decay": _optional(Positive),
    "lr_decay_epochs": Positive,
    "weight_decay": NotNegative,
    "clip_grad_norm": dict[str, Any] | None,
    "eval_step": Natural,
    "stopping_step": Count,
    "metrics": MetricName | tuple[MetricName, ...],
    "topk": Count | tuple[Count, ...],
    "valid_metric": str,
    "metric_decimal_place": Count,
    "seed": Natural,
    "split_seed": Natural,
    "use_gpu": bool,
    "reproducibility": bool,
    "repeatable": bool,
    "shuffle": bool,
    "enable_amp": bool,
    "enable_scaler": bool,
    "worker": Natural,
    "missing_features": Literal["hole", "error"],
    "rm_dup_inter": Literal["first", "last"] | None,
    "knn_exact_items": Natural,
    "knn_n_probe": Count,
    "knn_n_cells": _optional(Count),
    "eval_args": dict[str, Any],
    "eval_args.order": Literal["RO", "TO"],
    "eval_args.group_by": Literal["user", "none"] | None,
    "eval_args.mode": EvaluationMode | dict[str, EvaluationMode],
    "eval_args.split": Any,
    "train_neg_sample_args": dict[str, Any] | None,
    "train_neg_sample_args.distribution": Literal["uniform", "popularity", "none"],
    "train_neg_sample_args.sample_num": Count | Literal["none"],
    "train_neg_sample_args.alpha": float | Literal["none"],
    "train_neg_sample_args.dynamic": bool,
    "train_neg_sample_args.candidate_num": Natural,
}
"""Key of every ranker -> the annotated type of its values; a dotted key stands in the mapping before the dot."""

RANKER_VALUES: Mapping[str, Any] = {
    "embedding_size": Count,
    "n_layers": Natural,
    "n_ui_layers": Natural,
    "knn_k": Count,
    "train_features": bool,
    "lambda_coeff": Share,
    "reg_weight": NotNegative,
    "cl_weight": NotNegative,
    "temperature": Positive,
    "cf_model": Literal["lightgcn", "mf", "ngcf"],
    "dropout": Dropout,
    "message_dropout": Dropout,
    "adjacency": Literal["reference", "symmetric"],
    "anchors": Count | Literal["all"],
    "negatives": Count | Literal["all"],
    "fanout": _optional(Count | Literal["all"]),
    "edge_weights": Literal["unit", "cosine"],
    "modality_weights": dict[str, NotNegative],
}
"""Key of this library's rankers -> the annotated type of its values."""


def value_problems(model: str, values: Mapping[str, Any], source: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each of RecBole's keys whose value has a wrong type, is out of range, or contradicts another.

    Args:
        model: the ranker's name.
        values: RecBole's keys as they were typed.
        source: key -> where it was typed; a dotted key stands for itself where it was typed so.
    """
    kinds = {**RECBOLE_VALUES, **(RANKER_VALUES if is_of_library(model) else {})}
    if is_own(model):  # A ranker of the user's own may give RecBole's key another meaning.
        theirs = own_defaults(model)
        kinds = {key: kind for key, kind in kinds.items() if key not in theirs or accepts(kind, theirs[key])}
    wrong: set[str] = set()
    for key, value in _flat(values, kinds):
        place = source.get(key) or source.get(key.partition(".")[0], "by default")
        if key not in kinds:
            wrong.add(key)
            valid = [name for name in kinds if name.startswith(key.partition(".")[0] + ".")]
            yield f"unknown key `{key}` {place}: the nearest valid key is `{nearest_key(key, valid)}`"
            continue
        try:
            conform(value, kinds[key])
            if key == "eval_args.split":
                check_split(value)
        except ValueError as error:
            wrong.add(key)
            yield f"`{key}` {place}: {error}"
    if not wrong & {"metrics", "topk", "valid_metric", "eval_args.mode"}:
        yield from _metric_problems(model, values, source)


def _flat(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The pairs of key and value that the tables speak of, those inside `eval_args` and its like dotted."""
    nested = {key.partition(".")[0] for key in kinds if "." in key}
    for key, value in values.items():
        if key in kinds:
            yield key, value
        if key in nested and isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in cast("dict[str, Any]", value).items())


def _metric_problems(model: str, values: Mapping[str, Any], source: Mapping[str, str]) -> Iterator[str]:
    """`valid_metric` must be measured, by `metrics` and `topk`; metrics of single scores need sampled items."""
    final = {**DEFAULTS, **own_defaults(model), **values}
    lengths, metrics, chosen = _listed(final["topk"]), _listed(final["metrics"]), final["valid_metric"]
    for key, typed in (("topk", lengths), ("metrics", metrics)):
        if not typed:
            yield f"`{key}` {source.get(key, 'by default')}: expected one at least, got []"
            return
    of_single_scores = {name.lower() for name, single in metric_names().items() if single}
    single = [name for name in metrics if name.lower() in of_single_scores]
    measured = [f"{name}@{k}" for name in metrics if name not in single for k in lengths] + single
    if chosen.lower() not in [name.lower() for name in measured]:
        nearest = get_close_matches(chosen, measured, n=1, cutoff=0)[0]
        yield (
            f"`valid_metric` {source.get('valid_metric', 'by default')}: {chosen} is not among "
            f"{', '.join(measured)}, which metrics and topk ask for; the nearest is --valid_metric={nearest}"
        )
    if single and "full" in _modes(values):
        yield (
            f"`metrics` {source.get('metrics', 'by default')}: {', '.join(single)} is measured on single scores, but "
            "eval_args.mode full ranks lists: leave it out, or write --eval_args.mode=uni100"
        )


def _modes(values: Mapping[str, Any]) -> list[str]:
    mode: Any = (values.get("eval_args") or {}).get("mode", "full")
    return list(cast("dict[str, str]", mode).values()) if isinstance(mode, dict) else [mode]


def sampled_modes(values: Mapping[str, Any]) -> list[str]:
    """The values of `eval_args.mode` under which a held-out item is ranked among a few sampled ones."""
    return [mode for mode in dict.fromkeys(_modes(values)) if mode != "full"]


def _listed(value: Any) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]
