"""The data plane: `/v1/*` without a framework."""

__all__: list[str] = []
