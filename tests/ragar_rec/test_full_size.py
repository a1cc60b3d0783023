"""The preset ``sd15`` at its true sizes with random weights: the same run as ``tiny``, from folders to a picture."""

import re
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from film_world import film_folder
from full_size import PARAMETERS, save_full_size
from generation.ragar.pipeline import RagarPipeline
from generation.ragar.ragar import Ragar
from generation.ragar.reflection import reflect
from generation.ragar.warm_start import ReflectionLog, warm_start
from ragar_rec.config.config import Config, sections
from ragar_rec.config.presets import find_config
from ragar_rec.evaluation.people import training_requests
from ragar_rec.experiment import Experiment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two dozen films and 4 GB of weights, which do not stay behind."""
    folder = tmp_path_factory.mktemp("full-size")
    film_folder(folder / "films")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, str]:
    return save_full_size(folder)


def preset(folder: Path, weights: dict[str, str], *overrides: str) -> Experiment:
    """The preset as it is shipped, with these folders, and without the two models that describe items."""
    models = [f"--models.{name}={source}" for name, source in weights.items()]
    words = ["--words.captions=palette", "--words.keywords=tfidf"]
    ranker = ["--epochs=1", "--knn_k=3", "--train_batch_size=128", "--features.text_dim=8", "--use_gpu=false"]
    config = Config.read("sd15", [*models, *words, *ranker, *overrides])
    return Experiment(config, folder / f"output-{config.models.device}", data=folder / "films", progress=False)


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Prints seconds, and the most memory that the process ever held."""
    start, busy = time.perf_counter(), time.process_time()
    yield
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gpu = f", on the GPU {torch.cuda.max_memory_allocated() / 2**30:.1f}" if torch.cuda.is_available() else ""
    print(f"\n{what}: {taken:.0f} s ({busy:.0f} s of processors), peak memory {memory:.1f} GB{gpu}", flush=True)


def sizes(run: Experiment, ragar: Ragar) -> dict[str, int]:
    theirs = run.components.pipeline.pipeline
    parts: dict[str, Any] = {
        "unet": theirs.unet,
        "vae": theirs.vae,
        "text_encoder": theirs.text_encoder,
        "language": ragar.language.model,
        "encoder": run.encoder.model.model,
    }
    return {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}


def goes_through(run: Experiment) -> None:
    """One warm-start step, one reward step and one sampling of two steps, each of which changes what it should."""
    with measured("weights read and the catalogue encoded"):
        ragar = run.components.new_generator(run.config.generator)
        assert sizes(run, ragar) == PARAMETERS
        assert ragar.gallery.images.shape[-2:] == (512, 512)
        assert ragar.text_projection.shape == (768, 768)
    before = {name: value.detach().clone() for name, value in ragar.trained_parts().items()}
    settings = replace(
        run.config.reflection,
        warm_start_steps=1,
        reward_steps=1,
        batch_size=1,
        samples=2,
        steps=1,
        rank=1,
        warm_start_learning_rate=2e-4,
    )
    log = ReflectionLog()
    with measured("one warm-start step"):
        warm_start(ragar, settings, log, progress=False)
    after = {name: value.detach().clone() for name, value in ragar.trained_parts().items()}
    assert {name for name in before if torch.equal(before[name], after[name])} == {
        name for name in before if name.startswith("calibrator")
    }
    requests = training_requests(run.ranker.dataset, run.ragar.people.train, run.pictures.pictured, 0)[:2]
    with measured("one reward step, 512 x 512"):
        reflect(ragar, requests, run.ranker.reward, settings, log, progress=False)
    parts = ragar.trained_parts()
    assert any(not torch.equal(after[name], parts[name]) for name in parts if name.startswith("calibrator"))
    assert all(value.isfinite().all() for value in parts.values())
    norms = {name: values[0][1] for name, values in log.curves.values.items() if name.startswith("gradient norm")}
    assert norms["gradient norm: cal"] > 0
    assert norms["gradient norm: sem"] > 0
    with measured("one sampling of two steps, 512 x 512"):
        out = RagarPipeline(ragar)(
            requests[0].history, requests[0].reference, seeds=[0], num_inference_steps=4, strength=0.5, output_type="pt"
        )
    assert out.images.shape == (1, 3, 512, 512)
    assert out.images.isfinite().all()
    assert out.images.std() > 0


def test_the_page_shows_the_preset_and_it_can_be_read() -> None:
    page = (ROOT / "docs" / "full-size.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shown, whole = yaml.safe_load(block), yaml.safe_load(find_config("sd15").read_text(encoding="utf-8"))
    ours = {key: value for key, value in whole.items() if key in sections()}
    assert shown == {key: value for key, value in ours.items() if key not in ("catalog", "evaluation", "diagnosis")}
    config = Config.read("sd15", ["--models.device=cpu"])
    assert (config.models.precision, config.models.channels_last) == ("bfloat16", True)
    assert config.backbone.image_height == 512


@pytest.mark.slow
def test_full_size_on_the_cpu(folder: Path, weights: dict[str, str]) -> None:
    """In bfloat16, which halves the memory; a processor without AMX takes many times as long."""
    goes_through(preset(folder, weights, "--models.device=cpu"))


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_full_size_on_a_gpu_in_bfloat16(folder: Path, weights: dict[str, str]) -> None:
    goes_through(preset(folder, weights))
