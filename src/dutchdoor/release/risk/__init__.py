"""Risk of a release: the worksheet of marginal risk, and total risk against total benefit."""

__all__: list[str] = []
