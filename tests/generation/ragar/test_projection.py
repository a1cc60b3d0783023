"""The fitted projection of eq. 13, for a visual encoder that shares no space with words."""

from dataclasses import replace

import torch

from generation.ragar.projection import fit_projection
from generation_world import World


def test_features_that_are_linear_in_the_words_are_found_again(world: World) -> None:
    """Pictures whose features are W x (mean state of the caption): without penalty W is what comes out, centred."""
    states = world.backbone.states(world.gallery.captions[:24]).mean(1)  # (24, 32)
    true = torch.randn(32, 7, generator=torch.Generator().manual_seed(0))
    centred = states - states.mean(0)
    visual = torch.cat([centred @ true + 3.0, torch.full((1, 7), 99.0)])  # the last item has no picture
    gallery = replace(world.gallery, visual=visual)
    fitted = fit_projection(world.backbone, gallery, ridge=1e-9, batch_size=5)
    assert fitted.shape == (32, 7)
    torch.testing.assert_close(states @ fitted, centred @ true, atol=0.02, rtol=0)
    assert (states @ true - centred @ true).abs().max() > 0.5  # W itself would not do: it keeps the mean


def test_the_penalty_shrinks_by_the_share_it_says(world: World) -> None:
    """A penalty of 1e6 mean squared singular values leaves gram^-1 ~ 1 / (1e6 x mean): X'Y over that."""
    states = world.backbone.states(world.gallery.captions[:24]).mean(1).double()
    visual = world.gallery.visual[:24].double()
    expected = states.T @ (visual - visual.mean(0)) / (1e6 * (states**2).sum() / 32)
    fitted = fit_projection(world.backbone, world.gallery, ridge=1e6)
    torch.testing.assert_close(fitted, expected.float(), atol=1e-12, rtol=1e-3)
