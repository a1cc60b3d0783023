from .atomic import Summary as Summary
from .atomic import write_dataset as write_dataset
