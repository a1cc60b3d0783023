"""Quarantine for a library with side effects: whatever it does to the process is undone when it returns."""

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

# NumPy removed these names in 1.24; RecBole 1.2.1 puts them back for the whole process and needs them at run time.
_NUMPY_NAMES = {
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
}

# Third-party warnings that tell a user of this library nothing, by message and with the reason.
_WARNINGS = (
    # RecBole 1.2.1 on pandas 2: chained fillna(inplace=True). It works up to pandas 3, which the package excludes.
    ("A value is trying to be set on a copy of a DataFrame or Series through chained assignment", FutureWarning),
    ("pkg_resources is deprecated as an API", UserWarning),
    ("Deprecated call to `pkg_resources.declare_namespace", DeprecationWarning),
    ("`torch.jit.", FutureWarning),
    ("`torch.jit.", DeprecationWarning),
    # RecBole's graph rankers (NGCF, ...) and torch's former constructors.
    (r"torch\.sparse\.SparseTensor\(indices", UserWarning),
    ("Creating a tensor from a list of numpy.ndarrays is extremely slow", UserWarning),
    ("Sparse CSR tensor support is in beta state", UserWarning),
    ("Sparse invariant checks are implicitly disabled", UserWarning),
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the third-party warnings listed above, and no others."""
    with warnings.catch_warnings():
        for message, category in _WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


@contextlib.contextmanager
def isolated(seed: int | None = None) -> Iterator[None]:
    """Run foreign code with its own argv, environment, NumPy names, random state and root logger.

    Args:
        seed: seeds Python's, NumPy's and torch's global generators inside; their states return afterwards.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet())
        for guard in (_own_argv, _own_environment, _own_numpy_names, _own_root_logger):
            stack.enter_context(guard())
        stack.enter_context(_own_random_state(seed))
        yield


def seed_everything(seed: int) -> None:
    """Seed the global generators; call it only inside `isolated`, which puts them back."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - RecBole's negative sampler draws from the legacy global generator
    torch.manual_seed(seed)


@contextlib.contextmanager
def _own_argv() -> Iterator[None]:
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
    """What is logged on the root logger inside goes to `recsys.recbole.dataset`, one level down: info becomes debug."""
    root, ours = logging.getLogger(), logging.getLogger("recsys.recbole.dataset")
    level, handlers = root.level, list(root.handlers)

    def divert(record: logging.LogRecord) -> bool:
        record.name = ours.name
        if record.levelno == logging.INFO:
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        if ours.isEnabledFor(record.levelno):
            ours.handle(record)
        return False

    root.addFilter(divert)
    try:
        yield
    finally:
        root.removeFilter(divert)
        root.setLevel(level)
        root.handlers[:] = handlers


@contextlib.contextmanager
def _own_random_state(seed: int | None) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
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
    """One torch thread inside, as many as before outside.

    The sparse products of graph rankers add up in another order from run to run when two threads share them; with one,
    the same seed gives the same ranker to the last bit.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
