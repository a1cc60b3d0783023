"""How fast pictures are made, and what limits it: ratios within one run, beside the bare UNet and codec.

    python experiments/bench_generation.py --json output/bench/generation.json
    python experiments/bench_generation.py --quick

The models have their default sizes and next to no training: time does not depend on weights. Hardware: two CPU cores;
the part `gpu` needs a GPU and is null without one. Minutes and expected numbers: docs/full-size.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from generation.backbone.backbone import Backbone
from generation.encoders.tokenizer import train_clip_tokenizer
from generation.pictures import to_float
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.warm_start import ReflectionLog
from generation.request import Request
from ragar_rec.evaluation.people import training_requests
from ragar_rec.pipeline import Run

UNTRAINED = ["--backbone.encoder_steps=1", "--backbone.unet_steps=1", "--language.steps=1", "--epochs=1"]
CAPTIONS = ["a western in brown and yellow", "a quiet drama, grey, 1970s", "children, pink and green", "a red circle"]


@dataclass(frozen=True)
class Args:
    """What the benchmark takes."""

    config: Path | None = None
    data: Path | None = None
    weights: Path | None = None
    output: Path = Path("output") / "bench"
    json: Path | None = None
    batch: int = 64
    quick: bool = False
    only: tuple[str, ...] = ()


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """The fastest of some repetitions, to the end of what the GPU has been asked for."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken)


@torch.no_grad()
def bare(ragar: Ragar, embeds: Tensor, negative: Tensor, references: Tensor) -> Tensor:
    """What no generation can do without: encode once, the UNet twice (guidance) a step, decode once."""
    theirs, config = ragar.backbone.pipeline, ragar.config
    condition = torch.cat([negative, embeds])
    latents = theirs.vae.encode(references * 2 - 1).latents
    for step in range(config.steps):
        theirs.unet(torch.cat([latents, latents]), 999 - step, encoder_hidden_states=condition, return_dict=False)
    return theirs.vae.decode(latents).sample


@torch.no_grad()
def generation(ragar: Ragar, requests: Sequence[Request], *, repeats: int) -> dict[str, float]:
    """Seconds of the product and of the bare computation for one batch, taken by turns, and its operations."""
    embeds = ragar.encode_preference(requests).embeds()
    negative = ragar.negative(embeds)
    references = to_float(ragar.gallery.images[ragar.gallery.rows([request.reference for request in requests])])
    taken: dict[str, list[float]] = {"product": [], "bare": [], "preference": []}
    with FlopCounterMode(display=False) as counter:
        bare(ragar, embeds, negative, references)
    ragar.generate(requests)
    for _ in range(repeats):
        taken["product"].append(seconds(lambda: ragar.generate(requests)))
        taken["bare"].append(seconds(lambda: bare(ragar, embeds, negative, references)))
        taken["preference"].append(seconds(lambda: ragar.encode_preference(requests)))
    return {name: min(values) for name, values in taken.items()} | {"flop": float(counter.get_total_flops())}


@contextmanager
def stopwatch(parts: dict[str, list[tuple[Any, str]]]) -> Iterator[dict[str, float]]:
    """Seconds inside each part's methods, by its name; the methods are put back."""
    inside: dict[str, float] = defaultdict(float)

    def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                inside[name] += time.perf_counter() - start

        return call

    with ExitStack() as back:
        for name, methods in parts.items():
            for owner, method in methods:
                setattr(owner, method, timed(name, getattr(owner, method)))
                back.callback(delattr, owner, method)
        yield inside


def reward_training(run: Run, requests: Sequence[Request], *, steps: int) -> tuple[float, dict[str, float]]:
    """Seconds of a reward phase with the config's settings, and of those the ones inside each model."""
    ragar, settings = (
        run.components.new_generator(run.config.generator),
        replace(run.config.reflection, reward_steps=steps),
    )
    theirs, reward = ragar.backbone.pipeline, run.ranker.reward
    parts: dict[str, list[tuple[Any, str]]] = {
        "UNet": [(theirs.unet, "forward")],
        "codec": [(theirs.vae, "encode"), (theirs.vae, "decode")],
        "text encoder": [(theirs.text_encoder, "forward")],
        "image encoder": [(reward.encoder, "encode_images")],
        "language model": [(ragar.language.model.base_model, "forward")],
        "ranker": [(run.ranker.view, "substitute")],
    }
    reflect(
        ragar, requests[:2], reward, replace(settings, reward_steps=1, batch_size=2), ReflectionLog(), progress=False
    )
    with stopwatch(parts) as inside:
        total = seconds(lambda: reflect(ragar, requests, reward, settings, ReflectionLog(), progress=False))
    return total, dict(inside)


def sd15() -> dict[str, Any]:
    """SD-1.5's models at their true configuration, random weights, by the names that ``Backbone.assemble`` has."""
    shape: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    words: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, **words
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            "text_encoder": CLIPTextModel(text),
            "codec": AutoencoderKL(layers_per_block=2, sample_size=512, **shape),
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768),  # else the class's defaults
        }


def full_size() -> Backbone:
    """SD-1.5 on the CPU, with a tokenizer of a few words."""
    tokenizer = train_clip_tokenizer(CAPTIONS, vocab_size=600, max_length=77)
    scheduler: Any = DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return Backbone.assemble(**sd15(), tokenizer=tokenizer, scheduler=scheduler, size=(512, 512))


@torch.no_grad()
def table(
    backbone: Backbone, device: str, *, n: int, batch: int, steps: int, compiled: bool = True
) -> list[tuple[str, float]]:
    """Text-to-image by the same sampler and steps with guidance 7.5: pictures a second after each change, in turn.

    First diffusers' loop as its documentation has it: a prompt at a time in float32. ``n`` pictures are drawn in each
    row, but for the rows of single pictures, which draw four.
    """
    captions = [CAPTIONS[i % len(CAPTIONS)] for i in range(n)]
    backbone.to(device)
    theirs: Any = backbone.text_to_image
    height, width = backbone.size
    how: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": 7.5, "height": height, "width": width}

    def loop(i: int, **prompt: Any) -> None:
        theirs(**prompt, **how, output_type="pt", generator=torch.Generator().manual_seed(i))

    def ours(size: int, count: int) -> None:
        for start in range(0, count, size):
            seeds = list(range(start, start + size))
            positive = states[start : start + size]
            backbone.sample(
                positive, backbone.empty.expand_as(positive), None, seeds, steps=steps, strength=1.0, guidance_scale=7.5
            )

    def rate(work: Callable[[], object], count: int) -> float:
        work()  # the first time chooses algorithms, and compiles
        return count / seconds(work, 2)

    few = min(4, n)
    rows = [
        ("diffusers, a prompt at a time, float32", rate(lambda: [loop(i, prompt=captions[i]) for i in range(few)], few))
    ]
    states = backbone.states(captions)
    given = [{"prompt_embeds": states[i : i + 1], "negative_prompt_embeds": backbone.empty} for i in range(few)]
    rows.append(("text states kept", rate(lambda: [loop(i, **given[i]) for i in range(few)], few)))
    rows.append(("keys and values of cross-attention kept", rate(lambda: ours(1, few), few)))
    rows.append((f"batches of {batch}", rate(lambda: ours(batch, n), n)))
    settings: dict[str, Any] = {"dtype": torch.bfloat16}
    backbone.to(device, **settings)
    rows.append(("bfloat16", rate(lambda: ours(batch, n), n)))
    backbone.to(device, **settings, channels_last=True)
    rows.append(("channels last", rate(lambda: ours(batch, n), n)))
    if compiled:
        backbone.to(device, **settings, channels_last=True, compiled=True)
        rows.append(("compiled UNet (keys and values not kept)", rate(lambda: ours(batch, n), n)))
    return rows


def show(rows: list[tuple[str, float]]) -> None:
    """The table, as Markdown."""
    print("| with, besides what stands above | images/s | times the first |\n|---|---|---|")
    for name, value in rows:
        print(f"| {name} | {value:.2f} | {value / rows[0][1]:.2f} |")


class Benchmark:
    """All measurements of one run; prints each with what limits it.

    Attributes:
        PARTS: what is measured, in this order.
    """

    PARTS = ("generation", "reward", "gpu")

    def __init__(self, args: Args) -> None:
        self.args, self.folder = args, args.output
        self._run: Run | None = None

    @property
    def run(self) -> Run:
        """The models at the config's sizes, made when a part needs them."""
        if self._run is None:
            args = self.args
            self._run = Run.open(args.config, UNTRAINED, args.data, args.weights, self.folder / "generation")
        return self._run

    def requests(self, n: int) -> list[Request]:
        """The first ``n`` of the people whom the generator learns from."""
        run = self.run
        return training_requests(run.ranker.dataset, run.system.people.train, run.pictures.pictured, 0)[:n]

    def measure(self) -> dict[str, float | None]:
        """Every figure by its name; what is known so far is on disk after each part.

        A run of some parts keeps what the file holds of the others; a run of all begins with nothing.
        """
        file = self.args.json or self.folder / "generation.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = self.args.only and file.is_file()
        figures: dict[str, float | None] = json.loads(file.read_text()) if kept else {}
        for part in self.args.only or self.PARTS:
            figures |= getattr(self, part)()
            file.write_text(json.dumps(figures, indent=1))
        return figures

    def generation(self) -> dict[str, float]:
        """Images a second, and the time over that of the bare UNet and codec."""
        requests = self.requests(self.args.batch)
        taken = generation(
            self.run.components.new_generator(run.config.generator), requests, repeats=3 if self.args.quick else 8
        )
        rate, overhead = len(requests) / taken["product"], taken["product"] / taken["bare"]
        print(f"{len(requests)} pictures: {taken['product']:.2f} s ({rate:.1f} a second), bare {taken['bare']:.2f} s")
        print(f"  {overhead:.2f} times the bare UNet and codec; of it the preference {taken['preference']:.2f} s")
        print(f"  limit: arithmetic, {taken['flop'] / 1e9:.0f} GFLOP, {arithmetic(taken['flop']):.2f} s by a product")
        return {"images_per_second": rate, "overhead_vs_bare": overhead}

    def reward(self) -> dict[str, float]:
        """Share of reward training inside UNet, codec and the encoders of words and pictures."""
        quick = self.args.quick
        requests = self.requests(32 if quick else 128)
        total, inside = reward_training(self.run, requests, steps=3 if quick else 10)
        print(f"reward training, {total:.1f} s, of which inside:")
        for name, taken in sorted(inside.items(), key=lambda part: -part[1]):
            print(f"  {name}: {taken / total:.1%}")
        share = sum(inside[name] for name in ("UNet", "codec", "text encoder", "image encoder")) / total
        print(f"  UNet, codec and encoders: {share:.1%}")
        ragar = self.run.components.new_generator(run.config.generator)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            ragar.generate(requests[:32])
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=50))
        return {"model_share": share}

    def gpu(self) -> dict[str, float | None]:
        """Times as many SD-1.5-sized pictures a second as diffusers' plain loop draws; None without a GPU."""
        if not torch.cuda.is_available():
            print("no GPU: SD-1.5-sized pictures are not measured")
            return {"gpu_speedup": None}
        quick = self.args.quick
        rows = table(full_size(), "cuda", n=16 if quick else 64, batch=16, steps=10 if quick else 20)
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
        show(rows)
        print("v_glob is drawn once and kept: where each request is visited again, half of its pictures cost nothing")
        return {"gpu_speedup": max(value for _, value in rows) / rows[0][1]}


def arithmetic(flop: float) -> float:
    """Seconds that this machine takes for as many operations in a large float32 product, now."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return flop / (2 * 2048**3) * seconds(lambda: a @ b, 5)


def main() -> None:
    """Measure, say what limits each figure, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("config", "data", "weights", "output", "json"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(Args(), name))
    parser.add_argument("--batch", type=int, default=Args.batch, help="pictures at a time")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; ends within 5 minutes")
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=Args.only,
        help=f"parts, by comma, of {', '.join(Benchmark.PARTS)}: the JSON keeps what it holds of the others, which "
        "without --only is begun anew",
    )
    args = Args(**vars(parser.parse_args()))
    print(json.dumps(Benchmark(args).measure(), indent=1))


if __name__ == "__main__":
    main()
