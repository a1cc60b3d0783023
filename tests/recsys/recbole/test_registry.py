import pytest

from recsys.recbole.registry import ranker_class


def test_rankers_by_name() -> None:
    assert ranker_class("LightGCN").__module__ == "recsys.rankers.lightgcn"
    assert ranker_class("MICRO").__module__ == "recsys.rankers.micro"
    assert ranker_class("BPR").__module__.startswith("recbole.")
    with pytest.raises(ValueError, match="no ranker 'LigtGCN'; did you mean 'LightGCN'"):
        ranker_class("LigtGCN")
