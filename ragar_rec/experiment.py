"""An experiment: every stage between raw files and the report, built from one config, further judges among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from generation.models import TIMM
from ragar_rec import evaluation, stages
from ragar_rec.checks import check_list_lengths, check_sampling, note_missing_gpu
from ragar_rec.config.config import Config
from ragar_rec.config.presets import DEFAULT
from ragar_rec.feature_sources import FeatureSources
from ragar_rec.judging import Judging
from ragar_rec.small_models import BACKBONE, ENCODER, SmallModels
from ragar_rec.store.store import Store
from ragar_rec.systems import Systems
from recsys.recbole.keys import with_ranker


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
        note_missing_gpu(read)
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
        frame = self._sources.generator_frame()
        return stages.Pictures(self.workspace, self.catalogue, *frame, self.config.pictures.fit)

    @cached_property
    def encoder(self) -> stages.DualEncoder:
        """The dual encoder of pictures and words."""
        models = self.config.models
        named = models.encoder or self._small.unchanged(ENCODER)
        weights = self._small.encoder() if named is None else stages.Weights(self.workspace, named)
        return stages.DualEncoder(self.workspace, weights, models.device)

    @cached_property
    def backbone(self) -> stages.Weights | stages.UNetTraining:
        """The diffusion pipeline."""
        named = self.config.models.backbone or self._small.unchanged(BACKBONE)
        return self._small.backbone(self.encoder) if named is None else stages.Weights(self.workspace, named)

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
            masks=self.masks,
            adapter=stages.adapter_weights(self.workspace, models.ip_adapter),
        )

    @cached_property
    def masks(self) -> stages.Masks | None:
        """What generated pictures keep of the items' own, if they keep anything."""
        keep = self.config.generator.keep
        return None if keep == "none" else stages.Masks(self.workspace, self.pictures, keep)

    @cached_property
    def features(self) -> stages.Features:
        """The features that the config's ranker reads."""
        return self.new_features()

    @cached_property
    def ranker(self) -> stages.Ranker:
        """The config's ranker."""
        return self.new_ranker()

    @property
    def reward_ranker(self) -> stages.Ranker:
        """The ranker that rewards: the config's own, or the judge that ``reflection.ranker`` names."""
        return self.judging.reward_ranker

    @cached_property
    def shuffled_ranker(self) -> stages.Ranker:
        """The ranker that rewards, trained on pictures of other items."""
        return self.new_shuffled(self.reward_ranker)

    @cached_property
    def systems(self) -> Systems:
        """Makes systems by other rankers' reward and with other seeds."""
        return Systems(self.config, lambda: self.components)

    @cached_property
    def judging(self) -> Judging:
        """Judges and what is measured."""
        return Judging(self)

    @cached_property
    def ragar(self) -> stages.RagarSystem:
        """RAGAR, rewarded by :attr:`reward_ranker`."""
        return self.systems.ragar(self.reward_ranker)

    @cached_property
    def system(self) -> stages.System:
        """The system that the config names: RAGAR, PMG, or a generator of the user's own."""
        name = self.config.generator.system
        return self.ragar if name == "ragar" else self.systems.named(name, self.reward_ranker)

    @property
    def results(self) -> stages.JudgedResults:
        """Every user's numbers for the config's system, after the first training."""
        return self.judging.results[0]

    @property
    def drawn(self) -> stages.DrawnPictures:
        """The pictures that the protocols ask for, by the config's system."""
        return self.results.drawn

    @property
    def generator(self) -> stages.Generator:
        """The system's generator, trained if it is one of ours."""
        return self.system.generator

    def used_folders(self) -> set[Path]:
        """Folders of the store that this config's commands read, unfinished ones included; nothing is built.

        Raises:
            FileNotFoundError: raw data or weights that the config needs are not where they were said to be.
        """
        return stages.used_folders(
            [
                lambda: self.catalogue,
                lambda: self.pictures,
                lambda: self.ranker,
                lambda: self.shuffled_ranker,
                self.baselines,
                lambda: self.judging.diagnosis,
                lambda: self.judging.generator_diagnosis,
                lambda: self.components,
                self.new_candidate_pictures,
                lambda: self.report(evaluation.Results(rows=())),
            ],
            self.store,
        )

    def report(self, numbers: evaluation.Results) -> stages.ReportPage:
        """The page about :attr:`results` and what was computed from them."""
        return stages.ReportPage(
            self.workspace,
            self.catalogue,
            self.judging.results,
            self.judging.readings,
            self.system,
            self.config,
            numbers,
            self.judging.possible_diagnosis,
            self.judging.possible_generator_diagnosis,
        )

    def new_features(
        self, image_encoder: stages.EncoderChoice | None = None, whiten: int | Literal[False] | None = None
    ) -> stages.Features:
        """Features by an image encoder, a value of ``features.image_encoder`` or an object; by default the config's.

        Several, as a list, put their features side by side; ``whiten`` is by default the config's.
        """
        settings, tables = self.config.features, dict(self.feature_files)
        table = {modality: stages.FeatureFile(self.workspace, file) for modality, file in tables.items()}
        image: stages.PictureEncoder | stages.FeatureFile | None = table.pop("image", None)
        text: stages.TextFeatures | stages.SentenceFeatures | stages.FeatureFile | None = table.pop("text", None)
        # A data set that brings its features along has neither pictures nor words to make others of.
        raw = not self.catalogue.feature_files
        if image_encoder is not None or (image is None and raw):
            encoder = image_encoder or settings.image_encoder
            image = self._sources.image(encoder, self.pictures, lambda: self.encoder)
        if text is None and raw:
            text = self._sources.text()
        components = settings.whiten if whiten is None else whiten
        return stages.Features(self.workspace, self.catalogue, image, text, table, components)

    def new_ranker(
        self,
        *,
        model: str | None = None,
        image_encoder: stages.EncoderChoice | None = None,
        seed: int | None = None,
        whiten: int | Literal[False] | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> stages.Ranker:
        """A ranker that differs from the config's in model, image encoder, seed, whitening or other RecBole keys."""
        recbole = dict(self.config.recbole)
        if model is not None:
            recbole = with_ranker(recbole, model)
        if seed is not None:
            recbole["seed"] = seed
        own = image_encoder is None and whiten is None
        features = self.features if own else self.new_features(image_encoder, whiten)
        return stages.Ranker(self.workspace, self.catalogue, features, recbole | dict(settings))

    def new_shuffled(self, ranker: stages.Ranker, seed: int = 0) -> stages.Ranker:
        """The same ranker, trained on pictures of other items; ``seed`` says which permutation."""
        features = ranker.features
        assert isinstance(features, stages.Features)
        return replace(ranker, features=stages.ShuffledFeatures(self.workspace, features, seed=seed))

    def baselines(self) -> list[stages.BaselineRanker]:
        """Simple rankers beside the config's, of those that train in seconds or a minute on this catalogue."""
        summary, settings = self.catalogue.summary, self.config.recbole
        names = stages.baseline_names(settings, summary["users"], summary["items"])
        return [
            stages.BaselineRanker(
                self.workspace, self.catalogue, self.features, stages.baseline_settings(settings, name)
            )
            for name in names
        ]

    def new_candidate_pictures(self, users: Sequence[str] | None = None) -> stages.CandidatePictures:
        """Pictures of these users' (None: everybody's) original top C by the config's own ranker."""
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
            ValueError: the ranker's scores do not change with pictures, its metrics rank sampled items, the masks of
                ``generator.keep`` cannot be made, a judge could confirm nothing
                (:meth:`ragar_rec.judging.Judging.check`), the control ``everybody`` is asked for beside a system that
                no reward trains, or more pictures of the catalogue are to be replaced than it has.
            FileNotFoundError: masks, or their folder, are missing.
        """
        check_sampling(self.config)
        self.check_reads_pictures()
        if self.masks is not None:
            _ = self.masks.kept
        self.judging.check()
        settings = self.config.evaluation
        if "everybody" in settings.controls and "ragar" not in self.config.generator.systems:
            stages.EverybodySystem.beside(self.system)
        if settings.retrains:
            stages.check_catalogue_items(settings.catalogue_items, len(self.pictures.pictured))

    def check_reads_pictures(self) -> None:
        """Refuse before anything is made for it a ranker whose scores do not change with pictures.

        Raises:
            ValueError: they do not; the rankers whose scores do are named.
        """
        stages.check_reads_pictures(self.config.recbole)

    def check_list_lengths(self) -> None:
        """Refuse lists longer than the catalogue before anything is trained for them.

        Raises:
            ValueError: ``topk``, ``evaluation.k`` or ``evaluation.candidates`` is above the number of items.
        """
        check_list_lengths(self.config, len(self.catalogue.rows))

    @cached_property
    def _small(self) -> SmallModels:
        return SmallModels(
            self.config.backbone, self.config.models, self.workspace, lambda: self.pictures, lambda: self._captions
        )

    @cached_property
    def _captions(self) -> stages.Captions | stages.BlipCaptions:
        return stages.captions_of(self.pictures, self.config.words)

    @cached_property
    def _sources(self) -> FeatureSources:
        return FeatureSources(self.config, self.workspace, self.catalogue)
