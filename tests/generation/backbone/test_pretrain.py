"""Training the small backbone: batches, schedules, paraphrases, and the loss that asks for the named palette."""

from collections import Counter
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from generation.backbone.backbone import Backbone, UNet2DConditionModel
from generation.backbone.config import DualEncoderConfig, PretrainConfig, UNetConfig
from generation.backbone.corruption import augment, recolour
from generation.backbone.dual_encoder import shuffle_words, train_dual_encoder
from generation.backbone.image_to_image import denoising_loss
from generation.backbone.paraphrase import condition
from generation.backbone.pretrain import train_unet
from generation.backbone.unet import Prediction, noise_scheduler, small_unet
from generation.gallery import caption
from generation.pictures import read_pictures
from generation.training import Curves
from generation.words.captions import PaletteCaptioner
from generation_world import TINY, World, catalogue


def test_the_defaults_fit_together_and_the_tiny_ones_too() -> None:
    assert list(PretrainConfig().conflicts()) == []
    assert list(TINY.conflicts()) == []


def test_sizes_that_do_not_fit_are_all_named() -> None:
    config = PretrainConfig(
        start="scratch", image_height=50, image_width=0, latent_channels=3, encoder_width=48, unet_steps=0
    )
    messages = "\n".join(config.conflicts())
    for part in ("image_height 50", "image_width 0", "latent_channels 3", "encoder_width 48", "unet_steps 0 leaves"):
        assert part in messages


def test_options_outside_their_range_are_all_named() -> None:
    messages = "\n".join(PretrainConfig(min_snr=-1, ema=1.0, held_out=-0.1, save_every=0).conflicts())
    for part in ("min_snr -1 must not be negative", "ema 1.0 must lie", "held_out -0.1 must lie", "save_every must be"):
        assert part in messages


def test_each_training_has_a_config_of_the_fields_that_it_reads(world: World) -> None:
    dual, unet, whole = (
        {field.name for field in fields(kind)} for kind in (DualEncoderConfig, UNetConfig, PretrainConfig)
    )
    image_to_image = {"latent_channels", "prediction", "min_snr"}
    assert unet - dual == {"task", "picture_rows", "unet_widths", "unet_steps", "ema"} | image_to_image
    assert whole - unet == {"save_every"}
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]
    config = DualEncoderConfig(**{name: value for name, value in asdict(TINY).items() if name in dual})
    encoder = train_dual_encoder(captions, images, config, curves=Curves(), progress=False)
    for name, value in world.encoder.state_dict().items():  # the world's was trained with the whole section
        assert torch.equal(encoder.state_dict()[name], value)
    assert list(DualEncoderConfig(batch_size=0).conflicts()) == ["batch_size must be at least 1, got 0"]


def test_shuffled_words_are_some_of_the_captions_parts(rng: torch.Generator) -> None:
    parts = {"circle", "red", "1950s", "white"}
    paraphrases = [shuffle_words("circle, red, 1950s in white", rng).split(", ") for _ in range(400)]
    assert all(set(words) <= parts and len(set(words)) == len(words) for words in paraphrases)
    counts = Counter(word for words in paraphrases for word in words)
    # each is kept with .8: 320 of 400, standard deviation 8
    assert all(abs(counts[word] - 320) < 32 for word in parts)
    assert len({words[0] for words in paraphrases}) == 4


def test_a_caption_keeps_at_least_one_phrase(rng: torch.Generator) -> None:
    assert shuffle_words("red", rng, keep=0.0) == "red"
    assert shuffle_words("", rng) == ""


def test_augmented_pictures_stay_pictures(rng: torch.Generator) -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8, 8] = 1
    for _ in range(20):
        moved = augment(image, rng)
        assert moved.min() >= 0
        assert moved.max() <= 1
        y, x = divmod(int(moved[0, 0].argmax()), 16)
        assert abs(y - 8) <= 4
        assert abs(x - 8) <= 4


def test_recolour_goes_a_random_share_of_the_way(rng: torch.Generator) -> None:
    # constant pictures have deviation 0 and no channels to permute: only the mean moves, from 0 to share * .5
    shares = recolour(torch.zeros(2000, 3, 2, 2), torch.full((2000, 3, 2, 2), 0.5), rng) / 0.5
    one = shares[:, :1, :1, :1]
    torch.testing.assert_close(shares, one.expand_as(shares))  # one share a picture
    assert shares.min() >= 0
    assert shares.max() < 1
    # uniform: mean 1/2 and deviation sqrt(1/12) = .289, standard error .0065
    assert one.mean().item() == pytest.approx(0.5, abs=0.02)
    assert one.std().item() == pytest.approx(0.289, abs=0.01)


def test_recolour_carries_over_means_and_deviations(rng: torch.Generator) -> None:
    grey = torch.rand(1, 1, 8, 8, generator=rng).expand(50, 3, 8, 8) * 0.4 - 0.2  # permuting its channels does nothing
    other = torch.rand(1, 3, 8, 8, generator=rng).expand(50, 3, 8, 8) * torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    mixed = recolour(grey, other, rng)
    mean, std = grey.mean((2, 3)), grey.std((2, 3))
    to_mean, to_std = other.mean((2, 3)), other.std((2, 3))
    share = (mixed.mean((2, 3)) - mean) / (to_mean - mean)  # (50, 3): where the mean went says the share
    torch.testing.assert_close(share[:, 0], share[:, 2], atol=1e-3, rtol=0)
    torch.testing.assert_close(mixed.std((2, 3)), std + share * (to_std - std), atol=2e-3, rtol=0)
    # the picture itself is still there
    flat = mixed.flatten(2) - mixed.flatten(2).mean(2, keepdim=True)
    shape = grey.flatten(2) - grey.flatten(2).mean(2, keepdim=True)
    torch.testing.assert_close(nn.functional.cosine_similarity(flat, shape, dim=2), torch.ones(50, 3))


class Oracle(UNet2DConditionModel):
    """A UNet whose answer is a function of the noisy latent and the step."""

    def __init__(self, answer: object) -> None:
        nn.Module.__init__(self)
        self.answer = answer

    def forward(self, noisy: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:  # type: ignore[override]
        return SimpleNamespace(sample=self.answer(noisy, t))  # type: ignore[operator]


def test_without_an_error_the_loss_is_the_weighted_v_loss(rng: torch.Generator) -> None:
    scheduler, states = noise_scheduler(), torch.zeros(64, 1, 4)
    clean = torch.randn(64, 2, 3, 3, generator=rng)
    loss = denoising_loss(Oracle(lambda noisy, t: torch.zeros_like(noisy)), scheduler, clean, clean, states, fixed())
    again = fixed()
    alpha_bar = scheduler.alphas_cumprod[torch.randint(0, 1000, (64,), generator=again)]
    alpha, sigma = alpha_bar.sqrt().view(-1, 1, 1, 1), (1 - alpha_bar).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=again)
    snr = alpha_bar / (1 - alpha_bar)
    weight = (snr.clamp(max=5) / (snr + 1)).clamp_min(0.05).view(-1, 1, 1, 1)
    v = alpha * noise - sigma * clean
    torch.testing.assert_close(loss, (weight * v**2).mean(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("gamma", [5.0, 1.0])
def test_both_predictions_weigh_the_error_of_the_clean_picture_alike(rng: torch.Generator, gamma: float) -> None:
    """x0 is wrong by 1 everywhere: v is then wrong by 1/sigma and epsilon by alpha/sigma, so the squared error is
    SNR + 1 or SNR, and times its weight min(SNR, gamma), but for the floor of .05 under the weights.
    """
    clean, states = torch.randn(64, 2, 3, 3, generator=rng), torch.zeros(64, 1, 4)

    def loss(prediction: Prediction, gamma: float) -> float:
        scheduler = noise_scheduler(prediction)

        def wrong(noisy: Tensor, t: Tensor) -> Tensor:
            alpha_bar = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
            alpha, sigma, guess = alpha_bar.sqrt(), (1 - alpha_bar).sqrt(), clean + 1
            return (alpha * noisy - guess if prediction == "v" else noisy - alpha * guess) / sigma

        return denoising_loss(Oracle(wrong), scheduler, clean, clean, states, fixed(), gamma=gamma).item()

    for prediction in ("v", "epsilon"):
        alpha_bar = noise_scheduler(prediction).alphas_cumprod[torch.randint(0, 1000, (64,), generator=fixed())]
        snr = alpha_bar / (1 - alpha_bar)
        error = snr + 1 if prediction == "v" else snr
        weight = (snr.clamp(max=gamma) / error).clamp_min(0.05)
        assert loss(prediction, gamma) == pytest.approx((weight * error).mean().item(), rel=1e-3)
        assert loss(prediction, 0.0) == pytest.approx(error.mean().item(), rel=1e-3)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_target_is_the_clean_picture_however_wrong_the_start(rng: torch.Generator, prediction: Prediction) -> None:
    scheduler, states = noise_scheduler(prediction), torch.zeros(64, 1, 4)
    clean = torch.randn(64, 2, 3, 3, generator=rng)
    wrong = clean + 3

    def knows(noisy: Tensor, t: Tensor) -> Tensor:
        alpha_bar = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        # x0 = alpha * x_t - sigma * v = (x_t - sigma * epsilon) / alpha, solved for what lands on the clean picture
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        return (alpha * noisy - clean if prediction == "v" else noisy - alpha * clean) / sigma

    assert denoising_loss(Oracle(knows), scheduler, clean, wrong, states, fixed()).item() < 1e-8
    seen: list[Tensor] = []

    def listens(noisy: Tensor, t: Tensor) -> Tensor:
        seen.append(torch.stack([noisy.mean((1, 2, 3)), scheduler.alphas_cumprod[t]]))
        return torch.zeros_like(noisy)

    for other in (wrong, clean):
        denoising_loss(Oracle(listens), scheduler, clean, other, states, fixed())
    shift = seen[0][0] - seen[1][0]  # alpha * share * 3, share <= min(1, sigma / (.4 alpha))
    alpha, sigma = seen[0][1].sqrt(), (1 - seen[0][1]).sqrt()
    assert (shift >= 0).all()
    assert (shift <= 3 * torch.minimum(alpha, sigma / 0.4) + 1e-5).all()
    assert (shift > 3 * torch.minimum(alpha, sigma)).any()  # wrong from strength 1/4 on, where sigma / alpha is .41
    assert shift.max() > 0.5


def fixed() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_conditions_are_emptied_for_guidance_and_half_have_two_paraphrases(rng: torch.Generator) -> None:
    def tokenizer(texts: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=torch.tensor([[0 if text == "" else 1] for text in texts]))

    class Echo(nn.Module):
        def forward(self, ids: Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=ids[..., None].float())

    states = [condition(["red"] * 50, Echo(), tokenizer, rng) for _ in range(100)]
    twice = [s for s in states if s.shape[1] == 2]
    assert abs(len(twice) - 50) <= 15  # binomial(100, .5): deviation 5
    assert all(torch.equal(s[:, 0], s[:, 1]) for s in twice)  # a dropped caption is dropped in both
    empty = sum(float((s[:, 0] == 0).sum()) for s in states)
    assert abs(empty - 500) < 64  # binomial(5000, .1): deviation 21


def test_training_depends_on_the_seed_alone(world: World) -> None:
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]

    def trained(seed: int, disturbance: int) -> list[Tensor]:
        config = replace(TINY, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(disturbance)  # nobody may read the global generator
            encoder = train_dual_encoder(captions, images, config, curves=Curves(), progress=False)
            backbone = train_unet(captions, images, encoder, config, curves=Curves(), progress=False)
        return [*encoder.parameters(), *backbone.pipeline.unet.parameters(), backbone.pipeline.vae.basis]

    first, again, other = trained(0, 1), trained(0, 2), trained(1, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_the_losses_of_both_trainings_are_in_the_curves(world: World) -> None:
    assert set(world.curves.values) == {"dual encoder: loss", "UNet: denoising loss"}
    assert [step for step, _ in world.curves.values["UNet: denoising loss"]] == [0, 1, 2]


@pytest.mark.parametrize(("height", "width", "patch"), [(72, 48, 8), (64, 64, 16), (128, 128, 16)])
def test_portrait_and_square_pictures(tmp_path: Path, height: int, width: int, patch: int) -> None:
    """Two steps at each size; the codec keeps every patch's colour, the encoder sees every pixel, seeds mind theirs."""
    config = replace(TINY, image_height=height, image_width=width, encoder_steps=2, unet_steps=2, batch_size=4)
    items = catalogue(tmp_path)[:24]
    images = read_pictures(items, (height, width))
    captions, curves = caption(items, images, PaletteCaptioner()), Curves()
    encoder = train_dual_encoder(captions, images, config, curves=curves, progress=False)
    backbone = train_unet(captions, images, encoder, config, curves=curves, progress=False)
    assert backbone.pipeline.vae.encode(torch.zeros(1, 3, height, width)).latents.shape[2:] == (height // 8, width // 8)
    pictures = images[:3].float() / 255
    pool = nn.AvgPool2d(8)
    torch.testing.assert_close(
        pool(backbone.pipeline.vae.decode(backbone.pipeline.vae.encode(pictures).latents).sample),
        pool(pictures),
        atol=1e-5,
        rtol=0,
    )
    seen = pictures.clone().requires_grad_()
    encoder.encode_images(seen).pow(3).sum().backward()
    assert seen.grad is not None
    assert (nn.functional.max_pool2d(seen.grad.abs().sum(1), patch) > 0).all()
    states, negative = backbone.states(captions[:3]), backbone.states([""] * 3)
    for references in (None, pictures):
        pair = [None if references is None else references[rows] for rows in (slice(0, 3), slice(1, 2))]
        options = {"steps": 2, "strength": 0.6, "guidance_scale": 2.0}
        batch = backbone.sample(states, negative, pair[0], [1, 2, 3], **options)
        alone = backbone.sample(states[1:2], negative[1:2], pair[1], [2], **options)
        torch.testing.assert_close(batch[1], alone[0], atol=1e-5, rtol=0)
        assert batch.shape == (3, 3, height, width)
        assert batch.std((1, 2, 3)).min() > 0.02  # pictures, not constants


def test_without_a_moving_average_the_last_weights_are_kept(world: World) -> None:
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]

    def unet(ema: float) -> Tensor:
        config = replace(TINY, ema=ema, unet_steps=2)
        trained = train_unet(captions, images, world.encoder, config, curves=Curves(), progress=False)
        return trained.pipeline.unet.conv_in.weight

    averaged, last = unet(0.9985), unet(0.0)
    first = unet_before(world)
    # decays 1/15 and 2/16 over two steps w1, w2: averaged = (w0 / 15 + 14 w1 / 15) / 8 + 7 w2 / 8, so between w0 and w2
    assert 0 < (averaged - last).norm() < 0.2 * (last - first).norm()


def unet_before(world: World) -> Tensor:
    """The weights that the training of :data:`TINY` begins with: its random draws up to there, repeated."""
    generator = torch.Generator().manual_seed(TINY.seed + 1)
    torch.randperm(24, generator=generator)
    return small_unet(
        latent_channels=8, latent_size=(6, 4), cross_attention_dim=32, widths=(32, 32), generator=generator
    ).conv_in.weight.detach()


def test_epsilon_is_learned_and_sampled_with_its_own_schedule(world: World, tmp_path: Path) -> None:
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]
    config = replace(TINY, prediction="epsilon", min_snr=0.0)
    trained = train_unet(captions, images, world.encoder, config, curves=Curves(), progress=False)
    trained.save_pretrained(tmp_path)
    again = Backbone.from_pretrained(tmp_path, trained.size)
    assert again.pipeline.scheduler.config["prediction_type"] == "epsilon"
    states, negative = trained.states(["red"]), trained.states([""])
    options = {"steps": 3, "strength": 1.0, "guidance_scale": 2.0}
    first = trained.sample(states, negative, None, [1], **options)
    assert torch.equal(first, again.sample(states, negative, None, [1], **options))
    assert torch.isfinite(first).all()
    assert not torch.equal(trained.pipeline.unet.conv_in.weight, world.backbone.pipeline.unet.conv_in.weight)


def test_a_dual_encoder_learns_which_colour_is_which(world: World) -> None:
    config = replace(TINY, encoder_steps=80, batch_size=12)
    captions = world.gallery.captions[:24]
    curves = Curves()
    encoder = train_dual_encoder(captions, world.gallery.images[:24], config, curves=curves, progress=False)
    pictures = encoder.encode_images(world.gallery.images[:24].float() / 255)
    colours = [item.tags[1] for item in world.items[:24]]
    words = encoder.encode_texts(sorted(set(colours)))
    guessed = (pictures @ words.T).argmax(1).tolist()
    right = sum(sorted(set(colours))[g] == colour for g, colour in zip(guessed, colours, strict=True))
    assert right >= 18  # of 24; guessing gives 3
    losses = [value for _, value in curves.values["dual encoder: loss"]]
    assert losses[-1] < 0.7 * losses[0]
