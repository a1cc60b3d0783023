"""Rankers, one a file: MICRO, LATTICE, FREEDOM, VBPR, BM3, LightGCN, Pop. RecBole models that return scores of items.

May import: `recsys.graphs`, `recsys.recbole` and `recsys.features`. Begin with `micro.py`; a new ranker is a file beside it
whose class derives from `dot_product.DotProductRanker`, named in `recsys.recbole.registry`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
