"""The sections `catalog`, `features`, `pictures`, `backbone`, `generator` and `evaluation` of the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from generation.backbone.config import PretrainConfig
from generation.encoders.choice import encoder_conflicts
from generation.encoders.packaged import minilm_folder
from generation.framing import Fit
from generation.plugins import import_named
from generation.ragar.config import RagarConfig
from generation.systems.choice import SYSTEMS
from ragar_rec.config.schema import Count, Natural, Range, narrowed, nearest_key
from recsys.catalog import UnknownItems
from recsys.data.preparers import PreparerName
from recsys.features import MODALITIES, modality_problem
from recsys.recbole.keys import known_keys
from recsys.recbole.registry import reads_pictures

Protocol = Literal["reference", "candidates", "catalogue"]
Control = Literal["original", "reconstruction", "shuffled_user", "random_item", "noise", "everybody"]


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

    image_encoder: str | tuple[str, ...] = "dual"
    """The ranker's image features: ``dual``, the catalogue-trained dual encoder; ``efficientnet_lite0``, ImageNet's,
    from the extra ``encoders``; ``mobilenetv2_100`` from ``--weights``; two that have learned nothing, ``hog`` (edges
    and a histogram of colours) and ``color_layout`` (which colours lie where); or your own, ``package.module:name``. A
    list puts several side by side."""
    text_encoder: Literal["tfidf", "minilm"] = "tfidf"
    """The ranker's text features: TF-IDF, or the sentence encoder all-MiniLM-L6-v2 from the extra ``encoders``."""
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
    image_height: Natural = 0
    """Height in pixels at which an encoder other than ``dual`` sees a picture; 0: by the proportions of the median
    picture and an area of 192 x 128."""
    image_width: Natural = 0
    """Width in pixels at which an encoder other than ``dual`` sees a picture; 0: likewise."""
    whiten: Count | Literal[False] = False
    """Components to which image features are PCA-whitened (mean squared norm 1), or false; new pictures are mapped
    alike."""

    @property
    def image_encoders(self) -> tuple[str, ...]:
        """The names in ``image_encoder``."""
        return (self.image_encoder,) if isinstance(self.image_encoder, str) else self.image_encoder

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for an encoder that does not exist, a size that HOG cells do not divide, and an impossible
        name of a modality.
        """
        names = self.image_encoders
        if not names or len(set(names)) < len(names):
            yield f"image_encoder {list(names)} must name at least one and none twice"
        yield from encoder_conflicts(names)
        if self.text_encoder == "minilm":
            try:
                minilm_folder()
            except ImportError as error:
                yield str(error)
        if "hog" in names and (self.image_height % 4 or self.image_width % 4):
            yield f"image_height {self.image_height} and image_width {self.image_width} must be multiples of 4 for hog"
        for name in self.files:
            if name in MODALITIES:
                yield f"files names the modality {name!r}, whose table is named by features.{name}"
            elif problem := modality_problem(name):
                yield f"files names the modality {name!r}, {problem}"


@dataclass(frozen=True)
class PicturesConfig:
    """How the catalogue's pictures are brought into one frame, whose size ``backbone`` says."""

    fit: Fit = "pad"
    """``pad``: the whole picture, the rest of the frame in the median colour of its border; ``crop``: the frame is
    covered and what stands out is cut off."""


@dataclass(frozen=True)
class BackboneConfig(PretrainConfig):
    """The small backbone, in a frame that may be chosen by the catalogue."""

    image_height: int = 0
    """Pixels, a multiple of 8 and of the codec's patch; 0: by the proportions of the median picture and an area of
    96 x 64 (512 x 512 where ``models.backbone`` is given)."""
    image_width: int = 0
    """Pixels, a multiple of 8 and of the codec's patch; 0: likewise."""

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each size that cannot be run."""
        yield from self.framed((self.image_height or 96, self.image_width or 64)).conflicts()

    def framed(self, frame: tuple[int, int]) -> PretrainConfig:
        """The section with the size of its pictures, (height, width)."""
        return replace(narrowed(PretrainConfig, self), image_height=frame[0], image_width=frame[1])


@dataclass(frozen=True)
class GeneratorConfig(RagarConfig):
    """Who generates the pictures, and RAGAR's settings."""

    system: str = "ragar"
    """``ragar``; ``pmg``, which asks no ranker (its settings: the section ``pmg``); or a generator of your own,
    ``package.module:name``, which nothing here trains."""
    compared_with: tuple[str, ...] = ()
    """Further systems, named in the same way, whose pictures are judged in the same tables."""
    keep: str = "none"
    """What RAGAR and PMG keep of an item's own picture: ``none``; ``foreground``, what stands before a background of
    one colour (a picture without such a background is kept as a whole, and counted); or a folder of masks, greyscale
    files ``<item_id>.png``, white where the picture is kept. A relative path is looked for in ``--data`` first, then in
    the working directory."""

    @property
    def systems(self) -> tuple[str, ...]:
        """All systems that are judged, the run's own first."""
        return (self.system, *self.compared_with)

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for a system that does not exist, and for settings of RAGAR that cannot be run."""
        yield from super().conflicts()
        systems = self.systems
        if len(set(systems)) < len(systems):
            yield f"system and compared_with, {', '.join(systems)}, must name no system twice"
        labels = [name.rpartition(":")[2].casefold() for name in systems]
        if len(set(labels)) < len(set(systems)):
            yield f"system and compared_with, {', '.join(systems)}, would have one name in the tables: rename one"
        for name in systems:
            try:
                _ = name in SYSTEMS or import_named("system", name, SYSTEMS)
            except ValueError as error:
                yield str(error)


@dataclass(frozen=True)
class RankerDiagnosisConfig:
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
class DiagnosisConfig(RankerDiagnosisConfig):
    """How thoroughly a ranker is diagnosed, and the generator that it rewards."""

    optimised: Natural = 50
    """People whose pictures are optimised for them one by one, to see what the generator could draw; 0 leaves it
    out."""
    steps: Count = 25
    """Steps by which such a picture's preference is optimised."""


COMMON_TO_JUDGES = (
    *("model", "seed", "dataset", "data_path", "features", "train_features"),
    *("eval_args", "split_seed", "load_col", "rm_dup_inter", "filter_inter_by_user_or_item"),
)
"""RecBole's keys that a judge's ``settings`` may not hold: it would be another ranker, or see another split."""


@dataclass(frozen=True)
class JudgeConfig:
    """A ranker beside the config's own, trained by the same stages on the same split. It judges the pictures; the one
    that ``reflection.ranker`` names rewards them.
    """

    model: str = "VBPR"
    """A ranker that reads pictures."""
    image_encoder: str | tuple[str, ...] = "hog"
    """As ``features.image_encoder``; another one than the reward's."""
    whiten: Count | Literal[False] = False
    """As ``features.whiten``."""
    seed: Natural = 2021
    """RecBole's ``seed`` of its training; another one than the reward's."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further RecBole keys of its own, of the model and its training; the others are the config's, as far as the model
    knows them. A judge is always trained and tested on the same split as the config's ranker."""

    @property
    def image_encoders(self) -> tuple[str, ...]:
        """The names in ``image_encoder``."""
        return (self.image_encoder,) if isinstance(self.image_encoder, str) else self.image_encoder

    def problems(self) -> Iterator[str]:
        """Yield a sentence for an encoder that does not exist, a model that cannot judge, and other settings."""
        yield from encoder_conflicts(self.image_encoders)
        try:
            reads, known = reads_pictures(self.model), known_keys(self.model)
        except ValueError as error:
            yield str(error)
            return
        if not reads:
            yield f"{self.model} scores without pictures, so it cannot judge them"
        for key in self.settings:
            if key not in known:
                yield f"unknown key settings.{key}: the nearest valid key is {nearest_key(key, known)}"
            elif key in COMMON_TO_JUDGES or key.endswith(("_interval", "_FIELD")):
                yield f"settings.{key} is the same for all rankers: write it into the config itself"


@dataclass(frozen=True)
class JudgesConfig:
    """Rankers beside the config's own, which judge the pictures; ``reflection.ranker`` names one to reward them."""

    rankers: dict[str, JudgeConfig] = field(default_factory=dict[str, JudgeConfig])
    """Judges by a name of your own: ``vbpr: {model: VBPR, image_encoder: hog, seed: 2021}``. The section takes them
    directly, too: ``judges: {vbpr: {model: VBPR}}``."""
    shuffles: Natural = 3
    """Trainings of each judge on shuffled pictures, with whose mean it is compared to see whether it reads pictures.
    With 0 none is compared, and no judge can confirm anything."""
    processes: Count = 1
    """Rankers that are trained at a time before pictures are judged, each on one thread in a Python process of its own.
    On the CPU they are the same rankers; each process holds the interactions and features once more."""

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each judge whose encoder does not exist or whose model cannot judge pictures."""
        for name, judge in self.rankers.items():
            yield from (f"{name}: {problem}" for problem in judge.problems())


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
    """Which items are regenerated. ``catalogue``, every item once, trains rankers on the new pictures."""
    seeds: tuple[Natural, ...] = (0,)
    """Seeds of generation; results are averaged over them per person. The first draws the sample of people too."""
    batch_size: Count = 64
    """Pictures that are drawn at a time and kept as one shard; a process makes whole batches."""


@dataclass(frozen=True)
class MeasuringConfig(DrawingConfig):
    """Settings on which a person's numbers depend, beside the pictures."""

    controls: tuple[Control, ...] = ("original", "reconstruction", "shuffled_user", "random_item")
    """What the generated pictures are compared with. ``everybody`` trains a second generator, without the person."""
    draws: Count = 20
    """Other items drawn for each person and item under ``random_item``, beginning with the first of ``seeds``: a
    person's numbers are the mean. ``catalogue`` exchanges pictures once a training instead."""
    k: Count = 10
    """Length of the list for Recall@k and NDCG@k."""
    permutations: Count = 1000
    """Permutations of the owners of pictures, by which it is tested whether a gain is personal."""


@dataclass(frozen=True)
class RetrainingConfig:
    """The protocol ``catalogue``: which pictures are replaced, for whom they are made, and how often it is trained."""

    catalogue_items: Natural = 0
    """Items, drawn by seed, that get a new picture under ``catalogue``; 0 takes all, the others keep their own."""
    audience: Count = 1
    """People an item for each of whom ``catalogue`` draws a picture: the item has the mean of their features."""
    catalogue_seeds: tuple[Natural, ...] = (0, 1, 2)
    """For each of them ``catalogue`` trains the ranker from scratch on original and on new pictures, with a ``seed``
    that is so much higher; the generator is that of the same one of ``training_seeds``, or of the first."""


@dataclass(frozen=True)
class EvaluationConfig(RetrainingConfig, MeasuringConfig):
    """People, pictures and lists that are measured, the bootstrap of the intervals, and the size of the report."""

    training_seeds: tuple[Natural, ...] = (0,)
    """For each of them rankers and generator are trained anew, with seeds that are so much higher; the intervals of
    two or more hold the variance between them too. The first is 0: the config's own run, which the report shows."""
    primary: Literal["ndcg", "recall"] = "ndcg"
    """Metric of the primary endpoints, own pictures less the originals, and less permuted owners, under
    ``candidates``; all other differences are corrected together for their number."""
    smallest_gain: Annotated[float, Range(0, above=True)] = 0.05
    """The smallest gain of interest, as a share of the primary metric with the original pictures: `no gain` means that
    more than this is excluded."""
    resamples: Count = 2000
    """Bootstrap resamples of people."""
    confidence: Annotated[float, Range(0.5, 0.999)] = 0.95
    """Coverage of the intervals in the tables."""
    alpha: Annotated[float, Range(0.0001, 0.2)] = 0.01
    """Probability of a false alarm by a verdict, whose own intervals cover 1 - alpha; docs/worlds.md says how often
    verdicts are right at .01 and at .05."""
    report_users: Natural = 6
    """People shown in the report."""

    @property
    def retrains(self) -> bool:
        """Whether the protocol ``catalogue`` is asked for."""
        return "catalogue" in self.protocols

    def retraining_seeds(self, training_seed: int) -> tuple[int, ...]:
        """Those of ``catalogue_seeds`` for which this training of the generator draws: its own, and for the first
        training also those that no generator is trained for.
        """
        first = training_seed == self.training_seeds[0]
        return tuple(
            seed
            for seed in self.catalogue_seeds
            if seed == training_seed or (first and seed not in self.training_seeds)
        )

    @property
    def for_lists(self) -> EvaluationConfig:
        """The section with the protocols alone that change lists of a trained ranker, for what depends on these."""
        return replace(self, protocols=tuple(name for name in self.protocols if name != "catalogue"))

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each list that would measure nothing, or the same twice."""
        lists: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("protocols", self.protocols),
            ("controls", self.controls),
            ("seeds", self.seeds),
            ("training_seeds", self.training_seeds),
            ("catalogue_seeds", self.catalogue_seeds),
        )
        for name, values in lists:
            if not values or len(set(values)) < len(values):
                yield f"{name} {list(values)} must hold at least one and none twice"
        if self.training_seeds and self.training_seeds[0] != 0:
            yield f"training_seeds {list(self.training_seeds)} must begin with 0, the config's own run"
        if (self.permutations + 1) * self.alpha < 1:
            yield (
                f"permutations {self.permutations} can show nothing at alpha {self.alpha:g}: the smallest p-value is "
                f"1 / {self.permutations + 1}"
            )
        if "original" not in self.controls:
            yield "controls must include original: every difference is a difference to it"
