"""Panels: people drawn or named, briefed, asked one question, counted in the open."""

__all__: list[str] = []
