"""RecBole's keys that matter here, as `ragar-rec config` shows them. Which keys exist is decided by RecBole itself."""

from __future__ import annotations

from collections.abc import Mapping

RECBOLE_KEYS: Mapping[str, tuple[str, str, str]] = {
    "model": (
        "MICRO",
        "a name, or package.module:Class",
        "The ranker: MICRO, LATTICE, FREEDOM and VBPR read pictures; BM3, LightGCN, EASE, Pop and RecBole's general "
        "recommenders can be compared with them.",
    ),
    "dataset": ("none", "a name", "The name of the data set, in results and in the names of the prepared files."),
    "TIME_FIELD": ("timestamp", "a column", "The column that orders interactions in time."),
    "load_col": (
        "{inter: [user_id, item_id, rating, timestamp], item: [item_id]}",
        "a mapping of lists",
        "The columns that are read; the presets read `position`, a person's interactions counted in time.",
    ),
    "eval_args": (
        "{split: {RS: [0.8, 0.1, 0.1]}, order: TO, group_by: user, mode: full}",
        "a mapping",
        "How interactions are divided into training, validation and test: RS by shares, LS leave-one-out, LABEL by a "
        "column, COLD withholds a share of the items. order: TO is in time; mode: full ranks among all items.",
    ),
    "metrics": ("[Recall, NDCG]", "a list of RecBole's metrics", "What validation measures."),
    "topk": ("[10, 20]", "integers, at least 1", "Lengths of the lists that metrics look at."),
    "valid_metric": ("Recall@20", "a metric with its length", "The metric by which the best epoch is chosen."),
    "learning_rate": ("0.0005", "a number above 0", "Step size of the optimiser. The default is MICRO's."),
    "train_batch_size": ("1024", "an integer, at least 1", "Interactions in a training batch. The default is MICRO's."),
    "epochs": ("1000", "an integer, at least 1", "Passes over the interactions, at most. The default is MICRO's."),
    "eval_step": ("5", "an integer, at least 1", "Epochs between two validations. The default is MICRO's."),
    "stopping_step": ("10", "an integer", "Validations without improvement after which training stops."),
    "seed": ("2020", "an integer", "Seed of the ranker's initial weights and batches."),
    "embedding_size": ("64", "an integer, at least 1", "Width of the embeddings of users and items."),
    "use_gpu": ("false", "true or false", "Train the ranker on a GPU."),
    "missing_features": ("hole", "hole or error", "What becomes of an item without a row in a feature table."),
}
"""Key -> its default as YAML, the values that it accepts, and its sentence."""
