from dataclasses import asdict

import pytest

from generation.backbone.config import PretrainConfig
from generation.ragar.config import RagarConfig
from ragar_rec.config.schema import Range, conform, expectation, field_types, narrowed, nearest_key
from ragar_rec.config.sections import DrawingConfig, EvaluationConfig, FeaturesConfig, MeasuringConfig


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, int), (1, bool), (1.5, int), (True, float), (float("nan"), float), (float("inf"), float), (3, str)],
)
def test_types_are_not_mixed_up(value, kind):
    with pytest.raises(ValueError, match="expected"):
        conform(value, kind)


def test_a_range_says_itself():
    assert str(Range(0, 1, above=True)) == "above 0 and at most 1"
    assert 0 not in Range(0, 1, above=True)
    assert 1 in Range(0, 1)
    assert expectation(field_types(RagarConfig)["history"]) == "one of top_k, next_k, random"
    whiten = field_types(FeaturesConfig)["whiten"]
    assert expectation(whiten) == "an integer, at least 1 or false"
    assert conform(False, whiten) is False
    for value in (0, True, "false", None, 1.5):
        with pytest.raises(ValueError, match=r"expected an integer, at least 1 or false, got "):
            conform(value, whiten)
    assert expectation(field_types(PretrainConfig)["unet_widths"]) == "a list, each an integer"
    assert expectation(field_types(EvaluationConfig)["k"]) == "an integer, at least 1"
    assert expectation(field_types(EvaluationConfig)["confidence"]) == "a number, at least 0.5 and at most 0.999"
    assert expectation(dict[str, float]) == "a mapping, each a number"
    assert conform({"a": 1, "b:c": -0.5}, dict[str, float]) == {"a": 1.0, "b:c": -0.5}
    for wrong in (["a"], {"a": "much"}, {"a": True}):
        with pytest.raises(ValueError, match="expected a mapping, each a number"):
            conform(wrong, dict[str, float])
    assert conform(None, int | None) is None
    with pytest.raises(ValueError, match="an integer or nothing"):
        conform("x", int | None)


def test_the_nearest_key_of_a_bare_name_may_stand_in_a_section():
    assert nearest_key("marginn", {"reflection.margin", "model", "epochs"}) == "reflection.margin"


def test_a_narrowed_config_has_exactly_the_fields_of_the_base():
    """Fields of the base keep their values; those that a subclass adds are gone, so that they change no key."""
    config = EvaluationConfig(users=7, candidates=3, seeds=(4, 5), k=20, resamples=50, report_users=1)
    drawing = narrowed(DrawingConfig, config)
    assert type(drawing) is DrawingConfig
    assert drawing == DrawingConfig(users=7, candidates=3, seeds=(4, 5))
    names = ["users", "candidates", "targets", "protocols", "seeds", "batch_size"]
    assert list(asdict(drawing)) == list(field_types(DrawingConfig)) == names
    assert asdict(narrowed(MeasuringConfig, config)) == asdict(drawing) | {
        "controls": config.controls,
        "draws": 20,
        "k": 20,
        "permutations": 1000,
    }
    assert narrowed(DrawingConfig, drawing) == drawing
