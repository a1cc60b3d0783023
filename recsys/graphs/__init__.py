"""Graphs and what runs over them: user-item adjacency, item graphs, nearest neighbours (faiss), message passing.

May import: `recsys.settings` and `recsys.recbole.isolation`. Begin with `item_graph.py` and `propagation.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
