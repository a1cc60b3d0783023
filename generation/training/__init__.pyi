from .curves import Curves as Curves
from .loop import Training as Training
from .loop import time_left as time_left
from .resume import Resume as Resume
from .schedule import batches as batches
from .schedule import one_cycle as one_cycle
from .schedule import update_average as update_average
