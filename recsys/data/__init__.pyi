from .atomic import Summary as Summary
from .atomic import write_dataset as write_dataset
from .preparers import PREPARERS as PREPARERS
from .preparers import Preparer as Preparer
