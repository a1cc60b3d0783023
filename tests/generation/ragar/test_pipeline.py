"""The generator among diffusers' pipelines: the same pictures by their names, in their loops, and from one folder."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from safetensors.torch import load_file
from torch import Generator, Tensor
from transformers import CLIPImageProcessor

from generation.backbone.backbone import LORA_FILE, Backbone
from generation.backbone.pretrain import denoising_error
from generation.pictures import to_float, to_pil
from generation.ragar.fixed_shape import FixedShape
from generation.ragar.pipeline import RagarPipeline
from generation.ragar.ragar import Ragar
from generation.ragar.references import reference_weights
from generation_world import SMALL, World, request
from stranger import adapter_state, foreign_parts, picture_tower

HISTORY = ["orange-circle", "blue-bar", "red-bar", "teal-square"]


def requests_of(*seeds: int, reference: str = "red-circle") -> list[Any]:
    return [request(reference, *HISTORY, seed=seed) for seed in seeds]


def perturbed(ragar: Ragar) -> RagarPipeline:
    """A pipeline whose trained parts are not at their initial values: the calibrator is no longer the identity."""
    generator = Generator().manual_seed(9)
    with torch.no_grad():
        for value in ragar.trained_parts().values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    return RagarPipeline(ragar)


@pytest.fixture(scope="module")
def pipeline(world: World) -> RagarPipeline:
    return perturbed(world.ragar())


# --- the call -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text_to_image", [False, True])
def test_the_calls_pictures_are_those_of_generate(world: World, text_to_image: bool) -> None:
    pipeline = perturbed(world.ragar(replace(SMALL, text_to_image=text_to_image)))
    expected = pipeline.ragar.generate(requests_of(3, 5))
    by_seeds = pipeline(HISTORY, "red-circle", seeds=[3, 5], output_type="pt")
    by_generators = pipeline(
        HISTORY, "red-circle", generator=[Generator().manual_seed(3), Generator().manual_seed(5)], output_type="pt"
    )
    assert torch.equal(by_seeds.images, expected)
    assert torch.equal(by_generators.images, expected)
    assert by_seeds.seeds == by_generators.seeds == [3, 5]
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_one_fresh_generator_is_its_seed_and_goes_on_from_there(pipeline: RagarPipeline) -> None:
    generator = Generator().manual_seed(3)
    first = pipeline(HISTORY, "red-circle", generator=generator, output_type="pt")
    assert torch.equal(first.images, pipeline.ragar.generate(requests_of(3)))
    assert first.seeds == [3]
    second = pipeline(HISTORY, "red-circle", generator=generator, output_type="pt")
    assert second.seeds == [None]  # nobody can draw it again from a seed
    assert (second.images - first.images).abs().max() > 1e-3


def test_one_generator_for_several_pictures_is_diffusers_own(pipeline: RagarPipeline) -> None:
    two = pipeline(HISTORY, "red-circle", generator=Generator().manual_seed(3), num_images_per_prompt=2)
    assert two.seeds == [None, None]
    assert len(two.images) == len(two.retrieved) == 2


def test_without_a_seed_the_output_names_the_one_that_was_taken(pipeline: RagarPipeline) -> None:
    state = torch.random.get_rng_state()
    free = pipeline(HISTORY, "red-circle", num_images_per_prompt=2, output_type="pt")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(set(free.seeds)) == 2
    taken = [seed for seed in free.seeds if seed is not None]
    assert torch.equal(pipeline(HISTORY, "red-circle", seeds=taken, output_type="pt").images, free.images)


def test_the_three_output_types_hold_one_picture(pipeline: RagarPipeline) -> None:
    pt, array, pil = (
        pipeline(HISTORY, "red-circle", seeds=[3], output_type=kind).images for kind in ("pt", "np", "pil")
    )
    assert pt.shape == (1, 3, 48, 32)
    assert np.array_equal(array[0], pt[0].permute(1, 2, 0).numpy())
    assert pil[0].size == (32, 48)
    assert np.array_equal(np.asarray(pil[0]), (array[0] * 255).round().astype(np.uint8))


def test_the_output_says_what_the_picture_was_made_of(pipeline: RagarPipeline) -> None:
    out = pipeline(HISTORY, "red-circle", seeds=[3, 5])
    (why,) = pipeline.ragar.encode_preference(requests_of(3)).explanations
    assert out.retrieved == [why.retrieved] * 2
    assert out.weights == [why.weights] * 2
    assert out.keywords == [why.keywords] * 2
    assert out["images"] is out.images
    images, *rest = pipeline(HISTORY, "red-circle", seeds=[3]).to_tuple()
    assert len(images) == 1
    assert rest == [[why.retrieved], [why.weights], [why.keywords], [3]]


def test_settings_mean_what_they_mean_in_diffusers(pipeline: RagarPipeline, world: World) -> None:
    settings: dict[str, Any] = {"num_inference_steps": 7, "strength": 0.5, "guidance_scale": 2.5}
    positive, negative = pipeline.encode_preference(HISTORY, "red-circle")
    diffusers_pipeline: Any = world.backbone.pipeline
    expected = diffusers_pipeline(
        prompt_embeds=positive,
        negative_prompt_embeds=negative,
        image=to_float(world.gallery.images[:1]),
        generator=Generator().manual_seed(3),
        output_type="pt",
        **settings,
    ).images
    assert torch.equal(pipeline(HISTORY, "red-circle", seeds=[3], output_type="pt", **settings).images, expected)


def test_the_callback_is_diffusers_own(pipeline: RagarPipeline) -> None:
    steps: list[tuple[int, int]] = []

    def watch(diffusers_pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        steps.append((step, int(timestep)))
        assert tensors["latents"].shape == (1, 8, 6, 4)
        return {"latents": torch.zeros_like(tensors["latents"])}

    out = pipeline(
        HISTORY, "red-circle", num_inference_steps=4, strength=0.5, callback_on_step_end=watch, output_type="pt"
    )
    # trailing steps of 1000 in four are 999, 749, 499, 249; strength .5 runs the last half
    assert steps == [(0, 499), (1, 249)]
    codec = pipeline.ragar.backbone.pipeline.vae
    assert torch.equal(out.images, (codec.decode(torch.zeros(1, 8, 6, 4)).sample / 2 + 0.5).clamp(0, 1))


# --- several references ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_zero_weight", [{"red-circle": 1, "blue-bar": 0}, {"blue-bar": 0.0, "red-circle": 0.3}])
def test_a_reference_of_weight_zero_changes_nothing(
    pipeline: RagarPipeline, with_zero_weight: Mapping[str, float]
) -> None:
    alone = pipeline(HISTORY, "red-circle", seeds=[3], output_type="pt")
    blended = pipeline(HISTORY, with_zero_weight, seeds=[3], output_type="pt")
    assert torch.equal(blended.images, alone.images)
    assert blended.retrieved == alone.retrieved
    assert blended.weights == alone.weights


def test_two_references_are_the_weighted_mean_of_rows_and_of_pictures(pipeline: RagarPipeline, world: World) -> None:
    names = ("red-circle", "blue-bar")
    (red, negative), (blue, _) = (pipeline.encode_preference(HISTORY, name) for name in names)
    both, _ = pipeline.encode_preference(HISTORY, {"red-circle": 3, "blue-bar": 1})
    torch.testing.assert_close(both, 0.75 * red + 0.25 * blue)
    red_picture, blue_picture = (to_float(world.gallery.images[world.gallery.rows([name])]) for name in names)
    expected = world.backbone.sample(
        0.75 * red + 0.25 * blue,
        negative,
        0.75 * red_picture + 0.25 * blue_picture,
        [3],
        steps=2,
        strength=0.6,
        guidance_scale=3.0,
    )
    out = pipeline(HISTORY, {"blue-bar": 1, "red-circle": 3}, seeds=[3], output_type="pt")
    torch.testing.assert_close(out.images, expected, atol=1e-5, rtol=0)
    assert torch.equal(
        pipeline(HISTORY, list(names), seeds=[3], output_type="pt").images,
        pipeline(HISTORY, dict.fromkeys(names, 7.0), seeds=[3], output_type="pt").images,
    )


def test_the_retrieved_of_two_references_are_joined(pipeline: RagarPipeline) -> None:
    out = pipeline(HISTORY, {"red-circle": 3, "blue-bar": 1}, seeds=[3])
    (red,), (blue,) = (
        pipeline.ragar.encode_preference(requests_of(3, reference=name)).explanations
        for name in ("red-circle", "blue-bar")
    )
    mean = dict.fromkeys((*red.retrieved, *blue.retrieved), 0.0)
    for why, share in ((red, 0.75), (blue, 0.25)):
        for item, weight in zip(why.retrieved, why.weights, strict=True):
            mean[item] += share * weight
    assert dict(zip(out.retrieved[0], out.weights[0], strict=True)) == pytest.approx(mean)
    assert sum(out.weights[0]) == pytest.approx(1)
    assert out.keywords[0] == tuple(dict.fromkeys((*red.keywords, *blue.keywords)))


def test_weights_are_shares_in_falling_order() -> None:
    assert reference_weights("a") == {"a": 1.0}
    assert list(reference_weights({"a": 1, "b": 3}).items()) == [("b", 0.75), ("a", 0.25)]
    assert reference_weights(["a", "b", "a", "c"]) == {"a": 0.5, "b": 0.25, "c": 0.25}


# --- what cannot be asked for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "settings", "sentence"),
    [
        ([], {}, "references need weights"),
        ({"red-circle": -1, "blue-bar": 2}, {}, "references need weights that are not negative"),
        ({"red-circle": float("nan")}, {}, "references need weights"),
        ("hole", {}, "hole has no picture to begin with"),
        ("red-circle", {"seeds": [1], "generator": Generator()}, "give seeds or a generator, not both"),
        ("red-circle", {"seeds": []}, "1 pictures need as many seeds or generators, got 0"),
        ("red-circle", {"seeds": [1, 2], "num_images_per_prompt": 3}, "3 pictures need as many .* got 2"),
        ("red-circle", {"output_type": "jpeg"}, "output_type 'jpeg' is none of pil, pt, np"),
        ("red-circle", {"strength": 1.5, "guidance_scale": 0.0}, r"strength 1.5 .*; guidance_scale 0.0"),
        ("red-circle", {"strength": 0.2, "num_inference_steps": 4}, "4 inference steps at strength 0.2 leave none"),
    ],
)
def test_settings_that_cannot_be_run_raise_one_sentence(
    pipeline: RagarPipeline, reference: Any, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        pipeline(HISTORY, reference, **settings)


def test_invalid_histories_are_refused(pipeline: RagarPipeline) -> None:
    with pytest.raises(ValueError, match="has an empty history"):
        pipeline([], "red-circle")
    with pytest.raises(ValueError, match="history 'red-bar' is one string: give a list"):
        pipeline("red-bar", "red-circle")
    with pytest.raises(KeyError, match="'unheard-of' is not in the gallery"):
        pipeline(["unheard-of"], "red-circle")


# --- embeddings for anybody's pipeline ------------------------------------------------------------------------------


def controlnet(parts: dict[str, Any]) -> StableDiffusionControlNetPipeline:
    """With a fresh ControlNet: its outputs are zero until it is trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        net = ControlNetModel.from_unet(parts["unet"], conditioning_channels=3).eval()
    return StableDiffusionControlNetPipeline(**parts, controlnet=net)


def drawn(foreign: Any, embeds: tuple[Tensor, Tensor], **own: Any) -> tuple[Tensor, list[Tensor]]:
    """Two guided steps of a foreign pipeline, and what its UNet was conditioned on."""
    conditions: list[Tensor] = []

    def note(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        conditions.append(kwargs["encoder_hidden_states"])

    foreign.set_progress_bar_config(disable=True)
    hook = foreign.unet.register_forward_pre_hook(note, with_kwargs=True)
    try:
        pictures = foreign(
            prompt_embeds=embeds[0],
            negative_prompt_embeds=embeds[1],
            guidance_scale=2.0,
            output_type="pt",
            generator=[Generator().manual_seed(seed) for seed in range(len(embeds[0]))],
            **own,
        ).images
    finally:
        hook.remove()
    return pictures, conditions


def ddim(parts: dict[str, Any], positive: Tensor, negative: Tensor, noise: Tensor) -> Tensor:
    """Song et al. 2021 (DDIM), eq. 12 with sigma 0, and guidance by 2, over the timesteps 501 and 1."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = (1 - betas).cumprod(0).tolist()
    x = noise
    for now, then in ((501, 1), (1, 0)):
        conditional, unconditional = (
            parts["unet"](x, now, encoder_hidden_states=rows).sample for rows in (positive, negative)
        )
        error = unconditional + 2.0 * (conditional - unconditional)
        clean = (x - (1 - bar[now]) ** 0.5 * error) / bar[now] ** 0.5
        x = bar[then] ** 0.5 * clean + (1 - bar[then]) ** 0.5 * error
    return (parts["vae"].decode(x / 0.18215).sample / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def test_any_pipeline_takes_the_pair_unchanged(pipeline: RagarPipeline, world: World) -> None:
    parts = foreign_parts()
    embeds = pipeline.encode_preference(HISTORY, "red-circle", num_images_per_prompt=2)
    assert embeds[0].shape == embeds[1].shape == (2, 36, 32)
    references = to_float(world.gallery.images[:2])
    frame = {"height": 48, "width": 32, "num_inference_steps": 2}
    text, conditions_text = drawn(StableDiffusionPipeline(**parts), embeds, **frame)
    noise = torch.cat([torch.randn(1, 4, 6, 4, generator=Generator().manual_seed(seed)) for seed in (0, 1)])
    torch.testing.assert_close(text, ddim(parts, *embeds, noise), atol=1e-4, rtol=0)
    image, conditions_image = drawn(
        StableDiffusionImg2ImgPipeline(**parts), embeds, image=references, strength=0.5, num_inference_steps=4
    )
    controlled, conditions_control = drawn(controlnet(parts), embeds, image=references, **frame)
    assert torch.equal(controlled, text)  # a fresh ControlNet says nothing
    assert (image - text).abs().max() > 0.01
    conditions = [*conditions_text, *conditions_image, *conditions_control]
    assert len(conditions) == 6
    assert all(torch.equal(condition, torch.cat([embeds[1], embeds[0]])) for condition in conditions)


def test_a_preference_longer_than_a_prompt_can_be(world: World) -> None:
    foreign = StableDiffusionImg2ImgPipeline(**foreign_parts())
    backbone = Backbone(foreign, (48, 32))
    pipeline = perturbed(
        Ragar(backbone, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection)
    )
    positive, negative = pipeline.encode_preference(HISTORY, "red-circle")
    assert positive.shape == negative.shape == (1, 4 + 77 + 77, 32)
    empty = backbone.states([""])[0]
    assert torch.equal(negative[0], torch.cat([empty, empty, empty[:4]]))
    text = StableDiffusionPipeline(**foreign_parts())
    pictures, conditions = drawn(text, (positive, negative), height=48, width=32, num_inference_steps=2)
    assert pictures.isfinite().all()
    assert all(torch.equal(condition, torch.cat([negative, positive])) for condition in conditions)
    # the rows beyond 77 are read: without them there is another picture
    short, _ = drawn(text, (positive[:, :77], negative[:, :77]), height=48, width=32, num_inference_steps=2)
    assert (short - pictures).abs().max() > 1e-5
    # image-to-image from the reference, by the generator's own call and by the stranger's
    image, _ = drawn(
        foreign, (positive, negative), image=to_float(world.gallery.images[:1]), strength=0.5, num_inference_steps=4
    )
    out = pipeline(
        HISTORY, "red-circle", seeds=[0], strength=0.5, num_inference_steps=4, guidance_scale=2.0, output_type="pt"
    )
    assert torch.equal(out.images, image)


def test_the_pair_takes_the_pipelines_precision(pipeline: RagarPipeline) -> None:
    parts = foreign_parts()
    parts["unet"].to(torch.bfloat16)
    for rows in pipeline.encode_preference(HISTORY, "red-circle", pipeline=StableDiffusionPipeline(**parts)):
        assert rows.dtype == torch.bfloat16


def test_a_pipeline_of_another_width_is_one_sentence(pipeline: RagarPipeline) -> None:
    wider = StableDiffusionPipeline(**foreign_parts(width=64))
    sentence = "preference has width 32, the cross-attention of this StableDiffusionPipeline takes 64"
    with pytest.raises(ValueError, match=sentence):
        pipeline.encode_preference(HISTORY, "red-circle", pipeline=wider)


def test_a_text_encoder_of_another_width_is_one_sentence() -> None:
    parts = foreign_parts() | {"text_encoder": foreign_parts(width=64)["text_encoder"]}
    with pytest.raises(ValueError, match=r"text encoder gives rows of width 64, .* takes 32"):
        Backbone(StableDiffusionImg2ImgPipeline(**parts), (48, 32))


# --- the retrieved pictures beside the words ------------------------------------------------------------------------


# --- what is kept ---------------------------------------------------------------------------------------------------


def masked(world: World) -> RagarPipeline:
    """Every picture's left half is kept."""
    kept = torch.zeros(25, 48, 32, dtype=torch.uint8)
    kept[:, :, :16] = 255
    pipeline = perturbed(world.ragar())
    pipeline.ragar.gallery = replace(world.gallery, kept=kept)
    return pipeline


def test_the_kept_half_is_the_references_and_the_other_as_without_a_mask(world: World, pipeline: RagarPipeline) -> None:
    """However it is drawn: one by one, in batches of one shape, for the gradient, as v_glob, and by a call."""
    ragar, requests = masked(world).ragar, requests_of(3, 5)
    own = to_float(ragar.gallery.images[ragar.gallery.rows(["red-circle"])])
    embeds = ragar.encode_preference(requests).embeds()
    for pictures, whole in (
        (ragar.generate(requests), pipeline.ragar.generate(requests)),
        (FixedShape(ragar, 4).generate(requests), FixedShape(pipeline.ragar, 4).generate(requests)),
        (ragar.generate_global(requests), pipeline.ragar.generate_global(requests)),
        (ragar.render(embeds, requests, with_grad=True), pipeline.ragar.render(embeds, requests, with_grad=True)),
        (RagarPipeline(ragar)(HISTORY, "red-circle", seeds=[3, 5], output_type="pt").images, None),
    ):
        assert torch.equal(pictures[..., :16], own[..., :16].expand(2, -1, -1, -1))
        if whole is not None:
            assert torch.equal(pictures[..., 16:], whole[..., 16:])
            assert (whole[..., :16] - own[..., :16]).abs().max() > 0.1


def test_the_gradient_reaches_the_preference_from_what_may_change_alone(world: World) -> None:
    ragar, requests = masked(world).ragar, requests_of(3)
    embeds = ragar.encode_preference(requests).embeds().detach().requires_grad_()
    pictures = ragar.render(embeds, requests, with_grad=True)
    (kept,) = torch.autograd.grad(pictures[..., :16].sum(), embeds, retain_graph=True)
    (free,) = torch.autograd.grad(pictures[..., 16:].sum(), embeds)
    assert kept.abs().max() == 0
    assert free.abs().max() > 0


def test_of_blended_references_each_keeps_its_share(world: World, pipeline: RagarPipeline) -> None:
    """The blue bar keeps its left half, the red circle nothing: the left half is .75 bar + .25 generated."""
    ragar = perturbed(world.ragar()).ragar
    kept = torch.zeros(25, 48, 32, dtype=torch.uint8)
    kept[ragar.gallery.rows(["blue-bar"]), :, :16] = 255
    ragar.gallery = replace(world.gallery, kept=kept)
    references = {"red-circle": 1, "blue-bar": 3}
    pictures = RagarPipeline(ragar)(HISTORY, references, seeds=[3], output_type="pt").images
    whole = pipeline(HISTORY, references, seeds=[3], output_type="pt").images
    bar = to_float(ragar.gallery.images[ragar.gallery.rows(["blue-bar"])])
    torch.testing.assert_close(pictures[..., :16], 0.75 * bar[..., :16] + 0.25 * whole[..., :16])
    torch.testing.assert_close(pictures[..., 16:], whole[..., 16:])


def test_output_types_are_those_of_diffusers(pipeline: RagarPipeline) -> None:
    tensor, array, pil = (
        pipeline(HISTORY, "red-circle", seeds=[3], output_type=output_type).images
        for output_type in ("pt", "np", "pil")
    )
    processor = pipeline.ragar.backbone.pipeline.image_processor
    expected = processor.pt_to_numpy(tensor)
    assert np.array_equal(array, expected)
    assert pil[0].tobytes() == processor.numpy_to_pil(expected)[0].tobytes()


def test_a_saved_pipeline_keeps_what_it_kept(world: World, tmp_path: Path) -> None:
    pipeline = masked(world)
    pipeline.save_pretrained(tmp_path)
    again = RagarPipeline.from_pretrained(tmp_path).ragar
    assert torch.equal(again.generate(requests_of(3)), pipeline.ragar.generate(requests_of(3)))


@pytest.fixture(scope="module")
def adapted(world: World) -> RagarPipeline:
    """On a stranger with a CLIP picture tower and an IP-Adapter of four tokens, both fresh."""
    parts = foreign_parts()
    parts["image_encoder"] = picture_tower()
    parts["feature_extractor"] = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    foreign = StableDiffusionImg2ImgPipeline(**parts)
    foreign.unet._load_ip_adapter_weights([adapter_state()])
    backbone = Backbone(foreign, (48, 32))
    return perturbed(
        Ragar(backbone, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection)
    )


@torch.no_grad()
def test_the_retrieved_pictures_are_a_second_condition(adapted: RagarPipeline, world: World) -> None:
    foreign: Any = adapted.ragar.backbone.pipeline
    (why,) = adapted.ragar.encode_preference([request("red-circle", *HISTORY)]).explanations
    pictures = [to_pil(world.gallery.images[row]) for row in world.gallery.rows(why.retrieved)]
    pixels = foreign.feature_extractor(pictures, return_tensors="pt").pixel_values
    first, second = foreign.image_encoder(pixels).image_embeds
    (rows,) = adapted.encode_retrieved(HISTORY, "red-circle", num_images_per_prompt=2)
    assert rows.shape == (4, 1, 8)  # negative, negative, positive, positive
    assert torch.equal(rows[:2], torch.zeros(2, 1, 8))
    for row in rows[2:, 0]:
        torch.testing.assert_close(row, why.weights[0] * first + why.weights[1] * second)
    (alone,) = adapted.encode_retrieved(HISTORY, "red-circle", guidance=False)
    assert torch.equal(alone, rows[2:3])
    (lost,) = adapted.ragar.encode_preference([request("red-circle", "hole", "red-bar")]).explanations
    assert "hole" in lost.retrieved
    bar = foreign.feature_extractor([to_pil(world.gallery.images[2])], return_tensors="pt").pixel_values
    (rest,) = adapted.encode_retrieved(["hole", "red-bar"], "red-circle", guidance=False)
    torch.testing.assert_close(rest[0], foreign.image_encoder(bar).image_embeds)


def test_the_second_condition_shows_in_the_picture(adapted: RagarPipeline) -> None:
    mine, others = (adapted.encode_retrieved(history, "red-circle") for history in (HISTORY, ["blue-bar"]))
    one, same, other = (
        adapted(HISTORY, "red-circle", seeds=[3], output_type="pt", ip_adapter_image_embeds=rows).images
        for rows in (mine, mine, others)
    )
    assert torch.equal(one, same)
    assert (one - other).abs().max() > 1e-3


def test_the_second_condition_is_taken_along_by_lora(adapted: RagarPipeline, world: World) -> None:
    ragar = Ragar(
        adapted.ragar.backbone, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection
    )
    ragar.load_trained(dict(adapted.ragar.trained_parts()))
    ragar.add_lora(2, Generator())
    assert len(ragar.sampling_backbone.lora) == 4 * 2 * 4 * 2  # the adapter's own keys and values have none
    mine = RagarPipeline(ragar)
    rows = mine.encode_retrieved(HISTORY, "red-circle")
    assert torch.equal(rows[0], adapted.encode_retrieved(HISTORY, "red-circle")[0])
    one, other = (
        by(HISTORY, "red-circle", seeds=[3], output_type="pt", ip_adapter_image_embeds=rows).images
        for by in (mine, adapted)
    )
    assert torch.equal(one, other)


def test_no_adapter_or_no_picture_is_one_sentence(pipeline: RagarPipeline, adapted: RagarPipeline) -> None:
    with pytest.raises(ValueError, match="this StableDiffusionImg2ImgPipeline has no IP-Adapter"):
        pipeline.encode_retrieved(HISTORY, "red-circle")
    with pytest.raises(ValueError, match=r"none of the retrieved items \(hole\) has a picture"):
        adapted.encode_retrieved(["hole"], "red-circle")


# --- one folder -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(pipeline: RagarPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "generator"
    pipeline.save_pretrained(folder)
    return folder


def without(folder: Path, part: str, copy: Path) -> Path:
    """The folder, linked file by file, but for one."""
    for file in (file for file in folder.rglob("*") if file.is_file()):
        place = copy / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if str(file.relative_to(folder)) != part:
            place.symlink_to(file)
    return copy


def test_a_loaded_generator_draws_the_saved_ones_pictures(pipeline: RagarPipeline, folder: Path) -> None:
    loaded = RagarPipeline.from_pretrained(folder)
    saved_out, loaded_out = (
        each(HISTORY, ["red-circle", "blue-bar"], seeds=[3, 5], output_type="pt") for each in (pipeline, loaded)
    )
    assert torch.equal(saved_out.images, loaded_out.images)
    assert (saved_out.retrieved, saved_out.weights, saved_out.keywords) == (
        loaded_out.retrieved,
        loaded_out.weights,
        loaded_out.keywords,
    )
    assert torch.equal(loaded.ragar.generate(requests_of(7)), pipeline.ragar.generate(requests_of(7)))
    assert loaded.ragar.config == pipeline.ragar.config
    assert torch.equal(loaded.ragar.text_projection, pipeline.ragar.text_projection)
    assert torch.equal(loaded.ragar.gallery.semantic, pipeline.ragar.gallery.semantic)


def test_the_folder_holds_json_words_and_safetensors_alone(folder: Path) -> None:
    suffixes = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert suffixes <= {".json", ".safetensors", ".txt", ".jinja"}
    assert json.loads((folder / "config.json").read_text())["k"] == 2
    assert sum(value.numel() for value in load_file(folder / "model.safetensors").values()) > 1000


def test_the_backbone_of_the_folder_is_anybodys(folder: Path, world: World) -> None:
    assert torch.equal(
        Backbone.from_pretrained(folder / "backbone", (48, 32)).states(["red"]), world.backbone.states(["red"])
    )


def test_the_gallery_may_be_given_instead(pipeline: RagarPipeline, world: World, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path, gallery=False)
    with pytest.raises(FileNotFoundError, match=r"no gallery\.json in .*gallery"):
        RagarPipeline.from_pretrained(tmp_path)
    loaded = RagarPipeline.from_pretrained(tmp_path, gallery=world.gallery)
    assert torch.equal(loaded.ragar.generate(requests_of(7)), pipeline.ragar.generate(requests_of(7)))
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(FileExistsError, match="would pass for this generator's"):
        pipeline.save_pretrained(tmp_path, gallery=False)


def test_every_missing_file_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    optional = {"language/generation_config.json"}
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert len(files) >= 15
    for number, part in enumerate(files):
        if part in optional:
            continue
        with pytest.raises(FileNotFoundError) as caught:
            RagarPipeline.from_pretrained(without(folder, part, tmp_path / str(number)))
        assert str(caught.value).startswith("no "), part
        assert str(Path(part).parent.name or number) in str(caught.value)


@pytest.mark.parametrize(
    ("part", "pickled"),
    [
        ("model.safetensors", "model.pt"),
        ("language/model.safetensors", "pytorch_model.bin"),
        ("backbone/unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("backbone/text_encoder/model.safetensors", "pytorch_model.bin"),
        ("gallery/gallery.safetensors", "gallery.pkl"),
    ],
)
def test_a_pickle_is_refused(folder: Path, tmp_path: Path, part: str, pickled: str) -> None:
    copy = without(folder, part, tmp_path)
    torch.save({}, (copy / part).with_name(pickled))
    with pytest.raises(ValueError, match=f"{pickled} is a pickle, which can run code"):
        RagarPipeline.from_pretrained(copy)


@pytest.mark.parametrize(
    ("part", "content", "sentence"),
    [
        ("model.safetensors", b"\x00" * 7, "model.safetensors does not read as safetensors"),
        ("config.json", b"{", "config.json does not read as JSON"),
        ("config.json", b'{"k": 2, "sorcery": true}', "is no generator's of this version: sorcery unknown"),
        ("gallery/gallery.json", b'{"ids": ["a"], "captions": [], "keywords": []}', "holds no gallery"),
    ],
)
def test_what_does_not_read_is_one_sentence(
    folder: Path, tmp_path: Path, part: str, content: bytes, sentence: str
) -> None:
    copy = without(folder, part, tmp_path)
    (copy / part).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        RagarPipeline.from_pretrained(copy)


def test_another_gallerys_features_are_refused(folder: Path, world: World) -> None:
    features = torch.zeros(len(world.gallery.ids), 20)
    wider = replace(world.gallery, semantic=features, visual=features)
    with pytest.raises(ValueError, match=r"leads from width 32 to 16, but .* visual features 20"):
        RagarPipeline.from_pretrained(folder, gallery=wider)


# --- LoRA -----------------------------------------------------------------------------------------------------------


def test_with_lora_the_call_the_folder_and_diffusers_draw_the_same_pictures(world: World, tmp_path: Path) -> None:
    ragar = world.ragar()
    ragar.add_lora(2, Generator())
    pipeline, expected = perturbed(ragar), ragar.generate(requests_of(3, 5))
    assert torch.equal(pipeline(HISTORY, "red-circle", seeds=[3, 5], output_type="pt").images, expected)
    pipeline.save_pretrained(tmp_path)
    loaded = RagarPipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded.ragar.generate(requests_of(3, 5)), expected)
    assert not any("lora" in name for name in load_file(next((tmp_path / "backbone" / "unet").glob("*.safetensors"))))
    foreign: Any = Backbone.from_pretrained(tmp_path / "backbone", (48, 32)).pipeline
    positive, negative = pipeline.encode_preference(HISTORY, "red-circle", num_images_per_prompt=2)

    def drawn() -> Tensor:
        pictures = to_float(world.gallery.images[:1]).expand(2, -1, -1, -1)
        generators = [Generator().manual_seed(seed) for seed in (3, 5)]
        return foreign(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            image=pictures,
            generator=generators,
            num_inference_steps=4,
            strength=0.6,
            guidance_scale=3.0,
            output_type="pt",
        ).images

    assert (drawn() - expected).abs().max() > 1e-3
    foreign.load_lora_weights(str(tmp_path))
    assert torch.equal(drawn(), expected)


def test_a_folder_with_lora_says_that_its_file_is_missing(world: World, tmp_path: Path) -> None:
    ragar = world.ragar()
    ragar.add_lora(2, Generator())
    RagarPipeline(ragar).save_pretrained(tmp_path / "whole")
    with pytest.raises(FileNotFoundError, match=f"no {LORA_FILE} in"):
        RagarPipeline.from_pretrained(without(tmp_path / "whole", LORA_FILE, tmp_path / "part"))


def test_a_full_size_unet_that_edits_is_read_and_drawn_with(world: World, tmp_path: Path) -> None:
    """InstructPix2Pix of Stable Diffusion 1.x's classes: eight channels in, four out, any autoencoder, no strength."""
    parts = foreign_parts(in_channels=8)
    StableDiffusionInstructPix2PixPipeline(**parts).save_pretrained(tmp_path)
    backbone = Backbone.from_pretrained(tmp_path, (48, 32))
    assert backbone.edits and backbone.picture_tokens is None
    states, references = backbone.states(["red circle", "blue bar"]), to_float(world.gallery.images[:2])
    options: dict[str, Any] = {"steps": 2, "guidance_scale": 3.0}
    drawn = backbone.sample(states, backbone.negative(states), references, [0, 1], strength=0.1, **options)
    assert drawn.shape == (2, 3, 48, 32)
    assert torch.equal(
        drawn, backbone.sample(states, backbone.negative(states), references, [0, 1], strength=1.0, **options)
    )
    rows = states.clone().requires_grad_()
    error = denoising_error(backbone, references, rows, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(error, [rows])
    assert error > 0 and gradient.abs().max() > 0
    assert not torch.equal(backbone.latents(references), backbone.reference_latents(references))  # scaled, and not
