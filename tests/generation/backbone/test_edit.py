"""The backbone that edits: what passes through, what changes, its training, its folder, its place in RAGAR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from torch import Tensor, nn

from generation.backbone.backbone import Backbone
from generation.backbone.config import PretrainConfig
from generation.backbone.corruption import as_reference, background_replaced, relit, squared
from generation.backbone.edit import EditUNet, PatchCodec, PictureTokens, colour_change
from generation.backbone.edit_training import Editor, edit_error, edit_loss, palette_loss
from generation.backbone.pretrain import denoising_error, train_unet
from generation.backbone.unet import noise_scheduler
from generation.encoders.encoder import ImageEncoder
from generation.encoders.text_tower import clip_text_model
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.ragar.losses import calibrator_loss, semantic_loss
from generation.ragar.ragar import Ragar
from generation.ragar.taste import Taste
from generation.request import Request
from generation.training import Curves
from generation_world import EDIT, SMALL, TINY, World, request


@pytest.fixture
def ragar(world: World, edit: Backbone) -> Ragar:
    return Ragar(edit, world.language(), world.gallery, SMALL, text_projection=world.encoder.text_projection)


def test_patches_lose_nothing(rng: torch.Generator) -> None:
    images = torch.rand(2, 3, 48, 32, generator=rng) * 2 - 1
    codec = PatchCodec()
    latents = codec.encode(images).latents
    assert latents.shape == (2, 192, 6, 4)
    assert torch.equal(codec.decode(latents).sample, images)


def test_an_untrained_network_gives_back_the_reference(rng: torch.Generator) -> None:
    unet = EditUNet(sample_size=6, cross_attention_dim=32, block_out_channels=(32, 32))
    sample, states = torch.randn(2, 384, 6, 4, generator=rng), torch.randn(2, 5, 32, generator=rng)
    clean = unet(sample, 999, encoder_hidden_states=states).sample
    torch.testing.assert_close(clean, sample[:, 192:])
    assert torch.equal(unet(sample, 999, encoder_hidden_states=states, return_dict=False)[0], clean)


def test_it_attends_to_what_a_feature_would_know_of_the_reference(rng: torch.Generator) -> None:
    """Beside the condition's rows stand two of the reference's thumbnail: SD's own forward on both is the oracle."""
    unet = EditUNet(sample_size=6, cross_attention_dim=32, block_out_channels=(32, 32), reference_rows=2)
    nn.init.normal_(unet.conv_out.weight, std=0.1, generator=rng)
    sample, states = torch.randn(2, 384, 6, 4, generator=rng), torch.randn(2, 5, 32, generator=rng)
    reference = PatchCodec().decode(sample[:, 192:]).sample
    assert unet.seen is not None
    seen = unet.seen(reference.unflatten(3, (4, 8)).unflatten(2, (6, 8)).mean((3, 5)).flatten(1)).view(2, 2, 32)
    coefficients = UNet2DConditionModel.forward(unet, sample, 999, torch.cat([states, seen], 1), return_dict=False)[0]
    expected = PatchCodec().encode(reference + colour_change(coefficients, reference)).latents
    torch.testing.assert_close(unet(sample, 999, encoder_hidden_states=states).sample, expected, atol=1e-5, rtol=1e-5)


def test_a_square_has_about_the_area_and_the_colours(rng: torch.Generator) -> None:
    images = torch.rand(2, 3, 96, 64, generator=rng).round()
    square = squared(images, 8)
    assert square.shape == (2, 3, 80, 80)
    torch.testing.assert_close(square.mean((2, 3)), images.mean((2, 3)), atol=5e-3, rtol=0)
    assert squared(images[..., :8, :8], 8).shape == (2, 3, 8, 8)


def test_a_colour_transform_by_hand() -> None:
    """Coefficients that are the same everywhere: red changes by .5 green + .25 blue^2 - .1, the others not at all."""
    coefficients = torch.zeros(1, 21, 2, 2)
    coefficients[:, 1], coefficients[:, 5], coefficients[:, 6] = 0.5, 0.25, -0.1
    reference = torch.tensor([0.3, 0.4, -0.2]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    change = colour_change(coefficients, reference)
    torch.testing.assert_close(change[0, 0], torch.full((16, 16), 0.5 * 0.4 + 0.25 * 0.04 - 0.1))
    assert not change[0, 1:].any()


def test_coefficients_vary_without_steps_between_patches() -> None:
    """One patch of 3 x 3 lifts the constant by 1: the bump falls by less than a tenth from pixel to pixel."""
    coefficients = torch.zeros(1, 21, 3, 3)
    coefficients[0, 6, 1, 1] = 1
    change = colour_change(coefficients, torch.zeros(1, 3, 24, 24))[0, 0]
    assert change.max() == pytest.approx(0.25, abs=0.05)  # binomial weights: half along each side
    assert change.diff(dim=0).abs().max() < 0.05
    assert change.diff(dim=1).abs().max() < 0.05


def test_picture_tokens_know_mean_and_deviation(rng: torch.Generator) -> None:
    features = 5 + 0.1 * torch.randn(500, 4, generator=rng)
    tokens = PictureTokens(4, rows=2, width=6).fit(features)
    scaled = tokens.scaled(features)
    assert scaled.mean(0).abs().max() < 1e-3
    assert scaled.square().mean() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(
        tokens(features[:2])[1], (tokens.project.weight @ scaled[1] + tokens.project.bias).view(2, 6)
    )
    torch.testing.assert_close(tokens.none, tokens.project.bias.view(1, 2, 6))


def test_one_reference_in_three_is_the_picture_itself(rng: torch.Generator) -> None:
    images = torch.rand(400, 3, 8, 8, generator=rng) * 2 - 1
    same = (as_reference(images, images.roll(1, 0), rng) == images).flatten(1).all(1)
    assert 0.25 < same.float().mean() < 0.45
    assert relit(images, rng).abs().max() <= 1


def test_a_replaced_background_is_another_pictures_colours_without_its_shapes(rng: torch.Generator) -> None:
    images = torch.full((200, 3, 48, 32), -1.0)
    others = torch.zeros(200, 3, 48, 32)
    others[..., ::2] = 1.0  # stripes of one pixel, whose mean is 1/2
    replaced = background_replaced(images, others, rng)
    region = (replaced + 1) / 1.5  # share of the other picture
    assert 0 <= region.min() and region.max() <= 1
    assert float(region.mean()) == pytest.approx(0.5, abs=0.03)
    # Mostly one or the other, and no stripe: neighbours differ by the region's soft edge alone.
    assert ((region < 0.1) | (region > 0.9)).float().mean() > 0.7
    assert (region[..., 1:] - region[..., :-1]).abs().mean() < 0.1


def test_palette_loss_is_the_squared_distance_of_mean_colours(rng: torch.Generator) -> None:
    unet = EditUNet(sample_size=6, cross_attention_dim=32, block_out_channels=(32, 32))  # gives back the reference
    editor = Editor(unet, PictureTokens(5, 2, 32))
    reference, others = torch.full((2, 3, 48, 32), 0.5), torch.full((2, 3, 48, 32), 0.1)
    others[:, 0] = 0.5
    states, features = torch.randn(2, 3, 32, generator=rng), torch.randn(2, 5, generator=rng)
    loss = palette_loss(editor, noise_scheduler("sample"), reference, others, states, features, rng)
    assert loss.item() == pytest.approx(2 / 3 * 0.4**2, rel=1e-5)


def test_the_error_is_of_what_the_unet_says(rng: torch.Generator) -> None:
    """A network that is right has none; one that is .2 off everywhere has .04 + .1 * .2."""
    clean, reference = torch.rand(4, 192, 2, 2, generator=rng), torch.rand(4, 192, 2, 2, generator=rng)
    states = torch.zeros(4, 1, 8)

    class Says(UNet2DConditionModel):
        def __init__(self, off: float) -> None:
            nn.Module.__init__(self)
            self.off = off

        def forward(self, sample: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:  # type: ignore[override]
            assert torch.equal(sample[:, 192:], reference)
            return SimpleNamespace(sample=clean + self.off)

    for off, error in ((0.0, 0.0), (0.2, 0.06)):
        found = edit_error(Says(off), noise_scheduler("sample"), clean, reference, states, rng)
        assert found.item() == pytest.approx(error, abs=1e-6)


def test_the_pipeline_is_instruct_pix2pix_and_each_picture_has_its_own_seed(world: World, edit: Backbone) -> None:
    assert isinstance(edit.pipeline, StableDiffusionInstructPix2PixPipeline)
    assert edit.edits and edit.inference_steps(2, 0.25) == 2
    assert not world.backbone.edits and world.backbone.inference_steps(2, 0.5) == 4
    references = to_float(world.gallery.images[:3])
    rows = edit.without_picture(edit.states(list(world.gallery.captions[:3])))
    assert rows.shape == (3, 3 + 16, 32)
    options = {"steps": 2, "strength": 1.0, "guidance_scale": 2.0}
    together = edit.sample(rows, edit.negative(rows), references, [4, 5, 6], **options)
    alone = edit.sample(rows[1:2], edit.negative(rows[1:2]), references[1:2], [5], **options)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert together.shape == (3, 3, 48, 32)
    with pytest.raises(ValueError, match="edits a reference: it cannot draw from noise alone"):
        edit.sample(rows, rows, None, [0, 1, 2], **options)


def test_the_negative_says_no_picture_and_no_words(edit: Backbone) -> None:
    negative = edit.negative(torch.zeros(2, 19, 32))
    assert edit.picture_tokens is not None
    torch.testing.assert_close(negative[1, :3], edit.picture_tokens.none[0])
    torch.testing.assert_close(negative[0, 3:], edit.empty[0])


def test_a_saved_backbone_edits_alike(world: World, edit: Backbone, tmp_path: Path) -> None:
    edit.save_pretrained(tmp_path)
    read = Backbone.from_pretrained(tmp_path, edit.size)
    assert read.edits and read.picture_tokens is not None and read.picture_tokens.dim == 16
    features, references = world.gallery.visual[:2], to_float(world.gallery.images[:2])

    def drawn(backbone: Backbone) -> Tensor:
        assert backbone.picture_tokens is not None
        rows = torch.cat([backbone.picture_tokens(features), backbone.states(["red", "blue"])], dim=1)
        return backbone.sample(rows, rows, references, [0, 1], steps=1, strength=1.0, guidance_scale=1.0)

    assert torch.equal(drawn(read), drawn(edit))


def test_a_training_goes_on_from_another_backbones_weights(world: World, edit: Backbone) -> None:
    """Without a rate nothing moves: the weights are those of the initial backbone, not fresh ones."""
    config = replace(EDIT, learning_rate=1e-12, unet_steps=1, ema=0.0)
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]
    before = {name: value.clone() for name, value in edit.pipeline.unet.state_dict().items()}
    adapted = train_unet(captions, images, world.encoder, config, curves=Curves(), initial=edit, progress=False)
    for name, value in adapted.pipeline.unet.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0)
        assert torch.equal(edit.pipeline.unet.state_dict()[name], before[name])  # it is a copy that learns
    assert not any(parameter.requires_grad for parameter in edit.pipeline.unet.parameters())
    with pytest.raises(ValueError, match="no small one that edits"):
        train_unet(captions, images, world.encoder, config, curves=Curves(), initial=world.backbone, progress=False)
    with pytest.raises(ValueError, match="image-to-image begins from scratch alone"):
        train_unet(captions, images, world.encoder, TINY, curves=Curves(), initial=edit, progress=False)


def test_learning_takes_colours_from_the_condition(world: World) -> None:
    """After 60 steps a red circle under a blue one's words and feature is nearer to it in colour than it was."""
    config = replace(EDIT, unet_steps=60, batch_size=16, learning_rate=3e-3)
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]
    trained = train_unet(captions, images, world.encoder, config, curves=Curves(), progress=False)
    assert trained.picture_tokens is not None
    references, other = to_float(images), to_float(images).roll(9, 0)
    condition = torch.cat(
        [
            trained.picture_tokens(world.gallery.visual[:24].roll(9, 0)),
            trained.states([*captions[-9:], *captions[:-9]]),
        ],
        dim=1,
    )
    drawn = trained.sample(condition, condition, references, [0] * 24, steps=1, strength=1.0, guidance_scale=1.0)
    before, after = ((pictures - other).mean((2, 3)).norm(dim=1).mean() for pictures in (references, drawn))
    assert after < 0.9 * before


def test_the_denoising_error_listens_to_the_condition(world: World, edit: Backbone) -> None:
    images = to_float(world.gallery.images[:4])
    rows = edit.states(list(world.gallery.captions[:4])).requires_grad_()
    error = denoising_error(edit, images, rows, torch.Generator().manual_seed(0))
    assert error.item() == denoising_error(edit, images, rows, torch.Generator().manual_seed(0)).item()
    (gradient,) = torch.autograd.grad(error, [rows])
    assert gradient.abs().max() > 0


def test_what_was_retrieved_reaches_the_generator_untrained(world: World, ragar: Ragar) -> None:
    """The mapper's rows are at first those of P_ret, as long as a picture's feature."""
    asked = [request("red-circle", "blue-bar", "pink-bar"), request("red-circle", "green-bar", "teal-bar")]
    preference = ragar.encode_preference(asked)
    assert preference.detail.shape == (2, 4 + 3, 32) and ragar.detail_rows == 7
    gallery: Gallery = world.gallery
    unit = preference.retrieved / preference.retrieved.norm(dim=1, keepdim=True)
    centred = gallery.visual[gallery.pictured] - gallery.mean_visual
    tokens = ragar.backbone.picture_tokens
    assert tokens is not None
    expected = tokens(gallery.mean_visual + centred.square().sum(1).mean().sqrt() * unit)
    torch.testing.assert_close(preference.mapped, expected)
    assert not torch.equal(*ragar.generate(asked))
    assert calibrator_loss(ragar, preference).item() == pytest.approx(0, abs=1e-9)
    states, rows = ragar.targets(gallery.rows(["red-circle"]))
    assert (states.shape, rows.shape) == ((1, 16, 32), (1, 3, 32))
    # its words alone: rows of pictures are like no caption's states
    words = (preference.text.mean(1) - states.mean(1)).square().mean()
    torch.testing.assert_close(semantic_loss(preference, states.expand(2, -1, -1), pictures=True), words)


class LikesTheFirst:
    """`one` likes the first of a picture's features to grow, others like it to shrink."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self.encoder = encoder

    def __call__(self, requests: Sequence[Request], images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))

    def direction(self, requests: Sequence[Request], features: Tensor) -> Tensor:
        sign = torch.tensor([1.0 if each.user == "one" else -1.0 for each in requests])
        return sign[:, None] * torch.eye(features.shape[1])[:1]


def test_a_taste_moves_the_rows_and_asks_somebody_who_knows_it(world: World, ragar: Ragar) -> None:
    asked = [request("red-circle", "blue-bar", user="one"), request("red-circle", "blue-bar", user="two")]
    plain = ragar.encode_preference(asked).mapped
    ragar.config = replace(ragar.config, taste=2.0)
    with pytest.raises(ValueError, match=r"generator.taste asks for the ranker that rewarded this generator"):
        ragar.encode_preference(asked)
    ragar.taste = Taste(LikesTheFirst(world.encoder), ragar.gallery)
    moved = ragar.encode_preference(asked).mapped - plain
    torch.testing.assert_close(moved[0], -moved[1], atol=1e-5, rtol=0)
    # by the column of the covariance, at twice the length of a picture's feature
    tokens, column = ragar.backbone.picture_tokens, torch.cov(ragar.gallery.visual[ragar.gallery.pictured].T)[0]
    assert isinstance(tokens, PictureTokens)
    step = 2 * ragar.feature_length * column / column.norm() / tokens.spread
    torch.testing.assert_close(moved[0].flatten(), tokens.project.weight @ step, atol=1e-5, rtol=1e-4)


def test_a_taste_has_a_share_in_what_is_retrieved(world: World, ragar: Ragar) -> None:
    """Of four items of a history the two are retrieved whose pictures lie furthest along the taste of each person."""
    history = ("blue-bar", "red-bar", "green-square", "yellow-circle")
    asked = [request("red-circle", *history, user=user) for user in ("one", "two")]
    ragar.config = replace(ragar.config, retrieval_taste=1.0)
    with pytest.raises(ValueError, match=r"generator.retrieval_taste asks for the ranker that rewarded"):
        ragar.encode_preference(asked)
    ragar.taste = Taste(LikesTheFirst(world.encoder), ragar.gallery)
    rows = ragar.gallery.rows(history)
    fit = F.normalize(ragar.centred_features(rows), dim=1) @ ragar.taste(asked)[0]
    by_fit = [history[i] for i in fit.argsort(descending=True).tolist()]
    explained = [ragar.encode_preference(asked[i : i + 1]).explanations[0].retrieved for i in range(2)]
    assert explained == [tuple(by_fit[:2]), tuple(by_fit[:1:-1])]
    # without the taste vector beside P_ret, two people differ by what was retrieved alone
    assert not torch.equal(*ragar.encode_preference(asked).mapped)


def test_a_unet_for_patches_of_another_size_is_refused(world: World) -> None:
    """2 * 3 * 4^2 channels beside a codec of 3 * 8^2."""
    text_encoder, tokenizer = clip_text_model(world.encoder), world.encoder.tokenizer.tokenizer
    unet = EditUNet(patch=4, sample_size=12, cross_attention_dim=32, block_out_channels=(32, 32))
    with pytest.raises(ValueError, match=r"the UNet sees 96 channels, the codec gives 192: .* patches of another size"):
        Backbone.assemble(
            codec=PatchCodec(),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=noise_scheduler("sample"),
            size=(48, 32),
        )


@pytest.mark.parametrize("colour", [1.0, 0.0])
def test_a_picture_of_one_colour_is_edited_and_learned_from(
    edit: Backbone, rng: torch.Generator, colour: float
) -> None:
    """White and black have no deviation by which colours could be matched."""
    plain = torch.full((2, 3, 48, 32), colour)
    references = as_reference(plain * 2 - 1, torch.rand(2, 3, 48, 32, generator=rng) * 2 - 1, rng)
    assert torch.isfinite(references).all()
    assert references.abs().max() <= 1
    condition = edit.without_picture(edit.states(["red", "blue"]))
    sampling = replace(SMALL, steps=1, guidance_scale=2.0)
    drawn = edit.draw(condition, plain, [0, 1], sampling)
    assert ((drawn >= 0) & (drawn <= 1)).all()  # and so no NaN
    assert isinstance(edit.picture_tokens, PictureTokens)
    editor = Editor(edit.pipeline.unet, edit.picture_tokens)
    features = torch.zeros(2, 16)
    loss = edit_loss(editor, edit.pipeline.scheduler, plain * 2 - 1, references, condition[:, 3:], features, rng)
    assert torch.isfinite(loss)


def test_features_of_another_width_and_noise_alone_are_refused(world: World, edit: Backbone) -> None:
    other = replace(world.gallery, visual=world.gallery.visual[:, :8])
    with pytest.raises(ValueError, match="rows of picture features of width 16, the gallery's are 8 wide"):
        Ragar(edit, world.language(), other, SMALL, text_projection=torch.zeros(32, 8))
    config = replace(SMALL, text_to_image=True)
    with pytest.raises(ValueError, match="text_to_image: this backbone edits"):
        Ragar(edit, world.language(), world.gallery, config, text_projection=world.encoder.text_projection)


def test_no_steps_are_for_weights_that_are_there() -> None:
    assert not list(PretrainConfig(start="package", encoder_steps=0, unet_steps=0).conflicts())
    scratch = "\n".join(PretrainConfig(start="scratch").conflicts())
    assert "encoder_steps 0 leaves fresh weights untrained" in scratch
    assert "unet_steps 0 leaves fresh weights untrained" in scratch
    assert "task image-to-image begins from scratch alone" in "\n".join(
        PretrainConfig(task="image-to-image").conflicts()
    )
