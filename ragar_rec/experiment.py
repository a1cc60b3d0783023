"""An experiment: every stage between raw files and the report, built from one config, further judges among them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from generation.backbone.config import DualEncoderConfig, SamplingConfig, UNetConfig
from generation.models import TIMM
from generation.ragar.config import RagarConfig
from generation.ragar.reflection_config import WarmStartConfig
from generation.systems.choice import SYSTEMS
from ragar_rec import evaluation, stages
from ragar_rec.checks import check_list_lengths, check_sampling, note_missing_gpu
from ragar_rec.config.config import Config
from ragar_rec.config.presets import DEFAULT
from ragar_rec.config.schema import narrowed
from ragar_rec.config.sections import DrawingConfig, MeasuringConfig, RankerDiagnosisConfig
from ragar_rec.feature_sources import FeatureSources
from ragar_rec.store.store import Store
from recsys.recbole.keys import SEED, with_ranker

logger = logging.getLogger(__name__)


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
    def shuffled_ranker(self) -> stages.Ranker:
        """The config's ranker, trained on pictures of other items."""
        return self.new_shuffled(self.ranker)

    @cached_property
    def diagnosis(self) -> stages.Diagnosis:
        """What the config's ranker makes of pictures, before any generator."""
        evaluation, generator = self.config.evaluation, self.config.generator
        return stages.Diagnosis(
            self.workspace,
            self.ranker,
            self.shuffled_ranker,
            tuple(self.baselines()),
            narrowed(RankerDiagnosisConfig, self.config.diagnosis),
            candidates=evaluation.candidates,
            k=evaluation.k,
            retrieved=generator.k,
            history_length=generator.history_length,
        )

    @cached_property
    def generator_diagnosis(self) -> stages.GeneratorDiagnosis:
        """What the config's system could draw, what it learned to draw, and what its codec costs."""
        settings, seed = self.config.diagnosis, self.config.evaluation.seeds[0]
        return stages.GeneratorDiagnosis(
            self.workspace, self.system, self.ranker, settings.optimised, settings.steps, seed
        )

    @cached_property
    def possible_diagnosis(self) -> stages.Diagnosis | None:
        """:attr:`diagnosis` for results and report, which must not fail for want of one.

        None if these data allow none; the reason is noted.
        """
        return self.diagnosis if _possible(self.diagnosis) else None

    @cached_property
    def possible_generator_diagnosis(self) -> stages.GeneratorDiagnosis | None:
        """:attr:`generator_diagnosis`, likewise."""
        possible = self.possible_diagnosis is not None and _possible(self.generator_diagnosis)
        return self.generator_diagnosis if possible else None

    @cached_property
    def ragar(self) -> stages.RagarSystem:
        """RAGAR, rewarded by the config's ranker."""
        return self.new_system(self.ranker)

    @cached_property
    def system(self) -> stages.System:
        """The system that the config names: RAGAR, PMG, or a generator of the user's own."""
        return self.named_system(self.config.generator.system, self.ranker)

    @property
    def generator(self) -> stages.Generator:
        """The system's generator, trained if it is one of ours."""
        return self.system.generator

    @property
    def drawn(self) -> stages.DrawnPictures:
        """The pictures that the protocols ask for, by the config's system."""
        return self.results.drawn

    @property
    def results(self) -> stages.JudgedResults:
        """Every user's numbers for the config's system, after the first training."""
        return self.all_results[0]

    @cached_property
    def all_results(self) -> tuple[stages.JudgedResults, ...]:
        """Every user's numbers for every system after every training, those of the config's own first."""
        generator, found = self.config.generator, []
        for training_seed in self.config.evaluation.training_seeds:
            judges = self.judges(training_seed)
            reward = next(iter(judges.values()))
            for name in generator.systems:
                own = (name, training_seed) == (generator.system, 0)
                system = self.system if own else self.named_system(name, reward, training_seed)
                drawn = self.new_drawn(system, list(judges.values()))
                found.append(self.new_results(drawn, judges, training_seed))
        return tuple(found)

    @cached_property
    def readings(self) -> tuple[stages.Reading, ...]:
        """Whether the judges read pictures, the config's ranker among them; none if there are no other judges."""
        k, judges = self.config.evaluation.k, self.judges() if self.config.judges.rankers else {}
        return tuple(
            stages.Reading(self.workspace, name, ranker, self.new_shuffled(ranker), k)
            for name, ranker in judges.items()
        )

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
                lambda: self.diagnosis,
                lambda: self.generator_diagnosis,
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
            self.all_results,
            self.readings,
            self.system,
            self.config,
            numbers,
            self.possible_diagnosis,
            self.possible_generator_diagnosis,
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

    def new_shuffled(self, ranker: stages.Ranker) -> stages.Ranker:
        """The same ranker, trained on pictures of other items."""
        features = ranker.features
        assert isinstance(features, stages.Features)
        return replace(ranker, features=stages.ShuffledFeatures(self.workspace, features, seed=0))

    def judges(self, training_seed: int = 0) -> dict[str, stages.Ranker]:
        """The config's ranker, then its ``judges``, by their names in the tables.

        Args:
            training_seed: is added to the seed of each.
        """
        seed = int(self.config.recbole.get("seed", SEED))
        ranker = self.new_ranker(seed=seed + training_seed) if training_seed else self.ranker
        named = {ranker.label: ranker}
        for name, judge in self.config.judges.rankers.items():
            stage = self.new_ranker(
                model=judge.model,
                image_encoder=judge.image_encoder,
                seed=judge.seed + training_seed,
                whiten=judge.whiten,
                settings=judge.settings,
            )
            label = stage.label
            named[f"{label} ({name})" if label in named else label] = stage
        return named

    def named_system(self, name: str, reward: stages.Ranker, training_seed: int = 0) -> stages.System:
        """A system by its name in the config, rewarded by this ranker if it takes a reward.

        Args:
            name: of :data:`generation.systems.choice.SYSTEMS`, or ``package.module:name``.
            reward: the ranker.
            training_seed: is added to the seed of its training.
        """
        seed = self.config.generator.seed + training_seed if training_seed else None
        if name == "pmg":
            return self.new_pmg(reward, seed=seed)
        if name in SYSTEMS:
            return self.new_system(reward, seed=seed)
        return self.new_own_system(name, reward)

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

    def new_pmg(self, ranker: stages.Ranker, *, seed: int | None = None) -> stages.PmgSystem:
        """PMG, which asks no ranker.

        Args:
            ranker: whose interactions it learns from, and whose lists the report shows.
            seed: of fresh weights, batches and noise; by default the config's. The users who are held out from
                training are always the config's.
        """
        reflection, generator = self.config.reflection, self.config.generator
        return stages.PmgSystem(
            self.workspace,
            self.components,
            ranker,
            reflection.held_out,
            reflection.seed,
            generator.seed if seed is None else seed,
            self.config.pmg,
            narrowed(SamplingConfig, generator),
            self.config.backbone.save_every,
        )

    def new_own_system(self, name: str | None = None, ranker: stages.Ranker | None = None) -> stages.OwnSystem:
        """A generator of the user's own, ``package.module:name``, by default the config's, with the config's ranker."""
        source, reflection = name or self.config.generator.system, self.config.reflection
        return stages.OwnSystem(
            self.workspace,
            self.pictures,
            ranker or self.ranker,
            source,
            reflection.held_out,
            reflection.seed,
            self.components,
        )

    def new_drawn(self, system: stages.System, judges: Sequence[stages.Ranker]) -> stages.DrawnPictures:
        """Pictures by this system for everything that the protocols show under these judges."""
        settings = narrowed(DrawingConfig, self.config.evaluation.for_lists)
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

    def new_results(
        self, drawn: stages.DrawnPictures, judges: Mapping[str, stages.Ranker] | None = None, training_seed: int = 0
    ) -> stages.JudgedResults:
        """Every user's numbers under the judges of these pictures, by default by their labels."""
        settings, system = narrowed(MeasuringConfig, self.config.evaluation.for_lists), drawn.system
        named = dict(judges or {judge.label: judge for judge in drawn.judges})
        everybody = None
        if "everybody" in settings.controls and system.learned_from_ranker:
            everybody = stages.EverybodyPictures(
                self.workspace,
                stages.EverybodySystem.beside(system),
                stages.DrawnItems(self.workspace, drawn),
                settings.seeds,
                settings.batch_size,
            )
        trial = self.new_catalogue_trial(system, training_seed)
        catalogue = () if trial is None else tuple(trial.results(name, judge) for name, judge in named.items())
        return stages.JudgedResults(self.workspace, drawn, system, named, settings, training_seed, everybody, catalogue)

    def new_catalogue_trial(self, system: stages.System, training_seed: int = 0) -> stages.CatalogueTrial | None:
        """The stages of the protocol ``catalogue`` for this system; None if the config does not ask for it.

        Args:
            system: who draws.
            training_seed: that of the system.
        """
        settings = self.config.evaluation
        seeds = settings.retraining_seeds(training_seed)
        if not settings.retrains or not seeds:
            return None
        beside = "everybody" in settings.controls and system.learned_from_ranker
        everybody = stages.EverybodySystem.beside(system) if beside else None
        return stages.CatalogueTrial(system, settings, {seed: seed - training_seed for seed in seeds}, everybody)

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
            ValueError: the ranker's scores do not change with pictures, its metrics rank sampled items, the control
                ``everybody`` is asked for beside a system that no reward trains, or more pictures of the catalogue
                are to be replaced than it has.
        """
        check_sampling(self.config)
        self.check_reads_pictures()
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
    def _captions(self) -> stages.Captions | stages.BlipCaptions:
        return stages.captions_of(self.pictures, self.config.words)

    @cached_property
    def _sources(self) -> FeatureSources:
        return FeatureSources(self.config, self.workspace, self.catalogue)


def _possible(diagnosis: Any) -> bool:
    """Whether a stage's check says that these data allow it; if not, the reason is noted."""
    try:
        diagnosis.check()
    except ValueError as error:
        logger.warning("no %s in results and report: %s", diagnosis.name.replace("-", " "), error)
        return False
    return True
