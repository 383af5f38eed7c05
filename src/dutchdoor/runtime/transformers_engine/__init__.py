"""The engine on torch and transformers: the one door through which the house reaches both."""

__all__: list[str] = []
