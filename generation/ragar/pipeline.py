"""RAGAR as a citizen of diffusers: one call by the names of that world, one folder, and embeddings for any pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Generator, Tensor

from generation.backbone.backbone import Backbone, BaseOutput, scheduled
from generation.checkpoint import read_tensors
from generation.gallery import Gallery
from generation.pictures import to_float, to_pil
from generation.ragar.config import RagarConfig
from generation.ragar.language import LanguageModel, load_language_model
from generation.ragar.preference import Preference
from generation.ragar.ragar import Ragar
from generation.request import Explanation, Request

OUTPUT_TYPES = ("pil", "pt", "np")
"""PIL images; a tensor (n, 3, height, width); an array (n, height, width, 3). Both in [0, 1]."""
References = str | Sequence[str] | Mapping[str, float]
"""An item, several of equal weight, or several with their weights."""


@dataclass
class RagarOutput(BaseOutput):
    """Pictures and where they came from; row ``i`` of every list belongs to picture ``i``."""

    images: Any
    """As ``output_type`` says: see :data:`OUTPUT_TYPES`."""
    retrieved: list[tuple[str, ...]]
    """Items of the history that were used, those of the heaviest reference first."""
    weights: list[tuple[float, ...]]
    """Their weights, which sum to 1."""
    keywords: list[tuple[str, ...]]
    seeds: list[int | None]
    """With which the picture can be drawn again; None where its generator had been, or was then, used for more."""


class RagarPipeline:
    """A trained generator with everything that it needs, called as diffusers' pipelines are.

    One call is about one person; many requests at a time are :meth:`generation.ragar.ragar.Ragar.generate`, which makes the
    same pictures.

    Example:
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
        """Pictures of the reference for the person with this history.

        Several references are blended: the weighted means of their preferences (the rows stand for the same thing in
        each: prompt, mapper, encoded text) and of their pictures. A weight of 0 is as good as no reference.

        Args:
            history: item ids, oldest first.
            reference: the item to be shown, a list of items, or a mapping of items to weights (of any sum).
            num_inference_steps: as diffusers counts: image-to-image runs the share ``strength`` of them. By default as
                many as it takes to run the configured ``steps``.
            strength: share of the diffusion that the reference goes through, in (0, 1]; the configured one by default.
                Text-to-image does without.
            guidance_scale: of classifier-free guidance, 1 is none; the configured one by default.
            num_images_per_prompt: pictures, where neither seeds nor a list of generators says how many.
            generator: of the initial noise: one, or one a picture. A fresh one of seed s draws what ``seeds=[s]`` does.
            seeds: one a picture. Without seeds and generators each picture takes a new one, named in the output.
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
        share = 1.0 if config.text_to_image else config.strength
        steps = scheduled(config.steps, share) if num_inference_steps is None else num_inference_steps
        if int(steps * share) < 1:
            raise ValueError(f"{steps} inference steps at strength {share} leave none to be run: raise one of them")
        generators, kept = _randomness(generator, seeds, num_images_per_prompt)
        drawn = len(generators) if isinstance(generators, list) else num_images_per_prompt
        first = [one.initial_seed() for one in generators] if isinstance(generators, list) else range(drawn)
        weights = reference_weights(reference)
        preferences = self._preferences(history, weights, first)
        embeds = blend([made.embeds() for made in preferences], weights.values())
        images = self.ragar.painter.call(
            None if config.text_to_image else self._start(weights, drawn),
            config.strength,
            prompt_embeds=embeds,
            negative_prompt_embeds=self.ragar.negative(embeds),
            num_inference_steps=steps,
            generator=generators,
            guidance_scale=config.guidance_scale,
            output_type=output_type,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=list(callback_on_step_end_tensor_inputs),
            ip_adapter_image_embeds=ip_adapter_image_embeds and list(ip_adapter_image_embeds),
        )
        of_each = zip(*(made.explanations for made in preferences), strict=True)
        why = [joined(of_one, weights.values()) for of_one in of_each]
        return RagarOutput(
            images, [one.retrieved for one in why], [one.weights for one in why], [one.keywords for one in why], kept
        )

    @torch.no_grad()
    def encode_preference(
        self, history: Sequence[str], reference: References, *, num_images_per_prompt: int = 1, pipeline: Any = None
    ) -> tuple[Float[Tensor, "n rows width"], Float[Tensor, "n rows width"]]:
        """``(prompt_embeds, negative_prompt_embeds)`` of one shape, for **any** Stable Diffusion 1.x pipeline.

        Text-to-image, image-to-image and ControlNet take both as they are, with any number of rows. Always give both:
        beyond its own context a pipeline cannot make the negative itself, and guidance needs equal shapes.

        Args:
            history: item ids, oldest first.
            reference: as in a call.
            num_images_per_prompt: rows of the batch, all alike (unless ``config.history`` is ``random``).
            pipeline: the one that they are for: its width is compared, its precision and device are taken.

        Raises:
            ValueError: an empty history, or the pipeline's cross-attention has another width.
        """
        weights = reference_weights(reference)
        preferences = self._preferences(history, weights, range(num_images_per_prompt))
        embeds = blend([made.embeds() for made in preferences], weights.values())
        negative = self.ragar.negative(embeds)
        if pipeline is None:
            return embeds, negative
        if (width := pipeline.unet.config.cross_attention_dim) != embeds.shape[-1]:
            raise ValueError(
                f"the preference has width {embeds.shape[-1]}, the cross-attention of this {type(pipeline).__name__} "
                f"takes {width}: train the generator on a pipeline of that width"
            )
        like = {"device": pipeline.unet.device, "dtype": pipeline.unet.dtype}
        return embeds.to(**like), negative.to(**like)

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
        """``ip_adapter_image_embeds`` (Ye et al. 2023, IP-Adapter): the retrieved pictures beside the words.

        Each adapter reads the mean of the retrieved pictures' embeddings by the pipeline's own image encoder, weighted
        as P_ret is (eq. 5): missing pictures hand their weight to the others. Ours; the paper has no such path.

        Args:
            history: item ids, oldest first.
            reference: as in a call.
            num_images_per_prompt: rows of the batch.
            pipeline: one with an image encoder and IP-Adapters (``load_ip_adapter``); by default the one that draws.
            guidance: whether the negative rows stand in front, as diffusers wants them where guidance is above 1.

        Raises:
            ValueError: the pipeline has no IP-Adapter, or no retrieved item has a picture.
        """
        pipeline = self.ragar.painter.pipeline if pipeline is None else pipeline
        if pipeline.image_encoder is None or not hasattr(pipeline.unet.encoder_hid_proj, "image_projection_layers"):
            raise ValueError(f"this {type(pipeline).__name__} has no IP-Adapter: call its load_ip_adapter first")
        weights, gallery = reference_weights(reference), self.ragar.gallery
        preferences = self._preferences(history, weights, range(1))
        why = joined([made.explanations[0] for made in preferences], weights.values())
        rows = gallery.rows(why.retrieved)
        share = torch.tensor(why.weights) * gallery.pictured[rows]
        if not share.sum() > 0:
            raise ValueError(
                f"none of the retrieved items ({', '.join(why.retrieved)}) has a picture for the IP-Adapter"
            )
        rows, share = rows[share > 0], share[share > 0] / share.sum()
        adapters = len(pipeline.unet.encoder_hid_proj.image_projection_layers)
        pictures = [to_pil(picture) for picture in gallery.images[rows]]
        of_each = pipeline.prepare_ip_adapter_image_embeds([pictures] * adapters, None, pipeline.device, 1, guidance)
        means = [torch.einsum("gk...,k->g...", one, share.to(one))[:, None] for one in of_each]  # (negative?, 1, …)
        return [mean.repeat_interleave(num_images_per_prompt, dim=0) for mean in means]

    def _settings(self, strength: float | None, guidance_scale: float | None) -> RagarConfig:
        given = {"strength": strength, "guidance_scale": guidance_scale}
        config = replace(self.ragar.config, **{name: value for name, value in given.items() if value is not None})
        if conflicts := list(config.conflicts()):
            raise ValueError("; ".join(conflicts))
        return config

    def _preferences(
        self, history: Sequence[str], weights: Mapping[str, float], seeds: Sequence[int]
    ) -> list[Preference]:
        """One of each reference, with a row a seed."""
        if isinstance(history, str):
            raise ValueError(f"history {history!r} is one string: give a list of item ids, oldest first")
        return [
            self.ragar.encode_preference(
                [Request("of this call", reference, tuple(history), seed=seed) for seed in seeds]
            )
            for reference in weights
        ]

    def _start(self, weights: Mapping[str, float], n: int) -> Float[Tensor, "n 3 height width"]:
        """The references' blended picture, ``n`` times."""
        gallery = self.ragar.gallery
        rows = gallery.rows(list(weights))
        if not gallery.pictured[rows].all():
            bare = ", ".join(item for item, row in zip(weights, rows, strict=True) if not gallery.pictured[row])
            raise ValueError(f"{bare} has no picture to begin with: take another reference, or text_to_image")
        return blend(list(to_float(gallery.images[rows])), weights.values()).expand(n, -1, -1, -1)

    def save_pretrained(self, folder: str | Path, *, gallery: bool = True) -> None:
        """Everything that :meth:`from_pretrained` needs, as JSON and safetensors.

        ``config.json``, ``model.safetensors`` (the trained parts), ``pytorch_lora_weights.safetensors`` where there is
        LoRA, and ``prompt.txt`` (p_g), ``backbone/`` (a diffusers pipeline), ``language/`` (a transformers model),
        ``gallery/`` (items in words, pictures and features) and ``text_projection.safetensors``. Each part is also read
        by its own library.

        Args:
            folder: is made where it is missing; what it holds of these files is replaced.
            gallery: ``False`` leaves the catalogue's pictures out; it is then given when the folder is read.

        Raises:
            FileExistsError: the gallery is to be left out, and the folder holds another generator's.
        """
        folder, ragar = Path(folder), self.ragar
        if not gallery and (folder / "gallery").exists():
            raise FileExistsError(f"{folder / 'gallery'} would pass for this generator's: take another folder")
        ragar.save_pretrained(folder)
        ragar.backbone.save_pretrained(folder / "backbone")
        ragar.language.model.save_pretrained(folder / "language")
        ragar.language.tokenizer.save_pretrained(folder / "language")
        save_file({"text_projection": ragar.text_projection.contiguous()}, folder / "text_projection.safetensors")
        if gallery:
            ragar.gallery.save_pretrained(folder / "gallery")

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, gallery: Gallery | None = None) -> RagarPipeline:
        """From a folder of :meth:`save_pretrained`; its pictures equal those of the saved one bit for bit.

        Args:
            folder: nothing is fetched from a hub, and no pickle is read.
            gallery: instead of the saved one: another catalogue, with features by the same encoder.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one does not read, is a pickle, or belongs to another generator.
        """
        folder = Path(folder)
        config = RagarConfig.read(folder)
        gallery = Gallery.from_pretrained(folder / "gallery") if gallery is None else gallery
        height, width = gallery.images.shape[-2:]
        model, tokenizer = load_language_model(folder / "language")
        language = LanguageModel(
            model,
            tokenizer,
            image_tokens=config.image_tokens,
            text_rows=config.text_rows,
            generator=Generator().manual_seed(config.seed),
        )
        backbone = Backbone.from_pretrained(folder / "backbone", (height, width))
        projection = read_tensors(folder / "text_projection.safetensors")["text_projection"]
        return cls(Ragar.from_pretrained(folder, backbone, language, gallery, text_projection=projection))


def reference_weights(reference: References) -> dict[str, float]:
    """References that count and their weights, which sum to 1, the heaviest first.

    Raises:
        ValueError: there is none, or a weight is negative or no number.
    """
    if isinstance(reference, str):
        return {reference: 1.0}
    given = dict(reference) if isinstance(reference, Mapping) else dict(Counter(reference))
    total = sum(given.values())
    if not 0 < total < float("inf") or min(given.values()) < 0:
        raise ValueError(f"references need weights that are not negative and some that are not 0, got {given}")
    heaviest = sorted(given, key=lambda item: -given[item])
    return {item: given[item] / total for item in heaviest if given[item] > 0}


def blend(of_each: Sequence[Tensor], weights: Iterable[float]) -> Tensor:
    """The weighted mean; a single one comes back bit for bit."""
    return torch.stack([weight * one for weight, one in zip(weights, of_each, strict=True)]).sum(0)


def joined(explanations: Sequence[Explanation], weights: Iterable[float]) -> Explanation:
    """What a blend of references was made of: an item's weight is its mean over the references."""
    retrieved: dict[str, float] = {}
    for explanation, share in zip(explanations, weights, strict=True):
        for item, weight in zip(explanation.retrieved, explanation.weights, strict=True):
            retrieved[item] = retrieved.get(item, 0.0) + share * weight
    words = dict.fromkeys(word for explanation in explanations for word in explanation.keywords)
    return Explanation(tuple(retrieved), tuple(retrieved.values()), tuple(words))


def _randomness(
    generator: Generator | Sequence[Generator] | None, seeds: Sequence[int] | None, n: int
) -> tuple[Generator | list[Generator], list[int | None]]:
    """What diffusers draws the noise from, and the seeds with which each picture could be drawn again."""
    if generator is not None and seeds is not None:
        raise ValueError("give seeds or a generator, not both")
    if seeds is not None:
        given = [Generator().manual_seed(seed) for seed in seeds]
    elif generator is None:
        given = [Generator() for _ in range(n)]
        for one in given:
            one.seed()
    elif isinstance(generator, Generator) and n != 1:
        return generator, [None] * n
    else:
        given = [generator] if isinstance(generator, Generator) else list(generator)
    if n not in (1, len(given)) or not given:
        raise ValueError(f"{n} pictures need as many seeds or generators, got {len(given)}")
    return given, [one.initial_seed() if _is_fresh(one) else None for one in given]


def _is_fresh(generator: Generator) -> bool:
    """Whether nothing has been drawn from it since it was seeded."""
    fresh = Generator(generator.device).manual_seed(generator.initial_seed())
    return torch.equal(generator.get_state(), fresh.get_state())
