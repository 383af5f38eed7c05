"""The command line: one file per room; data to stdout, the rest to stderr."""

__all__: list[str] = []
