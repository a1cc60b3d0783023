"""The backbone: a Stable Diffusion 1.x pipeline, small or full size, and sampling from it."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from diffusers.utils.outputs import BaseOutput as BaseOutput
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from generation.backbone.adapter import AdapterTokens, attach, detached
from generation.backbone.codec import LinearCodec
from generation.backbone.config import SamplingConfig
from generation.backbone.edit import PatchCodec, PictureTokens
from generation.backbone.loading import PICTURE_TOKENS, Pipeline, assemble_pipeline, load_picture_tokens, load_pipeline
from generation.backbone.lora import add_lora, keeping_lora_precision, lora_of
from generation.backbone.sampling import call_pipeline, gradient_checkpointing
from generation.backbone.sampling import scheduled as scheduled
from generation.precision import to_single_precision

# diffusers warns at each pipeline that is built with a codec of another class than AutoencoderKL ("Expected types for
# vae"), and at each change of precision; both are meant here.
diffusers_logging.set_verbosity_error()

LORA_FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for LoRA in a folder."""


class Backbone:
    """A frozen Stable Diffusion pipeline and the size of its pictures; the generator conditions it from outside.

    Args:
        pipeline: any SD-1.x pipeline for image-to-image, or one that edits (InstructPix2Pix).
        size: (height, width) in pixels.
        picture_tokens: makes rows of the condition of a picture's feature, where the UNet was trained with such rows.

    Raises:
        ValueError: the text encoder's rows are not as wide as the UNet's cross-attention, or the codec's latents have
            other channels than the UNet's.
    """

    def __init__(
        self, pipeline: Pipeline, size: tuple[int, int], picture_tokens: PictureTokens | AdapterTokens | None = None
    ) -> None:
        self.pipeline, self.size, self.picture_tokens = pipeline, size, picture_tokens
        self.compiled = False
        self._empty: Tensor | None = None
        if (text_width := int(pipeline.text_encoder.config.hidden_size)) != self.width:
            raise ValueError(
                f"the text encoder gives rows of width {text_width}, the UNet's cross-attention takes {self.width}: "
                "they are not parts of one Stable Diffusion 1.x pipeline"
            )
        seen, latent = int(pipeline.unet.config["in_channels"]), int(pipeline.vae.config["latent_channels"])
        if seen not in (latent, 2 * latent):
            raise ValueError(
                f"the UNet sees {seen} channels, the codec gives {latent}: it takes as many, or twice as many where it "
                "edits. They were made for patches of another size, or are not parts of one pipeline"
            )
        self.pipeline.set_progress_bar_config(disable=True)
        if isinstance(picture_tokens, AdapterTokens):
            attach(pipeline, picture_tokens)
        for module in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
            module.eval().requires_grad_(False)
        if picture_tokens is not None:
            picture_tokens.eval().requires_grad_(False)
        self.text_to_image: StableDiffusionPipeline | None = None
        if not self.edits:
            # A second pipeline on the same components, not copies: diffusers has a class for each kind of sampling.
            self.text_to_image = StableDiffusionPipeline(**pipeline.components, requires_safety_checker=False)
            self.text_to_image.set_progress_bar_config(disable=True)

    @classmethod
    def assemble(
        cls,
        *,
        codec: LinearCodec | PatchCodec | AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        size: tuple[int, int],
        picture_tokens: PictureTokens | None = None,
    ) -> "Backbone":
        """From components that were just trained."""
        pipeline = assemble_pipeline(
            codec=codec, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )
        return cls(pipeline, size, picture_tokens)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, size: tuple[int, int], adapter: AdapterTokens | None = None
    ) -> "Backbone":
        """From a folder of :meth:`save_pretrained`, or any SD-1.x folder or hub name.

        Args:
            source: the folder or name.
            size: height and width in pixels.
            adapter: an IP-Adapter, in place of the picture tokens that may lie beside the pipeline.

        Raises:
            FileNotFoundError: nothing, or only a part of a pipeline, is there.
            ValueError: the weights are pickled, or do not read, or the adapter is another UNet's.
        """
        return cls(load_pipeline(source), size, adapter or load_picture_tokens(source))

    def save_pretrained(self, folder: Path) -> None:
        """A diffusers pipeline folder, weights as safetensors; picture tokens, where there are any, in one beside."""
        tokens = self.picture_tokens
        with detached(self.pipeline, tokens) if isinstance(tokens, AdapterTokens) else nullcontext():
            self.pipeline.save_pretrained(folder, safe_serialization=True)
        if tokens is not None:
            tokens.save_pretrained(folder / PICTURE_TOKENS)

    @property
    def edits(self) -> bool:
        """Whether the UNet sees the reference beside the noise; then ``strength`` and text-to-image have no meaning."""
        return isinstance(self.pipeline, StableDiffusionInstructPix2PixPipeline)

    @property
    def lora(self) -> dict[str, nn.Parameter]:
        """The UNet's trainable weights by the names of diffusers' LoRA files; empty without :meth:`with_lora`."""
        return lora_of(self.pipeline.unet)

    @property
    def frozen(self) -> list[Any]:
        """What no training changes: the UNet's own weights, and every other component of the pipeline."""
        trainable = {id(value) for value in self.lora.values()}
        components = [component for name, component in self.pipeline.components.items() if name != "unet"]
        return [
            *components,
            self.picture_tokens,
            *(value for value in self.pipeline.unet.parameters() if id(value) not in trainable),
        ]

    def with_lora(self, rank: int, generator: torch.Generator) -> "Backbone":
        """Another backbone whose UNet has LoRA; the frozen components are shared, not copied.

        It generates the same pictures until B is trained: see :func:`generation.backbone.lora.add_lora`.

        Raises:
            ValueError: the UNet has LoRA already.
        """
        # deepcopy's memo maps an id to its copy: what maps to itself is shared.
        adapted = copy.deepcopy(self, {id(component): component for component in self.frozen})
        add_lora(adapted.pipeline.unet, rank, generator)
        if adapted.compiled:  # deepcopy drops what torch.compile has put on the module
            adapted.pipeline.unet.compile()
        return adapted

    def save_lora(self, folder: Path) -> None:
        """Write :data:`LORA_FILE`, which ``load_lora_weights(folder)`` of any such pipeline reads."""
        # diffusers puts the component's name before the layers itself.
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
        """Move all components; pictures and embeddings still go in and come out as float32, and LoRA stays float32.

        Args:
            device: ``cpu`` or ``cuda``.
            dtype: float32, or bfloat16, which halves the memory.
            channels_last: convolutions read their channels side by side: other rounding, often faster.
            compiled: the UNet by ``torch.compile``: a minute at each new batch shape, and other rounding.
        """
        with keeping_lora_precision(self.pipeline.unet):
            self.pipeline.to(device, dtype)
        if self.picture_tokens is not None:
            nn.Module.to(self.picture_tokens, torch.device(device))  # in float32, as the rows that it makes
        layout = torch.channels_last if channels_last else torch.contiguous_format
        for module in (self.pipeline.unet, self.pipeline.vae):
            module.to(memory_format=layout)
        if compiled and not self.compiled:
            self.pipeline.unet.compile()
        self.compiled = self.compiled or compiled
        self._empty = None  # on another device or in another precision it has other bits
        return self

    @property
    def device(self) -> torch.device:
        """Device of the UNet, on which all components run."""
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
        """Token ids, shape ``(n, context)``; longer texts are cut off at the end."""
        return self.pipeline.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.context, return_tensors="pt"
        ).input_ids

    def states(self, texts: Sequence[str]) -> Float[Tensor, "n context width"]:
        """The text encoder's last hidden states, exactly what the pipeline makes of ``prompt=``."""
        with torch.no_grad():
            return to_single_precision(self.pipeline.text_encoder(self.tokens(texts).to(self.device)).last_hidden_state)

    @property
    def empty(self) -> Float[Tensor, "1 context width"]:
        """The empty prompt's states, which guidance leads away from; encoded once."""
        if self._empty is None:
            self._empty = self.states([""])
        return self._empty

    def negative(self, like: Float[Tensor, "batch rows width"]) -> Float[Tensor, "batch rows width"]:
        """The empty prompt's states, repeated to the number of rows of ``like``: guidance needs equal shapes.

        Where the condition has rows of pictures, the negative's first rows are those of no picture in particular.
        """
        words = like.shape[1] - (0 if self.picture_tokens is None else self.picture_tokens.rows)
        repeats = -(-words // self.empty.shape[1])  # rounded up
        empty = self.empty.repeat(1, repeats, 1)[:, :words]
        return self.without_picture(empty).expand(len(like), -1, -1)

    def without_picture(self, rows: Float[Tensor, "batch rows width"]) -> Float[Tensor, "batch more width"]:
        """A condition of words alone: with rows of no picture in front, where the UNet was trained with such rows."""
        if self.picture_tokens is None:
            return rows
        with torch.no_grad():
            none = self.picture_tokens.none.to(rows)
        return torch.cat([none.expand(len(rows), -1, -1), rows], dim=1)

    def latents(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n channels h w"]:
        """What the UNet denoises: the codec's latents of pictures in [0, 1], in its scale, without their noise."""
        return to_single_precision(self._encoded(images)) * float(self.pipeline.vae.config["scaling_factor"])

    def reference_latents(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n channels h w"]:
        """What a UNet that edits sees of a reference: latents without their scale, as InstructPix2Pix was trained."""
        return to_single_precision(self._encoded(images))

    def reconstruct(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
        """Through the codec and back, in [0, 1], on the CPU: the generator's domain without its taste."""
        with torch.no_grad():
            decoded = self.pipeline.vae.decode(self._encoded(images)).sample
            return (to_single_precision(decoded) / 2 + 0.5).clamp(0, 1).cpu()

    @torch.no_grad()
    def _encoded(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n channels h w"]:
        vae = self.pipeline.vae
        encoded = vae.encode((images * 2 - 1).to(vae.device, vae.dtype))
        return encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()

    def checkpointing(self, enabled: bool = True) -> AbstractContextManager[None]:
        """The UNet keeps only its blocks' inputs and computes the rest again in the backward pass; then as before."""
        return gradient_checkpointing(self.pipeline.unet, enabled)

    def draw(
        self,
        condition: Float[Tensor, "n rows dim"],
        references: Float[Tensor, "n 3 height width"],
        seeds: Sequence[int],
        sampling: SamplingConfig,
        *,
        with_grad: bool = False,
    ) -> Float[Tensor, "n 3 height width"]:
        """:meth:`sample` as the section ``generator`` says, away from the empty prompt."""
        return self.sample(
            condition,
            self.negative(condition),
            None if sampling.text_to_image else references,
            seeds,
            steps=sampling.steps,
            strength=sampling.strength,
            guidance_scale=sampling.guidance_scale,
            with_grad=with_grad,
        )

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
            references: what is edited, or where image-to-image begins; ``None`` is text-to-image from noise.
            seeds: one a picture, of its initial noise.
            steps: denoising steps that are really run (diffusers counts those that ``strength`` skips, too).
            strength: share of the diffusion that a reference goes through, in (0, 1]; not read by a UNet that edits.
            guidance_scale: of classifier-free guidance; 1 is none.
            with_grad: keep the gradient from the pictures to the embeddings, through every step and the codec. The
                pictures are the same; memory grows with the steps, see :meth:`checkpointing`.
        """
        return self.call(
            references,
            strength,
            with_grad=with_grad,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            guidance_scale=guidance_scale,
            output_type="pt",
            # On the CPU whatever the device: the same seed gives the same noise on every machine.
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=self.inference_steps(steps, None if references is None else strength),
        )

    def inference_steps(self, steps: int, strength: float | None) -> int:
        """The ``num_inference_steps`` of which this pipeline runs ``steps``; a strength of None is text-to-image."""
        return steps if strength is None or self.edits else scheduled(steps, strength)

    def call(
        self,
        references: Float[Tensor, "n 3 height width"] | None,
        strength: float,
        *,
        with_grad: bool = False,
        **arguments: Any,
    ) -> Any:
        """The images of diffusers' own ``__call__``, made of ``references`` or, without any, from noise alone.

        Raises:
            ValueError: there are no references, and the UNet edits.
        """
        pipeline: Any = self.pipeline
        if self.edits:
            if references is None:
                raise ValueError("this backbone edits a reference: it cannot draw from noise alone (text_to_image)")
            # Guidance by the reference is left out: 1 is diffusers' least, and at 1 its terms cancel.
            inputs: dict[str, Any] = {"image": references, "image_guidance_scale": 1.0}
        elif references is None:
            height, width = self.size
            pipeline, inputs = self.text_to_image, {"height": height, "width": width}
        else:
            inputs = {"image": references, "strength": strength}
        cache_condition = not (with_grad or self.compiled)
        return call_pipeline(pipeline, with_grad=with_grad, cache_condition=cache_condition, **inputs, **arguments)
