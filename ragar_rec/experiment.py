"""An experiment: every stage between raw files and the report, built from one config, further judges among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from generation.backbone.config import DualEncoderConfig, UNetConfig
from generation.models import TIMM
from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import WarmStartConfig
from ragar_rec.config.config import Config
from ragar_rec.config.presets import DEFAULT
from ragar_rec.config.schema import narrowed
from ragar_rec.config.sections import DrawingConfig, MeasuringConfig
from ragar_rec.evaluation.results import Results
from ragar_rec.stages.catalogue import Catalogue, Pictures
from ragar_rec.stages.diagnosis import Diagnosis
from ragar_rec.stages.drawn import DrawnPictures
from ragar_rec.stages.features import (
    DualPictureEncoder,
    FeatureFile,
    Features,
    FilePictureEncoder,
    PictureEncoder,
    TextFeatures,
)
from ragar_rec.stages.models import DualEncoder, DualEncoderTraining, LanguageTraining, UNetTraining
from ragar_rec.stages.page import ReportPage
from ragar_rec.stages.ragar import Components, RagarSystem, WarmStart
from ragar_rec.stages.ranker import Ranker
from ragar_rec.stages.results import JudgedResults
from ragar_rec.stages.rewards import Rewards
from ragar_rec.stages.shuffled import ShuffledFeatures
from ragar_rec.stages.stage import Workspace
from ragar_rec.stages.weights import Weights
from ragar_rec.stages.words import BlipCaptions, Captions, captions_of, keywords_of
from ragar_rec.store.store import Store
from recsys.recbole.config import DEFAULTS, with_ranker

BASELINES = ("Pop", "ItemKNN", "EASE")
"""Simple rankers without pictures, beside which a ranker must look good."""


class Experiment:
    """A config's stages by name, each built when first asked for; ``new_*`` make further ones beside the config's own.

    Args:
        config: the whole tree.
        output: the store stands in ``output/store``, results and report in ``output``.
        data: the raw data set's folder, where the data set needs one.
        weights: pretrained weights, where the config asks for any.
        progress: show bars with the time left.

    Example:
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
        self.workspace = Workspace(output, self.store, data, weights, progress)

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
        return cls(read, Path(output), data=data, weights=weights, progress=progress)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The prepared data set.

        Raises:
            ValueError: the config names no data set.
        """
        if "dataset" not in self.config.recbole:
            raise ValueError("the config names no `dataset`: add a line such as `dataset: my-shop`")
        catalog, dataset = self.config.catalog, str(self.config.recbole["dataset"])
        return Catalogue(self.workspace, catalog.preparer, dataset, catalog.unknown_items)

    @cached_property
    def pictures(self) -> Pictures:
        """The catalogue's pictures at the generator's size."""
        size = self.config.backbone.image_height, self.config.backbone.image_width
        return Pictures(self.workspace, self.catalogue, *size)

    @cached_property
    def encoder(self) -> DualEncoder:
        """The dual encoder of pictures and words."""
        models, backbone = self.config.models, self.config.backbone
        if models.encoder is not None:
            return DualEncoder(self.workspace, Weights(self.workspace, models.encoder), models.device)
        settings = narrowed(DualEncoderConfig, backbone)
        training = DualEncoderTraining(self.workspace, self.pictures, self._captions, settings, backbone.save_every)
        return DualEncoder(self.workspace, training, models.device)

    @cached_property
    def backbone(self) -> Weights | UNetTraining:
        """The diffusion pipeline."""
        if self.config.models.backbone is not None:
            return Weights(self.workspace, self.config.models.backbone)
        settings = narrowed(UNetConfig, self.config.backbone)
        save_every = self.config.backbone.save_every
        return UNetTraining(self.workspace, self.pictures, self._captions, settings, save_every, self.encoder)

    @cached_property
    def language(self) -> Weights | LanguageTraining:
        """The language model."""
        if self.config.models.language is not None:
            return Weights(self.workspace, self.config.models.language)
        return LanguageTraining(self.workspace, self.pictures, self._captions, self.config.language)

    @cached_property
    def components(self) -> Components:
        """The frozen parts of RAGAR."""
        words, models = self.config.words, self.config.models
        timm = models.visual.removeprefix(TIMM) if models.visual.startswith(TIMM) else None
        return Components(
            self.workspace,
            self.pictures,
            keywords_of(self.pictures, self._captions, words),
            self.encoder,
            self.backbone,
            self.language,
            models,
            words,
            words.p_g(),
            visual_weights=None if timm is None else self.workspace.weights_file(timm),
            sentences=Weights(self.workspace, words.sentence_model) if words.semantic == "sentences" else None,
        )

    @cached_property
    def features(self) -> Features:
        """The features that the config's ranker reads."""
        return self.new_features()

    @cached_property
    def ranker(self) -> Ranker:
        """The config's ranker."""
        return self.new_ranker()

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the config's ranker makes of pictures, before any generator."""
        evaluation, generator = self.config.evaluation, self.config.generator
        shuffled = replace(self.ranker, features=ShuffledFeatures(self.workspace, self.features, seed=0))
        return Diagnosis(
            self.workspace,
            self.ranker,
            shuffled,
            tuple(self.new_ranker(model=model) for model in BASELINES),
            self.config.diagnosis,
            candidates=evaluation.candidates,
            k=evaluation.k,
            retrieved=generator.k,
            history_length=generator.history_length,
        )

    @cached_property
    def system(self) -> RagarSystem:
        """RAGAR, rewarded by the config's ranker."""
        return self.new_system(self.ranker)

    @property
    def generator(self) -> Ragar:
        """The trained generator."""
        return self.system.generator

    @cached_property
    def drawn(self) -> DrawnPictures:
        """The pictures that the protocols ask for."""
        return self.new_drawn(self.system, [self.ranker])

    @cached_property
    def results(self) -> JudgedResults:
        """Every user's numbers."""
        return self.new_results(self.drawn)

    def report(self, numbers: Results) -> ReportPage:
        """The page about :attr:`results` and what was computed from them."""
        return ReportPage(self.workspace, self.catalogue, self.results, self.system, self.config, numbers)

    def new_features(self, image_encoder: str | None = None) -> Features:
        """Features by an image encoder, a value of ``features.image_encoder``; by default the config's."""
        settings, tables = self.config.features, dict(self.feature_files)
        table = {modality: FeatureFile(self.workspace, file) for modality, file in tables.items()}
        image: PictureEncoder | FeatureFile | None = table.pop("image", None)
        text: TextFeatures | FeatureFile | None = table.pop("text", None)
        # A data set that brings its features along has neither pictures nor words to make others of.
        raw = not self.catalogue.feature_files
        if image_encoder is not None or (image is None and raw):
            image = self._picture_encoder(image_encoder or settings.image_encoder)
        if text is None and raw:
            text = TextFeatures(self.workspace, self.catalogue, settings.text_dim)
        return Features(self.workspace, self.catalogue, image, text, table, settings.whiten)

    def new_ranker(
        self, *, model: str | None = None, image_encoder: str | None = None, seed: int | None = None
    ) -> Ranker:
        """A ranker that differs from the config's in its model, its image encoder or its seed."""
        settings = dict(self.config.recbole)
        if model is not None:
            settings = with_ranker(settings, model)
        if seed is not None:
            settings["seed"] = seed
        features = self.features if image_encoder is None else self.new_features(image_encoder)
        return Ranker(self.workspace, self.catalogue, features, settings)

    def new_system(self, reward: Ranker, *, seed: int | None = None) -> RagarSystem:
        """RAGAR rewarded by this ranker.

        Args:
            reward: the ranker.
            seed: of fresh weights, batches and noise; by default the config's. The users who are held out from
                training are always the config's, so that systems of several seeds are judged on the same users.
        """
        generator, reflection = self.config.generator, self.config.reflection
        people_seed = reflection.seed
        if seed is not None:
            generator, reflection = replace(generator, seed=seed), replace(reflection, seed=seed)
        warm = WarmStart(self.workspace, self.components, generator, narrowed(WarmStartConfig, reflection))
        head = reflection.aesthetic_head
        rewards = Rewards(self.workspace, reward, reflection.rewards, None if head is None else Path(head))
        return RagarSystem(self.workspace, warm, rewards, reflection, people_seed)

    def new_drawn(self, system: RagarSystem, judges: Sequence[Ranker]) -> DrawnPictures:
        """Pictures by this system for everything that the protocols show under these judges."""
        settings = narrowed(DrawingConfig, self.config.evaluation)
        return DrawnPictures(self.workspace, system, tuple(judges), settings)

    def new_results(self, drawn: DrawnPictures) -> JudgedResults:
        """Every user's numbers under the judges of these pictures."""
        settings = narrowed(MeasuringConfig, self.config.evaluation)
        return JudgedResults(self.workspace, drawn, drawn.system, drawn.judges, settings)

    @cached_property
    def feature_files(self) -> dict[str, Path]:
        """Feature tables made elsewhere, by modality: those of the data set (MMRec's), then those of the config."""
        settings = self.config.features
        named = {"image": settings.image, "text": settings.text, **settings.files}
        return self.catalogue.feature_files | {
            modality: self.workspace.data_file(file) for modality, file in named.items() if file is not None
        }

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
    def _captions(self) -> Captions | BlipCaptions:
        return captions_of(self.pictures, self.config.words)

    def _picture_encoder(self, name: str) -> PictureEncoder:
        if name == "dual":
            return DualPictureEncoder(self.workspace, self.pictures, self.encoder)
        settings = self.config.features
        weights = None if name == "hog" else self.workspace.weights_file(name)
        return FilePictureEncoder(
            self.workspace, self.pictures, name, settings.image_height, settings.image_width, weights
        )
