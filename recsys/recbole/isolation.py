"""Context managers that undo what RecBole does to a process: argv, environment, NumPy names, seeds, root logger."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import torch

# Names that RecBole 1.2.1 expects in the namespace of NumPy and that the installed NumPy may lack. RecBole sets the
# first group for the whole process (`Config.compatibility_settings`); we set what is missing while RecBole runs.
_NUMPY_NAMES = {
    # Removed in NumPy 1.24; its metrics, data set and interactions read them at run time. NumPy 2.0 brought `bool` and
    # `long` back with the same meaning, and these two are then left as they are.
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
    # Removed in NumPy 2.0. `Config.compatibility_settings` of RecBole reads these three; ours does not, but code that
    # constructs RecBole's own Config does.
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
}

# Third-party warnings on which a user of this library cannot act, by the beginning of their message.
_WARNINGS = (
    # RecBole 1.2.1 on pandas 2: chained fillna(inplace=True). It works up to pandas 3, which the package excludes.
    ("A value is trying to be set on a copy of a DataFrame or Series through chained assignment", FutureWarning),
    ("pkg_resources is deprecated as an API", UserWarning),
    ("Deprecated call to `pkg_resources.declare_namespace", DeprecationWarning),
    ("`torch.jit.", FutureWarning),
    ("`torch.jit.", DeprecationWarning),
    # RecBole's graph rankers (NGCF, ...) call constructors of sparse tensors that torch has deprecated.
    (r"torch\.sparse\.SparseTensor\(indices", UserWarning),
    ("Creating a tensor from a list of numpy.ndarrays is extremely slow", UserWarning),
    ("Sparse CSR tensor support is in beta state", UserWarning),
    ("Sparse invariant checks are implicitly disabled", UserWarning),
    # RecBole sorts tensors by np.argsort; torch's Tensor.__array_wrap__ lacks two parameters that NumPy 2 passes.
    ("__array_wrap__ must accept context and return_scalar arguments", DeprecationWarning),
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the third-party warnings of `_WARNINGS`, and no others."""
    with warnings.catch_warnings():
        for message, category in _WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


@contextlib.contextmanager
def isolated(seed: int | None = None) -> Iterator[None]:
    """Run third-party code with its own argv, environment, NumPy names, random state and root logger.

    All of them are restored on exit, after an exception too.

    Args:
        seed: seeds the global generators of Python, NumPy and torch inside; their states are restored on exit.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        for guard in (_own_argv, _own_environment, _own_numpy_names, _own_root_logger):
            stack.enter_context(guard())
        stack.enter_context(_own_random_state(seed))
        yield


def seed_everything(seed: int) -> None:
    """Seed the global generators; call it only inside `isolated`, which restores their states."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - RecBole's negative sampler draws from the legacy global generator
    torch.manual_seed(seed)


@contextlib.contextmanager
def _own_argv() -> Iterator[None]:
    # RecBole parses sys.argv as configuration overrides: it sees the program's name only.
    argv, sys.argv = sys.argv, sys.argv[:1] or [""]
    try:
        yield
    finally:
        sys.argv = argv


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    environment = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextlib.contextmanager
def _own_numpy_names() -> Iterator[None]:
    missing = [name for name in _NUMPY_NAMES if name not in vars(np)]
    for name in missing:
        setattr(np, name, _NUMPY_NAMES[name])
    try:
        yield
    finally:
        for name in missing:
            if name in vars(np):
                delattr(np, name)


@contextlib.contextmanager
def _own_root_logger() -> Iterator[None]:
    """Redirect records of the root logger to the logger `recsys.recbole`, with level INFO lowered to DEBUG."""
    root, library_logger = logging.getLogger(), logging.getLogger("recsys.recbole")
    level, handlers = root.level, list(root.handlers)

    def redirect(record: logging.LogRecord) -> bool:
        record.name = library_logger.name
        if record.levelno == logging.INFO:
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        if library_logger.isEnabledFor(record.levelno):
            library_logger.handle(record)
        return False  # The root logger itself drops the record.

    root.addFilter(redirect)
    try:
        yield
    finally:
        root.removeFilter(redirect)
        root.setLevel(level)
        root.handlers[:] = handlers


@contextlib.contextmanager
def _own_random_state(seed: int | None) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    # Asking for a GPU's state would initialise CUDA in a process that does not use it.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        if seed is not None:
            seed_everything(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside; the number of threads is restored on exit.

    With two threads the sparse products of graph rankers are summed in an order that differs from run to run; with
    one, the same seed gives the same ranker to the last bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
