"""Batches, schedule and moving average of a training, and that an interruption does not change its result."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from generation.backbone.dual_encoder import train_dual_encoder
from generation.backbone.pretrain import train_unet
from generation.training import Curves, Resume, Training, batches, one_cycle, time_left
from generation_world import TINY, World


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


def test_time_left_in_words() -> None:
    assert time_left(3.0, 5, 200) == "about 2 minutes"  # .6 s a step
    assert time_left(3.0, 5, 190) == "about 114 seconds"
    assert time_left(4.0, 5, 995) == "about 13 minutes"


def test_the_average_begins_near_the_weights_and_never_exceeds_its_decay() -> None:
    """Decay min(limit, (1 + step) / (15 + step)): 1/15 and 2/16, or .1 where that is the limit."""
    for limit, decays in ((0.9985, (1 / 15, 2 / 16)), (0.1, (1 / 15, 0.1))):
        model = nn.Linear(1, 1, bias=False)
        training = line(model, average=limit)
        expected = model.weight.item()
        for rows, decay in zip(training, decays, strict=False):
            training.update((model(rows[:, None].float()) ** 2).mean())
            expected = decay * expected + (1 - decay) * model.weight.item()
            assert training.average.weight.item() == pytest.approx(expected, rel=1e-6)


def line(model: nn.Linear, *, average: float = 0.0, steps: int = 20, progress: bool = False) -> Training[nn.Linear]:
    return Training(
        "line: loss",
        model,
        examples=6,
        batch_size=2,
        steps=steps,
        learning_rate=0.1,
        weight_decay=0.0,
        generator=torch.Generator().manual_seed(0),
        curves=Curves(),
        average=average,
        progress=progress,
    )


def test_after_the_first_steps_the_remaining_time_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for steps, lines in ((20, ["line: about 0 seconds for the 14 steps that are left of 20"]), (6, [])):
        model = nn.Linear(1, 1)
        training = line(model, steps=steps, progress=True)
        for rows in training:
            training.update(model(rows[:, None].float()).mean())
        assert capsys.readouterr().out.splitlines() == lines


class Killed(BaseException):
    pass


def stop_at(last: int) -> Curves:
    """Curves whose listener ends the training when it hears of this step."""

    def tell(name: str, step: int, value: float) -> None:
        if step == last:
            raise Killed

    return Curves(tell=tell)


Trainer = Callable[[Curves, Resume | None], list[Tensor]]


@pytest.fixture(scope="module")
def trainers(world: World) -> dict[str, Trainer]:
    """Five steps of 5 (the encoder: 10) of 24 pictures: a second epoch begins within a batch."""
    config = replace(TINY, encoder_steps=5, unet_steps=5, batch_size=5)
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]

    def unet(curves: Curves, resume: Resume | None) -> list[Tensor]:
        backbone = train_unet(captions, images, world.encoder, config, curves=curves, resume=resume, progress=False)
        return [*backbone.pipeline.unet.state_dict().values(), backbone.pipeline.vae.basis]

    def encoder(curves: Curves, resume: Resume | None) -> list[Tensor]:
        dual = train_dual_encoder(captions, images, config, curves=curves, resume=resume, progress=False)
        return [*dual.state_dict().values()]

    return {"UNet: denoising loss": unet, "dual encoder: loss": encoder}


@pytest.mark.parametrize(("every", "stops"), [(1, (0, 1, 2, 3, 4)), (3, (1, 4))])
@pytest.mark.parametrize("name", ["UNet: denoising loss", "dual encoder: loss"])
def test_stopped_at_any_step_it_ends_at_the_same_bits(
    trainers: dict[str, Trainer], tmp_path: Path, name: str, every: int, stops: tuple[int, ...]
) -> None:
    """The listener is heard before a step is kept: stopped at step s, s steps are kept, or a multiple of three."""
    train, whole = trainers[name], Curves()
    expected = train(whole, None)
    for last in stops:
        resume, listener = Resume(tmp_path / "kept.safetensors", every), Curves()
        with pytest.raises(Killed):
            train(stop_at(last), resume)
        assert resume.file.is_file() == (last >= every)
        resumed = train(again := Curves(tell=listener.add), resume)
        assert all(torch.equal(a, b) for a, b in zip(expected, resumed, strict=True))
        assert again.values == listener.values == whole.values
        resume.delete()
        assert list(tmp_path.iterdir()) == []


def test_stopped_twice_it_goes_on_from_the_later_step(trainers: dict[str, Trainer], tmp_path: Path) -> None:
    train, resume = trainers["UNet: denoising loss"], Resume(tmp_path / "kept.safetensors", 1)
    for last in (1, 3):
        with pytest.raises(Killed):
            train(stop_at(last), resume)
    assert all(torch.equal(a, b) for a, b in zip(train(Curves(), None), train(Curves(), resume), strict=True))


@pytest.mark.parametrize("moment", ["after a step", "while it is kept"])
def test_a_killed_process_leaves_a_whole_file(
    trainers: dict[str, Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """SIGKILL in a process of its own: nothing is tidied up. The next one ends at the bits of an undisturbed one."""
    train, resume = trainers["UNet: denoising loss"], Resume(tmp_path / "kept.safetensors", 2)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        written: list[Path] = []

        def replace_once(self: Path, target: Path) -> Path:
            written.append(target)
            if len(written) == 2:
                die()  # the second state is written, but has not got its name
            return self.rename(target)

        if moment == "while it is kept":
            monkeypatch.setattr(Path, "replace", replace_once)
        try:
            train(Curves(tell=lambda name, step, value: step == 4 and die()), resume)
        finally:
            os._exit(1)  # a child of a test must never go on as pytest
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert resume.begun.is_file() == (moment == "while it is kept")
    assert all(torch.equal(a, b) for a, b in zip(train(Curves(), None), train(Curves(), resume), strict=True))


def test_the_file_of_another_training_is_refused(trainers: dict[str, Trainer], tmp_path: Path) -> None:
    resume = Resume(tmp_path / "kept.safetensors", 1)
    with pytest.raises(Killed):
        trainers["UNet: denoising loss"](stop_at(2), resume)
    with pytest.raises(ValueError, match=r"kept.safetensors keeps the training .*UNet.*delete the file to begin anew"):
        trainers["dual encoder: loss"](Curves(), resume)
    resume.file.write_bytes(resume.file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"kept.safetensors does not read as safetensors"):
        trainers["UNet: denoising loss"](Curves(), resume)
