"""Deployment profiles: who outside must approve, be named and be obeyed before a release."""

__all__: list[str] = []
