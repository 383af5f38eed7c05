"""Sealed bundles: model weights encrypted on disk, opened in memory by a quorum of custodians.

`safe_open`, `load_file` and `fill_module` read a bundle as safetensors files are read.
"""

__all__ = ["fill_module", "load_file", "safe_open"]


def __getattr__(name: str) -> object:
    # Read at first use: what only looks at manifests must not load what decrypts.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(__import__(f"{__name__}.drop_in", fromlist=[name]), name)
