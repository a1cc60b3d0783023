"""What training measures on the way: curves, and how many requests gave no signal."""

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from generation.appearance import appearance, commonest_share, palettes
from generation.training import Curves


@dataclass
class ReflectionLog:
    """Measurements of the warm start and the reward phase."""

    curves: Curves = field(default_factory=Curves)
    """Loss, scores and gradient norms against step."""
    silent_groups: int = 0
    """Groups (the samples of one request in one step) without a signal: their rewards were all equal."""
    groups: int = 0
    """Groups of all steps."""

    def add_batch(
        self,
        step: int,
        scores: Float[Tensor, "batch samples"],
        reference_scores: Float[Tensor, "batch 1"],
        silent: Bool[Tensor, " batch"],
    ) -> None:
        """Record the scores of one step's pictures."""
        self.groups += len(silent)
        self.silent_groups += int(silent.sum())
        self.curves.add("reward: score of v_gen", step, scores.mean().item())
        self.curves.add("reward: over the reference", step, (scores - reference_scores).mean().item())
        self.curves.add("groups: share without signal", step, silent.float().mean().item())

    def add_gradient_norms(self, step: int, norms: dict[str, float]) -> None:
        """Record the gradient norm of each term of the loss."""
        for name, norm in norms.items():
            self.curves.add(f"gradient norm: {name}", step, norm)

    def add_appearance(
        self, step: int, v_gen: Float[Tensor, "n 3 height width"], references: Float[Tensor, "n 3 height width"]
    ) -> None:
        """Record how generated pictures look, beside their references (see :mod:`generation.appearance`)."""
        for label, images in (("v_gen", v_gen), ("reference", references)):
            for name, values in appearance(images).items():
                self.curves.add(f"{name}: {label}", step, values.mean().item())
            self.curves.add(f"commonest palette: {label}", step, commonest_share(palettes(images)))

    def add_deviation(self, step: int, deviations: Float[Tensor, " n"]) -> None:
        """Record how far the trainings of the ranker that rewards disagree on v_gen."""
        self.curves.add("uncertainty: v_gen", step, deviations.mean().item())
