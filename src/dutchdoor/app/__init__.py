"""The composition root: wires the rooms together from a workspace's configuration."""

__all__: list[str] = []
