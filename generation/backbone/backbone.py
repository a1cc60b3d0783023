"""The door to diffusers: the linear codec, the backbone's parts, and sampling. Small and SD-1.5: the same classes."""

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.utils import logging as diffusers_logging
from diffusers.utils.outputs import BaseOutput as BaseOutput
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from generation.backbone.lora import add_lora, keeping_lora, lora_of
from generation.checkpoint import require, require_tokenizer, weights_of
from generation.precision import single

diffusers_logging.set_verbosity_error()

Prediction = Literal["v", "epsilon"]
"""What a UNet says of a noisy latent."""

EXAMPLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
LORA_FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for LoRA in a folder."""
BASE_GAIN = 3.0
"""How much larger than other channels the base stands in the latent: noise moves the palette less than words do."""


class LinearCodec(ModelMixin, ConfigMixin):
    """A linear autoencoder behind diffusers' interface: an area-downsampled base plus principal components of the rest.

    ``patch`` x ``patch`` pixels become 3 base channels (their mean colour) and ``latent_channels - 3`` coefficients of
    the residual against the bicubically enlarged base. At small budgets it beats a learned codec by several dB.
    Pictures here are in [-1, 1], as in every diffusers autoencoder.
    """

    basis: Tensor
    shift: Tensor
    spread: Tensor

    @register_to_config
    def __init__(
        self,
        patch: int = 8,
        latent_channels: int = 32,
        scaling_factor: float = 1.0,
        block_out_channels: Sequence[int] = (1, 1, 1, 1),
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.register_buffer("basis", torch.zeros(latent_channels - 3, 3 * patch * patch))
        self.register_buffer("shift", torch.zeros(latent_channels))
        self.register_buffer("spread", torch.ones(latent_channels))

    def fit(self, images: Float[Tensor, "n 3 height width"]) -> "LinearCodec":
        """Learn the components and the channels' scales from pictures in [-1, 1]; tens are enough, more is better."""
        base, residual = self._split(images)
        rows = residual.movedim(1, -1).flatten(0, 2)  # (n h w, 3 p p)
        _, vectors = torch.linalg.eigh(rows.T @ rows)
        self.basis.copy_(vectors.flip(1)[:, : len(self.basis)].T)
        raw = torch.cat([base, torch.einsum("kc,nchw->nkhw", self.basis, residual)], dim=1)
        self.shift.copy_(raw.mean((0, 2, 3)))
        # Unit variance: v = alpha e - sigma x and the noisy alpha x + sigma e are then uncorrelated, so a UNet that
        # says nothing yet is the best linear denoiser already. On any other scale it must first learn to copy the noise
        # of every channel, and what it fails to copy stays in the picture as grain.
        self.spread.copy_(raw.std((0, 2, 3)).clamp_min(1e-4))
        # The base stands out: image-to-image adds the same noise to every channel, and the palette must outlast it.
        self.spread[:3] /= BASE_GAIN
        return self

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        base = F.avg_pool2d(images, self.patch)
        # The constant patch of value b has the orthonormal coefficient patch * b: base and rest on one scale.
        return base * self.patch, F.pixel_unshuffle(images - self._enlarge(base), self.patch)

    def _enlarge(self, base: Tensor) -> Tensor:
        """Bicubic, but every patch keeps its mean: the residual has none, so that coding twice changes nothing."""
        large = F.interpolate(base, scale_factor=self.patch, mode="bicubic", align_corners=False)
        missing = base - F.avg_pool2d(large, self.patch)
        return large + F.interpolate(missing, scale_factor=self.patch, mode="nearest")

    def encode(self, x: Float[Tensor, "n 3 height width"], return_dict: bool = True) -> Any:
        """Latents of shape ``(n, latent_channels, height / patch, width / patch)``."""
        base, residual = self._split(x)
        raw = torch.cat([base, torch.einsum("kc,nchw->nkhw", self.basis, residual)], dim=1)
        latents = (raw - self.shift[:, None, None]) / self.spread[:, None, None]
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Float[Tensor, "n channels h w"], generator: Any = None, return_dict: bool = True) -> Any:
        """Pictures in [-1, 1] (values slightly outside are left to the caller's clamp)."""
        raw = z * self.spread[:, None, None] + self.shift[:, None, None]
        residual = torch.einsum("kc,nkhw->nchw", self.basis, raw[:, 3:])
        sample = self._enlarge(raw[:, :3] / self.patch) + F.pixel_shuffle(residual, self.patch)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


def small_unet(
    *,
    latent_channels: int,
    latent_size: tuple[int, int],
    cross_attention_dim: int,
    widths: Sequence[int],
    generator: torch.Generator,
) -> UNet2DConditionModel:
    """SD-1.5's UNet class at a small configuration, with fresh weights.

    ``addition_embed_type="text"`` lets the pooled condition steer every residual block (palette, brightness), which
    cross-attention alone learns slowly at this size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return UNet2DConditionModel(
            sample_size=max(latent_size),
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=tuple(widths),
            layers_per_block=1,
            norm_num_groups=16,
            down_block_types=("DownBlock2D",) * (len(widths) - 1) + ("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (len(widths) - 1),
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
        )


def noise_scheduler(prediction: Prediction = "v") -> DDIMScheduler:
    """The schedule that a UNet of this prediction is trained and sampled with, in trailing steps.

    ``v``: cosine betas and zero terminal SNR (Lin et al. 2024): few steps stay unsaturated. ``epsilon``: SD-1.5's
    scaled-linear betas. There the last step still holds 7 % of the picture: the clean latent is read off as
    (x - sigma epsilon) / alpha, which zero terminal SNR would divide by nothing.

    Other schedulers match by ``DPMSolverMultistepScheduler.from_config(scheduler.config)``.
    """
    by_prediction: dict[Prediction, dict[str, Any]] = {
        "v": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        "epsilon": {
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": "epsilon",
        },
    }
    return DDIMScheduler(
        **by_prediction[prediction],
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def without_bars() -> None:
    """Silence, process-wide, the bars that diffusers and transformers show while they read a file: for applications."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def scheduled(steps: int, strength: float) -> int:
    """The ``num_inference_steps`` of which diffusers' image-to-image really runs ``steps`` at this strength."""
    count = steps
    while int(count * strength) < steps:
        count += 1
    return count


@contextmanager
def remembering(unet: UNet2DConditionModel) -> Iterator[None]:
    """What the UNet makes of the condition alone (keys and values of cross-attention, the pooled words) is computed at
    the first step and used in all that follow: the condition is one tensor for the whole call. Not a bit changes.
    """
    attentions = [block for name, block in unet.named_modules() if name.endswith("attn2")]
    readers: list[Any] = [reader for block in attentions for reader in (block.to_k, block.to_v)]
    if unet.config["addition_embed_type"] == "text":
        readers.append(unet.add_embedding)
    hooked = {reader: vars(reader).get("forward") for reader in readers}  # accelerate's hooks stand there
    for reader in readers:
        reader.forward = once(reader.forward)
    try:
        yield
    finally:
        for reader, own in hooked.items():
            if own is None:
                del reader.forward
            else:
                reader.forward = own


def once(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function, which gives its last result again as long as it is asked about the very same tensor."""
    last: list[Any] = []

    def remembered(x: Tensor) -> Tensor:
        version = None if x.is_inference() else x._version  # a callback may write into the condition
        if not (last and last[0] is x and last[1] == version):
            last[:] = [x, version, forward(x)]
        return last[2]

    return remembered


def _require_pipeline(folder: Path) -> None:
    require(folder, "model_index.json")
    require(folder / "scheduler", "scheduler_config.json")
    require_tokenizer(folder / "tokenizer")
    for part in ("vae", "text_encoder", "unet"):
        require(folder / part, "config.json", "*.safetensors")


class Backbone:
    """A Stable Diffusion pipeline and the picture size it works at; the generator conditions it and never changes it.

    Args:
        pipeline: any SD-1.x image-to-image pipeline.
        size: (height, width) in pixels.

    Raises:
        ValueError: the text encoder's rows are not as wide as the UNet's cross-attention.
    """

    def __init__(self, pipeline: StableDiffusionImg2ImgPipeline, size: tuple[int, int]) -> None:
        self.pipeline, self.size = pipeline, size
        self.compiled = False
        self._empty: Tensor | None = None
        if (rows := int(pipeline.text_encoder.config.hidden_size)) != self.width:
            raise ValueError(
                f"the text encoder gives rows of width {rows}, the UNet's cross-attention takes {self.width}: "
                "they are not parts of one Stable Diffusion 1.x pipeline"
            )
        self.pipeline.set_progress_bar_config(disable=True)
        for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
            part.eval().requires_grad_(False)
        self.text_to_image = StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
        self.text_to_image.set_progress_bar_config(disable=True)

    @classmethod
    def assemble(
        cls,
        *,
        codec: LinearCodec | AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        size: tuple[int, int],
    ) -> "Backbone":
        """From parts that were just trained."""
        parts: dict[str, Any] = {
            "vae": codec,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "unet": unet,
            "scheduler": scheduler,
            "safety_checker": None,
            "feature_extractor": None,
        }
        return cls(StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False), size)

    @classmethod
    def from_pretrained(cls, source: str | Path, size: tuple[int, int]) -> "Backbone":
        """From a folder of :meth:`save_pretrained`, or any SD-1.x folder or hub name.

        Raises:
            FileNotFoundError: nothing, or only a part of a pipeline, is there.
            ValueError: the weights are pickled, or do not read.
        """
        folder = Path(source)
        parts: dict[str, Any] = {
            "safety_checker": None,
            "requires_safety_checker": False,
            "use_safetensors": True,
            "torch_dtype": torch.float32,  # whatever precision the weights were saved in
        }
        codec = folder / "vae" / "config.json"
        reading = weights_of("Stable Diffusion pipeline", source, example=EXAMPLE, check=_require_pipeline)
        with warnings.catch_warnings(), reading:
            warnings.simplefilter("ignore")  # diffusers announces deprecations of its own attributes while loading
            if codec.is_file() and "LinearCodec" in codec.read_text():
                parts["vae"] = LinearCodec.from_pretrained(codec.parent)
            pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(str(source), **parts)
        if isinstance(pipeline.scheduler, PNDMScheduler):  # SD-1.x's own: poor in few steps, and one more than asked
            pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        return cls(pipeline, size)

    def save_pretrained(self, folder: Path) -> None:
        """A diffusers pipeline folder, weights as safetensors."""
        self.pipeline.save_pretrained(folder, safe_serialization=True)

    @property
    def lora(self) -> dict[str, nn.Parameter]:
        """What may be trained of the UNet, by the names of diffusers' LoRA files; nothing without :meth:`with_lora`."""
        return lora_of(self.pipeline.unet)

    @property
    def frozen(self) -> list[Any]:
        """What no training changes: the UNet's own weights, and every other part of the pipeline."""
        own = {id(value) for value in self.lora.values()}
        parts = [part for name, part in self.pipeline.components.items() if name != "unet"]
        return [*parts, *(value for value in self.pipeline.unet.parameters() if id(value) not in own)]

    def with_lora(self, rank: int, generator: torch.Generator) -> "Backbone":
        """Another backbone on the same frozen parts, which are shared and not copied, whose UNet has LoRA.

        It draws what this one does until B is trained: see :func:`generation.backbone.lora.add_lora`.

        Raises:
            ValueError: the UNet has LoRA already.
        """
        made = copy.deepcopy(self, {id(part): part for part in self.frozen})
        add_lora(made.pipeline.unet, rank, generator)
        if made.compiled:  # a copy is not
            made.pipeline.unet.compile()
        return made

    def save_lora(self, folder: Path) -> None:
        """As :data:`LORA_FILE`, which ``load_lora_weights(folder)`` of any such pipeline takes."""
        layers: dict[str, Any] = {name.removeprefix("unet."): value.detach() for name, value in self.lora.items()}
        self.pipeline.save_lora_weights(folder, unet_lora_layers=layers)

    def to(
        self,
        device: str | torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        channels_last: bool = False,
        compiled: bool = False,
    ) -> "Backbone":
        """Where and how all parts run; pictures and embeddings go in and come out as float32. LoRA stays float32.

        Args:
            device: ``cpu`` or ``cuda``.
            dtype: float32, or bfloat16, which halves the memory.
            channels_last: convolutions read their channels side by side: other rounding, often faster.
            compiled: the UNet by ``torch.compile``: a minute at each new batch shape, and other rounding.
        """
        with keeping_lora(self.pipeline.unet):
            self.pipeline.to(device, dtype)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for part in (self.pipeline.unet, self.pipeline.vae):
            part.to(memory_format=layout)
        if compiled and not self.compiled:
            self.pipeline.unet.compile()
        self.compiled, self._empty = self.compiled or compiled, None
        return self

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.pipeline.unet.device

    @property
    def width(self) -> int:
        """Cross-attention width: the last dimension of ``prompt_embeds``."""
        return int(self.pipeline.unet.config["cross_attention_dim"])

    @property
    def context(self) -> int:
        """Rows of an encoded prompt, padding rows included, as the UNet was trained on."""
        return int(self.pipeline.tokenizer.model_max_length)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids, shape ``(n, context)``; what does not fit is cut off at the end."""
        return self.pipeline.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.context, return_tensors="pt"
        ).input_ids

    def states(self, texts: Sequence[str]) -> Float[Tensor, "n context width"]:
        """The text encoder's last hidden states, exactly what the pipeline makes of ``prompt=``."""
        with torch.no_grad():
            return single(self.pipeline.text_encoder(self.tokens(texts).to(self.device)).last_hidden_state)

    @property
    def empty(self) -> Float[Tensor, "1 context width"]:
        """The empty prompt's states, which guidance leads away from; encoded once."""
        if self._empty is None:
            self._empty = self.states([""])
        return self._empty

    def reconstruct(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
        """Through the codec and back, in [0, 1], on the CPU: the generator's domain without its taste."""
        vae = self.pipeline.vae
        with torch.no_grad():
            encoded = vae.encode((images * 2 - 1).to(vae.device, vae.dtype))
            latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
            return (single(vae.decode(latents).sample) / 2 + 0.5).clamp(0, 1).cpu()

    @contextmanager
    def checkpointing(self, wanted: bool = True) -> Iterator[None]:
        """The UNet keeps only its blocks' inputs and computes the rest again in the backward pass; then as before."""
        unet = self.pipeline.unet
        change = wanted and not unet.is_gradient_checkpointing
        if change:
            unet.enable_gradient_checkpointing()
        try:
            yield
        finally:
            if change:
                unet.disable_gradient_checkpointing()

    def sample(
        self,
        prompt_embeds: Float[Tensor, "n rows dim"],
        negative_prompt_embeds: Float[Tensor, "n rows dim"],
        references: Float[Tensor, "n 3 height width"] | None,
        seeds: Sequence[int],
        *,
        steps: int,
        strength: float,
        guidance_scale: float,
        with_grad: bool = False,
    ) -> Float[Tensor, "n 3 height width"]:
        """Pictures in [0, 1]; each depends on its own seed alone, not on its neighbours in the batch.

        Args:
            prompt_embeds: the condition, ``P_gen``.
            negative_prompt_embeds: what guidance leads away from, of the same shape.
            references: image-to-image from these at ``strength``; ``None`` is text-to-image from noise.
            seeds: one a picture, of its initial noise.
            steps: denoising steps that are really run (diffusers counts the skipped ones too; here they don't count).
            strength: share of the diffusion that a reference goes through, in (0, 1].
            guidance_scale: of classifier-free guidance; 1 is none.
            with_grad: keep the gradient from the pictures to the embeddings, through every step and the codec. The
                same pictures; memory grows with the steps, see :meth:`checkpointing`.
        """
        return self.call(
            references,
            strength,
            with_grad=with_grad,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            guidance_scale=guidance_scale,
            output_type="pt",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=steps if references is None else scheduled(steps, strength),
        )

    def call(
        self,
        references: Float[Tensor, "n 3 height width"] | None,
        strength: float,
        *,
        with_grad: bool = False,
        **arguments: Any,
    ) -> Any:
        """The images of diffusers' own ``__call__``, image-to-image from ``references`` or, without any, from noise."""
        if references is None:
            height, width = self.size
            pipeline: Any = self.text_to_image
            own: dict[str, Any] = {"height": height, "width": width}
        else:
            pipeline, own = self.pipeline, {"image": references, "strength": strength}
        # The pipelines' __call__ is one decorated function; what torch.no_grad() wraps is the sampling loop itself.
        call = inspect.unwrap(type(pipeline).__call__) if with_grad else type(pipeline).__call__
        with nullcontext() if with_grad or self.compiled else remembering(pipeline.unet):
            images = call(pipeline, **own, **arguments).images
        return single(images) if isinstance(images, Tensor) else images
