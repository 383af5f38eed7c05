"""Who may open what: keys, quorum, and release of a content key under a decision in force."""

__all__: list[str] = []
