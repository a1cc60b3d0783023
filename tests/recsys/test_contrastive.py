import numpy as np
import pytest
import torch

from recsys.contrastive import contrastive_loss, draw_anchors


def test_contrastive_loss_by_hand() -> None:
    """Two items, tau 1, views (1,0),(0,1) and (1,0),(1,0). Item 0: own 1 + e^0, other e + e, so
    log(e + 1 + 2e - e) - 1 with own self e; item 1: own e^0 + e, other e^0 + e^0: log(1 + 2) - 0.
    """
    one, two = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    first = np.log(1 + 2 * np.e) - 1
    second = np.log(1 + 2)
    loss = contrastive_loss(one, two, torch.tensor([0, 1]), 1.0)
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-6)
    assert float(contrastive_loss(one, two, torch.tensor([1]), 1.0)) == pytest.approx(second, abs=1e-6)


def test_sampled_anchors_estimate_the_full_loss_without_bias(rng: torch.Generator) -> None:
    """400 draws of 8 of 40 anchors: the mean lies within 4 standard errors of the loss over all."""
    one, two = torch.randn(40, 5, generator=rng), torch.randn(40, 5, generator=rng)
    full = contrastive_loss(one, two, torch.arange(40), 0.5)
    draws = torch.stack([contrastive_loss(one, two, torch.randperm(40, generator=rng)[:8], 0.5) for _ in range(400)])
    assert abs(draws.mean() - full) < 4 * draws.std() / 20


def test_anchors_are_different_items_and_repeatable() -> None:
    draws = [draw_anchors(50, 20, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert len(draws[0].unique()) == 20
    assert draw_anchors(5, 20, generator=torch.Generator()).sort().values.tolist() == [0, 1, 2, 3, 4]
    assert draw_anchors(4, "all", generator=torch.Generator()).tolist() == [0, 1, 2, 3]
