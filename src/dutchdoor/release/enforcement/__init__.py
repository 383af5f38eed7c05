"""The decision against what runs: one row for each thing decided, the same or not."""

__all__: list[str] = []
