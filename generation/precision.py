"""What frozen models in bfloat16 hand to what is trained."""

import torch
from torch import Tensor


def single(x: Tensor) -> Tensor:
    """Half precision as float32; float32, and the float64 in which gradients are checked, as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
