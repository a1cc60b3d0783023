"""Conversion between frozen models in bfloat16 and trained modules in float32."""

import torch
from torch import Tensor


def to_single_precision(x: Tensor) -> Tensor:
    """Half precision to float32; float32, and float64, in which gradients are checked, stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
