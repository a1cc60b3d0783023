"""RecBole's keys that matter here, as `ragar-rec config` shows them. Which keys exist is decided by RecBole itself."""

from __future__ import annotations

from collections.abc import Mapping

RECBOLE_KEYS: Mapping[str, tuple[str, str]] = {
    "model": (
        "MICRO",
        "The ranker: MICRO, LATTICE, FREEDOM and VBPR read pictures; BM3, LightGCN, EASE, Pop and RecBole's "
        "general recommenders can be compared with them.",
    ),
    "dataset": ("none", "The name of the data set, in results and in the names of the prepared files."),
    "TIME_FIELD": ("timestamp", "The column that orders interactions in time."),
    "load_col": (
        "{inter: [user_id, item_id, rating, timestamp], item: [item_id]}",
        "The columns that are read; the presets read `position`, a person's interactions counted in time.",
    ),
    "eval_args": (
        "{split: {RS: [0.8, 0.1, 0.1]}, order: TO, group_by: user, mode: full}",
        "How interactions are divided into training, validation and test: RS by shares, LS leave-one-out, "
        "LABEL by a column, COLD withholds a share of the items. order: TO is in time; mode: full ranks among"
        " all items.",
    ),
    "metrics": ("[Recall, NDCG]", "What validation measures."),
    "topk": ("[10, 20]", "Lengths of the lists that metrics look at."),
    "valid_metric": ("Recall@20", "The metric by which the best epoch is chosen."),
    "learning_rate": ("0.0005", "Step size of the optimiser. The default is MICRO's."),
    "train_batch_size": ("1024", "Interactions in a training batch. The default is MICRO's."),
    "epochs": ("1000", "Passes over the interactions, at most. The default is MICRO's."),
    "eval_step": ("5", "Epochs between two validations. The default is MICRO's."),
    "stopping_step": ("10", "Validations without improvement after which training stops."),
    "seed": ("2020", "Seed of the ranker's initial weights and batches."),
    "embedding_size": ("64", "Width of the embeddings of users and items."),
    "use_gpu": ("false", "Train the ranker on a GPU."),
    "missing_features": ("hole", "What becomes of an item without a row in a feature table."),
}
"""Key -> its default as YAML, and a sentence on what it does."""

ACCEPTS: Mapping[str, str] = {
    "model": "a name, or package.module:Class",
    "TIME_FIELD": "a column",
    "load_col": "a mapping of lists",
    "valid_metric": "a metric with its length",
}
"""Key -> the values that it accepts, where their type alone (`recbole_values.py`) does not say it."""
