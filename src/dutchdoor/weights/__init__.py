"""The sealed bundle: writing it, reading it back in memory, checking it without keys."""

__all__: list[str] = []
