"""Data-parallel training of one ranker by torch.distributed, as `accelerate launch` or torchrun starts it.

Every process holds the whole ranker and draws the same batches. It takes its own rows of each batch, and the gradients
are summed with weights proportional to the rows: the sum is the gradient that a single process would have had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from torch import Tensor, distributed
from torch.distributed.distributed_c10d import get_node_local_rank

Value = TypeVar("Value")

# The first process may work for hours between two trainings while the others wait; torch's default is 30 minutes.
_TIMEOUT = timedelta(days=30)


def world_size() -> int:
    """Number of processes that train together; 1 without a launcher. The first call joins the process group."""
    if not distributed.is_available():
        return 1
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group(timeout=_TIMEOUT)
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Rank of this process, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def gpu(alone: int) -> int:
    """Index of this process's GPU: its local rank on this machine, or `alone` without a launcher."""
    return get_node_local_rank(fallback_rank=alone)


def destroy() -> None:
    """Leave the process group."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def local_rows(batch: Value) -> tuple[Value, float]:
    """The rows of this process in a batch that all processes have drawn, and their share of the batch.

    A process without rows (the last batch may have fewer rows than there are processes) gets the first row at weight 0.

    Args:
        batch: anything with a length that can be sliced.
    """
    whole: Any = batch
    first, step = rank(), world_size()
    n_rows = len(range(first, len(whole), step))
    return whole[first::step] if n_rows else whole[:1], n_rows / len(whole)


def all_reduce(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in place."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def barrier() -> None:
    """Wait until all processes have reached this call."""
    if world_size() > 1:
        distributed.barrier()


def call_on_all(function: Callable[..., Value], *arguments: Any) -> Value:
    """Call a function on every process with the arguments of the first one; every process returns its own result.

    The other processes make the same call, or wait for it in `run_on_first_process`. The
    function is pickled by name: it must be at the top level of a module.
    """
    function, arguments = broadcast((function, arguments))
    return function(*arguments)


def broadcast(value: Any) -> Any:
    """The first process's value on every process; waits until all processes have reached this call."""
    values = [value]
    if world_size() > 1:
        distributed.broadcast_object_list(values)
    return values[0]


def run_on_first_process(program: Callable[[], None]) -> None:
    """Run a program on the first process only; the others join its `call_on_all` calls, of which `train_ranker` is one.

    So one process prints and writes, however many `accelerate launch` started. A single process just runs the program.
    """
    if rank() == 0:
        program()
        broadcast(())
    else:
        while task := broadcast(()):
            function, arguments = task
            function(*arguments)
    destroy()
