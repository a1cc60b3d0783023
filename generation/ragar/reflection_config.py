"""The section `reflection` of the config: settings of the warm start, and of the reward phase after it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from generation.rewards.choice import PersonalForm, reward_conflicts
from generation.settings import INCIDENTAL

NoiseMode = Literal["full", "token_shared", "low_rank"]
"""Where the noise lives: see :class:`generation.ragar.policy.GaussianPolicy`."""
Objective = Literal["reinforce", "path", "nft", "paper_literal"]
"""How the reward's gradient is found: see :class:`ReflectionConfig`."""


@dataclass(frozen=True)
class WarmStartConfig:
    """How the generator is trained before any reward: everything that the warm start reads."""

    warm_start_steps: int = 200
    """Supervised steps before any reward."""
    warm_start_learning_rate: float = 2e-3
    """Of the warm start."""
    seed: int = 0
    """Of batches, noise and the people held out."""


@dataclass(frozen=True)
class ReflectionConfig(WarmStartConfig):
    """How the generator is trained: the warm start's settings and those of the reward phase."""

    reward_steps: int = 100
    """Steps of the reward phase."""
    batch_size: int = 16
    """Requests a step."""
    steps: int = 1
    """Denoising steps of the pictures that are scored: fewer than at the end, so that the budget buys more of them."""
    samples: int = 4
    """r, the noisy preferences a request (the paper: 3, its ablation: 5)."""
    noise: NoiseMode = "low_rank"
    """Where the noise lives."""
    rank: int = 8
    """Directions of ``low_rank``: principal components of the warm-start preference over users."""
    sigma: float = 1.0
    """Standard deviation of the noise, in units of the warm-start preference's own deviation along the directions."""
    margin: float = 0.5
    """delta of eq. 11, in standard deviations of the user's scores."""
    antithetic: bool = True
    """``reinforce``, ``nft``: draw the samples in pairs of mirror images (eq. 12), an even number; if not, each is
    compared with the mean of the others (leave-one-out)."""
    objective: Objective = "reinforce"
    """``reinforce``: eq. 11-12 with the sign, sample and baseline put right, for any reward. ``path``: the gradient of
    the same reward through codec, UNet and every denoising step, without noise, for rewards that have one; 2 to 4
    ``steps`` are enough. ``nft``: the noisy preferences of ``reinforce``, whose better pictures are what the UNet
    learns to draw without noise, and whose worse ones it unlearns (DiffusionNFT), for any reward.
    ``paper_literal``: eq. 11-12 as printed, for the ablation."""
    lora_rank: int = 0
    """``path``, ``nft``: rank of LoRA on the UNet's attention, trained with the rest and used for v_gen alone; 0 is
    none. It stands here, not in the section ``generator``: the warm start does without, and a saved generator knows its
    own."""
    checkpointing: bool = False
    """``path``, ``nft``: compute the UNet's blocks again in the backward pass instead of keeping what they hold."""
    alpha: float = 0.2
    """Weight of L_rank (eq. 15)."""
    beta: float = 0.5
    """Weight of L_cal (eq. 15)."""
    gamma: float = 0.3
    """Weight of L_sem (eq. 15)."""
    kl: float = 0.0
    """Weight of the divergence from the warm-start preference, ||mu - mu_0||^2 / (2 sigma^2) (beside eq. 15)."""
    ema: float = 0.0
    """Highest decay of a moving average of the trained parts over the reward phase, kept in place of the last ones; it
    begins lower, at min(``ema``, (1 + step) / (15 + step)). 0 keeps none."""
    ranker: str | None = field(default=None, metadata=INCIDENTAL)
    """The one of ``judges`` whose score is the reward ``ranker``; the config's own ranker is then a judge that took no
    part. By default the config's own rewards."""
    rewards: dict[str, float] = field(default_factory=lambda: {"ranker": 1.0})
    """What is rewarded (eq. 10), with weights; a negative one punishes. ``ranker``: in standard deviations of the
    user's scores. ``relevance``: the dual encoder's cosine with the reference's caption, which moves by tenths.
    ``aesthetic``: see ``aesthetic_head``. ``package.module:name`` of your own: called with (encoder, gallery), it gives
    back a ``generation.reward.Reward``."""
    personal: int = 0
    """K: the reward ``ranker`` becomes the user's score less the mean over K other people's of the same picture and
    item, drawn for each request, so that what pleases everybody earns nothing. 0: the user's score alone."""
    personal_form: PersonalForm = "difference"
    """How ``personal`` compares: ``difference``, the user's score less the others' mean; ``rank``, the user's place
    among them, from 0 to 1: the share of the others whose score is below the user's, made smooth."""
    ensemble: int = 1
    """Trainings of the ranker that rewards, which differ in their seeds: the reward ``ranker`` is the mean of their
    scores."""
    uncertainty: float = 0.0
    """lambda: the reward ``ranker`` less lambda times the standard deviation over ``ensemble`` of what a picture scores
    above the item's own, so that less is paid for pictures of which the ranker does not know what to say."""
    aesthetic_head: str | None = field(default=None, metadata=INCIDENTAL)
    """A safetensors file with the ``weight`` and ``bias`` of a linear head on the dual encoder's features, such as
    LAION's aesthetic predictor on those of CLIP ViT-L/14."""
    learning_rate: float = 1e-3
    """Of the reward phase (the paper's 1e-5 is for models a thousand times larger)."""
    held_out: float = 0.2
    """Share of people kept from generator training for judging it (and half as many for validation)."""

    @property
    def in_pairs(self) -> bool:
        """Whether samples are drawn as mirror images: ``antithetic``, where the objective has a use for it."""
        return self.antithetic and self.objective in ("reinforce", "nft")

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        if self.in_pairs and self.samples % 2:
            yield f"samples {self.samples} must be even, as they come in pairs; antithetic: false takes any from 2 on"
        elif self.objective in ("reinforce", "nft") and self.samples < 2:
            yield f"samples {self.samples}: the leave-one-out baseline needs at least 2"
        if self.objective not in ("path", "nft"):  # the others have no gradient in the UNet
            of = "belongs to objectives path and nft"
            if self.checkpointing:
                yield f"checkpointing {of}: {self.objective} keeps nothing of the UNet"
            if self.lora_rank > 0:
                yield f"lora_rank {self.lora_rank} {of}: {self.objective} has no gradient for the UNet"
        if not 0 < self.held_out < 0.6:
            yield f"held_out {self.held_out} must lie between 0 and 0.6"
        if not 0 <= self.ema < 1:
            yield f"ema {self.ema} must be at least 0 and below 1"
        for name in ("sigma", "learning_rate", "warm_start_learning_rate"):
            if getattr(self, name) <= 0:
                yield f"{name} {getattr(self, name)} must be positive"
        for name in ("alpha", "beta", "gamma", "kl", "margin", "lora_rank", "personal", "uncertainty", "seed"):
            if getattr(self, name) < 0:
                yield f"{name} {getattr(self, name)} must not be negative"
        for name in ("warm_start_steps", "reward_steps", "steps", "samples", "batch_size", "rank", "ensemble"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"
        if self.uncertainty and self.ensemble < 2:
            yield f"uncertainty {self.uncertainty} is that of several trainings: ensemble must be at least 2"
        for name, default in (("personal", 0), ("ensemble", 1)):
            value = getattr(self, name)
            if value > default and "ranker" not in self.rewards:
                yield f"{name} {value} is about the reward ranker, but rewards name {', '.join(self.rewards)}"
        if self.personal_form != "difference" and not self.personal:
            yield f"personal_form {self.personal_form} compares with other people: personal must be at least 1"
        yield from reward_conflicts(self.rewards, self.aesthetic_head)
