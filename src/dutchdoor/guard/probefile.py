"""A probe as bytes: a safetensors file of three weight vectors, with canonical JSON inside.

The bytes are read before anything is believed: sizes are bounded, the header is parsed by us, and
only bytes that we would write ourselves are accepted. `docs/concepts/guard.md` describes it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from dutchdoor import canonical
from dutchdoor.errors import Invalid

__all__ = ["PROBE_BYTES_MAX", "Linear", "ProbeParameters", "read_probe", "write_probe"]

PROBE_BYTES_MAX = 16 << 20
HIDDEN_MAX = 1 << 17
LAYERS_MAX = 4096
THRESHOLDS_MAX = 16
_FORMAT = "dutchdoor-probe-v1"
_HEADS = {"prompt": 3, "window": 1, "stream": 1}
_DECIMAL = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,12}")
_NAME = re.compile(r"[a-z0-9_.]{1,32}")
_BUNDLE = re.compile(r"sha256:[0-9a-f]{64}")
_FIELDS = {"format", "bundle", "hidden", "mid", "upper", "biases", "prompt", "stream"}


@dataclass(frozen=True)
class Linear:
    """A linear score in standard deviations of benign scores. weights: float32 [k * hidden]."""

    weights: NDArray[np.float32]
    bias: float


@dataclass(frozen=True)
class ProbeParameters:
    """All that a probe is.

    mid, upper: indices of the blocks whose output it reads. prompt: reads the mean of the prompt
    at `mid`, then its last token at `mid` and at `upper`. window: reads means of windows at `mid`.
    stream: reads one token at `mid`. thresholds, stream_thresholds: by name, the same names.
    """

    bundle: str
    hidden: int
    mid: int
    upper: int
    prompt: Linear
    window: Linear
    stream: Linear
    thresholds: Mapping[str, float]
    stream_thresholds: Mapping[str, float]


def decimal(value: float) -> str:
    """A finite number as the decimal that the file holds."""
    return f"{value:.9f}"


def write_probe(parameters: ProbeParameters) -> bytes:
    """The bytes of a probe; equal parameters give equal bytes."""
    heads = {name: getattr(parameters, name) for name in _HEADS}
    about: dict[str, Any] = {
        "format": _FORMAT,
        "bundle": parameters.bundle,
        "hidden": parameters.hidden,
        "mid": parameters.mid,
        "upper": parameters.upper,
        "biases": {name: decimal(head.bias) for name, head in heads.items()},
        "prompt": {name: decimal(value) for name, value in parameters.thresholds.items()},
        "stream": {name: decimal(value) for name, value in parameters.stream_thresholds.items()},
    }
    tensors = {name: np.ascontiguousarray(head.weights, "<f4") for name, head in heads.items()}
    return bytes(save(tensors, {"dutchdoor": canonical.encode(about).decode()}))


def read_probe(data: bytes) -> ProbeParameters:
    """The parameters in `data` (unverified bytes).

    Raises Invalid: too large, not a probe, or not exactly the bytes that `write_probe` gives.
    """
    if len(data) > PROBE_BYTES_MAX:
        raise _bad(f"more than {PROBE_BYTES_MAX} bytes")
    header, body = _header(data)
    about = canonical.parse(_about(header).encode("utf-8", "surrogatepass"))
    if not isinstance(about, dict) or set(about) != _FIELDS or about["format"] != _FORMAT:
        raise _bad("its description has missing or unknown fields")
    if not isinstance(about["bundle"], str) or not _BUNDLE.fullmatch(about["bundle"]):
        raise _bad("it names no bundle")
    hidden = _integer(about["hidden"], 1, HIDDEN_MAX)
    biases = _decimals(about["biases"])
    thresholds, stream = _decimals(about["prompt"]), _decimals(about["stream"])
    if set(biases) != set(_HEADS) or not thresholds or set(thresholds) != set(stream):
        raise _bad("its thresholds or biases are not complete")
    heads = {
        name: Linear(_weights(header, body, name, blocks * hidden), biases[name])
        for name, blocks in _HEADS.items()
    }
    mid, upper = _integer(about["mid"], 0, LAYERS_MAX), _integer(about["upper"], 0, LAYERS_MAX)
    parameters = ProbeParameters(
        about["bundle"],
        hidden,
        mid,
        upper,
        heads["prompt"],
        heads["window"],
        heads["stream"],
        thresholds,
        stream,
    )
    if write_probe(parameters) != data:
        raise _bad("other bytes than its content would give")
    return parameters


def _bad(why: str) -> Invalid:
    hint = "fit the probe again in an audit of this bundle"
    return Invalid(f"not a probe: {why}", code="bad_probe", hint=hint)


def _header(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= len(data) - 8:
        raise _bad("no header")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise _bad("its header is not JSON") from error
    if not isinstance(header, dict):
        raise _bad("its header is not an object")
    return header, data[8 + size :]


def _about(header: dict[str, Any]) -> str:
    metadata = header.get("__metadata__")
    text = metadata.get("dutchdoor") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise _bad("it does not describe itself")
    return text


def _weights(header: dict[str, Any], body: bytes, name: str, length: int) -> NDArray[np.float32]:
    entry = header.get(name)
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise _bad(f"no weights '{name}'")
    start = _integer(offsets[0], 0, len(body))
    if start + 4 * length > len(body):
        raise _bad(f"too few weights '{name}'")
    weights = np.frombuffer(body, "<f4", length, start).astype(np.float32)
    if not np.isfinite(weights).all():
        raise _bad(f"weights '{name}' that are not finite")
    return weights


def _integer(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad("a number is out of bounds")
    return value


def _decimals(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > THRESHOLDS_MAX:
        raise _bad("thresholds or biases are no small table")
    result: dict[str, float] = {}
    for name, text in value.items():
        if not _NAME.fullmatch(name) or not isinstance(text, str) or not _DECIMAL.fullmatch(text):
            raise _bad(f"'{name[:32]}' is no decimal")
        result[name] = float(text)
        if not math.isfinite(result[name]):
            raise _bad(f"'{name}' is not finite")
    return result
