"""Provenance: how an experiment's numbers came about."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ragar_rec.experiment import Experiment

LIBRARIES = (
    "ragar-rec",
    "torch",
    "torch-geometric",
    "recbole",
    "diffusers",
    "transformers",
    "peft",
    "open_clip_torch",
    "timm",
    "faiss-cpu",
    "numpy",
    "pandas",
    "scipy",
    "scikit-image",
)


def provenance(run: Experiment) -> dict[str, Any]:
    """Command, config, system, versions, machine, and seconds of each stage."""
    # Imported late: a command that writes no results does without torch.
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    python = platform.python_version()
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "dataset": run.catalogue.title,
        "config": run.config.as_dict(),
        "system": run.system.label,
        "versions": {name: _version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {gpu}, Python {python}",
        "seconds": run.store.seconds(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
