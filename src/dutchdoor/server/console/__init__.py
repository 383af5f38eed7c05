"""The status page for people: one page, no script."""

__all__: list[str] = []
