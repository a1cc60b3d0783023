"""The mapper: what goes in, what comes out, and that both inputs matter."""

import pytest
import torch

from generation.ragar.mapper import ModalMapper


@pytest.fixture
def mapper() -> ModalMapper:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ModalMapper(12, 6, 10, queries=7, width=16, layers=1, heads=2)


@pytest.mark.parametrize("tokens", [1, 3])
def test_as_many_rows_as_queries_for_any_number_of_tokens(
    mapper: ModalMapper, tokens: int, rng: torch.Generator
) -> None:
    out = mapper(torch.randn(2, tokens, 12, generator=rng), torch.randn(2, 6, generator=rng))
    assert out.shape == (2, 7, 10)
    assert (out[:, 0] - out[:, 1]).abs().max() > 1e-4  # the learned queries tell the rows apart


def test_neighbours_in_a_batch_do_not_matter(mapper: ModalMapper, rng: torch.Generator) -> None:
    states, visual = torch.randn(3, 2, 12, generator=rng), torch.randn(3, 6, generator=rng)
    torch.testing.assert_close(mapper(states, visual)[1:2], mapper(states[1:2], visual[1:2]), atol=1e-5, rtol=0)


def test_words_and_retrieved_pictures_reach_the_result(mapper: ModalMapper, rng: torch.Generator) -> None:
    states = torch.randn(1, 2, 12, generator=rng, requires_grad=True)
    visual = torch.randn(1, 6, generator=rng, requires_grad=True)
    mapper(states, visual).pow(2).sum().backward()
    for given in (states, visual):
        assert given.grad is not None
        assert given.grad.abs().max() > 1e-4


def test_training_and_evaluation_agree(mapper: ModalMapper, rng: torch.Generator) -> None:
    states, visual = torch.randn(1, 2, 12, generator=rng), torch.randn(1, 6, generator=rng)
    trained = mapper.train()(states, visual)
    with torch.no_grad():  # where torch would take another path
        torch.testing.assert_close(mapper.eval()(states, visual), trained, atol=1e-5, rtol=0)
