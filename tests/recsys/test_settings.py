import pytest

from recsys.settings import check_between, check_choice, check_positive, check_whole


def test_what_is_allowed_passes() -> None:
    check_choice({"a": "x"}, "a", ("x", "y"))
    check_whole({"a": 3}, "a", least=3)
    check_whole({"a": "all"}, "a", least=3, word="all")
    for value in (0, 0.5, 1):
        check_between({"a": value}, "a", 0, 1)
    check_between({"a": 1e9}, "a", 0)
    check_positive({"a": 1e-9}, "a")


@pytest.mark.parametrize("value", [2, 3.0, "3", True, None])
def test_whole_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=f"a is {value!r}, but must be a whole number from 3 on"):
        check_whole({"a": value}, "a", least=3)


@pytest.mark.parametrize("value", [0, "some"])
def test_whole_numbers_or_a_word(value: object) -> None:
    with pytest.raises(ValueError, match=f"a is {value!r}, but must be a whole number from 1 on or 'all'"):
        check_whole({"a": value}, "a", least=1, word="all")


@pytest.mark.parametrize("value", [-0.1, 1, 2, "0.5", False, None, float("nan")])
def test_ranges(value: object) -> None:
    with pytest.raises(ValueError, match=rf"a is {value!r}, but must lie in \[0, 1\)"):
        check_between({"a": value}, "a", 0, 1, open_end=True)


@pytest.mark.parametrize("value", [0, -1.0, "0.5", True, None, float("nan"), float("inf")])
def test_positive_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=f"a is {value!r}, but must be a number above 0"):
        check_positive({"a": value}, "a")


def test_words() -> None:
    with pytest.raises(ValueError, match="a is 'z', but must be one of x, y"):
        check_choice({"a": "z"}, "a", ("x", "y"))
