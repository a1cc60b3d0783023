"""Rankers, one per file: MICRO, LATTICE, FREEDOM, VBPR, BM3, LightGCN, EASE and Pop, all RecBole models.

May import: `recsys.graphs`, `recsys.recbole`, `recsys.features` and `recsys.settings`. Begin with `lightgcn.py`, then
`micro.py`; a new ranker is a file beside them with a subclass of `dot_product.DotProductRanker`, listed in
`recsys.recbole.registry`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
