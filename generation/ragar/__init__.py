"""RAGAR (Ling et al. 2026): eq. 2-9 in `ragar.py` and its parts, a file an equation or two; eq. 10-15 in `reflection.py`.

May import: everything of `generation` but `systems`. Begin with `ragar.py`; eq. 5 is in `retrieval.py`, eq. 7 in
`language.py`, eq. 8 in `mapper.py`, eq. 9 in `calibrator.py`, eq. 10-12 in `rank_term.py` and `policy.py`, eq. 13-14 in
`losses.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
