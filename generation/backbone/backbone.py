"""The backbone: a Stable Diffusion 1.x pipeline, small or full size, and sampling from it."""

import copy
import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
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

from generation.backbone.codec import LinearCodec
from generation.backbone.condition_cache import remembering
from generation.backbone.loading import EXAMPLE, _require_pipeline
from generation.backbone.lora import add_lora, keeping_lora, lora_of
from generation.checkpoint import weights_of
from generation.precision import single

diffusers_logging.set_verbosity_error()


LORA_FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for LoRA in a folder."""


def scheduled(steps: int, strength: float) -> int:
    """The ``num_inference_steps`` of which diffusers' image-to-image really runs ``steps`` at this strength."""
    count = steps
    while int(count * strength) < steps:
        count += 1
    return count


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
