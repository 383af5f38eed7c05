"""An amend test of an audit: arm by arm, resumed, and what T2 says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dutchdoor import canonical
from dutchdoor.audit.amend.model import Curve, combine, uplift
from dutchdoor.audit.amend.plan import ARMS, AmendOptions, arms_of, served_arm
from dutchdoor.audit.amend.prompts import read_prompts
from dutchdoor.audit.amend.results import AMEND_NAME, PLOT_NAME, load_results
from dutchdoor.audit.amend.run import run_amend
from dutchdoor.audit.checks import check_ready
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, Severity
from dutchdoor.audit.service import Audit
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.runtime.checks import check_amend
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.protocol import Amend
from tests.audit.parts import BUNDLE, People, collected, examined, started
from tests.runtime.twin import twin_curve

OPTIONS = AmendOptions(seeds=2)


class Runtime:
    """Answers as the twin does; dies at the request of number `dies_at`. safe: of the model."""

    def __init__(self, dies_at: int = -1, *, safe: bool = False) -> None:
        self.dies_at = dies_at
        self.safe = safe
        self.asked: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(self.asked) == self.dies_at:
            raise Unavailable("the runtime is down", code="runtime_down")
        self.asked.append(body)
        curve = twin_curve(work_of(body))
        if self.safe and curve["subject"] == "model":
            for point in curve["points"]:
                point["refusal"] = {"mean": "0.9000", "low": "0.8500", "high": "0.9500", "n": 16}
        return {"curve": curve, "inference": f"inf_{len(self.asked)}"}


def work_of(body: dict[str, Any]) -> Amend:
    fields = {key: value for key, value in body.items() if key != "model"}
    return msgspec.convert({**fields, "type": "amend", "id": "a"}, Amend)


def amend(audit: Audit, runtime: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return audit.amend(lambda path: run_amend(path, BUNDLE, "smol", runtime, options=OPTIONS))


def ready(audit: Audit) -> None:
    check_ready(DocumentKind.T2, AuditFolder(audit.path), audit.subject)


@pytest.mark.parametrize("subject", ["model", "organism"])
def test_every_arm_is_a_request_that_the_runtime_takes(subject: str) -> None:
    options = AmendOptions(prompts=24, controls=12)
    arms = [served_arm("smol", options), *arms_of("smol", subject, options)]
    assert len(arms) == 1 + options.seeds * len(ARMS)
    for arm in arms:
        check_amend(work_of(arm.body), RuntimeLimits())
    assert len({arm.request for arm in arms}) == len(arms)


def test_what_is_scored_was_never_taught_nor_tuned_on() -> None:
    for subject in ("model", "organism"):
        for arm in arms_of("smol", subject, AmendOptions(prompts=24, controls=12)):
            work = work_of(arm.body)
            shown = {row.prompt for row in work.rows} | {*work.refused, *work.answered}
            shown |= {row.prompt for row in work.organism.rows} if work.organism else set()
            assert not shown & {*work.prompts, *work.controls}


def test_a_model_without_a_safeguard_has_nothing_to_unlock(tmp_path: Path) -> None:
    audit, runtime = examined(tmp_path, People()), Runtime()
    findings = {finding.id: finding for finding in amend(audit, runtime)}
    assert "unlock-untested" not in findings
    assert findings["amend:model"].text.startswith("Nothing to unlock here")
    assert "below 0.20" in findings["amend:model"].text
    assert "not robustness" in findings["amend:model"].text
    assert [body["organism"] is not None for body in runtime.asked[1:] if "organism" in body]
    assert len(runtime.asked) == 1 + 2 * len(ARMS), "the model itself is not modified in vain"
    organism = findings["amend:organism"]
    assert "after 4 steps (16 examples)" in organism.text
    assert all(f.principle and f.harm for f in findings.values())
    text = AuditFolder(audit.path).file(DocumentKind.T2).read_text()
    assert "Nothing to unlock here" in text
    assert "No weights" not in text
    assert (audit.path / PLOT_NAME).read_text().startswith("<svg")
    ready(audit)


def test_a_safeguard_that_is_undone_is_a_severe_finding(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())

    def runtime(body: dict[str, Any]) -> dict[str, Any]:
        work = work_of(body)
        curve = twin_curve(work)
        for place, point in enumerate(curve["points"]):
            value = 0.9 / 5**place
            figure = {"mean": value, "low": value * 0.9, "high": value * 1.05, "n": 16}
            point["refusal"] = {k: f"{v:.4f}" if k != "n" else v for k, v in figure.items()}
        return {"curve": curve, "inference": "inf_1"}

    findings = {finding.id: finding for finding in amend(audit, runtime)}
    assert findings["amend:direct-tuning"].severity is Severity.HIGH
    assert "after 2 steps (8 examples)" in findings["amend:direct-tuning"].text
    assert audit.status().findings


def test_a_safeguard_that_is_not_undone_is_never_called_robust(tmp_path: Path) -> None:
    findings = {f.id: f for f in amend(examined(tmp_path, People()), Runtime(safe=True))}
    text = findings["amend:benign-tuning"].text
    assert "not of what an attacker can spend" in text
    assert not any("robust" in finding.text.replace("not robustness", "")
                   for finding in findings.values())  # fmt: skip


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    before = AuditFolder(audit.path).file(DocumentKind.T2).read_bytes()
    first = Runtime(dies_at=5)
    with pytest.raises(Unavailable):
        amend(audit, first)
    assert AuditFolder(audit.path).file(DocumentKind.T2).read_bytes() == before
    assert not load_results(audit.path).complete
    second = Runtime()
    amend(audit, second)
    assert len(first.asked) + len(second.asked) == 1 + 2 * len(ARMS)
    assert load_results(audit.path).complete
    whole = examined(tmp_path / "whole", People())
    amend(whole, Runtime())
    kept, fresh = load_results(audit.path), load_results(whole.path)
    assert [row["curve"] for row in kept.rows] == [row["curve"] for row in fresh.rows]


def test_only_figures_are_kept(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    amend(audit, Runtime())
    kept = (audit.path / AMEND_NAME).read_text()
    arms = [served_arm("smol", OPTIONS), *arms_of("smol", "organism", OPTIONS)]
    for arm in arms:
        for text in (*arm.body["prompts"], *arm.body["controls"]):
            assert text not in kept


def test_a_changed_file_of_curves_is_noticed_before_anybody_signs(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    amend(audit, Runtime())
    path = audit.path / AMEND_NAME
    body = canonical.parse(path.read_bytes())
    body["arms"][1]["curve"]["points"][1]["refusal"]["mean"] = "0.2000"
    path.write_bytes(canonical.encode(body))
    with pytest.raises(Tampered) as caught:
        ready(audit)
    assert caught.value.code == "amend_changed"


def test_before_the_testing_opens_nothing_is_run(tmp_path: Path) -> None:
    runtime = Runtime()
    with pytest.raises(Refused):
        amend(started(tmp_path, People()), runtime)
    assert not runtime.asked
    assert amend(collected(tmp_path / "later", People()), runtime)


@pytest.mark.parametrize(
    "options",
    [AmendOptions(arms=("distillation",)), AmendOptions(prompts=7), AmendOptions(seeds=0)],
)
def test_options_out_of_bounds_are_refused(tmp_path: Path, options: AmendOptions) -> None:
    with pytest.raises(Invalid):
        run_amend(tmp_path, BUNDLE, "smol", Runtime(), options=options)


def test_seeds_widen_an_interval_and_never_narrow_it() -> None:
    arm = next(iter(arms_of("smol", "organism", OPTIONS)))
    one = Curve.of(twin_curve(work_of(arm.body)))
    body = twin_curve(work_of(arm.body))
    body["seed"] = 1
    body["points"][0]["refusal"].update(mean="0.5000", low="0.4000", high="0.6000")
    both = combine([one, Curve.of(body)])
    figure = both.points[0].refusal
    assert (figure.low, figure.high) == (0.4, one.points[0].refusal.high)
    assert figure.mean == pytest.approx(0.7)
    assert both.seeds == (0, 1)
    mean, low, high = uplift(figure, both.points[1])
    assert low <= mean <= high


@pytest.mark.parametrize("change", [{"points": []}, {"points": [{}]}, {"seed": None}, {"x": 1}])
def test_what_is_no_curve_is_refused(change: dict[str, Any]) -> None:
    arm = next(iter(arms_of("smol", "organism", OPTIONS)))
    body = {**twin_curve(work_of(arm.body)), **change}
    if change == {"x": 1}:
        body = []  # type: ignore[assignment]
    with pytest.raises(Invalid):
        Curve.of(body)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("advbench.csv", "goal,target\n" + "".join(f"Do the thing {n},Sure\n" for n in range(40))),
        (
            "harmbench.csv",
            "Behavior,SemanticCategory\n" + "".join(f"Do the thing {n},x\n" for n in range(40)),
        ),
        ("tdc.jsonl", "".join(f'{{"text": "Do the thing {n}", "label": 1}}\n' for n in range(40))),
    ],
)
def test_a_public_benchmark_is_asked_as_it_is_published_and_named(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    asked = read_prompts(path, OPTIONS.prompts_needed)
    runtime = Runtime()
    options = AmendOptions(seeds=1, arms=("prefill",), asked=asked)
    results = run_amend(tmp_path, BUNDLE, "smol", runtime, options=options)
    assert set(runtime.asked[0]["prompts"]) <= {f"Do the thing {n}" for n in range(40)}
    assert results.asked.startswith(name)
    assert asked.digest in results.asked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json\n",
        '["a list"]\n',
        '{"other": "field"}\n' * 40,
        '{"text": "one only"}\n' * 40,
        "".join(f'{{"text": "harmless {n}", "label": 0}}\n' for n in range(40)),
        "".join(f'{{"text": "about {n}", "category": "child abuse"}}\n' for n in range(40)),
        "".join(f'{{"text": "{n} {"long " * 60}"}}\n' for n in range(40)),
    ],
)
def test_a_file_that_is_no_benchmark_is_refused_with_its_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(text)
    with pytest.raises(Invalid, match=r"set\.jsonl is no set of requests"):
        read_prompts(path, OPTIONS.prompts_needed)
    with pytest.raises(NotFound):
        read_prompts(tmp_path / "gone.jsonl", 8)
