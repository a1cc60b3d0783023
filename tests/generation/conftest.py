"""The world of coloured shapes, trained once."""

import pytest
import torch

from generation.backbone.backbone import Backbone
from generation.backbone.pretrain import train_unet
from generation.training import Curves
from generation_world import EDIT, World, build_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="session")
def edit(world: World) -> Backbone:
    """A backbone that edits, trained for three steps."""
    captions, images = world.gallery.captions[:24], world.gallery.images[:24]
    return train_unet(captions, images, world.encoder, EDIT, curves=Curves(), progress=False)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
