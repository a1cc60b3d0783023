"""Several processes that train one ranker: torch.distributed, as `accelerate launch` or torchrun starts it.

Every process holds the whole ranker and draws the same batches. Of each it takes its own rows, and the gradients are
added up in proportion to the rows: the sum is the gradient that one process would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from torch import Tensor, distributed
from torch.distributed.distributed_c10d import get_node_local_rank

Value = TypeVar("Value")

# The first process may spend hours between two trainings while the others wait for it.
_PATIENCE = timedelta(days=30)


def count() -> int:
    """How many processes train together; 1 where no launcher started this one. The first call meets the others."""
    if not distributed.is_available():
        return 1
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group(timeout=_PATIENCE)
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def gpu(alone: int) -> int:
    """The number of this process's GPU: its own among the processes of this machine, or `alone` without a launcher."""
    return get_node_local_rank(fallback_rank=alone)


def leave() -> None:
    """Part from the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def share(batch: Value) -> tuple[Value, float]:
    """This process's rows of a batch that all have drawn alike, and which part of the whole they are.

    A process without a row of its own (the last batch may be that small) takes the first, at weight 0.

    Args:
        batch: anything with a length that can be sliced.
    """
    whole: Any = batch
    here, of = rank(), count()
    rows = len(range(here, len(whole), of))
    return whole[here::of] if rows else whole[:1], rows / len(whole)


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over all processes."""
    if count() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def meet() -> None:
    """Wait until all processes have come here."""
    if count() > 1:
        distributed.barrier()


def together(function: Callable[..., Value], *arguments: Any) -> Value:
    """Call a function of a module on every process, with the first one's arguments; what each returns is its own.

    The others come here by the same call, or wait for it in `recsys.recbole.training.led`.
    """
    function, arguments = from_first((function, arguments))
    return function(*arguments)


def from_first(value: Any) -> Any:
    """The first process's value, on every process; waits until all have asked for it."""
    values = [value]
    if count() > 1:
        distributed.broadcast_object_list(values)
    return values[0]
