"""A trained prefix: it moves the states, and the model under it stays as it was."""

import torch

from generation.language.prefix import prefix_of, with_prefix
from generation_world import World


def test_only_the_prefix_is_trained_and_the_model_is_left_as_it_was(world: World) -> None:
    """Two layers' keys and values of two heads of 8: 1 x 2 x 16 numbers a position, 3 positions (one layer here)."""
    language = world.language()
    model, inputs = language.model.base_model, torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    before = model(inputs_embeds=inputs).last_hidden_state
    random_state = torch.random.get_rng_state()
    prefixed = with_prefix(model, 3, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    trainable = [value for value in prefixed.parameters() if value.requires_grad]
    assert [tuple(value.shape) for value in trainable] == [(3, 1 * 2 * 16)]
    assert trainable[0] is next(prefix_of(prefixed).parameters())
    after = prefixed(inputs_embeds=inputs, attention_mask=torch.ones(2, 5, dtype=torch.long)).last_hidden_state
    assert (after - before).abs().max() > 1e-3
    assert torch.equal(model(inputs_embeds=inputs).last_hidden_state, before)
    again = with_prefix(model, 3, torch.Generator().manual_seed(0))
    assert torch.equal(next(prefix_of(again).parameters()), trainable[0])
