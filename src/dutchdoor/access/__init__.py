"""Who may do what: people, keys, grants, budgets, policies; each decision explains itself."""

__all__: list[str] = []
