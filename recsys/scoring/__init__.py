"""Evaluation of trained rankers: ranks, Recall@k, NDCG@k, Delta R, counterfactual scores, and their statistics.

May import: `recsys.recbole` and `recsys.settings`. Begin with `metrics.py` (NDCG) and `counterfactual.py` (eq. 10).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
