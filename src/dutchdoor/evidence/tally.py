"""Counts the votes of a panel: the same ballots give the same outcome, in any order, to anybody.

Approval: the option that most members approve wins, if more than `percent_min` percent of those who
voted approve it. Ranked: the method of Schulze with winning votes; options that a ballot leaves out
are last on it, together. A tie has no outcome, and neither has a vote without its quorum: nothing
follows from it, as nothing follows from a "no".
Source: M. Schulze, "A new monotonic, clone-independent, reversal symmetric, and
condorcet-consistent single-winner election method", Social Choice and Welfare 36 (2011), section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dutchdoor.evidence.panels import Ballot, Opening, Rule

__all__ = ["Tally", "count"]

Pairs = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Tally:
    """An outcome and how it came about.

    outcome: an option, or "" where there is none. counts: of each option, the ballots that approve
    it, or that rank it first. pairwise: of each option, how many ballots prefer it to each other
    one; {} in an approval vote. minority: members who gave a reason and voted for something else.
    """

    outcome: str
    counts: Mapping[str, int]
    pairwise: Mapping[str, Mapping[str, int]]
    voted: int
    quorum_met: bool
    minority: tuple[str, ...]


def count(opening: Opening, ballots: Sequence[Ballot]) -> Tally:
    """The tally of these ballots, one a member; all are valid by the opening."""
    assert len({row.member for row in ballots}) == len(ballots), "one ballot a member"
    firsts = [set(row.choice[0]) if row.choice else set() for row in ballots]
    counts = {option: sum(option in row for row in firsts) for option in opening.options}
    voted = len(ballots)
    pairwise: dict[str, dict[str, int]] = {}
    if opening.rule is Rule.APPROVAL:
        best = max(counts.values())
        leading = [option for option in opening.options if counts[option] == best]
        if best * 100 <= opening.percent_min * voted:
            leading = []
    else:
        pairs = _pairs(opening.options, ballots)
        leading = _schulze(opening.options, pairs)
        for (one, other), number in pairs.items():
            pairwise.setdefault(one, {})[other] = number
    quorum_met = voted >= opening.quorum
    outcome = leading[0] if quorum_met and len(leading) == 1 else ""
    minority = sorted(
        row.member
        for row, first in zip(ballots, firsts, strict=True)
        if row.reason.strip() and outcome not in first
    )
    return Tally(outcome, counts, pairwise, voted, quorum_met, tuple(minority))


def _pairs(options: Sequence[str], ballots: Sequence[Ballot]) -> Pairs:
    pairs = {(one, other): 0 for one in options for other in options if one != other}
    for ballot in ballots:
        ranks = {option: place for place, rank in enumerate(ballot.choice) for option in rank}
        for one, other in pairs:
            if ranks.get(one, len(options)) < ranks.get(other, len(options)):
                pairs[one, other] += 1
    return pairs


def _schulze(options: Sequence[str], pairs: Pairs) -> list[str]:
    """Those whose strongest path to each other option is no weaker than the path back."""
    paths = {key: number if number > pairs[key[::-1]] else 0 for key, number in pairs.items()}
    for middle in options:
        for one in options:
            for other in options:
                if len({one, middle, other}) == 3:
                    through = min(paths[one, middle], paths[middle, other])
                    paths[one, other] = max(paths[one, other], through)
    return [
        one
        for one in options
        if all(paths[one, other] >= paths[other, one] for other in options if other != one)
    ]
