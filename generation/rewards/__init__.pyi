from .aesthetic import Aesthetic as Aesthetic
from .relevance import Relevance as Relevance
