"""The protected process that holds plaintext weights in memory and yields only through a guard."""

__all__: list[str] = []
