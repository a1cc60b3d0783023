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

SHOWN = ("score − own picture", "score − a stranger's")
"""The gains that are plotted."""


def panels(config: Config, chosen: Collection[str], *, quick: bool = False) -> dict[str, dict[str, Changes]]:
    """Changes by the name of the variant, by panel; ``parts``, which holds RAGAR itself, is always the first.

    Without retrieval, the whole history counts with equal weights; with ``k 0`` nothing of it counts. An odd r cannot
    come in pairs of mirror images: its samples are compared with the mean of the others.

    Args:
        config: of the experiment that is changed.
        chosen: some of :data:`PANELS`.
        quick: the values of :data:`QUICK` alone.
    """
    length = config.generator.history_length
    found: dict[str, dict[str, Changes]] = {
        "parts": {
            "RAGAR": {},
            "without retrieval": {"generator.k": length, "generator.temperature": 1e6},
            "without rank reward": {"reflection.alpha": 0},
        }
    }
    for key, values in (QUICK if quick else FULL).items():
        panel = {"generator.k": "k", "reflection.samples": "r"}.get(key, key.partition(".")[2])
        if panel in chosen:
            # More than the history may have are refused by the config.
            possible = [value for value in values if key != "generator.k" or value <= length]
            found[panel] = {f"{panel} {value}": _changes(key, value) for value in possible}
    return found


def _changes(key: str, value: Any) -> Changes:
    odd = key == "reflection.samples" and value % 2
    return {key: value} | ({"reflection.antithetic": False} if odd else {})


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
        file.write_text(estimates_svg(settings, quantities, label="σ", x_label=panel), encoding="utf-8")
        files.append(file)
    return files
