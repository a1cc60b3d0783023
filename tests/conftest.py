"""What every test runs under: annotations of shapes are checked, one thread a process, no network."""

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:
    # Compiled once, in pytest's own folder: every test process and command would else compile torch and transformers.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# Before the first import of a hub client: a test that reaches for the network fails at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Before the first import of NumPy, torch and faiss, which read it once: the test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from jaxtyping import install_import_hook

# Kept in a variable: the hook lives as long as the object that installed it.
shape_checks = install_import_hook(["ragar_rec", "recsys", "generation"], "annotation_checker.checked")
# These worlds are so small that two threads mostly wait for each other: 20 times slower on a busy machine.
torch.set_num_threads(1)
