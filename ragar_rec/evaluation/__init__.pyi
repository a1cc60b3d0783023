from .controls import ShuffledUserSampler as ShuffledUserSampler
from .protocols import Candidates as Candidates
from .protocols import Reference as Reference
from .results import Results as Results
from .results import Row as Row
