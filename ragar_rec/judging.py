"""Who judges the pictures of an experiment, and what is measured of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

# Before Python 3.12 isinstance with a protocol of `typing` evaluates every property, and so would train a ranker.
from typing_extensions import Protocol, runtime_checkable

from ragar_rec import stages
from ragar_rec.config.config import Config
from ragar_rec.config.schema import narrowed
from ragar_rec.config.sections import DrawingConfig, MeasuringConfig, RankerDiagnosisConfig
from ragar_rec.systems import Systems
from recsys.recbole.keys import SEED

logger = logging.getLogger(__name__)


@runtime_checkable
class Makers(Protocol):
    """What makes rankers and systems; an :class:`ragar_rec.experiment.Experiment`."""

    config: Config
    workspace: stages.Workspace

    @cached_property
    def ranker(self) -> stages.Ranker: ...
    @cached_property
    def system(self) -> stages.System: ...
    @cached_property
    def systems(self) -> Systems: ...

    def new_ranker(
        self,
        *,
        model: str | None = None,
        image_encoder: stages.EncoderChoice | None = None,
        seed: int | None = None,
        whiten: int | Literal[False] | None = None,
        settings: Mapping[str, Any] = ...,
    ) -> stages.Ranker:
        """A ranker that differs from the config's."""
        ...

    def new_shuffled(self, ranker: stages.Ranker, seed: int = 0) -> stages.Ranker:
        """The same ranker, trained on pictures of other items."""
        ...

    def baselines(self) -> list[stages.BaselineRanker]:
        """Simple rankers beside the config's."""
        ...


@dataclass(frozen=True)
class Judging:
    """Makes the stages that measure: judges, results, diagnoses.

    Attributes:
        made: makes the rankers and systems.
    """

    made: Makers

    @property
    def reward_ranker(self) -> stages.Ranker:
        """The ranker that rewards and is diagnosed: the config's own, or the judge that ``reflection.ranker`` names."""
        name = self.made.config.reflection.ranker
        return self.made.ranker if name is None else self._first[name]

    def judges(self, training_seed: int = 0) -> dict[str, stages.Ranker]:
        """The ranker that rewards, then the others, the config's own before its ``judges``, by their names in tables.

        Args:
            training_seed: is added to the seed of each.
        """
        rankers = self._rankers(training_seed) if training_seed else self._first
        labels: dict[str | None, str] = {}
        for name, ranker in rankers.items():
            label = ranker.label
            labels[name] = f"{label} ({name})" if label in labels.values() else label
        # Sorting is stable: only the one that rewards changes its place.
        names = sorted(rankers, key=lambda name: name != self.made.config.reflection.ranker)
        return {labels[name]: rankers[name] for name in names}

    @cached_property
    def _first(self) -> dict[str | None, stages.Ranker]:
        """Those of the first training, made once: whoever asks for a ranker gets the same loaded one."""
        return self._rankers(0)

    def _rankers(self, training_seed: int) -> dict[str | None, stages.Ranker]:
        """The config's ranker under None, then its ``judges`` by their names there; all trained with this seed more."""
        config = self.made.config
        seed = int(config.recbole.get("seed", SEED))
        rankers: dict[str | None, stages.Ranker] = {
            None: self.made.new_ranker(seed=seed + training_seed) if training_seed else self.made.ranker
        }
        for name, judge in config.judges.rankers.items():
            rankers[name] = self.made.new_ranker(
                model=judge.model,
                image_encoder=judge.image_encoder,
                seed=judge.seed + training_seed,
                whiten=judge.whiten,
                settings=judge.settings,
            )
        return rankers

    def check(self) -> None:
        """Refuse before anything is trained judges that could confirm nothing, and rankers that see no new picture.

        Raises:
            ValueError: one is the ranker that rewards but for its seed, one reads features that were made elsewhere, or
                controls that show whether a judge moves and whether a gain is personal are left out.
            FileNotFoundError: the weights of a judge's encoder are not there.
        """
        config = self.made.config
        missing = [name for name in ("shuffled_user", "random_item") if name not in config.evaluation.controls]
        if config.judges.rankers and missing:
            raise ValueError(
                f"judges confirm nothing without the controls {', '.join(missing)}: add them to evaluation.controls"
            )
        self._check_models()
        for ranker in self._first.values():
            ranker.features.check_new_pictures()

    def _check_models(self) -> None:
        """Refuse a judge that differs from the ranker that rewards in nothing but its seed."""
        config, rewarding = self.made.config, self.made.config.reflection.ranker
        own = (config.recbole["model"], config.features.image_encoders, config.features.whiten)
        judges = config.judges.rankers.items()
        kinds = {None: own, **{name: (judge.model, judge.image_encoders, judge.whiten) for name, judge in judges}}
        model, encoders, _ = kinds[rewarding]
        for name, kind in kinds.items():
            if name != rewarding and kind == kinds[rewarding]:
                # The config's own ranker stays what it is: of the two it is the judge that is to be changed.
                owner = "the config's" if name is None else "the reward's"
                raise ValueError(
                    f"judges.{name or rewarding} is {owner} own ranker, {model} on {', '.join(encoders)}: give it "
                    "another model or image_encoder"
                )

    def train_apart(self) -> None:
        """Train the rankers that results and diagnosis ask for, if ``judges.processes`` trains several at a time."""
        seeds, processes = self.made.config.evaluation.training_seeds, self.made.config.judges.processes
        if processes == 1:
            return
        rankers = [ranker for seed in seeds for ranker in self.judges(seed).values()]
        # Only a trained ranker can say whether a diagnosis is possible; it nearly always is.
        rankers += [self.diagnosis.shuffled, *(shuffled for reading in self.readings for shuffled in reading.shuffled)]
        stages.build_apart(rankers, processes, description="rankers", progress=self.made.workspace.progress)

    @cached_property
    def results(self) -> tuple[stages.JudgedResults, ...]:
        """Every user's numbers for every system after every training, those of the config's own first."""
        generator, found = self.made.config.generator, []
        for training_seed in self.made.config.evaluation.training_seeds:
            judges = self.judges(training_seed)
            reward = next(iter(judges.values()))
            for name in generator.systems:
                own = (name, training_seed) == (generator.system, 0)
                system = self.made.system if own else self.made.systems.named(name, reward, training_seed)
                drawn = self.new_drawn(system, list(judges.values()))
                found.append(self.new_results(drawn, judges, training_seed))
        return tuple(found)

    @cached_property
    def readings(self) -> tuple[stages.Reading, ...]:
        """Whether the rankers read pictures, the rewarding one among them; none without ``judges`` or ``shuffles``."""
        k, settings = self.made.config.evaluation.k, self.made.config.judges
        seeds = range(settings.shuffles)
        judges = self.judges() if settings.rankers and settings.shuffles else {}
        return tuple(
            stages.Reading(
                self.made.workspace, name, ranker, tuple(self.made.new_shuffled(ranker, at) for at in seeds), k
            )
            for name, ranker in judges.items()
        )

    @cached_property
    def diagnosis(self) -> stages.Diagnosis:
        """What the ranker that rewards makes of pictures, before any generator."""
        evaluation, generator = self.made.config.evaluation, self.made.config.generator
        return stages.Diagnosis(
            self.made.workspace,
            self.reward_ranker,
            self.made.new_shuffled(self.reward_ranker),
            tuple(self.made.baselines()),
            narrowed(RankerDiagnosisConfig, self.made.config.diagnosis),
            candidates=evaluation.candidates,
            k=evaluation.k,
            retrieved=generator.k,
            history_length=generator.history_length,
        )

    @cached_property
    def generator_diagnosis(self) -> stages.GeneratorDiagnosis:
        """What the config's system could draw, what it learned to draw, and what its codec costs."""
        settings, seed = self.made.config.diagnosis, self.made.config.evaluation.seeds[0]
        return stages.GeneratorDiagnosis(
            self.made.workspace, self.made.system, self.reward_ranker, settings.optimised, settings.steps, seed
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

    def new_drawn(self, system: stages.System, judges: Sequence[stages.Ranker]) -> stages.DrawnPictures:
        """Pictures by this system for everything that the protocols show under these judges."""
        settings = narrowed(DrawingConfig, self.made.config.evaluation.for_lists)
        return stages.DrawnPictures(self.made.workspace, system, tuple(judges), settings)

    def new_results(
        self, drawn: stages.DrawnPictures, judges: Mapping[str, stages.Ranker] | None = None, training_seed: int = 0
    ) -> stages.JudgedResults:
        """Every user's numbers under the judges of these pictures, by default by their labels."""
        settings, system = narrowed(MeasuringConfig, self.made.config.evaluation.for_lists), drawn.system
        named = dict(judges or {judge.label: judge for judge in drawn.judges})
        everybody = None
        if "everybody" in settings.controls and system.learned_from_ranker:
            everybody = stages.EverybodyPictures(
                self.made.workspace,
                stages.EverybodySystem.beside(system),
                stages.DrawnItems(self.made.workspace, drawn),
                settings.seeds,
                settings.batch_size,
            )
        trial = self.new_catalogue_trial(system, training_seed)
        catalogue = () if trial is None else tuple(trial.results(name, judge) for name, judge in named.items())
        return stages.JudgedResults(
            self.made.workspace, drawn, system, named, settings, training_seed, everybody, catalogue
        )

    def new_catalogue_trial(self, system: stages.System, training_seed: int = 0) -> stages.CatalogueTrial | None:
        """The stages of the protocol ``catalogue`` for this system; None if the config does not ask for it.

        Args:
            system: who draws.
            training_seed: that of the system.
        """
        settings = self.made.config.evaluation
        seeds = settings.retraining_seeds(training_seed)
        if not settings.retrains or not seeds:
            return None
        beside = "everybody" in settings.controls and system.learned_from_ranker
        everybody = stages.EverybodySystem.beside(system) if beside else None
        return stages.CatalogueTrial(system, settings, {seed: seed - training_seed for seed in seeds}, everybody)


def _possible(diagnosis: Any) -> bool:
    """Whether a stage's check says that these data allow it; if not, the reason is noted."""
    try:
        diagnosis.check()
    except ValueError as error:
        logger.warning("no %s in results and report: %s", diagnosis.name.replace("-", " "), error)
        return False
    return True
