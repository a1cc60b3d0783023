"""The script that makes the shipped models: its pictures, and a package that a config can begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from experiments import package_backbone
from film_world import config_file, film_folder, open_run
from generation.backbone.backbone import Backbone
from ragar_rec.studies.package_pictures import joined, procedural, rendered_covers, stickers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two stickers of the style noto, a disc and a square on nothing, and one of another style."""
    home = tmp_path / "stickers"
    home.mkdir()
    lines = ["path,style,name,group,subgroup"]
    for name, style in (("disc", "noto"), ("square", "noto"), ("other", "blob")):
        picture = Image.new("RGBA", (128, 128))
        shape = ImageDraw.Draw(picture)
        (shape.ellipse if name == "disc" else shape.rectangle)((10, 10, 118, 118), fill=(200, 30, 30, 255))
        picture.save(home / f"{name}.png")
        lines.append(f"{name}.png,{style},{name},Symbols,geometric-shape")
    (home / "labels.csv").write_text("\n".join(lines) + "\n")
    return home


def test_a_seed_draws_the_same_pictures_and_each_says_what_it_is(folder: Path) -> None:
    def drawn() -> list:
        rng = np.random.default_rng(4)
        return [rendered_covers(3, rng), stickers(folder, "noto", rng), procedural(12, rng)]

    covers, shown, made = drawn()
    for once, again in zip((covers, shown, made), drawn(), strict=True):
        assert once.items == again.items and torch.equal(once.images, again.images)
    assert joined([covers, shown, made]).images.shape == (3 + 4 + 12, 3, 96, 64)
    assert {item.tags for item in shown.items} == {("geometric shape", "Symbols")}
    assert (shown.images[0][:, 0, 0] == 255).all()  # the first of each sticker stands on white
    assert len({item.title for item in made.items}) > 2
    assert all(item.title.endswith(")") and item.tags for item in covers.items)


def test_a_package_is_read_as_a_start(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, few = tmp_path / "package", ["--covers=6", "--procedural=6", "--encoder_steps=1", "--unet_steps=1"]
    package_backbone.main([f"--stickers={folder}", f"--output={output}", *few])
    assert f"written: {output}" in capsys.readouterr().out
    for file in output.glob("*/**/*.safetensors"):
        with safe_open(file, "pt") as weights:
            assert all(weights.get_tensor(name).dtype == torch.float16 for name in weights.keys())
    assert Backbone.from_pretrained(output / "backbone", (96, 64)).edits
    film_folder(tmp_path / "films")
    shape = {"encoder_width": 128, "encoder_layers": 3, "embed_dim": 64, "context": 32, "unet_widths": [64, 128]}
    keys = {"start": str(output), "encoder_steps": 0, "unet_steps": 0, **shape}
    config = config_file(tmp_path, **{f"backbone__{name}": value for name, value in keys.items()})
    run = open_run(config, tmp_path / "films", tmp_path / "out")
    assert run.encoder.model.dim == 64 and run.components.pipeline.picture_tokens is not None
