"""Studies: measurements on experiments that the scripts in experiments/ print: rankers, objectives, fidelity, speed.

May import: everything of `ragar_rec` but `cli` and `pipeline`. Begin with `rankers.py`, the table of rankers,
and `benchmark.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
