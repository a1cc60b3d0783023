"""RAGAR among diffusers' pipelines: called by the same names, one folder, and embeddings for any other pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from generation.backbone.adapter import ROWS, takes_rows
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.ragar.config import RagarConfig
from generation.ragar.ip_adapter import has_ip_adapter, retrieved_image_embeds
from generation.ragar.pipeline_folder import load_with_frozen_parts, save_with_frozen_parts
from generation.ragar.pipeline_output import OUTPUT_TYPES, RagarOutput, converted
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.ragar.randomness import generators_and_seeds
from generation.ragar.references import References, blend, merge_explanations, reference_weights
from generation.request import Request


class RagarPipeline:
    """A trained generator with everything that it needs, called as diffusers' pipelines are.

    One call draws for one user. :meth:`generation.ragar.ragar.Ragar.generate` takes many requests at a time and draws
    the same pictures.

    Examples:
        >>> pipeline = RagarPipeline.from_pretrained("my-generator")
        >>> out = pipeline(history=["1", "181", "172"], reference="50", seeds=[0])
        >>> out.images[0].save("50.png")
    """

    def __init__(self, ragar: Ragar) -> None:
        self.ragar = ragar

    @torch.no_grad()
    def __call__(
        self,
        history: Sequence[str],
        reference: References,
        *,
        num_inference_steps: int | None = None,
        strength: float | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        generator: Generator | Sequence[Generator] | None = None,
        seeds: Sequence[int] | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[..., dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        ip_adapter_image_embeds: Sequence[Tensor] | None = None,
    ) -> RagarOutput:
        """Draw pictures of the reference for the user with this history.

        Several references are blended: the weighted means of their preferences (the rows stand for the same thing in
        each: prompt, mapper, encoded text) and of their pictures. A weight of 0 is as good as no reference. What the
        gallery's masks keep of each (:attr:`generation.gallery.Gallery.kept`) stays, by its reference's weight.

        Args:
            history: item ids, oldest first.
            reference: the item to be shown, a list of items, or a mapping of items to weights (of any sum).
            num_inference_steps: as diffusers counts: image-to-image runs the share ``strength`` of them. By default as
                many as it takes to run the configured ``steps``.
            strength: share of the diffusion that the reference goes through, in (0, 1]; the configured one by default.
                Text-to-image does without.
            guidance_scale: scale of classifier-free guidance, 1 is none; the configured one by default.
            num_images_per_prompt: pictures, where neither seeds nor a list of generators says how many.
            generator: draws the initial noise: one, or one a picture. A fresh one of seed s equals ``seeds=[s]``.
            seeds: one a picture. Without seeds and generators each picture takes a new one, which the output names.
            output_type: see :data:`OUTPUT_TYPES`.
            callback_on_step_end: diffusers calls it as ``f(pipeline, step, timestep, tensors)`` after each step.
            callback_on_step_end_tensor_inputs: names of the tensors that it wants.
            ip_adapter_image_embeds: a second condition, by a backbone with IP-Adapters: see :meth:`encode_retrieved`.

        Raises:
            ValueError: an empty history, or a setting that cannot be run.
            KeyError: an item is not in the gallery.
        """
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type {output_type!r} is none of {', '.join(OUTPUT_TYPES)}")
        config = self._settings(strength, guidance_scale)
        steps = self._inference_steps(config, num_inference_steps)
        generators, known_seeds = generators_and_seeds(generator, seeds, num_images_per_prompt)
        weights = reference_weights(reference)
        preferences = self._preferences(history, weights, _retrieval_seeds(generators, num_images_per_prompt))
        # Row i of every preference has the same role (prompt, mapper, encoded text), so that means of rows are defined.
        embeds = blend([preference.embeds() for preference in preferences], weights.values())
        images = self.ragar.sampling_backbone.call(
            None if config.text_to_image else self._initial_images(weights, len(embeds)),
            config.strength,
            prompt_embeds=embeds,
            negative_prompt_embeds=self.ragar.backbone.negative(embeds),
            num_inference_steps=steps,
            generator=generators,
            guidance_scale=config.guidance_scale,
            output_type="pt",
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=list(callback_on_step_end_tensor_inputs),
            ip_adapter_image_embeds=ip_adapter_image_embeds and list(ip_adapter_image_embeds),
        )
        by_picture = zip(*(preference.explanations for preference in preferences), strict=True)
        explanations = [merge_explanations(each, weights.values()) for each in by_picture]
        return RagarOutput.explained(converted(self._keep(images, weights), output_type), explanations, known_seeds)

    @torch.no_grad()
    def encode_preference(
        self, history: Sequence[str], reference: References, *, num_images_per_prompt: int = 1, pipeline: Any = None
    ) -> tuple[Float[Tensor, "n rows width"], Float[Tensor, "n rows width"]]:
        """Encode ``(prompt_embeds, negative_prompt_embeds)`` of one shape, for **any** Stable Diffusion 1.x pipeline.

        Text-to-image, image-to-image and ControlNet take both as they are, with any number of rows. Always give both:
        beyond its own context a pipeline cannot make the negative itself, and guidance needs equal shapes.
        An IP-Adapter's rows are left out, unless the pipeline's UNet takes them from the condition as this one's does.

        Args:
            history: item ids, oldest first.
            reference: as in a call.
            num_images_per_prompt: rows of the batch, all alike (unless ``config.history`` is ``random``).
            pipeline: the pipeline that will take them: its width is checked, its precision and device are used.

        Raises:
            ValueError: an empty history, or the pipeline's cross-attention has another width.
        """
        weights = reference_weights(reference)
        preferences = self._preferences(history, weights, range(num_images_per_prompt))
        embeds = blend([preference.embeds() for preference in preferences], weights.values())
        negative = self.ragar.backbone.negative(embeds)
        if takes_rows(self.ragar.backbone.pipeline.unet) and (pipeline is None or not takes_rows(pipeline.unet)):
            embeds, negative = embeds[:, ROWS:], negative[:, ROWS:]
        if pipeline is None:
            return embeds, negative
        if (width := pipeline.unet.config.cross_attention_dim) != embeds.shape[-1]:
            raise ValueError(
                f"the preference has width {embeds.shape[-1]}, the cross-attention of this {type(pipeline).__name__} "
                f"takes {width}: train the generator on a pipeline of that width"
            )
        device, dtype = pipeline.unet.device, pipeline.unet.dtype
        return embeds.to(device, dtype), negative.to(device, dtype)

    @torch.no_grad()
    def encode_retrieved(
        self,
        history: Sequence[str],
        reference: References,
        *,
        num_images_per_prompt: int = 1,
        pipeline: Any = None,
        guidance: bool = True,
    ) -> list[Tensor]:
        """Encode ``ip_adapter_image_embeds`` (Ye et al. 2023, IP-Adapter): the retrieved pictures beside the words.

        Each adapter gets the mean of the retrieved pictures' embeddings by the pipeline's own image encoder, weighted
        as P_ret is (eq. 5): missing pictures leave their weight to the others. Ours; the paper has no such path.

        Args:
            history: item ids, oldest first.
            reference: as in a call.
            num_images_per_prompt: rows of the batch.
            pipeline: one with an image encoder and IP-Adapters (``load_ip_adapter``); by default the one that draws.
            guidance: whether the negative rows stand in front, as diffusers wants them where guidance is above 1.

        Raises:
            ValueError: the pipeline has no IP-Adapter, or no retrieved item has a picture.
        """
        pipeline = self.ragar.sampling_backbone.pipeline if pipeline is None else pipeline
        if takes_rows(pipeline.unet):
            raise ValueError("this pipeline's IP-Adapter takes its rows from prompt_embeds: it needs no image embeds")
        if not has_ip_adapter(pipeline):
            raise ValueError(f"this {type(pipeline).__name__} has no IP-Adapter: call its load_ip_adapter first")
        weights = reference_weights(reference)
        preferences = self._preferences(history, weights, range(1))
        explanation = merge_explanations([preference.explanations[0] for preference in preferences], weights.values())
        embeds = retrieved_image_embeds(pipeline, self.ragar.gallery, explanation, guidance=guidance)
        return [adapter.repeat_interleave(num_images_per_prompt, dim=0) for adapter in embeds]

    def _settings(self, strength: float | None, guidance_scale: float | None) -> RagarConfig:
        """The generator's settings with those of the call."""
        changes = {"strength": strength, "guidance_scale": guidance_scale}
        config = replace(self.ragar.config, **{name: value for name, value in changes.items() if value is not None})
        if conflicts := list(config.conflicts()):
            raise ValueError("; ".join(conflicts))
        return config

    def _inference_steps(self, config: RagarConfig, num_inference_steps: int | None) -> int:
        """``num_inference_steps`` in diffusers' count; by default as many as it takes to run ``config.steps``.

        Raises:
            ValueError: image-to-image would skip all of them.
        """
        backbone, strength = self.ragar.backbone, None if config.text_to_image else config.strength
        if num_inference_steps is None:
            return backbone.inference_steps(config.steps, strength)
        # diffusers' image-to-image runs the last int(steps * strength) of its steps.
        share = 1.0 if backbone.edits or strength is None else strength
        if int(num_inference_steps * share) < 1:
            raise ValueError(
                f"{num_inference_steps} inference steps at strength {share} leave none to be run: raise one of them"
            )
        return num_inference_steps

    def _preferences(
        self, history: Sequence[str], weights: Mapping[str, float], seeds: Sequence[int]
    ) -> list[Preference]:
        """A preference for each reference; each has one row for each seed."""
        if isinstance(history, str):
            raise ValueError(f"history {history!r} is one string: give a list of item ids, oldest first")
        return [
            self.ragar.encode_preference(
                [Request("of this call", reference, tuple(history), seed=seed) for seed in seeds]
            )
            for reference in weights
        ]

    def _initial_images(self, weights: Mapping[str, float], n: int) -> Float[Tensor, "n 3 height width"]:
        """The references' blended picture, repeated ``n`` times: where image-to-image begins."""
        gallery = self.ragar.gallery
        rows = gallery.rows(list(weights))
        if not gallery.pictured[rows].all():
            missing = ", ".join(item for item, row in zip(weights, rows, strict=True) if not gallery.pictured[row])
            raise ValueError(f"{missing} has no picture to begin with: take another reference, or text_to_image")
        return blend(list(to_float(gallery.images[rows])), weights.values()).expand(n, -1, -1, -1)

    def _keep(
        self, images: Float[Tensor, "n 3 height width"], weights: Mapping[str, float]
    ) -> Float[Tensor, "n 3 height width"]:
        """The weighted mean of what each reference keeps of its picture."""
        if self.ragar.gallery.kept is None:
            return images
        rows = self.ragar.gallery.rows(list(weights))
        return blend([self.ragar.gallery.keep(images, row.expand(len(images))) for row in rows], weights.values())

    def save_pretrained(self, folder: str | Path, *, gallery: bool = True) -> None:
        """Write everything that :meth:`from_pretrained` needs, as JSON and safetensors.

        ``config.json``, ``model.safetensors`` (the trained parts), ``pytorch_lora_weights.safetensors`` where there is
        LoRA, and ``prompt.txt`` (p_g), ``backbone/`` (a diffusers pipeline), ``language/`` (a transformers model),
        ``gallery/`` (items in words, pictures and features) and ``text_projection.safetensors``. Each part is also read
        by its own library.

        Args:
            folder: is made where it is missing; what it holds of these files is replaced.
            gallery: ``False`` leaves the gallery out; pass it to :meth:`from_pretrained` then.

        Raises:
            FileExistsError: the gallery is to be left out, and the folder holds another generator's.
        """
        save_with_frozen_parts(self.ragar, Path(folder), gallery=gallery)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, gallery: Gallery | None = None) -> RagarPipeline:
        """Read a folder of :meth:`save_pretrained`; the pictures equal those of the saved pipeline bit for bit.

        Args:
            folder: nothing is fetched from a hub, and no pickle is read.
            gallery: instead of the saved one: another catalogue, with features by the same encoder and its own masks
                of what is kept, if any.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one does not read, is a pickle, or belongs to another generator.
        """
        return cls(load_with_frozen_parts(Path(folder), gallery))


def _retrieval_seeds(generators: Generator | list[Generator], num_images: int) -> Sequence[int]:
    """A seed for each picture's request, which only ``config.history`` ``random`` reads."""
    if isinstance(generators, list):
        return [generator.initial_seed() for generator in generators]
    return range(num_images)
