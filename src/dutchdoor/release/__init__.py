"""The release decision: proposed, approved, signed, revoked; compiled into access policies."""

__all__: list[str] = []
