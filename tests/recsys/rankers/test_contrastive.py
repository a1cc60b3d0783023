import numpy as np
import pytest
import torch

from recsys.rankers import contrastive
from recsys.rankers.contrastive import contrastive_loss, draw_items


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


def _dense(one: torch.Tensor, two: torch.Tensor, tau: float) -> torch.Tensor:
    """The formula as printed, every similarity at once."""
    one, two = (view / view.norm(dim=1, keepdim=True) for view in (one, two))
    own, other = (one @ one.T / tau).exp(), (one @ two.T / tau).exp()
    return -(other.diagonal() / (own.sum(1) + other.sum(1) - own.diagonal())).log().mean()


@pytest.mark.parametrize("held", [2**23, 100])
def test_value_and_gradient_equal_the_dense_formula(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """However many similarities are held at a time: 100 are two anchors of 20 items."""
    monkeypatch.setattr(contrastive, "SIMILARITIES", held)
    one, two = views = [torch.randn(20, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(2)]
    loss = contrastive_loss(one, two, torch.arange(20), 0.5)
    expected = _dense(one, two, 0.5)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-12)
    for actual, exact in zip(torch.autograd.grad(loss, views), torch.autograd.grad(expected, views), strict=True):
        torch.testing.assert_close(actual, exact)


def test_no_temperature_overflows() -> None:
    """cos 1 against cos 0 at tau 0.001: e^1000 is no float32, the loss is still log 2 for equal and 0 for far views."""
    one = torch.eye(3)
    assert float(contrastive_loss(one, one, torch.arange(3), 1e-3)) == pytest.approx(0, abs=1e-6)
    swapped = one[[1, 0, 2]]
    assert float(contrastive_loss(one, swapped, torch.tensor([0]), 1e-3)) == pytest.approx(1000, rel=1e-6)


def test_one_item_has_no_negatives() -> None:
    one = torch.ones(1, 4, requires_grad=True)
    loss = contrastive_loss(one, one, torch.tensor([0]), 0.5)
    loss.backward()
    assert float(loss.detach()) == 0
    assert one.grad is not None
    assert one.grad.tolist() == [[0.0] * 4]


def test_sampled_anchors_estimate_loss_and_gradient_without_bias(rng: torch.Generator) -> None:
    """400 draws of 8 of 40 anchors: each mean lies within 4 standard errors of what all anchors give. The gradient of
    each view is taken along five directions, the first of them its own, along which nothing cancels.
    """
    one, two = (torch.randn(40, 5, generator=rng).requires_grad_() for _ in range(2))

    def loss_and_gradients(anchors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = contrastive_loss(one, two, anchors, 0.5)
        return loss.detach(), torch.stack(torch.autograd.grad(loss, (one, two)))  # (2, 40, 5)

    full, gradients = loss_and_gradients(torch.arange(40))
    directions = torch.cat([gradients[None], torch.randn(4, 2, 40, 5, generator=rng)])
    draws = []
    for _ in range(400):
        loss, drawn = loss_and_gradients(draw_items(40, 8, generator=rng))
        draws.append(torch.cat([loss[None], torch.einsum("vid,nvid->nv", drawn, directions).flatten()]))
    values = torch.stack(draws)
    expected = torch.cat([full[None], torch.einsum("vid,nvid->nv", gradients, directions).flatten()])
    assert ((values.mean(0) - expected).abs() < 4 * values.std(0) / 20).all()
    assert (expected[1:3] > 20 * values.std(0)[1:3] / 20).all()  # far from 0: an absent gradient would not pass


def test_all_items_as_negatives_are_the_exact_loss(rng: torch.Generator) -> None:
    one, two = torch.randn(30, 4, generator=rng), torch.randn(30, 4, generator=rng)
    shuffled = torch.randperm(30, generator=rng)
    exact = contrastive_loss(one, two, torch.arange(7), 0.5)
    torch.testing.assert_close(contrastive_loss(one, two, torch.arange(7), 0.5, shuffled), exact)


def test_sampled_negatives_are_scaled_up_by_hand() -> None:
    """tau 1, four items, anchor 0 and the one negative 1: others e^0 + e^0 = 2, scaled by 3 / 1; the positive is e."""
    one = torch.eye(4)
    loss = contrastive_loss(one, one, torch.tensor([0]), 1.0, torch.tensor([1]), 4)
    assert float(loss) == pytest.approx(np.log(6 + np.e) - 1, abs=1e-6)
    # The anchor among the negatives is left out of them: two others of the three stay, scaled by 3 / 2.
    loss = contrastive_loss(one, one, torch.tensor([0]), 1.0, torch.tensor([0, 2, 3]), 4)
    assert float(loss) == pytest.approx(np.log(6 + np.e) - 1, abs=1e-6)


def test_sampled_negatives_underestimate_a_little(rng: torch.Generator) -> None:
    """The approximation that the docstring states: by about the relative variance of the sum over two."""
    one, two = torch.randn(400, 6, generator=rng), torch.randn(400, 6, generator=rng)
    anchors = torch.arange(50)
    exact = contrastive_loss(one, two, anchors, 0.5)
    draws = [contrastive_loss(one, two, anchors, 0.5, draw_items(400, 40, generator=rng), 400) for _ in range(200)]
    mean = torch.stack(draws).mean()
    assert exact - 0.02 < mean < exact


def test_anchors_are_different_items_and_repeatable() -> None:
    draws = [draw_items(50, 20, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert len(draws[0].unique()) == 20
    assert draw_items(5, 20, generator=torch.Generator()).sort().values.tolist() == [0, 1, 2, 3, 4]
    assert draw_items(4, "all", generator=torch.Generator()).tolist() == [0, 1, 2, 3]
