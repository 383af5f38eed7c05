"""The amend test: what modification of a model unlocks, as curves with intervals and costs."""

__all__: list[str] = []
