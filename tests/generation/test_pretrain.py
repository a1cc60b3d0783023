"""Training the small backbone: batches, schedules, paraphrases, and the loss that asks for the named palette."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from generation.diffusion import UNet2DConditionModel, v_scheduler
from generation.pretrain import (
    Curves,
    PretrainConfig,
    augment,
    batches,
    condition,
    denoising_loss,
    one_cycle,
    recolour,
    shuffle_words,
    train_dual_encoder,
    train_unet,
)
from generation_world import TINY, World


def test_the_defaults_fit_together_and_the_tiny_ones_too() -> None:
    assert list(PretrainConfig().conflicts()) == []
    assert list(TINY.conflicts()) == []


def test_sizes_that_do_not_fit_are_all_named() -> None:
    config = PretrainConfig(image_height=50, image_width=0, latent_channels=3, encoder_width=48, unet_steps=0)
    found = "\n".join(config.conflicts())
    for part in ("image_height 50", "image_width 0", "latent_channels 3", "encoder_width 48", "unet_steps must be"):
        assert part in found


@pytest.mark.parametrize("size", [1, 3, 4, 10])
def test_batches_cover_each_index_once_an_epoch(size: int, rng: torch.Generator) -> None:
    # over `size` epochs of 10 there are exactly 10 batches
    drawn = torch.cat(list(batches(10, size, 10, rng)))
    assert len(drawn) == 10 * size
    for epoch in drawn.split(10):
        assert sorted(epoch.tolist()) == list(range(10))
    if size > 1:
        assert drawn[:10].tolist() != drawn[10:20].tolist()


def test_a_batch_is_never_larger_than_the_data(rng: torch.Generator) -> None:
    assert [sorted(rows.tolist()) for rows in batches(3, 64, 2, rng)] == [[0, 1, 2]] * 2


def test_one_cycle_warms_up_and_ends_at_zero() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = one_cycle(optimizer, 40), []
    for _ in range(41):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    # warm-up over 40 / 20 = 2 steps, then 38 of decay
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[21] == pytest.approx(19 / 38)
    assert rates[40] == 0


def test_shuffled_words_are_some_of_the_captions_parts(rng: torch.Generator) -> None:
    parts = {"circle", "red", "1950s", "white"}
    said = [shuffle_words("circle, red, 1950s in white", rng).split(", ") for _ in range(400)]
    assert all(set(words) <= parts and len(set(words)) == len(words) for words in said)
    counts = Counter(word for words in said for word in words)
    # each is kept with .8: 320 of 400, standard deviation 8
    assert all(abs(counts[word] - 320) < 32 for word in parts)
    assert len({words[0] for words in said}) == 4


def test_a_caption_never_falls_silent(rng: torch.Generator) -> None:
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


class Says(UNet2DConditionModel):
    """A UNet whose answer is a function of the noisy latent and the step."""

    def __init__(self, answer: object) -> None:
        nn.Module.__init__(self)
        self.answer = answer

    def forward(self, noisy: Tensor, t: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:  # type: ignore[override]
        return SimpleNamespace(sample=self.answer(noisy, t))  # type: ignore[operator]


def test_without_an_error_the_loss_is_the_weighted_v_loss(rng: torch.Generator) -> None:
    scheduler, states = v_scheduler(), torch.zeros(64, 1, 4)
    clean = torch.randn(64, 2, 3, 3, generator=rng)
    loss = denoising_loss(Says(lambda noisy, t: torch.zeros_like(noisy)), scheduler, clean, clean, states, fixed())
    again = fixed()
    alpha_bar = scheduler.alphas_cumprod[torch.randint(0, 1000, (64,), generator=again)]
    alpha, sigma = alpha_bar.sqrt().view(-1, 1, 1, 1), (1 - alpha_bar).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=again)
    snr = alpha_bar / (1 - alpha_bar)
    weight = (snr.clamp(max=5) / (snr + 1)).clamp_min(0.05).view(-1, 1, 1, 1)
    v = alpha * noise - sigma * clean
    torch.testing.assert_close(loss, (weight * v**2).mean(), rtol=1e-4, atol=0)


def test_the_target_is_the_clean_picture_however_wrong_the_start(rng: torch.Generator) -> None:
    scheduler, states = v_scheduler(), torch.zeros(64, 1, 4)
    clean = torch.randn(64, 2, 3, 3, generator=rng)
    wrong = clean + 3

    def knows(noisy: Tensor, t: Tensor) -> Tensor:
        alpha_bar = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        # x0 = alpha * x_t - sigma * v, solved for the v that lands on the clean picture
        return (alpha_bar.sqrt() * noisy - clean) / (1 - alpha_bar).sqrt()

    assert denoising_loss(Says(knows), scheduler, clean, wrong, states, fixed()).item() < 1e-8
    seen: list[Tensor] = []

    def listens(noisy: Tensor, t: Tensor) -> Tensor:
        seen.append(torch.stack([noisy.mean((1, 2, 3)), scheduler.alphas_cumprod[t]]))
        return torch.zeros_like(noisy)

    for other in (wrong, clean):
        denoising_loss(Says(listens), scheduler, clean, other, states, fixed())
    shift = seen[0][0] - seen[1][0]  # alpha * share * 3, share <= min(1, sigma / alpha)
    alpha, sigma = seen[0][1].sqrt(), (1 - seen[0][1]).sqrt()
    assert (shift >= 0).all()
    assert (shift <= 3 * torch.minimum(alpha, sigma) + 1e-5).all()
    assert shift.max() > 0.5


def fixed() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_conditions_are_emptied_for_guidance_and_sometimes_said_twice(rng: torch.Generator) -> None:
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


def test_what_was_trained_is_on_record(world: World) -> None:
    assert set(world.curves.values) == {"dual encoder: contrastive loss", "UNet: denoising loss"}
    assert [step for step, _ in world.curves.values["UNet: denoising loss"]] == [0]  # every tenth of three steps


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
    losses = [value for _, value in curves.values["dual encoder: contrastive loss"]]
    assert losses[-1] < 0.7 * losses[0]
