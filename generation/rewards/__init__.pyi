from .aesthetic import Aesthetic as Aesthetic
from .ensemble import Ensemble as Ensemble
from .personal import Personal as Personal
from .relevance import Relevance as Relevance
