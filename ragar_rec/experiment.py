"""An experiment: every stage between raw files and the report, built from one config, further judges among them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from generation import encoders
from generation.backbone.config import DualEncoderConfig, UNetConfig
from generation.encoders.choice import PACKAGED, TIMM_MODELS, encoder_conflicts
from generation.encoders.packaged import minilm_folder
from generation.framing import choose_frame
from generation.models import TIMM
from generation.ragar.config import RagarConfig
from generation.ragar.reflection_config import WarmStartConfig
from ragar_rec import evaluation, stages
from ragar_rec.config.config import Config
from ragar_rec.config.presets import DEFAULT
from ragar_rec.config.recbole_values import sampled_modes
from ragar_rec.config.schema import narrowed
from ragar_rec.config.sections import DrawingConfig, MeasuringConfig
from ragar_rec.store.store import Store
from recsys.recbole.keys import DEFAULTS, with_ranker

logger = logging.getLogger(__name__)

BASELINES = ("Pop", "ItemKNN", "EASE")
"""Simple rankers that a ranker is compared with on the test: popularity, neighbours, a closed form."""

TRAINING = (
    "learning_rate",
    "reg_weight",
    "train_batch_size",
    "epochs",
    "eval_step",
    "stopping_step",
    "seed",
    "train_neg_sample_args",
)
"""RecBole's keys on which the baselines do not depend."""

EASE_ITEMS = 10_000
"""Items up to which EASE is a baseline: a minute or two of one core."""

KNN_SCORES = 10_000_000
"""Users x items up to which ItemKNN is a baseline: RecBole keeps all its scores in a Python list of lists."""

SMALL, FULL_SIZE, FILES = (96, 64), (512, 512), (192, 128)
"""Frames whose areas those of the small generator, of SD-1.x and of encoders that read files have."""


class Experiment:
    """A config's stages by name, each built when first asked for; ``new_*`` make further ones beside the config's own.

    Args:
        config: the whole tree.
        output: the store stands in ``output/store``, results and report in ``output``.
        data: the raw data set's folder, where the data set needs one.
        weights: pretrained weights, where the config asks for any.
        progress: show bars with the time left.

    Examples:
        >>> experiment = Experiment.open("my.yaml", output="runs/mine")
        >>> judge = experiment.new_ranker(image_encoder="hog", seed=2021)
        >>> scores = judge.reward(requests, experiment.generator.generate(requests))
    """

    def __init__(
        self,
        config: Config,
        output: Path,
        *,
        data: Path | None = None,
        weights: Path | None = None,
        progress: bool = True,
    ) -> None:
        self.config, self.output, self.store = config, output, Store(output / "store")
        self.workspace = stages.Workspace(output, self.store, data, weights, progress)

    @classmethod
    def open(
        cls,
        config: Path | str | None = None,
        overrides: Sequence[str] = (),
        data: Path | str | None = None,
        weights: Path | str | None = None,
        output: Path | str = Path("output"),
        *,
        progress: bool = True,
    ) -> Experiment:
        """From what the command line takes: a YAML file or a preset's name; without one, the embedded default."""
        data, weights = (None if folder is None else Path(folder) for folder in (data, weights))
        read = Config.read(config or DEFAULT, overrides)
        _note_missing_gpu(read)
        return cls(read, Path(output), data=data, weights=weights, progress=progress)

    @cached_property
    def catalogue(self) -> stages.Catalogue:
        """The prepared data set.

        Raises:
            ValueError: the config names no data set.
        """
        if "dataset" not in self.config.recbole:
            raise ValueError("the config names no `dataset`: add a line such as `dataset: my-shop`")
        catalog, dataset = self.config.catalog, str(self.config.recbole["dataset"])
        return stages.Catalogue(self.workspace, catalog.preparer, dataset, catalog.unknown_items)

    @cached_property
    def pictures(self) -> stages.Pictures:
        """The catalogue's pictures at the generator's size."""
        backbone = self.config.backbone
        like, multiple = (SMALL, 8) if self.config.models.backbone is None else (FULL_SIZE, 64)
        frame = self._frame(like, multiple, backbone.image_height, backbone.image_width)
        return stages.Pictures(self.workspace, self.catalogue, *frame, self.config.pictures.fit)

    @cached_property
    def encoder(self) -> stages.DualEncoder:
        """The dual encoder of pictures and words."""
        models, backbone = self.config.models, self.config.backbone.framed(self.pictures.size)
        if models.encoder is not None:
            return stages.DualEncoder(self.workspace, stages.Weights(self.workspace, models.encoder), models.device)
        settings = narrowed(DualEncoderConfig, backbone)
        training = stages.DualEncoderTraining(
            self.workspace, self.pictures, self._captions, settings, backbone.save_every
        )
        return stages.DualEncoder(self.workspace, training, models.device)

    @cached_property
    def backbone(self) -> stages.Weights | stages.UNetTraining:
        """The diffusion pipeline."""
        if self.config.models.backbone is not None:
            return stages.Weights(self.workspace, self.config.models.backbone)
        settings = narrowed(UNetConfig, self.config.backbone.framed(self.pictures.size))
        save_every = self.config.backbone.save_every
        return stages.UNetTraining(self.workspace, self.pictures, self._captions, settings, save_every, self.encoder)

    @cached_property
    def language(self) -> stages.Weights | stages.LanguageTraining:
        """The language model."""
        if self.config.models.language is not None:
            return stages.Weights(self.workspace, self.config.models.language)
        return stages.LanguageTraining(self.workspace, self.pictures, self._captions, self.config.language)

    @cached_property
    def components(self) -> stages.Components:
        """The frozen parts of RAGAR."""
        words, models = self.config.words, self.config.models
        timm = models.visual.removeprefix(TIMM) if models.visual.startswith(TIMM) else None
        return stages.Components(
            self.workspace,
            self.pictures,
            stages.keywords_of(self.pictures, self._captions, words),
            self.encoder,
            self.backbone,
            self.language,
            models,
            words,
            words.p_g(),
            visual_weights=None if timm is None else self.workspace.weights_file(timm),
            sentences=stages.Weights(self.workspace, words.sentence_source) if words.semantic == "sentences" else None,
        )

    @cached_property
    def features(self) -> stages.Features:
        """The features that the config's ranker reads."""
        return self.new_features()

    @cached_property
    def ranker(self) -> stages.Ranker:
        """The config's ranker."""
        return self.new_ranker()

    @cached_property
    def diagnosis(self) -> stages.Diagnosis:
        """What the config's ranker makes of pictures, before any generator."""
        evaluation, generator = self.config.evaluation, self.config.generator
        shuffled = replace(self.ranker, features=stages.ShuffledFeatures(self.workspace, self.features, seed=0))
        return stages.Diagnosis(
            self.workspace,
            self.ranker,
            shuffled,
            tuple(self.baselines()),
            self.config.diagnosis,
            candidates=evaluation.candidates,
            k=evaluation.k,
            retrieved=generator.k,
            history_length=generator.history_length,
        )

    @cached_property
    def ragar(self) -> stages.RagarSystem:
        """RAGAR, rewarded by the config's ranker."""
        return self.new_system(self.ranker)

    @cached_property
    def system(self) -> stages.System:
        """The system that the config names: RAGAR, or a generator of the user's own."""
        return self.ragar if self.config.generator.system == "ragar" else self.new_own_system()

    @property
    def generator(self) -> stages.Generator:
        """The system's generator, trained if it is RAGAR."""
        return self.system.generator

    @cached_property
    def drawn(self) -> stages.DrawnPictures:
        """The pictures that the protocols ask for."""
        return self.new_drawn(self.system, [self.ranker])

    @cached_property
    def results(self) -> stages.JudgedResults:
        """Every user's numbers."""
        return self.new_results(self.drawn)

    def used_folders(self) -> set[Path]:
        """Folders of the store that this config's commands read, unfinished ones included; nothing is built.

        Raises:
            FileNotFoundError: raw data or weights that the config needs are not where they were said to be.
        """
        models: list[Callable[[], stages.Keyed]] = [partial(self.new_baseline, name) for name in BASELINES]
        return stages.used_folders(
            [
                lambda: self.catalogue,
                lambda: self.pictures,
                lambda: self.ranker,
                *models,
                lambda: self.components,
                self.new_candidate_pictures,
                lambda: self.report(evaluation.Results(rows=())),
            ],
            self.store,
        )

    def report(self, numbers: evaluation.Results) -> stages.ReportPage:
        """The page about :attr:`results` and what was computed from them."""
        return stages.ReportPage(self.workspace, self.catalogue, self.results, self.system, self.config, numbers)

    def new_features(self, image_encoder: stages.EncoderChoice | None = None) -> stages.Features:
        """Features by an image encoder, a value of ``features.image_encoder`` or an object; by default the config's.

        Several, as a list, put their features side by side.
        """
        settings, tables = self.config.features, dict(self.feature_files)
        table = {modality: stages.FeatureFile(self.workspace, file) for modality, file in tables.items()}
        image: stages.PictureEncoder | stages.FeatureFile | None = table.pop("image", None)
        text: stages.TextFeatures | stages.SentenceFeatures | stages.FeatureFile | None = table.pop("text", None)
        # A data set that brings its features along has neither pictures nor words to make others of.
        raw = not self.catalogue.feature_files
        if image_encoder is not None or (image is None and raw):
            image = self._picture_encoder(image_encoder or settings.image_encoder)
        if text is None and raw:
            text = self._text_features()
        return stages.Features(self.workspace, self.catalogue, image, text, table, settings.whiten)

    def new_ranker(
        self, *, model: str | None = None, image_encoder: stages.EncoderChoice | None = None, seed: int | None = None
    ) -> stages.Ranker:
        """A ranker that differs from the config's in its model, its image encoder or its seed."""
        settings = dict(self.config.recbole)
        if model is not None:
            settings = with_ranker(settings, model)
        if seed is not None:
            settings["seed"] = seed
        features = self.features if image_encoder is None else self.new_features(image_encoder)
        return stages.Ranker(self.workspace, self.catalogue, features, settings)

    def baselines(self) -> list[stages.BaselineRanker]:
        """The simple rankers of :data:`BASELINES` that train in seconds or a minute on this catalogue."""
        dataset = self.ranker.dataset
        # An items x items matrix is inverted for EASE; ItemKNN keeps users x items scores.
        fits = {"EASE": dataset.n_items <= EASE_ITEMS, "ItemKNN": dataset.n_users * dataset.n_items <= KNN_SCORES}
        names = [name for name in BASELINES if fits.get(name, True) and name != self.config.recbole["model"]]
        return [self.new_baseline(name) for name in names]

    def new_baseline(self, model: str) -> stages.BaselineRanker:
        """A ranker of interactions alone, by RecBole's keys of the config that say what is read and how it is split."""
        # Rankers that count do not train in steps: another learning rate leaves the same baseline in the store.
        keys = with_ranker({key: value for key, value in self.config.recbole.items() if key not in TRAINING}, model)
        return stages.BaselineRanker(self.workspace, self.catalogue, self.features, keys)

    def new_system(self, reward: stages.Ranker, *, seed: int | None = None) -> stages.RagarSystem:
        """RAGAR rewarded by this ranker.

        Args:
            reward: the ranker.
            seed: of fresh weights, batches and noise; by default the config's. The users who are held out from
                training are always the config's, so that systems of several seeds are judged on the same users.
        """
        generator, reflection = narrowed(RagarConfig, self.config.generator), self.config.reflection
        people_seed = reflection.seed
        if seed is not None:
            generator, reflection = replace(generator, seed=seed), replace(reflection, seed=seed)
        warm = stages.WarmStart(self.workspace, self.components, generator, narrowed(WarmStartConfig, reflection))
        head = reflection.aesthetic_head
        rewards = stages.Rewards(self.workspace, reward, reflection.rewards, None if head is None else Path(head))
        return stages.RagarSystem(self.workspace, warm, rewards, reflection, people_seed)

    def new_own_system(self, name: str | None = None) -> stages.OwnSystem:
        """A generator of the user's own, ``package.module:name``, by default the config's."""
        source, reflection = name or self.config.generator.system, self.config.reflection
        return stages.OwnSystem(
            self.workspace,
            self.pictures,
            self.ranker,
            source,
            reflection.held_out,
            reflection.seed,
            lambda: self.components.gallery,
        )

    def new_drawn(self, system: stages.System, judges: Sequence[stages.Ranker]) -> stages.DrawnPictures:
        """Pictures by this system for everything that the protocols show under these judges."""
        settings = narrowed(DrawingConfig, self.config.evaluation)
        return stages.DrawnPictures(self.workspace, system, tuple(judges), settings)

    def new_candidate_pictures(self, users: Sequence[str] | None = None) -> stages.CandidatePictures:
        """Pictures of the original top C of these users (None: of everybody), by the config's system and ranker."""
        settings = self.config.evaluation
        chosen = None if users is None else tuple(users)
        return stages.CandidatePictures(
            self.workspace,
            self.system,
            self.ranker,
            chosen,
            settings.candidates,
            settings.seeds[0],
            settings.batch_size,
        )

    def new_results(self, drawn: stages.DrawnPictures) -> stages.JudgedResults:
        """Every user's numbers under the judges of these pictures."""
        settings = narrowed(MeasuringConfig, self.config.evaluation)
        return stages.JudgedResults(self.workspace, drawn, drawn.system, drawn.judges, settings)

    @cached_property
    def feature_files(self) -> dict[str, Path]:
        """Feature tables made elsewhere, by modality: those of the data set (MMRec's), then those of the config."""
        settings = self.config.features
        named = {"image": settings.image, "text": settings.text, **settings.files}
        return self.catalogue.feature_files | {
            modality: self.workspace.data_file(file) for modality, file in named.items() if file is not None
        }

    def check_evaluation(self) -> None:
        """Refuse before anything is trained what the tables of results cannot show.

        Raises:
            ValueError: the ranker's scores do not change with pictures, or its metrics rank sampled items.
        """
        if sampled := sampled_modes(self.config.recbole):
            raise ValueError(
                f"eval_args.mode {', '.join(sampled)} ranks a held-out item among a few sampled ones, where every "
                "ranker looks good; the tables of results rank among all items: write --eval_args.mode=full. "
                "`train-ranker` takes it, and says so beside every metric"
            )
        self.ranker.check_reads_pictures()

    def check_list_lengths(self) -> None:
        """Refuse lists longer than the catalogue before anything is trained for them.

        Raises:
            ValueError: ``topk``, ``evaluation.k`` or ``evaluation.candidates`` is above the number of items.
        """
        n_items, settings = len(self.catalogue.rows), self.config.evaluation
        topk = self.config.recbole.get("topk", DEFAULTS["topk"])
        longest = max(topk) if isinstance(topk, Sequence) else topk
        lengths = {"topk": longest, "evaluation.k": settings.k, "evaluation.candidates": settings.candidates}
        for name, length in lengths.items():
            if length > n_items:
                raise ValueError(f"{name} asks for lists of {length}, but there are {n_items} items")

    @cached_property
    def _captions(self) -> stages.Captions | stages.BlipCaptions:
        return stages.captions_of(self.pictures, self.config.words)

    def _frame(self, like: tuple[int, int], multiple: int, height: int, width: int) -> tuple[int, int]:
        # Headers of pictures are read only where their proportions count.
        shapes = [] if height and width else self.catalogue.shapes
        return choose_frame(shapes, like, multiple=multiple, height=height, width=width)

    def _text_features(self) -> stages.TextFeatures | stages.SentenceFeatures:
        if self.config.features.text_encoder == "tfidf":
            return stages.TextFeatures(self.workspace, self.catalogue, self.config.features.text_dim)
        return stages.SentenceFeatures(
            self.workspace, self.catalogue, stages.Weights(self.workspace, str(minilm_folder()))
        )

    def _picture_encoder(self, encoder: stages.EncoderChoice) -> stages.PictureEncoder:
        if isinstance(encoder, str) or not isinstance(encoder, Sequence):
            return self._single_encoder(encoder)
        parts = tuple(self._single_encoder(part) for part in encoder)
        return parts[0] if len(parts) == 1 else stages.SeveralPictureEncoders(self.workspace, parts)

    def _single_encoder(self, encoder: str | encoders.ImageEncoder) -> stages.SinglePictureEncoder:
        settings = self.config.features
        # Multiples of 8: the cells of HOG divide them.
        size = self._frame(FILES, 8, settings.image_height, settings.image_width)
        if not isinstance(encoder, str):
            return stages.ObjectPictureEncoder(self.workspace, self.pictures, encoder, *size)
        if encoder == "dual":
            return stages.DualPictureEncoder(self.workspace, self.pictures, self.encoder)
        for problem in encoder_conflicts([encoder]):
            raise ValueError(problem)
        if encoder in PACKAGED:
            weights = PACKAGED[encoder]()
        else:
            weights = self.workspace.weights_file(encoder) if encoder in TIMM_MODELS else None
        return stages.FilePictureEncoder(self.workspace, self.pictures, encoder, *size, weights)


def _note_missing_gpu(config: Config) -> None:
    """Say at once that a GPU that the config asks for is not there; RecBole takes the CPU without a word."""
    if not config.recbole.get("use_gpu"):
        return
    # Imported late: most configs ask for no GPU, and torch takes its seconds.
    import torch

    if not torch.cuda.is_available():
        logger.warning(
            "use_gpu is true, but this machine, or this build of torch, has no GPU: the CPU trains the ranker"
        )
