"""The signed package of a model whose weights may leave, and its check."""

__all__: list[str] = []
