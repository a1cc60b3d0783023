"""What a sheet shows where."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ragar_rec.studies.sheets import save_closest, save_sheet


def constant(*colours: tuple[float, float, float]) -> torch.Tensor:
    """Pictures of 4 x 2 pixels of one colour each."""
    return torch.tensor(colours).view(-1, 3, 1, 1).expand(-1, 3, 4, 2)


RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def test_a_sheet_has_a_column_a_kind(tmp_path: Path) -> None:
    """Pictures of 4 x 2 pixels, doubled, 6 pixels apart, 24 below the top: the second column's second is blue."""
    save_sheet({"a": constant(RED), "b": constant(RED, BLUE)}, tmp_path / "sheet.png")
    grid = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert grid.shape == (24 + 2 * 14, 2 * 10 + 6, 3)
    assert (grid[24:32, 6:10] == (255, 0, 0)).all()
    assert (grid[38:46, 16:20] == (0, 0, 255)).all()
    assert (grid[38:46, 6:10] == 255).all()


def test_the_picture_nearest_to_a_training_picture_stands_beside_it(tmp_path: Path) -> None:
    """Of a red and a blue picture at distances 2 and 1, one is shown: the blue one, beside training picture 0."""
    neighbours = {"a": (torch.tensor([2.0, 1.0]), torch.tensor([1, 0]))}
    training = (constant((0.0, 1.0, 0.0), RED) * 255).byte()
    save_closest({"a": constant(RED, BLUE)}, neighbours, training, 1, tmp_path / "closest.png")
    grid = np.asarray(Image.open(tmp_path / "closest.png"))
    assert grid.shape == (24 + 14, 2 * 10 + 6, 3)
    assert (grid[24:32, 6:10] == (0, 0, 255)).all()
    assert (grid[24:32, 16:20] == (0, 255, 0)).all()
