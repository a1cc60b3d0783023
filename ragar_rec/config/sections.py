"""The sections `catalog`, `features` and `evaluation` of the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ragar_rec.config.schema import Count, Natural, Range
from recsys.catalog import UnknownItems
from recsys.data.preparers import PreparerName
from recsys.features import MODALITIES, modality_problem

Protocol = Literal["reference", "candidates"]
Control = Literal["original", "reconstruction", "shuffled_user", "random_item"]


@dataclass(frozen=True)
class CatalogConfig:
    """Where interactions, texts and pictures come from."""

    preparer: PreparerName = "ml-100k"
    """Which raw files ``prepare`` reads; ``own``: your interactions.csv and catalog.csv; ``mmrec``: MMRec's folder."""
    unknown_items: UnknownItems = "error"
    """Interactions with items that the catalogue does not have: refused, or dropped and counted."""


@dataclass(frozen=True)
class FeaturesConfig:
    """Which features of an item the ranker reads."""

    image_encoder: Literal["dual", "mobilenetv2_100", "hog"] = "dual"
    """The ranker's image features: the catalogue-trained dual encoder, MobileNetV2 from ``--weights``, or HOG and
    colour histograms, which have learned nothing."""
    image: str | None = None
    """A feature table made elsewhere instead (.safetensors, .npy beside its .ids.txt, .npz); trains rankers alone. A
    relative path is looked for in the data folder (``--data``) first, then in the working directory."""
    text: str | None = None
    """A feature table made elsewhere instead of TF-IDF, found in the same way."""
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Feature tables of further modalities by name, ``{audio: audio.npy}``, found in the same way. The section takes
    them directly, too: ``audio: audio.npy``."""
    text_dim: Count = 64
    """Dimensions of the TF-IDF/SVD text features."""
    image_height: Count = 192
    """Height in pixels at which an encoder other than ``dual`` sees a picture."""
    image_width: Count = 128
    """Width in pixels at which an encoder other than ``dual`` sees a picture."""

    whiten: Count | Literal[False] = False
    """Components to which image features are PCA-whitened (mean squared norm 1), or false; new pictures are mapped
    alike."""

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for a size that HOG cells do not divide, and for an impossible name of a modality."""
        if self.image_encoder == "hog" and (self.image_height % 4 or self.image_width % 4):
            yield f"image_height {self.image_height} and image_width {self.image_width} must be multiples of 4 for hog"
        for name in self.files:
            if name in MODALITIES:
                yield f"files names the modality {name!r}, whose table is named by features.{name}"
            elif problem := modality_problem(name):
                yield f"files names the modality {name!r}, {problem}"


@dataclass(frozen=True)
class DiagnosisConfig:
    """How thoroughly a ranker is diagnosed before any picture is generated."""

    pictures: Count = 300
    """Pictures of the catalogue among which the best one for a person is looked for."""
    draws: Count = 20
    """Permutations of features among the items over which the loss by permuted features is averaged."""
    users: Natural = 150
    """People in the sample; 0 takes all with an interaction for validation."""
    seed: Natural = 0
    """Of the sample, the pictures and the permutations."""


@dataclass(frozen=True)
class DrawingConfig:
    """Settings that determine which pictures the evaluation needs."""

    users: Natural = 150
    """People in the sample; 0 takes all."""
    candidates: Count = 10
    """C, items regenerated per user under ``candidates``."""
    targets: Natural = 5
    """Held-out items per person, the earliest, that ``reference`` judges; 0 takes all."""
    protocols: tuple[Protocol, ...] = ("reference", "candidates")
    """Which items are regenerated."""
    seeds: tuple[Natural, ...] = (0,)
    """Seeds of generation; results are averaged over them per person. The first draws the sample of people too."""
    batch_size: Count = 64
    """Pictures that are drawn at a time and kept as one shard; a process makes whole batches."""


@dataclass(frozen=True)
class MeasuringConfig(DrawingConfig):
    """Settings on which a person's numbers depend, beside the pictures."""

    controls: tuple[Control, ...] = ("original", "reconstruction", "shuffled_user", "random_item")
    """What the generated pictures are compared with."""
    k: Count = 10
    """Length of the list for Recall@k and NDCG@k."""


@dataclass(frozen=True)
class EvaluationConfig(MeasuringConfig):
    """The whole section: also the bootstrap of the intervals, and the size of the report."""

    resamples: Count = 2000
    """Bootstrap resamples of people."""
    confidence: Annotated[float, Range(0.5, 0.999)] = 0.95
    """Coverage of the intervals."""
    report_users: Natural = 6
    """People shown in the report."""

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each list that would measure nothing, or the same twice."""
        lists: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("protocols", self.protocols),
            ("controls", self.controls),
            ("seeds", self.seeds),
        )
        for name, values in lists:
            if not values or len(set(values)) < len(values):
                yield f"{name} {list(values)} must hold at least one and none twice"
        if "original" not in self.controls:
            yield "controls must include original: every difference is a difference to it"
