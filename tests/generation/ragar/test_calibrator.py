"""The calibrator: eq. 9 as printed by hand, an identity to begin with, and weights that multiply the attention."""

import math

import pytest
import torch
from torch import Tensor

from generation.ragar.calibrator import BalanceCalibrator


def trained(width: int = 8, heads: int = 2, mode: str = "residual_concat") -> BalanceCalibrator:
    """A calibrator whose attention is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        calibrator = BalanceCalibrator(width, heads=heads, mode=mode)  # type: ignore[arg-type]
        torch.nn.init.normal_(calibrator.attention.out_proj.weight)
    return calibrator


def random(rng: torch.Generator, rows: int, overall: int, width: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(2, rows, width, generator=rng),
        torch.randn(2, overall, width, generator=rng),
        torch.rand(2, overall, generator=rng),
    )


def test_residual_modes_begin_as_the_identity(rng: torch.Generator) -> None:
    detail, overall, weights = random(rng, 3, 4)
    assert torch.equal(BalanceCalibrator(8, mode="residual")(detail, overall, weights), detail)
    both = BalanceCalibrator(8)(detail, overall, weights)
    assert torch.equal(both, torch.cat([detail, overall], dim=1))


def test_the_literal_mode_by_hand() -> None:
    detail = torch.tensor([[[1.0, 0.0]]])
    overall = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    calibrator = BalanceCalibrator(2, mode="literal")
    assert list(calibrator.parameters()) == []
    # scores 1 * 1 / sqrt 2 and 0
    first = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    out = calibrator(detail, overall, torch.ones(1, 2))
    torch.testing.assert_close(out, torch.tensor([[[first, 1 - first], [1.0, 0.0], [0.0, 1.0]]]))
    # half the weight for the second row
    first = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 0.5)
    out = calibrator(detail, overall, torch.tensor([[1.0, 0.5]]))
    torch.testing.assert_close(out[0, 0], torch.tensor([first, 1 - first]))
    out = calibrator(detail, overall, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(out[0, 0], torch.tensor([0.0, 1.0]))


def test_the_residual_formula_by_hand() -> None:
    calibrator = BalanceCalibrator(2, heads=1, mode="residual")
    with torch.no_grad():
        calibrator.attention.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
        calibrator.attention.in_proj_bias.zero_()
        calibrator.attention.out_proj.weight.copy_(torch.eye(2))
    # LayerNorm([3, 1]) = [1, -1]; against [1, 0] and [0, 1] the scores are +-1 / sqrt 2
    first = 1 / (1 + math.exp(-math.sqrt(2)))
    out = calibrator(torch.tensor([[[3.0, 1.0]]]), torch.eye(2)[None], torch.ones(1, 2))
    torch.testing.assert_close(out, torch.tensor([[[3 + first, 1 + 1 - first]]]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["residual_concat", "residual", "literal"])
def test_weight_zero_hides_a_row(mode: str, rng: torch.Generator) -> None:
    detail, overall, weights = random(rng, 3, 4)
    weights[:, 2] = 0
    calibrator = BalanceCalibrator(8, mode="literal") if mode == "literal" else trained(mode=mode)
    expected = calibrator(detail, overall, weights)[:, :3]
    overall[:, 2] = torch.randn(2, 8, generator=rng)
    torch.testing.assert_close(calibrator(detail, overall, weights)[:, :3], expected, atol=1e-6, rtol=0)
    overall[:, 1] += 1
    assert (calibrator(detail, overall, weights)[:, :3] - expected).abs().max() > 1e-2


@pytest.mark.parametrize("mode", ["residual", "literal"])
def test_weight_two_equals_a_repeated_row(mode: str, rng: torch.Generator) -> None:
    detail, overall, _ = random(rng, 3, 2)
    calibrator = BalanceCalibrator(8, mode="literal") if mode == "literal" else trained(mode=mode)
    twice = calibrator(detail, overall[:, [0, 1, 1]], torch.ones(2, 3))
    weighted = calibrator(detail, overall, torch.tensor([[1.0, 2.0]]).expand(2, -1))
    torch.testing.assert_close(weighted[:, :3], twice[:, :3], atol=1e-5, rtol=0)


def test_each_request_has_its_own_weights(rng: torch.Generator) -> None:
    # the heads of one request must not take the next one's weights
    detail, overall, weights = random(rng, 3, 4)
    calibrator = trained(heads=4)
    both = calibrator(detail, overall, weights)
    for i in range(2):
        alone = calibrator(detail[i : i + 1], overall[i : i + 1], weights[i : i + 1])
        torch.testing.assert_close(both[i], alone[0], atol=1e-5, rtol=0)
