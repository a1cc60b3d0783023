"""IP-Adapter as rows of pictures; diffusers' own call with image embeddings is the oracle."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from generation.backbone.adapter import ROWS, SAVED_ADAPTER, AdapterTokens
from generation.backbone.backbone import Backbone
from generation.backbone.loading import load_pipeline
from generation.backbone.pretrain import denoising_error
from generation.pictures import to_float
from generation.ragar.pipeline import RagarPipeline
from generation.ragar.ragar import Ragar
from generation_world import SMALL, World
from generation_world import request as asked
from stranger import DIM, LENGTH, adapter_state, adapter_weights, foreign_parts, save_foreign

HISTORY = ("blue-bar", "red-bar")
OPTIONS: dict[str, Any] = {"steps": 2, "strength": 0.6, "guidance_scale": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_foreign(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def editing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InstructPix2Pix's eight channels."""
    return save_foreign(tmp_path_factory.mktemp("editing"), in_channels=8)


@pytest.fixture
def adapted(folder: Path) -> Backbone:
    return Backbone.from_pretrained(folder, (48, 32), AdapterTokens(adapter_weights(), LENGTH))


def conditions(backbone: Backbone, features: Tensor) -> Tensor:
    assert backbone.picture_tokens is not None
    words = backbone.states(["red circle", "blue bar"])
    return torch.cat([backbone.picture_tokens(features), words], dim=1)


@torch.no_grad()
def test_rows_in_front_are_what_diffusers_makes_of_image_embeddings(
    adapted: Backbone, folder: Path, world: World, rng: Generator
) -> None:
    """The same pictures by ``ip_adapter_image_embeds``, of features at their own length."""
    references, features = to_float(world.gallery.images[:2]), torch.randn(2, DIM, generator=rng)
    condition = conditions(adapted, features)
    drawn = adapted.sample(condition, adapted.negative(condition), references, [3, 5], **OPTIONS)
    theirs: Any = load_pipeline(folder)
    theirs.load_ip_adapter(adapter_state(), subfolder="", weight_name="", image_encoder_folder=None)
    negative = adapted.negative(condition)[:, ROWS:]
    # One at a time: diffusers repeats image embeddings for each prompt of a batch.
    expected = torch.cat(
        [
            theirs(
                image=references[at : at + 1],
                prompt_embeds=condition[at : at + 1, ROWS:],
                negative_prompt_embeds=negative[at : at + 1],
                # the negative one first, as guidance asks
                ip_adapter_image_embeds=[torch.stack([torch.zeros(1, DIM), LENGTH * features[at : at + 1]])],
                strength=OPTIONS["strength"],
                guidance_scale=OPTIONS["guidance_scale"],
                num_inference_steps=adapted.inference_steps(OPTIONS["steps"], OPTIONS["strength"]),
                generator=Generator().manual_seed(seed),
                output_type="pt",
            ).images
            for at, seed in enumerate((3, 5))
        ]
    )
    torch.testing.assert_close(drawn, expected, atol=1e-5, rtol=0)
    other = conditions(adapted, -features)
    assert (adapted.sample(other, adapted.negative(other), references, [3, 5], **OPTIONS) - drawn).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["folder", "editing"])
def test_a_gradient_flows_to_the_rows(kind: str, request: pytest.FixtureRequest, world: World, rng: Generator) -> None:
    """Also into a UNet that sees the reference beside the noise."""
    weights = AdapterTokens(adapter_weights(), LENGTH)
    adapted = Backbone.from_pretrained(request.getfixturevalue(kind), (48, 32), weights)
    assert adapted.edits == (kind == "editing")
    condition = conditions(adapted, torch.randn(2, DIM, generator=rng)).requires_grad_()
    images = adapted.sample(
        condition, adapted.negative(condition), to_float(world.gallery.images[:2]), [3, 5], with_grad=True, **OPTIONS
    )
    (gradient,) = torch.autograd.grad(images.sum(), [condition])
    assert (gradient[:, :ROWS].abs().amax((1, 2)) > 0).all()
    assert not any(parameter.requires_grad for parameter in adapted.pipeline.unet.parameters())


def test_it_is_saved_beside_an_untouched_unet(adapted: Backbone, world: World, rng: Generator, tmp_path: Path) -> None:
    references, features = to_float(world.gallery.images[:2]), torch.randn(2, DIM, generator=rng)
    condition = conditions(adapted, features)

    def drawn(backbone: Backbone) -> Tensor:
        return backbone.sample(condition, backbone.negative(condition), references, [3, 5], **OPTIONS)

    before = drawn(adapted)
    adapted.save_pretrained(tmp_path)
    loaded = Backbone.from_pretrained(tmp_path, (48, 32))
    assert isinstance(loaded.picture_tokens, AdapterTokens)
    assert torch.equal(drawn(loaded), before)
    assert torch.equal(drawn(adapted), before)  # and it works on after saving
    assert not any(parameter.requires_grad for parameter in adapted.pipeline.unet.parameters())
    words = foreign_parts()["unet"].state_dict()
    saved: Any = load_pipeline(tmp_path)
    assert saved.unet.state_dict().keys() == words.keys()
    (tmp_path / "picture_tokens" / SAVED_ADAPTER).unlink()
    save_file(adapter_weights(), tmp_path / "picture_tokens" / SAVED_ADAPTER)
    with pytest.raises(ValueError, match="does not say the length of the features that it takes"):
        Backbone.from_pretrained(tmp_path, (48, 32))


def test_ragar_puts_the_mappers_rows_in_front(adapted: Backbone, world: World, tmp_path: Path) -> None:
    """Before any training they are those of P_ret, and a LoRA copy of the UNet takes them as well."""
    gallery = world.gallery_of(DIM)
    projection = torch.eye(adapted.width, DIM)
    ragar = Ragar(adapted, world.language(), gallery, SMALL, text_projection=projection)
    preference = ragar.encode_preference([asked("red-circle", *HISTORY)])
    embeds = preference.embeds()
    assert torch.equal(embeds[:, :ROWS], preference.detail[:, -ROWS:])
    torch.testing.assert_close(embeds[:, :ROWS], ragar.picture_rows(preference.retrieved))
    plain = ragar.generate([asked("red-circle", *HISTORY)])
    ragar.add_lora(2, Generator())
    torch.testing.assert_close(ragar.generate([asked("red-circle", *HISTORY)]), plain)
    assert ragar.lora_backbone is not None
    ragar.lora_backbone.save_pretrained(tmp_path)
    torch.testing.assert_close(ragar.generate([asked("red-circle", *HISTORY)]), plain)
    ragar.lora_backbone = None
    torch.testing.assert_close(ragar.generate([asked("red-circle", *HISTORY)]), plain)


def test_the_negative_has_no_pictures_among_its_words(adapted: Backbone) -> None:
    """RAGAR has more rows than an encoded text: the empty text is repeated, the rows of no picture not."""
    assert adapted.picture_tokens is not None
    negative = adapted.negative(torch.zeros(2, ROWS + SMALL.text_rows + adapted.context, adapted.width))
    empty = adapted.empty[0]
    torch.testing.assert_close(negative[1, :ROWS], adapted.picture_tokens.none[0])
    assert torch.equal(negative[1, ROWS : ROWS + adapted.context], empty)
    assert torch.equal(negative[1, ROWS + adapted.context :], empty[: SMALL.text_rows])


def test_words_alone_are_denoised_without_a_picture(adapted: Backbone, world: World, rng: Generator) -> None:
    """PMG's condition: the adapter gets the rows of no picture, and every word reaches the words' attention."""
    seen: list[Any] = []
    hook = adapted.pipeline.unet.encoder_hid_proj.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    words = adapted.states(["red circle", "blue bar"])
    denoising_error(adapted, to_float(world.gallery.images[:2]), words, rng)
    hook.remove()
    assert adapted.picture_tokens is not None
    torch.testing.assert_close(seen[0][0][:, 0], adapted.picture_tokens.none.expand(2, -1, -1))


@torch.no_grad()
def test_the_pipeline_gives_others_words_alone(adapted: Backbone, folder: Path, world: World) -> None:
    with torch.enable_grad():
        language = world.language()
    ragar = Ragar(adapted, language, world.gallery_of(DIM), SMALL, text_projection=torch.eye(adapted.width, DIM))
    pipeline = RagarPipeline(ragar)
    whole, _ = pipeline.encode_preference(HISTORY, "red-circle", pipeline=adapted.pipeline)
    for other in (None, load_pipeline(folder)):
        embeds, negative = pipeline.encode_preference(HISTORY, "red-circle", pipeline=other)
        assert torch.equal(embeds, whole[:, ROWS:])
        assert negative.shape == embeds.shape
    with pytest.raises(ValueError, match="takes its rows from prompt_embeds: it needs no image embeds"):
        pipeline.encode_retrieved(HISTORY, "red-circle")
    (blended,) = pipeline(HISTORY, {"red-circle": 1, "blue-circle": 1}, seeds=[0], output_type="pt").images
    assert blended.isfinite().all()


def test_other_adapters_and_other_unets_are_refused(folder: Path) -> None:
    weights = adapter_weights()
    with pytest.raises(ValueError, match=r"no plain IP-Adapter: .* take ip-adapter_sd15\.safetensors"):
        AdapterTokens({name: value for name, value in weights.items() if "proj" not in name}, 1.0)
    with pytest.raises(ValueError, match="no plain IP-Adapter: its projection has other weights"):
        AdapterTokens(weights | {"image_proj.latents": torch.zeros(1)}, 1.0)
    fewer = {name: value for name, value in weights.items() if not name.startswith("ip_adapter.1.")}
    with pytest.raises(ValueError, match="this IP-Adapter was made for another UNet than the backbone's"):
        Backbone.from_pretrained(folder, (48, 32), AdapterTokens(fewer, 1.0))
