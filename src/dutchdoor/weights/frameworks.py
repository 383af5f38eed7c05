"""Bytes as tensors of torch or numpy, nothing copied: the weights' one door to torch.

torch is imported when a tensor of it is asked for, never before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dutchdoor.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import torch

__all__ = ["Framework", "check_framework", "load_into", "make_tensor", "torch_dtype"]

Framework = Literal["pt", "np"]

_TORCH = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip


def check_framework(name: str) -> Framework:
    """`pt` or `np`, of a name as safetensors takes it.

    Raises Invalid: another one. Raises Unavailable: torch is wanted and not installed.
    """
    if name in {"np", "numpy"}:
        return "np"
    if name not in {"pt", "torch", "pytorch"}:
        hint = "framework='pt' or framework='np'"
        raise Invalid(f"no framework {name!r}", code="bad_framework", hint=hint)
    _torch()
    return "pt"


def make_tensor(
    framework: Framework, dtype: str, shape: tuple[int, ...], data: memoryview, device: str = "cpu"
) -> Any:
    """A tensor over `data`: it shares the memory, except on another device.

    dtype: as safetensors writes it.
    Raises Invalid: the framework has no such type.
    """
    if framework == "np":
        kind = _NUMPY.get(dtype)
        if kind is None:
            hint = "read it with framework='pt'"
            raise Invalid(f"numpy has no type {dtype}", code="bad_dtype", hint=hint)
        return np.frombuffer(data, kind).reshape(shape)
    torch = _torch()
    kind_of = torch_dtype(dtype)
    if not len(data):
        return torch.empty(shape, dtype=kind_of, device=device)
    tensor = torch.frombuffer(data, dtype=kind_of).view(shape)
    return tensor if device == "cpu" else tensor.to(device)


def torch_dtype(dtype: str) -> torch.dtype:
    """torch's type of a safetensors type. Raises Invalid: it has none."""
    module = _torch()
    found = getattr(module, _TORCH.get(dtype, "-"), None)
    if found is None:
        hint = "convert the weights to a type that torch has"
        raise Invalid(f"torch has no type {dtype}", code="bad_dtype", hint=hint)
    return found  # type: ignore[no-any-return]


def load_into(module: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Makes these tensors the parameters and buffers of a module, on the meta device as a rule.

    Nothing is copied. Tied parameters that the model declares are tied again.
    Raises Invalid: a tensor is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        message = "a tensor is of another shape than the model's"
        raise Invalid(message, code="bad_model", hint="build the model by its config") from error
    tie = getattr(module, "tie_weights", None)
    if callable(tie):
        tie()
    known = {name for name, _ in [*module.named_parameters(), *module.named_buffers()]}
    everywhere = set(module.state_dict())
    unknown = sorted(set(tensors) - everywhere)
    left = sorted(
        name
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if tensor.is_meta
    )
    if unknown or left:
        message = f"{len(unknown)} tensors unknown to the model, {len(left)} of {len(known)} unset"
        hint = "build the model by the bundle's own config.json"
        raise Invalid(message, code="bad_model", hint=hint)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        hint = "install dutchdoor[torch], or read with framework='np'"
        raise Unavailable("torch is not installed", code="no_torch", hint=hint) from error
    return torch
