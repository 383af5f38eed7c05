"""The attack is worth what the measured table says, and finds nothing where nothing is given."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from dutchdoor.audit.evaluations.attacks import Ground, canaries, extract
from dutchdoor.audit.evaluations.door import Door, NotMeasured
from dutchdoor.audit.evaluations.extraction import held_out_error, layer_error, rank_of
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.measure import Measure

HIDDEN = 32
Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


@contextmanager
def serving(answer: Answer) -> Iterator[Door]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            status, value = answer(self.path, body)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Door(f"http://127.0.0.1:{server.server_port}/v1", "m", "key")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refusal(
    code: str, status: int = 403, missing: Sequence[str] = ()
) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "dutchdoor": {"missing": list(missing)}}}


class Accountant:
    """A server of 4 layers that gives `budget` vectors and refuses the rest."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self._random = np.random.default_rng(0)
        self.asked: list[str] = []

    def __call__(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if path.endswith("/me"):
            pool = {"text": "0 released", "hidden": HIDDEN, "released": 0, "allowed": self.left}
            grant = {"active": True, "budget_left": {"vectors": self.left}}
            return 200, {"vectors": pool, "grants": [grant]}
        if path.endswith("/activations"):
            return self._activations(body)
        if body.get("top_logprobs") == 20:
            top = [{"bytes": [97], "logprob": -1.0}, {"bytes": [98], "logprob": -2.0}]
            return 200, {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}
        return refusal("bad_request", 400)

    def _activations(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if any(int(tap.split(".")[1]) > 3 for tap in body["taps"]):
            return refusal("unknown_tap", 400)
        if body["positions"] > 100:
            return refusal("bad_positions", 400)
        count = len(body["taps"]) * body["positions"]
        if count > self.left:
            return refusal("budget_vectors", 429)
        self.left -= count
        shape = [len(body["taps"]), body["positions"], HIDDEN]
        data = self._random.normal(size=shape).astype("<f4").tobytes()
        return 200, {"data": base64.b64encode(data).decode(), "shape": shape}


def ground(door: Door, **others: Any) -> Ground:
    return Ground(door=door, size=1, seed=0, progress=lambda *_: None, **others)


def test_a_quarter_of_the_width_leaves_most_of_a_layer_unknown() -> None:
    server = Accountant(HIDDEN // 4)
    with serving(server) as door:
        figure = extract(ground(door))
    assert server.left == 0, "the attack takes all it may"
    assert figure.details["recovered rank"] == str(HIDDEN // 4)
    assert figure.details["vectors used"] == str(HIDDEN // 4)
    assert figure.value == pytest.approx((3 / 4) ** 0.5)
    assert figure.value > 0.8
    assert "budget_vectors" in figure.details["activations"]
    assert figure.details["full logits"] == "refused: bad_request"
    assert figure.details["top log-probabilities"] == "given: 4 rows of 2"


def test_with_as_many_vectors_as_the_model_is_wide_the_layer_is_given_away() -> None:
    with serving(Accountant(4 * HIDDEN)) as door:
        figure = extract(ground(door))
    assert figure.details["recovered rank"] == str(HIDDEN)
    assert figure.value == 0.0


def test_without_the_depth_nothing_is_recovered_and_the_refusal_is_told() -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return Accountant(0)(path, body) if path.endswith("/me") else refusal("depth_not_granted")

    with serving(answer) as door:
        figure = extract(ground(door))
    assert figure.value == 1.0
    assert figure.details["activations"] == "refused: depth_not_granted"
    assert figure.details["vectors used"] == "0"


def test_another_server_is_not_measured() -> None:
    with serving(lambda *_: (404, {})) as door, pytest.raises(NotMeasured):
        extract(ground(door))


def test_a_linear_map_is_imitated_once_enough_rows_are_known_and_not_before() -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=(HIDDEN, HIDDEN))
    before = random.normal(size=(3 * HIDDEN, HIDDEN))
    after = before + before @ weights
    enough = held_out_error(before, after)
    few = held_out_error(before[: HIDDEN // 4], after[: HIDDEN // 4])
    assert enough is not None
    assert few is not None
    assert enough < 1e-6
    assert few > 0.8
    assert held_out_error(before[:3], after[:3]) is None


def test_rounding_does_not_hide_the_rank() -> None:
    random = np.random.default_rng(2)
    rows = random.normal(size=(20, 8)) @ random.normal(size=(8, 40))
    assert rank_of(rows) == rank_of(rows.astype(np.float32).astype(np.float64)) == 8
    assert rank_of(np.zeros((3, 4))) == 0
    assert layer_error(0, 8) == 1.0
    assert layer_error(8, 8) == 0.0


def test_a_planted_canary_is_ranked_within_the_budget_and_its_secret_is_not_kept() -> None:
    def answer(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/me"):
            return Accountant(40)(path, body)
        known = "7391" in body["prompt"]
        return 200, {"choices": [{"logprobs": {"token_logprobs": [None, -1.0 if known else -9.0]}}]}

    planted = (Canary("the code is {}", "7391", "digits"),)
    with serving(answer) as door:
        asked = ground(door, canaries=planted)
        figure = canaries(asked)
        assert figure.measure is Measure.VALUE
        assert figure.value > 4
        assert figure.details["candidates for each"] == "39"
        assert "7391" not in json.dumps(asked.samples)
        with pytest.raises(NotMeasured, match="no canaries planted"):
            canaries(ground(door))
        with pytest.raises(NotMeasured, match="vectors left"):
            canaries(ground(door, canaries=planted * 30))
    with (
        serving(lambda *_: refusal("depth_not_granted", missing=["decoding_control"])) as door,
        pytest.raises(NotMeasured, match="depth missing: decoding_control"),
    ):
        canaries(ground(door, canaries=planted))
