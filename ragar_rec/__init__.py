"""RAGAR-Rec, the loop: a ranker rewards a generator of personalised item images, and an evaluation says what they did.

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
    from ragar_rec.report.report import Report
    from ragar_rec.store.shards import ImageShards
    from ragar_rec.store.store import Store

_HOMES = {"Config": "config", "Report": "report", "Row": "evaluation", "Store": "store", "ImageShards": "shards"}

__all__ = ["Config", "ConfigError", "ImageShards", "Report", "Row", "ShadowedPackageError", "Store"]


def _check_rooms(rooms: tuple[str, ...], home: Path) -> None:
    """Refuse to run with somebody else's `recsys` or `generation`: both are plain names.

    Raises:
        ShadowedPackageError: a room is missing, or stands elsewhere than beside ``ragar_rec``.
    """
    for room in rooms:
        spec = find_spec(room)
        # A folder without __init__.py is found too, as a namespace package without an origin.
        found = [Path(place) for place in (spec.submodule_search_locations or [spec.origin or ""])] if spec else []
        if (home / room).resolve() not in [place.resolve() for place in found[:1]]:
            where = f"found it in {found[0]}" if found else "found none"
            raise ShadowedPackageError(
                f"ragar_rec needs its own package `{room}` from {home / room}, but Python {where}; "
                f"rename that folder, or start Python from another one"
            )


_check_rooms(("recsys", "generation"), Path(__file__).resolve().parent.parent)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"ragar_rec.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
