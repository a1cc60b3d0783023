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
    from ragar_rec.config.config import Config
    from ragar_rec.evaluation.results import Row
    from ragar_rec.experiment import Experiment
    from ragar_rec.report.report import Report
    from ragar_rec.store.shards import ImageShards
    from ragar_rec.store.store import Store

_LAZY = {
    "Config": "config",
    "Experiment": "experiment",
    "ImageShards": "store",
    "Report": "report",
    "Row": "evaluation",
    "Store": "store",
}
"""Public name -> the sub-package or module that exports it."""

__all__ = ["Config", "ConfigError", "Experiment", "ImageShards", "Report", "Row", "ShadowedPackageError", "Store"]


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
    if name in _LAZY:
        return getattr(import_module(f"ragar_rec.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
