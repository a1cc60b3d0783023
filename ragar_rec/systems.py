"""The systems that a config names: who draws, by which ranker's reward, trained with which seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from generation.backbone.config import SamplingConfig
from generation.ragar.config import RagarConfig
from generation.ragar.reflection_config import WarmStartConfig
from generation.systems.choice import SYSTEMS
from ragar_rec import stages
from ragar_rec.config.config import Config
from ragar_rec.config.schema import narrowed
from recsys.recbole.keys import SEED

TWIN_STEP = 1000
"""Between the seeds of a ranker's twins: ``evaluation.training_seeds`` adds small numbers, and must not meet them."""


@dataclass(frozen=True)
class Systems:
    """Makes the systems of one experiment.

    Attributes:
        config: the whole tree.
        components: makes the frozen parts, on which all systems draw.
    """

    config: Config
    components: Callable[[], stages.Components]

    def named(self, name: str, reward: stages.Ranker, training_seed: int = 0) -> stages.System:
        """A system by its name in the config, rewarded by this ranker if it takes a reward.

        Args:
            name: of :data:`generation.systems.choice.SYSTEMS`, or ``package.module:name``.
            reward: the ranker.
            training_seed: is added to the seed of its training.
        """
        if name == "pmg":
            return self.pmg(reward, seed=self.config.generator.seed + training_seed)
        if name in SYSTEMS:
            return self.ragar(reward, training_seed=training_seed)
        return self.own(name, reward)

    def ragar(self, reward: stages.Ranker, *, seed: int | None = None, training_seed: int = 0) -> stages.RagarSystem:
        """RAGAR rewarded by this ranker.

        Args:
            reward: the ranker.
            seed: of fresh weights, batches and noise; by default the config's. The users who are held out from
                training are always the config's, so that systems of several seeds are judged on the same users.
            training_seed: is added to the seeds.
        """
        generator, reflection = narrowed(RagarConfig, self.config.generator), self.config.reflection
        components, people_seed = self.components(), reflection.seed
        if seed is not None:
            generator, reflection = replace(generator, seed=seed), replace(reflection, seed=seed)
        generator = replace(generator, seed=generator.seed + training_seed)
        reflection = replace(reflection, seed=reflection.seed + training_seed)
        warm = stages.WarmStart(components.workspace, components, generator, narrowed(WarmStartConfig, reflection))
        head = reflection.aesthetic_head
        rewards = stages.Rewards(
            components.workspace,
            reward,
            reflection.rewards,
            None if head is None else Path(head),
            tuple(_with_seed(reward, TWIN_STEP * twin) for twin in range(1, reflection.ensemble)),
        )
        return stages.RagarSystem(components.workspace, warm, rewards, reflection, people_seed)

    def pmg(self, ranker: stages.Ranker, *, seed: int | None = None) -> stages.PmgSystem:
        """PMG, which asks no ranker.

        Args:
            ranker: whose interactions it learns from, and whose lists the report shows.
            seed: of fresh weights, batches and noise; by default the config's. The users who are held out from
                training are always the config's.
        """
        reflection, generator, components = self.config.reflection, self.config.generator, self.components()
        return stages.PmgSystem(
            components.workspace,
            components,
            ranker,
            reflection.held_out,
            reflection.seed,
            generator.seed if seed is None else seed,
            narrowed(SamplingConfig, generator),
            self.config.pmg,
            self.config.backbone.save_every,
        )

    def own(self, name: str, ranker: stages.Ranker) -> stages.OwnSystem:
        """A generator of the user's own.

        Args:
            name: ``package.module:name``.
            ranker: whose interactions are split, and whose lists the report shows.
        """
        reflection, components = self.config.reflection, self.components()
        people = (reflection.held_out, reflection.seed)
        return stages.OwnSystem(components.workspace, components.pictures, ranker, name, *people, components)


def _with_seed(ranker: stages.Ranker, more: int) -> stages.Ranker:
    """The same ranker, its seed so much higher."""
    return replace(ranker, settings={**ranker.settings, "seed": int(ranker.settings.get("seed", SEED)) + more})
