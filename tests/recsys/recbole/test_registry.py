import pytest
import recbole.model.general_recommender
from recbole.evaluator.register import metric_types, metrics_dict
from recbole.utils.enum_type import EvaluatorType

from recsys.recbole import registry
from recsys.recbole.keys import metric_names
from recsys.recbole.registry import check_name, ranker_class, reads_pictures


def test_rankers_by_name() -> None:
    assert ranker_class("LightGCN").__module__ == "recsys.rankers.lightgcn"
    assert ranker_class("MICRO").__module__ == "recsys.rankers.micro"
    assert ranker_class("BPR").__module__.startswith("recbole.")
    with pytest.raises(ValueError, match="no ranker 'LigtGCN'; did you mean 'LightGCN'"):
        ranker_class("LigtGCN")


@pytest.mark.parametrize(("typed", "meant"), [("Micro", "MICRO"), ("micro", "MICRO"), ("lightgcn", "LightGCN")])
def test_the_case_of_letters_does_not_hide_the_nearest_name(typed: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"there is no ranker '{typed}'; did you mean '{meant}'"):
        check_name(typed)


def test_recboles_names_as_read_are_those_that_it_exports() -> None:
    exported = {name for name, value in vars(recbole.model.general_recommender).items() if isinstance(value, type)}
    assert set(registry._recbole_names()) == exported
    assert set(metric_names()) == {value.__name__ for value in metrics_dict.values()}
    single = {name.lower() for name, single in metric_names().items() if single}
    assert single - {"gauc"} == {name for name, kind in metric_types.items() if kind == EvaluatorType.VALUE}


def test_defaults_stand_beside_their_classes_by_name() -> None:
    for name in registry._MODULES:
        assert ranker_class(name).DEFAULTS == registry.own_defaults(name)
        assert reads_pictures(name) == hasattr(ranker_class(name), "frozen")


def test_a_ranker_of_ones_own_that_is_not_there(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_own.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"the ranker 'late_none:Own' cannot be imported \(No module .* PYTHONPATH"):
        ranker_class("late_none:Own")
    with pytest.raises(ValueError, match="the ranker 'late_own:Own' is not there: module 'late_own' has no attribute"):
        ranker_class("late_own:Own")
