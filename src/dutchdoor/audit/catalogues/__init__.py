"""What findings cite: principles and harms, shipped as YAML and extended by a workspace's own."""

__all__: list[str] = []
