"""Stop strings on a stream of text, wherever the text is cut."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopMatcher"]


class StopMatcher:
    """Finds the first stop string to be complete in a growing text.

    Of several complete at the same character, the one that began first wins. What is found and
    what is certain depend on the text alone, never on how it was cut.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """stops: non-empty strings; none at all means that nothing ever stops."""
        assert all(stops), "an empty stop string stops everything"
        self._stops = tuple(stops)
        self._reach = max((len(stop) for stop in stops), default=0)
        self._tail = ""
        self._length = 0
        self._match: int | None = None

    @property
    def match(self) -> int | None:
        """Where the stop string begins, in characters from the start; None before it came."""
        return self._match

    @property
    def certain(self) -> int:
        """How many characters from the start can no longer become part of a stop string."""
        if self._match is not None:
            return self._match
        for size in range(min(len(self._tail), self._reach - 1), 0, -1):
            end = self._tail[-size:]
            if any(len(stop) > size and stop.startswith(end) for stop in self._stops):
                return self._length - size
        return self._length

    def feed(self, text: str) -> None:
        """Takes the next characters; after a match nothing more counts."""
        for character in text:
            if self._match is not None:
                return
            # One character at a time, or a long chunk would find a later stop before an earlier.
            self._length += 1
            self._tail = (self._tail + character)[-self._reach :] if self._reach else ""
            sizes = [len(stop) for stop in self._stops if self._tail.endswith(stop)]
            if sizes:
                self._match = self._length - max(sizes)
