"""The worlds' script as its reader starts it."""

import pytest

from experiments import worlds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--worlds", "serves,heals"], "no world is called heals; there are serves, flatters, "),
        (["--seeds", "0"], "--seeds and --jobs must be at least 1, not 0 and 1"),
    ],
)
def test_bad_arguments(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        worlds.main(arguments)
    assert sentence in capsys.readouterr().err
