"""Whether this machine multiplies bfloat16 natively; emulated it is far slower than float32."""

from __future__ import annotations

from functools import cache

import torch


@cache
def has_native_bf16(device_type: str) -> bool:
    """device_type: "cuda" or "cpu"."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
