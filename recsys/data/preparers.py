"""Data sets by name. (The recsys helper owns this file; see its branch.)"""

from recsys.data import ml_100k, ml_latest, mmrec, own

PREPARERS = {"ml-100k": ml_100k, "ml-latest": ml_latest, "own": own, "mmrec": mmrec}
