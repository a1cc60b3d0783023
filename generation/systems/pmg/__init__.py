"""PMG (Shen et al. 2024): keywords and soft tokens of a preference, and the best of several pictures.

Begin with `pmg.py` (inference) and `training.py`. Nothing is retrieved, and no ranker is asked.
"""
