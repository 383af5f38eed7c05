"""The checks on the fly: verdicts on prompts, activations and streamed output."""

__all__: list[str] = []
