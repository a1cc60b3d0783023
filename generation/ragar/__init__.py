"""RAGAR (Ling et al. 2026), eq. 2-15: a module for each equation or two, and the diffusers-style pipeline.

May import: everything of `generation` but `systems`. Begin with `ragar.py` (inference) and `reflection.py` (training).

| eq.   | what                                            | module                              |
|-------|-------------------------------------------------|-------------------------------------|
| 2-5   | retrieval, P_ret                                | `retrieval.py`, `history.py`        |
| 6     | keywords, prompts                               | `description.py`                    |
| 7     | language model, E_txt and E_img                 | `language.py`                       |
| 8     | modal mapper, E_d                               | `mapper.py`                         |
| 9     | balance calibrator, P_gen                       | `calibrator.py`                     |
| 10    | scores of v_ref, v_glob, v_gen                  | `scoring.py`                        |
| 11    | reward and advantage                            | `advantage.py`                      |
| 12    | Gaussian policy, L_rank                         | `policy.py`, `rank_term.py`         |
| 13-14 | L_cal, L_sem                                    | `losses.py`                         |
| 15    | the weighted sum and its training               | `reflection.py`                     |
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
