"""Item features of a ranker: one fixed table per modality, in which items may be missing, and linear projections."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recsys.features import Missing, item_features
from recsys.graphs.item_graph import ItemGraph, item_graph
from recsys.graphs.neighbours import Search


class Modalities(nn.Module):
    """Raw features of all items by RecBole's internal ids, padding included, for any number of modalities.

    An item without a row in a table, or with a row of zeros, is a hole: its features are zeros, `present` is false,
    and it has no edges in that modality's item graph. Padding is a hole in every modality.

    Args:
        paths: the file of the `FeatureTable` of each modality.
        tokens: item tokens by internal id, the padding token first.
        device: device of the features.
        missing: whether an item without features is a hole or an error.
        search: settings of the neighbour search.

    Attributes:
        names: the modalities, in the order of `paths`.
        present: whether an item has a modality, shape (modalities, items).

    Raises:
        FileNotFoundError: a table is missing.
        ValueError: there are no modalities, or one in which no item has features.
    """

    present: Tensor

    def __init__(
        self,
        paths: Mapping[str, Any],
        tokens: Iterable[Any],
        device: torch.device,
        *,
        missing: Missing = "hole",
        search: Search | None = None,
    ) -> None:
        super().__init__()
        if not paths:
            raise ValueError("this ranker needs at least one modality: features: {image: <path of a feature table>}")
        self.names, present, item_tokens = tuple(paths), [], [str(token) for token in tokens]
        for modality, path in paths.items():
            values, has = item_features(modality, path, item_tokens, missing)
            # Not persistent: a checkpoint holds a hash of the features, not the features.
            self.register_buffer(f"features_{modality}", torch.from_numpy(values).to(device), persistent=False)
            present.append(torch.from_numpy(has).to(device))
        self.register_buffer("present", torch.stack(present), persistent=False)
        self.search = search or Search()

    @classmethod
    def configured(cls, config: Any, tokens: Iterable[Any], device: torch.device) -> Modalities:
        """Construct it from a configuration: `features`, `missing_features` and the `knn_*` keys of `Search`."""
        search = Search(*(config[f"knn_{field.name}"] for field in fields(Search)))
        return cls(config["features"], tokens, device, missing=config["missing_features"], search=search)

    def substituted(self, modality: str, item: int, vector: Float[Tensor, " width"]) -> Modalities:
        """A copy in which one item has other features in one modality; the tensors of the original do not change."""
        substituted = copy.copy(self)
        features, present = self.features(modality).clone(), self.present.clone()
        features[item], present[self.position(modality), item] = vector, True
        # A shallow copy of a module shares its dict of buffers: it gets one of its own.
        substituted._buffers = {**self._buffers, f"features_{modality}": features, "present": present}
        return substituted

    def features(self, modality: str) -> Float[Tensor, "items width"]:
        """Raw features of a modality, zeros for holes."""
        return self.get_buffer(f"features_{modality}")

    def mask(self, modality: str) -> Bool[Tensor, " items"]:
        """Which items have this modality."""
        return self.present[self.position(modality)]

    def position(self, modality: str) -> int:
        """Index of the modality in `names`.

        Raises:
            ValueError: the ranker has no such modality.
        """
        if modality not in self.names:
            raise ValueError(f"the ranker has no modality {modality!r}, only {', '.join(self.names)}")
        return self.names.index(modality)

    def learned_graph(
        self, modality: str, k: int, projection: nn.Linear, features: Float[Tensor, "items width"] | None = None
    ) -> ItemGraph:
        """The item graph of the projected features (of the raw features, unless others are given); carries gradient."""
        # In float32 inside autocast too: training must choose the same neighbours as evaluation.
        with torch.autocast(self.present.device.type, enabled=False):
            return self.graph(modality, k, projection(self.features(modality) if features is None else features))

    def graph(self, modality: str, k: int, vectors: Float[Tensor, "items dim"] | None = None) -> ItemGraph:
        """The k-nearest-neighbour graph of the items that have the modality, by raw features or by `vectors`."""
        return item_graph(self.features(modality) if vectors is None else vectors, self.mask(modality), k, self.search)


class Projections(nn.ModuleDict):
    """One linear layer T_m per modality, from the width of its features to `dim`.

    Args:
        content: the features.
        dim: output width.
        bias: whether T_m has a bias; without one a hole projects to zeros.
    """

    def __init__(self, content: Modalities, dim: int, *, bias: bool = True) -> None:
        widths = {modality: content.features(modality).shape[1] for modality in content.names}
        super().__init__({modality: nn.Linear(width, dim, bias=bias) for modality, width in widths.items()})

    def of(self, modality: str) -> nn.Linear:
        """T_m of one modality."""
        projection = self[modality]
        assert isinstance(projection, nn.Linear)
        return projection
