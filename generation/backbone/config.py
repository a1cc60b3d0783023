"""Shape and budget of the small backbone (the section `backbone` of the config), and how pictures are sampled."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from generation.settings import INCIDENTAL

Prediction = Literal["v", "epsilon", "sample"]
"""What a UNet predicts from a noisy latent: the velocity, the noise, or the clean latent."""
Task = Literal["edit", "image-to-image"]
"""Where a reference comes in: beside the noise (InstructPix2Pix), or as the noisy latent that sampling begins from."""

PACKAGED = Path(__file__).parent / "package"
"""The small models that come with this library: ``encoder/`` and ``backbone/``."""
PACKAGE, SCRATCH = "package", "scratch"
"""Values of ``start`` that are no folder."""

TIMESTEPS = 1000
"""Steps of a diffusion's whole schedule, in SD-1.x as in the small backbone."""

LEAST_VOCABULARY = 514
"""Of the text encoder's tokenizer: two special tokens, the 256 bytes, and these again as ends of words."""


@dataclass(frozen=True)
class DualEncoderConfig:
    """What the training of the dual encoder reads."""

    start: str = "package"
    """Where the training begins: ``package``, the small models that come with this library; ``scratch``, fresh
    weights; or a folder that holds ``encoder/`` and ``backbone/``. With ``encoder_steps`` or ``unet_steps`` 0 that
    model is used as it is."""
    image_height: int = 96
    """Pixels, a multiple of 8 and of the codec's patch."""
    image_width: int = 64
    """Pixels, a multiple of 8 and of the codec's patch."""
    encoder_width: int = 128
    """Width of both towers of the dual encoder, and of the cross-attention."""
    encoder_layers: int = 3
    """Transformer layers of each tower."""
    embed_dim: int = 64
    """Width of the joint space of pictures and words."""
    vocab_size: int = 2048
    """Most tokens of the tokenizer that is learned from the catalogue."""
    context: int = 32
    """Tokens of a caption, padding included."""
    encoder_steps: int = 0
    """Training steps of the dual encoder; from scratch 150 or more."""
    batch_size: int = 64
    """Pictures a step."""
    learning_rate: float = 1.5e-3
    """Peak of the schedule, for both."""
    held_out: float = 0.0
    """Share of the pictures that neither dual encoder nor codec nor UNet sees, for judging them by."""
    seed: int = 0
    """Of weights, batches, noise and the pictures held out."""

    def conflicts(self) -> Iterator[str]:
        """Sizes that do not fit together, each as a sentence."""
        # The codec's patches have 8 pixels, the dual encoder's 8 or 16.
        for name in ("image_height", "image_width"):
            if getattr(self, name) < 16 or getattr(self, name) % 8:
                yield f"{name} {getattr(self, name)} is no multiple of 8 from 16 on"
        # The attention heads of both towers are 32 wide.
        if self.encoder_width < 32 or self.encoder_width % 32:
            yield f"encoder_width {self.encoder_width} is no multiple of 32"
        if self.vocab_size < LEAST_VOCABULARY:
            yield f"vocab_size {self.vocab_size}: {LEAST_VOCABULARY} tokens are taken before the first merge"
        if self.learning_rate <= 0:
            yield f"learning_rate {self.learning_rate} must be positive"
        yield from self._no_shares("held_out")
        yield from self._no_counts("encoder_layers", "embed_dim", "context", "batch_size")
        yield from self._no_steps("encoder_steps")

    def _no_steps(self, name: str) -> Iterator[str]:
        """A number of steps that leaves fresh weights untrained."""
        if getattr(self, name) < 0:
            yield f"{name} {getattr(self, name)} must not be negative"
        elif self.start == SCRATCH and not getattr(self, name):
            yield f"{name} 0 leaves fresh weights untrained: take some hundred, or start: package"

    def _no_shares(self, *names: str) -> Iterator[str]:
        """Fields that must lie in [0, 1) and do not."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} {getattr(self, name)} must lie between 0 and 1, below 1"

    def _no_counts(self, *names: str) -> Iterator[str]:
        """Fields that must be at least 1 and are not."""
        for name in names:
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"


@dataclass(frozen=True)
class UNetConfig(DualEncoderConfig):
    """What the training of codec and UNet reads: the shape of the dual encoder that it builds on, and its own."""

    task: Task = "edit"
    """``edit``: the UNet sees the reference beside the noise and changes its colours and light, in 1 to 3 steps;
    ``image-to-image``: sampling begins from the reference's noisy latent at ``generator.strength``, as SD-1.x does."""
    picture_rows: int = 8
    """``edit``: rows of the condition that are made of a picture's feature (IP-Adapter: 4)."""
    latent_channels: int = 32
    """``image-to-image``: channels of the codec's latent, 3 for the base, the rest components of 8x8 patches."""
    unet_widths: tuple[int, ...] = (64, 128)
    """Channels of each UNet level."""
    unet_steps: int = 0
    """Training steps of the UNet; from scratch 400 or more, a few hundred adapt the package's to a catalogue."""
    prediction: Literal["v", "epsilon"] = "v"
    """``image-to-image``: what the UNet says of a noisy latent, the velocity ``v``, or the noise ``epsilon``, which
    needs more steps."""
    min_snr: float = 5.0
    """``image-to-image``: gamma of the min-SNR weights (Hang et al. 2023); 0 weighs every noise level alike."""
    ema: float = 0.9985
    """Highest decay of the moving average of the UNet's weights, which is what is kept; 0 keeps the last weights."""

    def conflicts(self) -> Iterator[str]:
        """Sizes that do not fit together, each as a sentence."""
        yield from super().conflicts()
        # A patch of 8 x 8 x 3 numbers has 192 components; with the 3 of the base, 195 channels hold everything.
        if not 3 < self.latent_channels <= 195:
            yield f"latent_channels {self.latent_channels} must lie between 4 and 195: 3 are the base of each 8x8 patch"
        # GroupNorm has 16 groups in every block.
        if not self.unet_widths or any(width < 16 or width % 16 for width in self.unet_widths):
            yield f"unet_widths {list(self.unet_widths)} must be one multiple of 16 or more: a width for each level"
        if self.min_snr < 0:
            yield f"min_snr {self.min_snr} must not be negative (0 is no weighting)"
        yield from self._no_shares("ema")
        yield from self._no_counts("picture_rows")
        yield from self._no_steps("unet_steps")
        if self.start != SCRATCH and self.encoder_steps and not self.unet_steps:
            yield (
                f"encoder_steps {self.encoder_steps} change the words and features that the UNet of start: "
                f"{self.start} was trained with: adapt it, too, by some hundred unet_steps"
            )
        if self.start != SCRATCH and self.task != "edit":
            yield f"task {self.task} begins from scratch alone: write start: scratch beside it"


@dataclass(frozen=True)
class PretrainConfig(UNetConfig):
    """The small diffusion backbone that is trained on the catalogue: its shape and its training steps."""

    save_every: int = field(default=100, metadata=INCIDENTAL)
    """Steps after which a stopped training can go on; the result is the same."""

    def conflicts(self) -> Iterator[str]:
        """Sizes that do not fit together, each as a sentence."""
        yield from super().conflicts()
        yield from self._no_counts("save_every")


@dataclass(frozen=True)
class SamplingConfig:
    """What all systems on one backbone share, so that they differ by their method alone: histories, and sampling."""

    history_length: int = 20
    """Most recent items of a history that are read."""
    steps: int = 1
    """Denoising steps that are run: 1 to 3 by a backbone that edits; from noise (``text_to_image``) take 10 or more."""
    strength: float = 0.25
    """Image-to-image: share of the diffusion that the reference's latent goes through; 1 ignores the reference. Not
    read by a backbone that edits."""
    guidance_scale: float = 1.0
    """Scale of classifier-free guidance; 1 is none."""
    text_to_image: bool = False
    """Begin from noise instead of the reference's latent; not with a backbone that edits."""

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        if not 0 < self.strength <= 1:
            yield f"strength {self.strength} must be above 0 and at most 1"
        elif problem := self.strength_problem("steps", self.steps):
            yield problem
        if self.guidance_scale < 1:
            yield f"guidance_scale {self.guidance_scale} must be at least 1 (1 is none)"
        for name in ("history_length", "steps"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"

    @property
    def described(self) -> str:
        """The number of steps, in words."""
        return f"{self.steps} sampling step{'' if self.steps == 1 else 's'}"

    def strength_problem(self, key: str, steps: int) -> str | None:
        """The sentence on a :attr:`strength` at which image-to-image cannot run so many steps; None if it can.

        Args:
            key: where the number of steps is configured.
            steps: denoising steps, which are the last of a schedule that is ``steps / strength`` long.
        """
        left = int(self.strength * TIMESTEPS)
        if self.text_to_image or left >= steps:
            return None
        advice = f"a strength of at least {steps / TIMESTEPS:g}" if steps <= TIMESTEPS else "fewer steps"
        return (
            f"strength {self.strength} goes through {left} of the diffusion's {TIMESTEPS:,} steps, fewer than "
            f"{key} {steps}: take {advice}"
        )
