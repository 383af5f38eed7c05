"""What each document of a full audit holds, what follows from it, and who may read it."""

__all__: list[str] = []
