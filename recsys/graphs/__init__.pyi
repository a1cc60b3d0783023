from .adjacency import interaction_adjacency as interaction_adjacency
from .item_graph import ItemGraph as ItemGraph
from .item_graph import item_graph as item_graph
from .neighbours import Search as Search
from .propagation import Propagation as Propagation
from .propagation import layer_mean as layer_mean
from .subgraph import Neighbourhoods as Neighbourhoods
