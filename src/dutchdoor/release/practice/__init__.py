"""The practice of a holder: ten recommendations, adopted or explained, against what is seen."""

__all__: list[str] = []
