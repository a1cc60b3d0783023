import numpy as np
import pandas as pd

from ragar_rec.report.planted import format_planted


def test_a_line_for_each_size_and_the_size_that_is_found() -> None:
    table = pd.DataFrame({"size": [0.01, 0.05, 0.1], "gain": [0.0005, 0.0025, np.nan], "found": [0.2, 1.0, np.nan]})
    assert format_planted(table, 10).splitlines() == [
        "A gain of NDCG@10 planted in your own lists would have been found:",
        "  +1.0% (+0.0005) with a probability of 20%",
        "  +5.0% (+0.0025) with a probability of 100%",
        "  +10.0% cannot be: no order gains that",
        "A gain of +4.0% would have been found with a probability of 80 %.",
    ]
    assert format_planted(table.iloc[:1], 10).endswith("more people are needed, or a larger C.")
