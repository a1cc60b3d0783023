"""The ablations of RQ3: what is changed of RAGAR, panel by panel, and the panels' plots (the paper's Figure 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

from generation.ragar.config import CalibratorMode
from generation.ragar.reflection_config import NoiseMode, Objective
from ragar_rec.config.config import Config
from ragar_rec.report.plots import Estimates, estimates_svg
from ragar_rec.studies.variants import Changes, VariantStudy
from recsys.scoring.statistics import Interval

PANELS = ("parts", "k", "r", "alpha", "beta", "gamma", "noise", "objective", "calibrator")
"""Names of the panels. Every one but ``parts`` changes one setting; its values are those of :func:`panels`."""

QUICK = {
    "generator.k": [0, 10],
    "reflection.samples": [8],
    "reflection.noise": ["full"],
    "reflection.objective": ["paper_literal"],
    "generator.calibrator": ["literal"],
}
"""The values of the quick run, by key."""
FULL: Mapping[str, list[Any]] = {
    "generator.k": [0, 1, 3, 5, 7, 10],
    "reflection.samples": [2, 3, 4, 5, 6, 8],
    "reflection.alpha": [0, 0.1, 0.2, 0.5, 1],
    "reflection.beta": [0, 0.25, 0.5, 1],
    "reflection.gamma": [0, 0.15, 0.3, 0.6],
    "reflection.noise": [*get_args(NoiseMode)],
    "reflection.objective": [*get_args(Objective)],
    "generator.calibrator": [*get_args(CalibratorMode)],
}
"""The values of every panel, by key."""

WORDS = ("noise", "objective", "calibrator")
"""Panels whose values are words, in the order in which they are listed."""

SHOWN = ("score − own picture", "score − a stranger's")
"""The gains that are plotted."""


def panels(config: Config, chosen: Collection[str], *, quick: bool = False) -> dict[str, dict[str, Changes]]:
    """Changes by the name of the variant, by panel; ``parts``, which holds RAGAR itself, is always the first.

    Without retrieval, the whole history counts with equal weights; with ``k 0`` nothing of it counts. An odd r cannot
    come in pairs of mirror images: its samples are compared with the mean of the others. The objective ``path`` draws
    no noise: ``r`` and ``noise`` are panels of ``reinforce`` then. Every panel has the config's own value.

    Args:
        config: of the experiment that is changed.
        chosen: some of :data:`PANELS`.
        quick: the panels and values of :data:`QUICK` alone.
    """
    length = config.generator.history_length
    found: dict[str, dict[str, Changes]] = {
        "parts": {
            "RAGAR": {},
            "without retrieval": {"generator.k": length, "generator.temperature": 1e6},
            "without rank reward": {"reflection.alpha": 0},
        }
    }
    for key in QUICK if quick else FULL:
        panel = {"generator.k": "k", "reflection.samples": "r"}.get(key, key.partition(".")[2])
        if panel in chosen:
            # More than the history may have are refused by the config.
            possible = [value for value in _values(config, key, quick) if key != "generator.k" or value <= length]
            found[panel] = {f"{panel} {value}": _changes(config, key, value) for value in possible}
    return found


def _values(config: Config, key: str, quick: bool) -> list[Any]:
    """The values of a panel, and the config's own among them."""
    section, _, name = key.partition(".")
    chosen = {*(QUICK if quick else FULL)[key], getattr(getattr(config, section), name)}
    return [value for value in FULL[key] if value in chosen] if name in WORDS else sorted(chosen)


def _changes(config: Config, key: str, value: Any) -> Changes:
    changes: dict[str, Any] = {key: value}
    if key in ("reflection.samples", "reflection.noise") and config.reflection.objective == "path":
        changes["reflection.objective"] = "reinforce"
    if key == "reflection.samples" and value % 2:
        changes["reflection.antithetic"] = False
    return changes


def write_plots(study: VariantStudy, variants: Mapping[str, Mapping[str, Changes]]) -> list[Path]:
    """An SVG file for each panel whose variants have been measured, in the study's folder."""
    files = []
    for panel, names in variants.items():
        if not names.keys() <= study.rows.keys():
            continue
        quantities = []
        for gain in SHOWN:
            quantities.append(Estimates(gain, [Interval(**study.rows[name]["gains"][gain]) for name in names]))
        settings = [name.removeprefix(f"{panel} ") for name in names]
        file = study.folder / f"{panel}.svg"
        file.write_text(
            estimates_svg(settings, quantities, label="gain in score, σ", x_label="" if panel == "parts" else panel),
            encoding="utf-8",
        )
        files.append(file)
    return files
