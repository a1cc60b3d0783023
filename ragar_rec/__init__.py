"""RAGAR-Rec, the loop: a ranker rewards a generator of personalised item images, and an evaluation measures the effect.

The public names below are imported when they are first used, so that ``ragar-rec --help`` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragar_rec.errors import ConfigError, ShadowedPackageError
from ragar_rec.version import __version__ as __version__

if TYPE_CHECKING:
    from generation.encoders.encoder import ImageEncoder
    from generation.pictures import to_pil
    from generation.request import Explanation, Generator, Request
    from generation.reward import Reward
    from ragar_rec import pipeline as pipeline
    from ragar_rec.config.config import Config
    from ragar_rec.evaluation.results import Results, Row
    from ragar_rec.experiment import Experiment
    from ragar_rec.report.report import Report
    from ragar_rec.store.shards import ImageShards
    from ragar_rec.store.store import Store

_LAZY = {
    "Config": "ragar_rec.config.config",
    "Experiment": "ragar_rec.experiment",
    "Explanation": "generation.request",
    "Generator": "generation.request",
    "ImageEncoder": "generation.encoders.encoder",
    "ImageShards": "ragar_rec.store.shards",
    "Report": "ragar_rec.report.report",
    "Request": "generation.request",
    "Results": "ragar_rec.evaluation.results",
    "Reward": "generation.reward",
    "Row": "ragar_rec.evaluation.results",
    "Store": "ragar_rec.store.store",
    "to_pil": "generation.pictures",
}
"""Public name -> the module that defines it."""

__all__ = [
    "Config",
    "ConfigError",
    "Experiment",
    "Explanation",
    "Generator",
    "ImageEncoder",
    "ImageShards",
    "Report",
    "Request",
    "Results",
    "Reward",
    "Row",
    "ShadowedPackageError",
    "Store",
    "pipeline",
    "to_pil",
]


def _check_packages(names: tuple[str, ...], home: Path) -> None:
    """Check that Python finds our own ``recsys`` and ``generation``: others may use such plain names too.

    Raises:
        ShadowedPackageError: a package is missing, or does not stand beside ``ragar_rec``.
    """
    for name in names:
        spec = find_spec(name)
        # A folder without __init__.py is found too, as a namespace package without an origin.
        folders = [Path(place) for place in (spec.submodule_search_locations or [spec.origin or ""])] if spec else []
        if (home / name).resolve() not in [folder.resolve() for folder in folders[:1]]:
            where = f"found it in {folders[0]}" if folders else "found none"
            raise ShadowedPackageError(
                f"ragar_rec needs its own package `{name}` from {home / name}, but Python {where}; "
                f"rename that folder, or start Python from another one"
            )


_check_packages(("recsys", "generation"), Path(__file__).resolve().parent.parent)


def __getattr__(name: str) -> Any:
    # The functions of the commands stay in their module: `augment` and `report` are names of sub-modules too.
    if name == "pipeline":
        return import_module("ragar_rec.pipeline")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
