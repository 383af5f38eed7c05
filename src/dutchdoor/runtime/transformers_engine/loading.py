"""A model from memory: configuration, tokenizer and tensors come as bytes, nothing from a disk.

Weights are views of the opened bundle's memory where the dtype stays the same: there is one copy
of the plaintext, and it goes when the process goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from dutchdoor.errors import Invalid, NotFound
from dutchdoor.runtime.ports import BundleFiles
from dutchdoor.runtime.transformers_engine.text import TextSide

__all__ = ["LoadedModel", "load_model", "model_of_bundle", "pick_dtype"]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_ATTENTION_KINDS = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. layers: its decoder blocks. eos: token ids that end a completion."""

    model: Any
    text: TextSide
    layers: tuple[Any, ...]
    hidden: int
    vocabulary: int
    context: int
    eos: frozenset[int]
    dtype: torch.dtype


def pick_dtype(name: str, *, makes_code: bool = True) -> torch.dtype:
    """The dtype of `auto`, `float32` or `bfloat16`; auto takes bfloat16 where the CPU has it.

    makes_code: False turns off, for the whole process, the kernels that write machine code.
    Raises Invalid: another name.
    """
    if not makes_code:
        torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    if name == "auto" and not makes_code:
        return torch.float32
    if name == "auto":
        flags = Path("/proc/cpuinfo")
        text = flags.read_text() if flags.exists() else ""
        return torch.bfloat16 if "avx512_bf16" in text or "amx_bf16" in text else torch.float32
    if name in {"float32", "bfloat16"}:
        return torch.float32 if name == "float32" else torch.bfloat16
    raise Invalid(f"no dtype {name!r}", code="bad_config", hint="auto, float32 or bfloat16")


def load_model(files: BundleFiles, dtype: torch.dtype) -> LoadedModel:
    """The model of an opened bundle.

    Raises NotFound: a file of a model folder is missing. Raises Invalid: not such a model, or one
    whose code we would have to take from the bundle: nothing in a bundle is ever run.
    """
    config = _checked_config(files)
    model = _build(config, dict(_tensors(files)), dtype)
    generation = _json(files, "generation_config.json", missing={})
    layers = _blocks(model)
    return LoadedModel(
        model=model,
        text=_text(files),
        layers=layers,
        hidden=int(config.hidden_size),
        vocabulary=int(config.vocab_size),
        context=int(getattr(config, "max_position_embeddings", 1 << 20)),
        eos=_eos(generation, config),
        dtype=dtype,
    )


def model_of_bundle(files: BundleFiles, dtype: torch.dtype) -> Any:
    """The bundle's model, as transformers makes it: on no device first, then filled in place.

    files: an open `weights.reader.SealedBundle`. Where `dtype` is that of the weights, parameters
    are views of the decrypted memory, and the plaintext is in memory once.
    Raises as `load_model` does.
    """
    return _build(_checked_config(files), dict(_tensors(files)), dtype)


def _checked_config(files: BundleFiles) -> Any:
    value = _json(files, "config.json")
    if "auto_map" in value:
        message = "this model wants to run code of its own"
        raise Invalid(message, code="bad_model", hint="use an architecture of transformers")
    return _config(value)


def _config(value: dict[str, Any]) -> Any:
    try:
        kind = value["model_type"]
        rest = {key: item for key, item in value.items() if key != "model_type"}
        return transformers.AutoConfig.for_model(kind, **rest)
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid("a config.json that transformers does not know", code="bad_model") from error


def _build(config: Any, tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> Any:
    kinds = set(getattr(config, "layer_types", None) or [])
    if not kinds <= _ATTENTION_KINDS:
        message = "a model with layers that are not attention"
        raise Invalid(message, code="bad_model", hint="batching needs a cache of keys and values")
    transformers.utils.logging.disable_progress_bar()
    try:
        # A mapping of tensors and no path: transformers fills the model from memory, ties what
        # is tied, and computes the buffers (rotary frequencies) that no file holds.
        model, report = transformers.AutoModelForCausalLM._model_mapping[
            type(config)
        ].from_pretrained(
            None, config=config, state_dict=tensors, dtype=dtype, output_loading_info=True
        )
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise Invalid("the weights do not make this model", code="bad_model") from error
    problems = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if any(report.get(name) for name in problems):
        # A missing tensor would be filled at random, and nobody would notice.
        raise Invalid("weights are missing, unknown or of another shape", code="bad_model")
    model.eval()
    model.requires_grad_(requires_grad=False)
    return model


def _tensors(files: BundleFiles) -> Iterator[tuple[str, torch.Tensor]]:
    names = [name for name in files.names() if name.endswith(".safetensors")]
    if not names:
        hint = "save the model as safetensors; pickled weights are never loaded"
        raise NotFound("the bundle holds no safetensors", code="bad_model", hint=hint)
    for name in sorted(names):
        for view in files.tensors(name):
            dtype = _DTYPES.get(view.dtype)
            if dtype is None:
                raise Invalid(f"tensors of type {view.dtype}", code="bad_model")
            if not view.data:
                yield view.name, torch.empty(view.shape, dtype=dtype)
                continue
            yield view.name, torch.frombuffer(view.data, dtype=dtype).view(view.shape)


def _blocks(model: Any) -> tuple[Any, ...]:
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise Invalid("a model whose blocks we cannot find", code="bad_model")
    return tuple(layers)


def _eos(generation: Mapping[str, Any], config: Any) -> frozenset[int]:
    value = generation.get("eos_token_id", getattr(config, "eos_token_id", None))
    ids = value if isinstance(value, list) else [value]
    return frozenset(n for n in ids if isinstance(n, int) and not isinstance(n, bool))


def _text(files: BundleFiles) -> TextSide:
    config = _json(files, "tokenizer_config.json", missing={})
    template = config.get("chat_template") or ""
    if "chat_template.jinja" in files.names():
        template = bytes(files.read("chat_template.jinja")).decode("utf-8", "strict")
    if not isinstance(template, str):
        raise Invalid("several chat templates", code="bad_tokenizer", hint="keep one")
    if "tokenizer.json" not in files.names():
        hint = "save the tokenizer with transformers, in its fast form"
        raise NotFound("the bundle holds no tokenizer.json", code="bad_tokenizer", hint=hint)
    return TextSide(bytes(files.read("tokenizer.json")), config, template)


def _json(
    files: BundleFiles, name: str, *, missing: dict[str, Any] | None = None
) -> dict[str, Any]:
    if name not in files.names():
        if missing is not None:
            return missing
        raise NotFound(f"the bundle holds no {name}", code="bad_model")
    try:
        value = json.loads(bytes(files.read(name)))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name} is not JSON", code="bad_model") from error
    if not isinstance(value, dict):
        raise Invalid(f"{name} is not an object", code="bad_model")
    return value
