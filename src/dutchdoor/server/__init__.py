"""HTTP: the OpenAI-compatible data plane, our own routes, and the status page."""

__all__: list[str] = []
