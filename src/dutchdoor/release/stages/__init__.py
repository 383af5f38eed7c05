"""Gates, the next stage, time-shifted simulation, and what an incident's clocks ask for."""

__all__: list[str] = []
