"""How fast the ranker is, and what limits it: ratios within one run, beside the straightforward forms.

    python experiments/bench_ranker.py --data <folder> --weights <folder> --json output/bench/ranker.json
    python experiments/bench_ranker.py --quick

With --data (MovieLens-latest-small with posters) the epoch is movie-posters', without it that of a synthetic world of
the same size. Hardware: two CPU cores, no GPU. Minutes and expected numbers: docs/ranker.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor
from torch.nn import functional

from ragar_rec.pipeline import Run
from recsys.features import FeatureTable
from recsys.graphs.item_graph import ItemGraph
from recsys.graphs.neighbours import recall
from recsys.memory import peak_memory
from recsys.rankers.micro import MICRO
from recsys.recbole.config import with_ranker
from recsys.recbole.dataset import Dataset
from recsys.recbole.isolation import one_thread
from recsys.recbole.models import full_scores
from recsys.recbole.trainer import Trainer
from recsys.recbole.training import train_ranker
from recsys.scoring.counterfactual import Counterfactual
from recsys.scoring.metrics import per_user
from recsys.scoring.ranks import held_out_ranks, top_lists
from recsys.scoring.statistics import paired_difference

CONFIGS = Path(__file__).parent / "configs"
LARGE = {"train_batch_size": 4096, "anchors": 256, "negatives": 4096, "fanout": 10, "learning_rate": 0.005}
"""The settings that are recommended for large catalogues."""


@dataclass(frozen=True)
class Args:
    """What the benchmark takes."""

    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "bench"
    json: Path | None = None
    quick: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        items: of the synthetic world whose epoch is timed where there are no posters.
        batches: of the dense form's epoch that are timed.
        ranked: users and items of the full ranking.
        triples: counterfactual scores.
        replaceable: items of the catalogue that they are taken in.
        grown: items at which growth is measured.
        steps: training steps at each of them.
        seeds: of the trainings whose recall is compared.
        epochs: of each training on ml-100k; None is the config's.
        pairs: foreign images.
    """

    items: int = 9_742
    batches: int = 5
    ranked: tuple[int, int] = (20_000, 7_000)
    triples: int = 10_000
    replaceable: int = 10_000
    grown: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    steps: int = 100
    seeds: int = 3
    epochs: int | None = None
    pairs: int = 500


QUICK = Sizes(
    items=2_000,
    batches=2,
    ranked=(2_000, 7_000),
    triples=1_000,
    grown=(1_000, 10_000, 30_000),
    steps=20,
    seeds=1,
    epochs=4,
    pairs=30,
)


class DenseMICRO(MICRO):
    """The straightforward form: N x N similarities, edges gathered in a Python loop, every item an anchor of the
    contrastive loss with every similarity held, torch.sparse.mm. The same parameters, the same numbers.
    """

    dense: dict[str, Tensor] | None = None

    def build_graphs(self, modalities: Sequence[str]) -> None:
        """The graphs of raw features, once."""
        super().build_graphs(modalities)
        self.raw = {m: self._dense_graph(m, self.features(m)) for m in modalities}

    def forget(self) -> None:
        """Drop the epoch's graphs too."""
        super().forget()
        self.dense = None

    def hidden(self) -> list[Tensor]:
        """h_m of every modality, through graphs that carry gradient on the first batch of an epoch."""
        if self.dense is None:
            share = self.settings["lambda_coeff"]
            learned = {m: self._dense_graph(m, self.projections.of(m)(self.features(m))) for m in self.modalities}
            graphs = {m: (share * self.raw[m] + (1 - share) * learned[m]).coalesce() for m in self.modalities}
            self.dense = {m: graph.detach() for m, graph in graphs.items()}
        else:
            graphs = self.dense
        return [torch.sparse.mm(graphs[m], self.item_embedding.weight) for m in self.modalities]

    def _dense_graph(self, modality: str, vectors: Tensor) -> Tensor:
        return _dense_edges(vectors, self.content.has(modality), self.settings["knn_k"])

    def collaborative(self) -> tuple[Tensor, Tensor]:
        """LightGCN's embeddings."""
        layers = [torch.cat([self.user_embedding.weight, self.item_embedding.weight])]
        for _ in range(self.settings["n_ui_layers"]):
            layers.append(torch.sparse.mm(self.interactions.matrix, layers[-1]))
        final = torch.stack(layers).mean(dim=0)
        return final[: self.n_users], final[self.n_users :]

    def _contrastive(self, hidden: Tensor, fused: Tensor, draws: Any) -> Tensor:
        total, tau = hidden.new_zeros(()), self.settings["temperature"]
        for view, has in zip(hidden, self.present, strict=True):
            one, two = functional.normalize(view[has], dim=-1), functional.normalize(fused[has], dim=-1)
            own, other = (one @ one.T / tau).exp(), (one @ two.T / tau).exp()
            bottom = own.sum(1) + other.sum(1) - own.diagonal()
            total = total - (other.diagonal() / bottom).log().mean()
        return total


def _dense_edges(vectors: Tensor, present: Tensor, k: int) -> Tensor:
    unit = functional.normalize(vectors, dim=-1)
    similarity = (unit @ unit.T).masked_fill(~present, -2.0)
    nearest = similarity.detach().topk(k, dim=1).indices
    rows, columns = [], []
    for row in range(len(vectors)):
        if present[row]:
            for column in nearest[row].tolist():
                rows.append(row)
                columns.append(column)
    weights = similarity[rows, columns]
    degree = torch.zeros(len(vectors)).index_add(0, torch.tensor(rows), weights)
    scale = torch.where(degree > 0, degree, torch.ones_like(degree)).rsqrt()
    values = scale[rows] * weights * scale[columns]
    return torch.sparse_coo_tensor(
        torch.tensor([rows, columns]), values, (len(vectors), len(vectors)), check_invariants=False
    ).coalesce()


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """The fastest of some repetitions."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def machine() -> tuple[float, float]:
    """(arithmetic in FLOP/s, memory in byte/s) that this machine reaches in float32 now."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    arithmetic = 2 * 2048**3 / seconds(lambda: a @ b, 5)
    x, y = torch.randn(2**26), torch.empty(2**26)
    return arithmetic, 2 * x.numel() * 4 / seconds(lambda: y.copy_(x), 5)


def synthetic(
    folder: Path, n_items: int, *, width: int, n_users: int | None = None, per_item: int = 10, seed: int = 0
) -> dict[str, Any]:
    """A world of clustered items, half as many people by default: RecBole files and two feature tables on disk.

    Returns:
        RecBole's keys that load it.
    """
    n_users = n_users or n_items // 2
    name, rng = f"synthetic-{n_items}-{n_users}-{width}", np.random.default_rng(seed)
    home = folder / name
    paths = {modality: home / f"{modality}.safetensors" for modality in ("image", "text")}
    if not paths["text"].is_file():
        home.mkdir(parents=True, exist_ok=True)
        kinds = rng.integers(max(2, n_items // 50), size=n_items)
        ids = [f"i{item}" for item in range(n_items)]
        users, items = rng.integers(n_users, size=per_item * n_items), np.tile(np.arange(n_items), per_item)
        pairs = {"user_id:token": users, "item_id:token": np.char.add("i", items.astype(str))}
        frame = pd.DataFrame({**pairs, "timestamp:float": rng.permutation(len(users))})
        frame.drop_duplicates(["user_id:token", "item_id:token"]).to_csv(home / f"{name}.inter", sep="\t", index=False)
        pd.DataFrame({"item_id:token": ids}).to_csv(home / f"{name}.item", sep="\t", index=False)
        for path, columns in zip(paths.values(), (width, 128), strict=True):
            centres = rng.normal(size=(kinds.max() + 1, columns)).astype(np.float32)
            values = centres[kinds] + rng.normal(size=(n_items, columns)).astype(np.float32)
            FeatureTable(tuple(ids), values).write(path)
    return {
        "model": "MICRO",
        "dataset": name,
        "data_path": str(folder),
        "embedding_size": 64,
        "features": {modality: str(path) for modality, path in paths.items()},
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
    }


def epoch(config: dict[str, Any], *, batches: int = 5) -> dict[str, float]:
    """Seconds of one epoch of the dense form (extrapolated from some batches), ours at its batch size, and ours."""
    small = {**config, "train_batch_size": 1024}
    dense = _dense_epoch(small, batches)
    ours = _epoch(small)
    recommended = _epoch(config)
    return {"dense": dense, "same_batch": ours, "recommended": recommended}


@one_thread()  # as `train_ranker` does; the dense form has all
def _epoch(config: dict[str, Any]) -> float:
    dataset = Dataset.load(config)
    trainer = Trainer(dataset, dataset.new_ranker())
    trainer.run_epoch(0)
    return seconds(lambda: trainer.run_epoch(1))


def _dense_epoch(config: dict[str, Any], batches: int) -> float:
    dataset = Dataset.load(with_ranker(config, f"{__name__}:DenseMICRO"))
    ranker = dataset.new_ranker().train()
    loader = dataset.loader("train")
    optimizer = torch.optim.Adam(ranker.parameters(), lr=1e-3)
    taken = []
    for batch in itertools.islice(loader, batches + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.stack(ranker.calculate_loss(batch)).sum().backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
    # The first batch builds the graphs, the others do not.
    return taken[0] + float(np.mean(taken[1:])) * (len(loader) - 1)


def epoch_work(config: dict[str, Any]) -> tuple[float, float]:
    """What an epoch cannot do without: operations of the contrastive products, bytes of the propagations.

    The similarities of anchors with two views are one product and lead to two gradients. Each of two layers over the
    user-item graph and one over each item graph gathers a row per edge, forwards and backwards.
    """
    dataset = Dataset.load(config)
    full: dict[str, Any] = dataset.config.plain()
    clicks, batches = len(dataset.interactions.train[0]), len(dataset.loader("train"))
    dim, modalities = full["embedding_size"], len(full["features"])
    edges = full["n_ui_layers"] * 2 * clicks + modalities * 2 * full["knn_k"] * dataset.n_items
    flop = batches * modalities * 3 * 2 * full["anchors"] * 2 * dataset.n_items * dim
    return flop, batches * 2 * edges * dim * 4


def recall_difference(config: dict[str, Any], folder: Path, *, seeds: int, epochs: int) -> tuple[float, float, float]:
    """Validation Recall@10 on ml-100k, ours minus the dense form's, a value a person, with its 95 % interval.

    Both have the config's batch size and learning rate: it says what sampled anchors cost, not what the batch does.
    """
    values = {}
    for name, settings in {"ours": config, "dense": with_ranker(config, f"{__name__}:DenseMICRO")}.items():
        found = []
        for seed in range(seeds):
            changed = {**settings, "seed": seed, "epochs": epochs}
            trained = train_ranker(changed, folder / f"{name}-{seed}-{epochs}")
            ranks = held_out_ranks(
                lambda users, ranker=trained.ranker: full_scores(ranker, users), trained.dataset, phase="valid"
            )
            frame = per_user(ranks).pivot(index="user", columns="metric", values="value")
            found.append(frame["recall@10"])
        values[name] = pd.concat(found, axis=1).mean(axis=1)
    it = paired_difference(values["ours"], values["dense"])
    return it.value, it.low, it.high


def growth(folder: Path, sizes: Sequence[int], steps: int) -> list[dict[str, float]]:
    """Each size in a process of its own, so that its peak memory is its own.

    Returns:
        A row a size: items, seconds of each part, memory after loading and at its peak, and the smaller of the two
        graphs' recall: of the ten nearest neighbours by raw features, how many were found.
    """
    rows = []
    for size in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(_grow, (folder, size, steps)))
        print({key: round(value, 2) for key, value in rows[-1].items()}, flush=True)
    return rows


@one_thread()  # as `train_ranker` does; faiss has all
def _grow(folder: Path, n_items: int, steps: int) -> dict[str, float]:
    config = {**synthetic(folder, n_items, width=128), **LARGE}
    start = time.perf_counter()
    dataset = Dataset.load(config)
    loaded, held = time.perf_counter(), peak_memory()
    ranker = dataset.new_ranker().train()  # with the graphs of raw features
    for modality in ranker.modalities:
        ranker.learned_graph(modality)
    built = time.perf_counter()
    trainer = Trainer(dataset, ranker)
    epochs = itertools.chain.from_iterable(itertools.repeat(trainer.loader("train")))
    trainer.step(next(epochs))  # an epoch's first: builds the learned graphs again and moves them over the whole graph
    began = time.perf_counter()
    for batch in itertools.islice(epochs, steps):
        trainer.step(batch)
    stepped = time.perf_counter() - began
    figures = {"items": n_items, "load": loaded - start, "graph": built - loaded, "first_step": began - built}
    figures |= {"steps": stepped, "loaded_gb": held / 2**30, "memory_gb": peak_memory() / 2**30}
    return figures | {"recall": min(graph_recall(graph) for graph in ranker.raw_graphs.values())}


def graph_recall(graph: ItemGraph) -> float:
    """Share of the exact neighbours that the graph has."""
    return recall(graph.unit[graph.rows].numpy(), torch.searchsorted(graph.rows, graph.columns).numpy())


def exponent(rows: list[dict[str, float]]) -> float:
    """Slope of log(graph + steps) over log(items), least squares, from 10,000 items up."""
    large = [row for row in rows if row["items"] >= 10_000] or rows
    times = [row["graph"] + row["steps"] for row in large]
    return float(np.polyfit(np.log([row["items"] for row in large]), np.log(times), 1)[0]) if len(large) > 1 else 0.0


def agreement(config: dict[str, Any], folder: Path, *, pairs: int, epochs: int) -> tuple[float, float]:
    """Rank correlations with the *change* that an exact rebuild makes to a score when another item's image is shown.

    Returns:
        Of the inductive change, and of the original score (what knowing nothing of the new image would give).
    """
    trained = train_ranker({**config, "epochs": epochs}, folder)
    ranker, dataset = trained.ranker, trained.dataset
    generator = torch.Generator().manual_seed(0)
    shown = ranker.content.has("image").nonzero().flatten()
    users = torch.randint(1, dataset.n_users, (pairs,), generator=generator)
    items, others = (shown[torch.randint(len(shown), (pairs,), generator=generator)] for _ in range(2))
    features = ranker.content.features("image")[others]
    with torch.no_grad():
        views = [Counterfactual(ranker, method=how) for how in ("inductive", "exact")]
        before = views[0].scores(users).gather(1, items[:, None])[:, 0]
        inductive, exact = (
            stats.rankdata((view.substitute(users, items, features) - before).numpy()) for view in views
        )
    nothing = stats.rankdata(before.numpy())
    return float(np.corrcoef(inductive, exact)[0, 1]), float(np.corrcoef(nothing, exact)[0, 1])


def counterfactual(config: dict[str, Any], *, triples: int, rebuilds: int = 3) -> dict[str, float]:
    """Seconds for ``triples`` scores: ours, the bare product, and a rebuild with a forward pass for each."""
    dataset = Dataset.load(config)
    ranker = dataset.new_ranker().eval()
    view = Counterfactual(ranker)
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(1, dataset.n_users, (triples,), generator=generator)
    items = torch.randint(1, dataset.n_items, (triples,), generator=generator)
    features = torch.randn(triples, view.feature_dim, generator=generator)
    catalogue = ranker.features("image")
    with torch.no_grad():
        ours = seconds(lambda: view.substitute(users, items, features), 2)
        bare = seconds(lambda: [block @ catalogue.T for block in features.split(1024)], 2)
        exact = Counterfactual(ranker, method="exact")
        rebuilt = seconds(lambda: exact.substitute(users[:rebuilds], items[:rebuilds], features[:rebuilds]))
    return {"ours": ours, "bare": bare, "rebuilt": rebuilt / rebuilds * triples}


def full_ranking(config: dict[str, Any], k: int = 10) -> dict[str, float]:
    """Seconds for everybody's top k as a table of tokens, and of the bare product with its top k."""
    dataset = Dataset.load(with_ranker(config, "LightGCN"))
    ranker = dataset.new_ranker().eval()
    everybody = range(1, dataset.n_users)
    users, items = ranker.embeddings()

    def bare() -> None:
        for block in users[1:].split(256):
            (block @ items.T).topk(k)

    ours = seconds(lambda: top_lists(lambda some: full_scores(ranker, some), dataset, k=k, users=everybody), 3)
    return {"ours": ours, "bare": seconds(bare, 3)}


class Benchmark:
    """All measurements of one run; prints each with what limits it.

    Attributes:
        PARTS: what is measured, in this order.
        FIGURES: the keys of the JSON that a run of all parts writes.
    """

    PARTS = ("epoch", "full_ranking", "counterfactual", "growth", "recall", "agreement")
    FIGURES = (
        "epoch_speedup",
        "epoch_speedup_recommended",
        "epoch_recall_difference",
        "growth_exponent",
        "memory_gb_1m",
        "counterfactual_speedup",
        "counterfactual_vs_product",
        "full_ranking_vs_product",
    )

    def __init__(self, args: Args, sizes: Sizes | None = None) -> None:
        self.args, self.folder = args, args.output
        self.sizes = sizes or (QUICK if args.quick else Sizes())
        self.arithmetic, self.memory = machine()
        print(f"this machine now: {self.arithmetic / 1e9:.0f} GFLOP/s, {self.memory / 1e9:.1f} GB/s, float32")

    def run(self) -> dict[str, Any]:
        """Every figure by its name; what is known so far is on disk after each part.

        A run of some parts keeps what the file holds of the others; a run of all begins with nothing.
        """
        file = self.args.json or self.folder / "ranker.json"
        for folder in (self.folder, file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        known: dict[str, Any] = json.loads(file.read_text()) if self.args.only and file.is_file() else {}
        figures = {name: value for name, value in known.items() if name in self.FIGURES}
        for part in self.args.only or self.PARTS:
            figures |= getattr(self, part)()
            file.write_text(json.dumps(figures, indent=1))
        return figures

    def epoch(self) -> dict[str, float]:
        """Speed-up over the dense form at its batch size and at the settings that are recommended."""
        if self.args.data is None:
            config = synthetic(self.folder, self.sizes.items, width=512)
            config |= {"train_batch_size": 4096, "learning_rate": 0.005}
        else:
            config = Run.open(
                CONFIGS / "movie-posters.yaml", [], self.args.data, self.args.weights, self.folder / "posters"
            ).recbole
        taken = epoch(config, batches=self.sizes.batches)
        same, ours = taken["dense"] / taken["same_batch"], taken["dense"] / taken["recommended"]
        print(
            f"an epoch: dense {taken['dense']:.0f} s, ours {taken['same_batch']:.2f} s at its batch size (x {same:.0f})"
        )
        print(f"  and {taken['recommended']:.2f} s at the recommended one (x {ours:.0f})")
        flop, read = epoch_work(config)
        print(f"  limits there: arithmetic {flop / self.arithmetic:.2f} s, bytes {read / self.memory:.2f} s")
        return {"epoch_speedup": same, "epoch_speedup_recommended": ours}

    def ml_100k(self) -> dict[str, Any]:
        """RecBole's keys of the embedded data."""
        fewer = ["--backbone.encoder_steps=20"] if self.args.quick else []
        return Run.open(CONFIGS / "ml-100k.yaml", fewer, None, None, self.folder / "ml-100k").recbole

    def recall(self) -> dict[str, list[float]]:
        """Interval of the difference in validation Recall@10 on ml-100k."""
        config = self.ml_100k()
        how = {"seeds": self.sizes.seeds, "epochs": self.sizes.epochs or int(config["epochs"])}
        value, low, high = recall_difference(config, self.folder / "rankers", **how)
        print(f"validation Recall@10, ours - dense: {value:+.4f} [{low:+.4f}, {high:+.4f}]")
        return {"epoch_recall_difference": [low, high]}

    def growth(self) -> dict[str, float | None]:
        """Exponent of time against items, and the peak memory at a million (None if it was not run)."""
        rows = growth(self.folder, self.sizes.grown, self.sizes.steps)
        (self.folder / "growth.json").write_text(json.dumps(rows, indent=1))
        plot(rows, self.folder / "growth.svg")
        slope = exponent(rows)
        print(f"time grows with items^{slope:.2f} from 10,000 up")
        # Adam reads and writes weights and two moments, and reads gradients, of every item and half as many users.
        passes = 7 * 1.5 * rows[-1]["items"] * 64 * 4 / self.memory * self.sizes.steps
        print(f"  limit at the largest: bytes, Adam's pass over all weights alone {passes:.1f} s of the steps")
        memory = rows[-1]["memory_gb"] if rows[-1]["items"] == 1_000_000 else None
        return {"growth_exponent": slope, "memory_gb_1m": memory}

    def counterfactual(self) -> dict[str, float]:
        """Times faster than a rebuild per triple, and times slower than the bare product."""
        triples, items, width = self.sizes.triples, self.sizes.replaceable, 1280
        taken = counterfactual(synthetic(self.folder, items, width=width), triples=triples)
        faster, slower = taken["rebuilt"] / taken["ours"], taken["ours"] / taken["bare"]
        flop = 2 * triples * items * (width + 64)  # raw and learned features against the catalogue's
        print(f"{triples} counterfactual scores: {taken['ours']:.2f} s, x {faster:.0f} against rebuilding")
        print(f"  {slower:.2f} times the bare product; limit: arithmetic, {flop / self.arithmetic:.2f} s")
        return {"counterfactual_speedup": faster, "counterfactual_vs_product": slower}

    def agreement(self) -> dict[str, float]:
        """Rank correlation of the inductive with the exact score on ml-100k: no figure, it goes to agreement.json."""
        config = self.ml_100k()
        pairs, epochs = self.sizes.pairs, self.sizes.epochs or int(config["epochs"])
        found, floor = agreement(config, self.folder / "rankers" / f"agreement-{epochs}", pairs=pairs, epochs=epochs)
        print(f"changes of score by {pairs} foreign images, inductive and exact: rank correlation {found:.4f}")
        print(f"  (of the original score with that change: {floor:.4f})")
        file = self.folder / "agreement.json"
        file.write_text(json.dumps({"inductive": found, "original": floor, "pairs": pairs}, indent=1))
        return {}

    def full_ranking(self) -> dict[str, float]:
        """Times slower than the bare product with its top k."""
        n_users, n_items = self.sizes.ranked
        taken = full_ranking(synthetic(self.folder, n_items, width=16, n_users=n_users, per_item=30))
        print(f"top 10 of {n_items} for {n_users}: {taken['ours']:.2f} s, bare {taken['bare']:.2f} s")
        print(f"  limit: bytes, the scores once out and once in {2 * 4 * n_users * n_items / self.memory:.2f} s")
        return {"full_ranking_vs_product": taken["ours"] / taken["bare"]}


def plot(rows: list[dict[str, float]], file: Path) -> None:
    """Seconds against items, both logarithmic, with a line of slope 1.15."""
    items = np.array([row["items"] for row in rows])
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("graph", "item graphs"), ("steps", "training steps")):
        axes.loglog(items, [row[name] for row in rows], "o-", label=label)
    total = np.array([row["graph"] + row["steps"] for row in rows])
    axes.loglog(items, total, "o-", color="black", label="both")
    allowed = total[-1] * (items / items[-1]) ** 1.15
    axes.loglog(items, allowed, "--", color="grey", label="slope 1.15")
    axes.set(xlabel="items", ylabel="seconds")
    axes.legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure, say what limits each figure, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "weights", "output", "json"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(Args(), name))
    parser.add_argument("--quick", action="store_true", help="smaller sizes; ends within 5 minutes")
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=Args.only,
        help=f"parts, by comma, of {', '.join(Benchmark.PARTS)}: the JSON keeps what it holds of the others, which "
        "without --only is begun anew",
    )
    args = Args(**vars(parser.parse_args()))
    print(json.dumps(Benchmark(args).run(), indent=1))


if __name__ == "__main__":
    main()
