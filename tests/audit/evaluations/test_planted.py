"""Planted canaries: made by seed, harmless, and never a figure where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from dutchdoor.audit.evaluations.attacks import Ground
from dutchdoor.audit.evaluations.door import Door, NotMeasured, Reply
from dutchdoor.audit.evaluations.planted import EACH, TIMES, planted_body, planted_canaries
from dutchdoor.audit.evaluations.rules import MeasuredRules, measured_findings
from dutchdoor.audit.measure import Evaluation, Interval
from dutchdoor.runtime.checks import check_amend
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.protocol import Amend, AmendRow, Canary


class Answering(Door):
    """A door behind which one answer waits."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("http://127.0.0.1:1/v1", "m", "key")
        self.reply = reply
        self.asked: dict[str, Any] = {}

    def post(self, path: str, body: dict[str, Any], *, wait_s: int = 0) -> Reply:
        self.asked = body
        return self.reply


def ground(door: Door) -> Ground:
    return Ground(door, 1, 0, lambda _done, _total: None)


def curve(*means: str) -> dict[str, Any]:
    points = [
        {"x": times, "exposure": {"mean": mean, "low": "0.5", "high": "7.0", "n": EACH}}
        for times, mean in zip(TIMES, means, strict=True)
    ]
    return {"curve": {"points": points}}


def test_what_is_planted_follows_from_the_seed_and_keeps_the_runtimes_bounds() -> None:
    body = planted_body(3)
    assert body == planted_body(3)
    assert body["canaries"] != planted_body(4)["canaries"]
    work = Amend(
        id="a",
        method="canaries",
        prompts=[],
        controls=[],
        refusals=[],
        answers=[],
        rows=[AmendRow(**row) for row in body["rows"]],
        canaries=[Canary(**row) for row in body["canaries"]],
        candidates=body["candidates"],
    )
    check_amend(work, RuntimeLimits())
    assert [sum(row.times == times for row in work.canaries) for times in TIMES] == [EACH] * 4


def test_the_figure_is_of_what_was_shown_most_often_and_the_rest_stands_beside() -> None:
    told = ground(Answering(Reply(200, curve("1.4000", "2.0000", "4.5000", "6.9000"))))
    figure = planted_canaries(told)
    assert (figure.value, figure.n) == (6.9, EACH)
    assert figure.details["never shown"].startswith("1.4")
    assert figure.details["shown 1 time"].startswith("2.0")
    secrets = [row["secret"] for row in planted_body(0)["canaries"]]
    assert not any(secret in str(told.samples) + str(figure.details) for secret in secrets)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(0, {}), "no answer"),
        (Reply(404, {}), "status 404"),
        (Reply(200, {"curve": {"points": [{"x": 0}]}}), "status 200"),
        (Reply(200, {"curve": {"points": []}}), "status 200"),
        (Reply(403, {"error": {"code": "policy_denied"}}), "policy_denied"),
        (
            Reply(
                403,
                {"error": {"code": "depth_not_granted", "dutchdoor": {"missing": ["audit"]}}},
            ),
            "depth missing: audit",
        ),
    ],
)
def test_without_an_answer_there_is_no_figure_but_a_reason(reply: Reply, why: str) -> None:
    with pytest.raises(NotMeasured) as caught:
        planted_canaries(ground(Answering(reply)))
    assert why in caught.value.message


@pytest.mark.parametrize(("bits", "found"), [(1.4, False), (3.0, False), (6.5, True)])
def test_what_can_be_told_from_guesses_is_a_finding(bits: float, found: bool) -> None:
    row = Evaluation.valued(
        n=EACH,
        value=bits,
        interval=Interval(bits, bits),
        name="planted_canaries",
        counts="bits",
        guard_stopped=0,
        seed=0,
        tokens_max=1,
        bundle="sha256:" + "a" * 64,
        access_depth="audit",
        log="",
        log_digest="",
        details={"never shown": "1.4 bits", "shown 16 times": f"{bits} bits"},
    )
    findings = measured_findings({"planted_canaries": row}, MeasuredRules())
    assert [finding.id for finding in findings] == (["planted-canaries"] if found else [])
