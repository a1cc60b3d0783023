"""Growth of the ranker's time and memory with the number of items."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from ragar_rec.studies.memory import peak_memory
from ragar_rec.studies.synthetic import synthetic
from recsys.graphs.item_graph import ItemGraph
from recsys.graphs.neighbours import recall
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.recbole.trainer import Trainer

LARGE = {"train_batch_size": 4096, "anchors": 256, "negatives": 4096, "fanout": 10, "learning_rate": 0.005}
"""The settings that are recommended for large catalogues."""
WIDTH = 128
"""Dimensions of the image features."""
FITTED_FROM = 10_000
"""Items from which the exponent is fitted: below, constant costs hide it."""
ALLOWED = 1.15
"""Exponent of the line in the plot."""


def growth(folder: Path, sizes: Sequence[int], steps: int) -> list[dict[str, float]]:
    """Measure each size in a process of its own, so that its peak memory is its own; prints a line per size.

    Returns:
        A row a size: items, seconds of each part, memory after loading and at its peak, and the smaller of the two
        graphs' recall: of the ten nearest neighbours by raw features, how many were found.
    """
    rows = []
    for size in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(_measure, (folder, size, steps)))
        print({key: round(value, 2) for key, value in rows[-1].items()}, flush=True)
    return rows


@one_thread()  # As `train_ranker` does; faiss may use all.
def _measure(folder: Path, n_items: int, steps: int) -> dict[str, float]:
    config = {**synthetic(folder, n_items, width=WIDTH), **LARGE}
    start = time.perf_counter()
    dataset = Dataset.load(config)
    loaded, loaded_memory = time.perf_counter(), peak_memory()
    ranker = dataset.new_ranker().train()  # with the graphs of raw features
    for modality in ranker.modalities:
        ranker.learned_graph(modality)
    built = time.perf_counter()
    trainer = Trainer(dataset, ranker)
    batches = itertools.chain.from_iterable(itertools.repeat(trainer.loader("train")))
    # An epoch's first step is no typical one: it builds the learned graphs again and propagates over all of them.
    trainer.step(next(batches))
    began = time.perf_counter()
    for batch in itertools.islice(batches, steps):
        trainer.step(batch)
    stepped = time.perf_counter() - began
    figures = {"items": n_items, "load": loaded - start, "graph": built - loaded, "first_step": began - built}
    figures |= {"steps": stepped, "loaded_gb": loaded_memory / 2**30, "memory_gb": peak_memory() / 2**30}
    return figures | {"recall": min(graph_recall(graph) for graph in ranker.raw_graphs.values())}


def graph_recall(graph: ItemGraph) -> float:
    """Share of the exact neighbours that the graph has."""
    return recall(graph.unit[graph.rows].numpy(), torch.searchsorted(graph.rows, graph.columns).numpy())


def exponent(rows: Sequence[dict[str, float]]) -> float:
    """Slope of log(graph + steps) over log(items), least squares, from 10,000 items up; 0 for a single size."""
    large = [row for row in rows if row["items"] >= FITTED_FROM] or rows
    times = [row["graph"] + row["steps"] for row in large]
    return float(np.polyfit(np.log([row["items"] for row in large]), np.log(times), 1)[0]) if len(large) > 1 else 0.0


def plot_growth(rows: Sequence[dict[str, float]], file: Path) -> None:
    """Seconds against items, both logarithmic, with a line of slope 1.15 through the last point."""
    items = np.array([row["items"] for row in rows])
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("graph", "item graphs"), ("steps", "training steps")):
        axes.loglog(items, [row[name] for row in rows], "o-", label=label)
    total = np.array([row["graph"] + row["steps"] for row in rows])
    axes.loglog(items, total, "o-", color="black", label="both")
    allowed = total[-1] * (items / items[-1]) ** ALLOWED
    axes.loglog(items, allowed, "--", color="grey", label=f"slope {ALLOWED}")
    axes.set(xlabel="items", ylabel="seconds")
    axes.legend()
    # Without a date, equal figures are equal files.
    figure.savefig(file, metadata={"Date": None})
