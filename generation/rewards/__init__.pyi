from .aesthetic import Aesthetic as Aesthetic
from .personal import Personal as Personal
from .relevance import Relevance as Relevance
