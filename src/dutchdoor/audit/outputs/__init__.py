"""What an audit gives to others: a signed report for a board, cards, bills of materials, forms."""

__all__: list[str] = []
