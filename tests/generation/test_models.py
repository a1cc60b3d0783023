"""The section ``models``: combinations that are allowed, and where weights are looked for."""

from pathlib import Path

import pytest
import torch

from generation.models import ModelsConfig


def conflicts(**settings: object) -> str:
    return "\n".join(ModelsConfig(**settings).conflicts())  # type: ignore[arg-type]


def test_the_defaults_and_a_whole_set_go_together() -> None:
    assert conflicts() == ""
    assert (
        conflicts(backbone="weights/sd", encoder="weights/clip", language="weights/qwen", visual="timm:resnet18") == ""
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "weights/sd"}, "backbone and encoder belong together"),
        ({"encoder": "weights/clip"}, "backbone and encoder belong together"),
        ({"visual": "ip-adapter"}, "ip_adapter and visual: ip-adapter belong together"),
        ({"ip_adapter": "weights/IP-Adapter"}, "ip_adapter and visual: ip-adapter belong together"),
        ({"ip_adapter": "weights/IP-Adapter", "visual": "ip-adapter"}, "ip_adapter is made for SD-1.x: name its"),
        ({"visual": "resnet18"}, "visual 'resnet18' is neither dual nor ip-adapter nor timm: with a"),
        ({"visual": "timm:resnett18"}, "timm has no model 'resnett18': do you mean resnet18?"),
        ({"visual": "timm:!"}, "timm has no model '!'"),
    ],
)
def test_a_combination_that_is_not_allowed_is_reported(settings: dict[str, str], message: str) -> None:
    assert message in conflicts(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none() -> None:
    assert "device cuda: this machine" in conflicts(device="cuda")


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    models = ModelsConfig(visual="timm:resnet18")
    with pytest.raises(FileNotFoundError, match="timm:resnet18 needs pretrained weights: name the folder of resnet18/"):
        models.visual_encoder(None)
    with pytest.raises(FileNotFoundError, match=r"no weights of resnet18 at .*`hf download timm/resnet18"):
        models.visual_encoder(tmp_path)
    assert ModelsConfig().visual_encoder(None) is None
