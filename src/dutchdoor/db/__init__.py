"""The state database: one engine, one schema history; only a room's `store` comes in here."""

__all__: list[str] = []
