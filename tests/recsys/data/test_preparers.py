import inspect
from pathlib import Path

import pytest

from recsys.data import PREPARERS, Preparer
from recsys.data.preparers import PreparerName


@pytest.mark.parametrize("name", PREPARERS)
def test_every_reader_has_the_functions_of_the_protocol(name: PreparerName) -> None:
    """Same parameters in the same order; the name a data set gets by default is the one under which it is listed."""
    for function in ("fingerprint", "prepare"):
        _, *parameters = inspect.signature(getattr(Preparer, function)).parameters
        assert list(inspect.signature(getattr(PREPARERS[name], function)).parameters) == parameters
    assert inspect.signature(PREPARERS[name].prepare).parameters["name"].default == name


@pytest.mark.parametrize("name", ["ml-latest", "own", "mmrec"])
def test_a_data_set_that_is_not_embedded_needs_a_folder(name: PreparerName, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name the folder with"):
        PREPARERS[name].fingerprint(None)
    with pytest.raises(FileNotFoundError, match="is empty; it must hold"):
        PREPARERS[name].prepare(tmp_path, tmp_path / "out", name)
