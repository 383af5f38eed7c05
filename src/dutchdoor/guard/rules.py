"""Text rules: literals and regular expressions over the view of a text, by Hyperscan.

The one door to `hyperscan`. Stage one of the guard: cheap, readable, exact, and easily evaded by
whoever tries; it never stands alone. A rule file that is wrong anywhere is refused whole, and a
scanner that fails counts as a rule that blocks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import hyperscan

from dutchdoor.errors import Invalid
from dutchdoor.guard.holdback import Forbidden, HoldBack
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.guard.rulefile import Rule, Side, default_rules, digest_of, parse_rules
from dutchdoor.guard.rulefile import read_rule_file as _read
from dutchdoor.guard.view import View, Viewer, undisguised, view_of

__all__ = ["LAYER", "REGEX_TAIL_CHARACTERS", "Rule", "RuleSet", "RuleStream", "Side"]

LAYER = "rules"
REGEX_TAIL_CHARACTERS = 64
"""Held back, in characters, while an output-side regex blocks: of a match that is longer, at most
its first (length - 64) characters leave before it is complete; its last 64 never do."""

_SCANNER_FAILED = "scanner_failed"


class _Patterns:
    """The rules of one side, compiled."""

    def __init__(self, rules: Sequence[Rule], *, stream: bool) -> None:
        self.rules = tuple(rules)
        self._lock = threading.Lock()  # Hyperscan's scratch space serves one scan at a time.
        mode = hyperscan.HS_MODE_STREAM if stream else hyperscan.HS_MODE_BLOCK
        self._database = hyperscan.Database(mode=mode) if rules else None
        if self._database is not None:
            _compile(self._database, rules, mode)

    def scan(self, view: str) -> list[Rule]:
        """The rules that match in `view`. Raises whatever the scanner raises."""
        found: set[int] = set()
        if self._database is not None and view:
            with self._lock:
                self._database.scan(view.encode(), match_event_handler=_collector(found))
        return [self.rules[number] for number in sorted(found)]

    def open(self) -> _Scan:
        """A scan of one stream."""
        return _Scan(self._database, self._lock)


class _Scan:
    """One Hyperscan stream, kept from the binding's traps.

    The binding only borrows its handler and crashes the process when the handler is gone, or when
    a stream is closed twice or used after it was closed; one that is not closed is never freed.
    """

    def __init__(self, database: Any, lock: threading.Lock) -> None:
        self.found: set[int] = set()
        self._database = database
        self._lock = lock
        self._handler = _collector(self.found)
        self._stream: Any = None
        if database is not None:
            self._stream = database.stream(match_event_handler=self._handler)
            self._stream.__enter__()

    def step(self, data: bytes) -> None:
        """Scans the next bytes. Raises whatever the scanner raises."""
        if self._stream is not None:
            with self._lock:
                self._stream.scan(data)

    def close(self) -> None:
        """Ends the stream, which may complete matches. Raises whatever the scanner raises."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with self._lock:
                stream.close()

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            self.close()


def _collector(found: set[int]) -> Callable[..., None]:
    def collect(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
        found.add(number)

    return collect


def _expression(rule: Rule) -> bytes:
    if rule.regex:
        return rule.regex.encode()
    # Every byte as \xNN: nothing in a literal can be read as syntax.
    return b"".join(b"\\x%02x" % byte for byte in view_of(rule.literal).encode())


def _flags(rule: Rule) -> int:
    flags = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL
    # In a literal the bytes are the pattern; in a regex a dot is a character, not a byte.
    return int(flags | hyperscan.HS_FLAG_UTF8) if rule.regex else int(flags)


def _compile(database: Any, rules: Sequence[Rule], mode: int) -> None:
    try:
        database.compile(
            expressions=[_expression(rule) for rule in rules],
            ids=list(range(len(rules))),
            flags=[_flags(rule) for rule in rules],
        )
    except Exception as error:  # the binding's errors share no public base
        for rule in rules:
            try:
                alone = hyperscan.Database(mode=mode)
                alone.compile(expressions=[_expression(rule)], ids=[0], flags=[_flags(rule)])
            except Exception as reason:
                message = f"rule '{rule.id}' does not compile: {reason}"
                hint = "back-references, look-around and empty matches are not supported"
                raise Invalid(message, code="bad_rule", hint=hint) from reason
        raise Invalid("the rules do not compile together", code="bad_rule") from error


class RuleSet:
    """Compiled rules, shared by all requests.

    version: `rules-` and the first 12 hexadecimal digits of the SHA-256 of the rules.
    Raises Invalid: a rule that does not compile, by name.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.version = "rules-" + digest_of(self.rules)[:12]
        self._nothing = Verdict(LAYER, self.version, Action.ALLOW)
        self._prompt = _Patterns([r for r in self.rules if r.side is not Side.OUTPUT], stream=False)
        outgoing = [r for r in self.rules if r.side is not Side.PROMPT]
        self._output = _Patterns(outgoing, stream=True)
        blocking = [r for r in outgoing if r.action is Action.BLOCK]
        tail = REGEX_TAIL_CHARACTERS if any(r.regex for r in blocking) else 0
        self._forbidden = Forbidden((view_of(r.literal) for r in blocking if r.literal), tail)

    @classmethod
    def load(cls, path: Path | None = None) -> RuleSet:
        """The rules in `path` (YAML or JSONL), or the packaged ones.

        Raises NotFound: no such file. Invalid: anything wrong in it, with the rule's name.
        """
        return cls(default_rules() if path is None else _read(path))

    @classmethod
    def parse(cls, data: bytes, name: str = "rules.yaml") -> RuleSet:
        """The rules in `data` (unverified bytes); `name` ends in .yaml, .yml or .jsonl."""
        return cls(parse_rules(data, name))

    def judge(self, text: str, side: Side = Side.PROMPT) -> Verdict:
        """What the rules say of a whole text: of a prompt, or of an output as it would stream.

        Never raises: a scanner that fails blocks.
        """
        if side is Side.OUTPUT:
            stream = self.stream()
            stream.feed(text)
            return stream.finish()
        try:
            view = view_of(text)
            matching = self._prompt.scan(view)
            plain = undisguised(view)
            if plain != view:
                matching += [rule for rule in self._prompt.scan(plain) if rule not in matching]
        except Exception:  # fail closed: what could not be scanned does not pass
            return self._failed()
        return self._verdict(matching)

    def stream(self) -> RuleStream:
        """A judge of one output stream."""
        return RuleStream(self, self._output, self._forbidden)

    def _failed(self) -> Verdict:
        return Verdict(LAYER, self.version, Action.BLOCK, reasons=(_SCANNER_FAILED,))

    def _verdict(self, matching: Iterable[Rule]) -> Verdict:
        found = sorted(matching, key=lambda rule: rule.id)
        if not found:
            return self._nothing
        block = any(rule.action is Action.BLOCK for rule in found)
        return Verdict(
            LAYER,
            self.version,
            Action.BLOCK if block else Action.FLAG,
            categories=tuple(sorted({rule.category for rule in found})),
            reasons=tuple(rule.id for rule in found),
        )


class RuleStream:
    """Judges one output stream; the same text gets the same verdict however it is cut.

    After each `feed`, everything but the last `held()` characters of what was fed may leave, also
    when the verdict is to block: then nothing later ever may. It stops at the first character at
    which a blocking rule is complete.
    """

    def __init__(self, owner: RuleSet, patterns: _Patterns, forbidden: Forbidden) -> None:
        self._owner = owner
        self._patterns = patterns
        self._viewer = Viewer()
        self._hold = HoldBack(forbidden)
        self._origins: deque[int] = deque()
        self._fed = 0
        self._cut: int | None = None
        self._scan = patterns.open()
        self._seen = 0
        self._read_bytes = bytearray()
        self._finished = False
        self._failed = False

    def feed(self, text: str) -> Verdict:
        """The verdict on the stream so far, `text` included."""
        if self._finished:
            # Closed streams scan nothing; what comes after the end must not pass for judged.
            self._failed = True
            self._stop(self._fed)
        elif self._cut is None:
            self._read(text)
        self._fed += len(text)
        return self._verdict()

    def finish(self) -> Verdict:
        """The verdict once the stream has ended; unless it blocks, nothing is held any more."""
        self._finished = True
        try:
            self._scan.close()
        except Exception:  # fail closed, as in `_step`
            self._failed = True
        if self._cut is None:
            if self._failed or self._blocks():
                self._stop(self._fed)
                return self._verdict()
            self._hold.finish()
            self._origins.clear()
        return self._verdict()

    def held(self) -> int:
        """How many of the last characters that were fed must not leave (yet, or ever)."""
        if self._cut is not None:
            return self._fed - self._cut
        return self._fed - self._origins[0] if self._origins else 0

    def _read(self, text: str) -> None:
        view = self._viewer.feed(text)
        if view.text and not self._pass(view):
            self._retrace(view)

    def _pass(self, view: View) -> bool:
        """Read a chunk at once, which is right where no rule is completed in it; else False.

        Nearly every chunk is such a one.
        """
        data = view.text.encode()
        self._step(data)
        if self._failed or len(self._scan.found) != self._seen:
            return False
        self._read_bytes += data
        released = self._hold.feed(view.text)
        if self._hold.blocked is not None:
            # A literal that the scanner did not see: one of the two is wrong, so nothing leaves.
            self._failed = True
            self._stop(view.origins[0])
            return True
        self._origins.extend(view.origins)
        for _ in released:
            self._origins.popleft()
        return True

    def _retrace(self, view: View) -> None:
        """Read a chunk again, character by character, to find the one that completes a rule."""
        if self._failed:
            self._stop(view.origins[0])
            return
        try:
            self._scan.close()
        except Exception:  # fail closed, as in `_step`
            self._failed = True
        self._scan = self._patterns.open()
        self._step(bytes(self._read_bytes))
        for character, origin in zip(view.text, view.origins, strict=True):
            self._step(character.encode())
            released = self._hold.feed(character)
            if self._failed or self._hold.blocked is not None or self._blocks():
                self._stop(origin)
                return
            self._read_bytes += character.encode()
            self._origins.append(origin)
            for _ in released:
                self._origins.popleft()

    def _step(self, data: bytes) -> None:
        try:
            self._scan.step(data)
        except Exception:  # fail closed: what could not be scanned does not pass
            self._failed = True

    def _blocks(self) -> bool:
        found = self._scan.found
        if len(found) == self._seen:
            return False
        self._seen = len(found)
        return any(self._patterns.rules[number].action is Action.BLOCK for number in found)

    def _stop(self, origin: int) -> None:
        if self._cut is None:
            self._cut = self._origins[0] if self._origins else origin
        self._hold.block(_SCANNER_FAILED if self._failed else "rule")

    def _verdict(self) -> Verdict:
        if self._failed:
            return self._owner._failed()
        if not self._scan.found:
            return self._owner._nothing
        return self._owner._verdict(self._patterns.rules[number] for number in self._scan.found)
