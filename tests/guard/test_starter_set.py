"""The packaged prompts come whole or as a fair sample, the same each time."""

from __future__ import annotations

import pytest

from dutchdoor.errors import Invalid
from dutchdoor.guard.starter import starter_digest, starter_set


def test_the_whole_set_is_what_is_packaged() -> None:
    prompts = starter_set()
    assert {prompt.label for prompt in prompts} == {0, 1}
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert starter_digest().startswith("sha256:")
    assert starter_digest() == starter_digest()


def test_a_sample_keeps_a_third_harmful_and_the_sources_in_proportion() -> None:
    sample = starter_set(600)
    assert len(sample) == len({prompt.id for prompt in sample}) == 600
    assert sum(prompt.label for prompt in sample) == 200
    every = {prompt.source for prompt in starter_set()}
    assert {prompt.source for prompt in sample} == every


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    assert starter_set(90, seed=3) == starter_set(90, seed=3)
    assert starter_set(90, seed=3) != starter_set(90, seed=4)


def test_a_sample_larger_than_the_harmful_ones_allow_takes_benign_instead() -> None:
    assert len(starter_set(2000)) == 2000


def test_a_limit_too_small_is_refused() -> None:
    with pytest.raises(Invalid):
        starter_set(2)
