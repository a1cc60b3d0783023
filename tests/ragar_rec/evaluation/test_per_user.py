import pandas as pd
import pytest

from ragar_rec.evaluation.per_user import COLUMNS, read_per_user, write_per_user


def per_user() -> pd.DataFrame:
    """Two users with a value each in one cell."""
    records = [(user, "ragar", "candidates", "original", "MICRO", 0, 0, "recall@10", float(user)) for user in "01"]
    return pd.DataFrame(records, columns=pd.Index(COLUMNS))


def test_a_frame_reads_back_with_its_rows_and_columns_sorted(tmp_path):
    path = tmp_path / "per_user.parquet"
    write_per_user(per_user().iloc[::-1, ::-1], path)
    pd.testing.assert_frame_equal(read_per_user(path), per_user())
    assert [file.name for file in tmp_path.iterdir()] == ["per_user.parquet"]


def test_a_frame_with_a_missing_column_or_two_values_is_refused(tmp_path):
    good = per_user()
    with pytest.raises(ValueError, match="lacks judge"):
        write_per_user(good.drop(columns="judge"), tmp_path / "x")
    with pytest.raises(ValueError, match=r"two values for .*'user': '0'"):
        write_per_user(pd.concat([good, good]), tmp_path / "x")
    assert not list(tmp_path.iterdir())
    good.drop(columns="judge").to_parquet(tmp_path / "x")
    with pytest.raises(ValueError, match="lacks judge"):
        read_per_user(tmp_path / "x")


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="ragar-rec evaluate"):
        read_per_user(tmp_path / "per_user.parquet")
