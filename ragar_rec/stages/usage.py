"""Which entries of the store an experiment uses, found without building any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ragar_rec.stages.stage import Keyed, Stage
from ragar_rec.store.store import NotBuiltError, Store


def used_folders(roots: Iterable[Callable[[], Keyed | Sequence[Keyed]]], store: Store) -> set[Path]:
    """Folders of the stages that these depend on: finished ones, and unfinished ones that a run would continue.

    A stage's key is made of its parents' contents. So below a stage that is not built nothing else can be there.

    Args:
        roots: each makes a stage, or several. Making it may need parents that are not there,
            which ends the search below it.
        store: the store of all of them.
    """
    with store.looking_up() as looked_up:
        for root in roots:
            with suppress(NotBuiltError):
                for stage in _stages(root()):
                    with suppress(NotBuiltError):
                        _ = stage.folder
    return looked_up


def _stages(value: Any) -> Iterator[Stage]:
    """The stages among the fields of an object, parents first, and the object itself if it is one."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _stages(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _stages(inner)
    elif isinstance(value, Keyed) and is_dataclass(value):
        for entry in fields(value):
            yield from _stages(getattr(value, entry.name))
        if isinstance(value, Stage):
            yield value
