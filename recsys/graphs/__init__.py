"""Graphs: user-item adjacency, k-nearest-neighbour item graphs, neighbour search (faiss), message passing, subgraphs.

May import: `recsys.settings` and `recsys.recbole.isolation`. Begin with `item_graph.py` and `propagation.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
