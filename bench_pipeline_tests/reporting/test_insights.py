"""What the sentences say, and when they are silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import Scoreboard, Standing, rank, score_model
from bench_pipeline.domain.models.reply import ServerTimings
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.insights import insights

GOLD = {"P1": "PASS", "P2": "PASS", "F1": "FAIL", "F2": "FAIL"}
RIGHT = ("PASS", "PASS", "FAIL", "FAIL")
UNKNOWN = ServerTimings()
Samples = Mapping[str, Sequence[Sample]]


def samples(verdicts: Sequence[str | None], ms: int = 100, timings: ServerTimings = UNKNOWN) -> list[Sample]:
    """One sample a case; the verdict None is an infrastructure error."""
    return [
        Sample(case, 1, 1, _outcome(gold, verdict), gold, verdict, latency_ns=ms * 1_000_000, timings=timings)
        if verdict
        else Sample(case, 1, 1, Outcome.ERROR, gold, reason="deadline")
        for (case, gold), verdict in zip(GOLD.items(), verdicts, strict=True)
    ]


def _outcome(gold: str, verdict: str) -> Outcome:
    return Outcome.CORRECT if verdict == gold else Outcome.WRONG


def board(by_model: Samples, sizes: Mapping[str, float] = {}, families: Mapping[str, str] = {}) -> Scoreboard:
    results = (score_model(model, list(GOLD), taken, 1) for model, taken in by_model.items())
    return rank(
        replace(r, size_bytes=int(sizes[r.model] * 1e9) if r.model in sizes else None, family=families.get(r.model))
        for r in results
    )


def said(by_model: Samples, sizes: Mapping[str, float] = {}, families: Mapping[str, str] = {}) -> str:
    return "\n".join(insights(board(by_model, sizes, families), by_model))


def test_an_empty_scoreboard_says_nothing() -> None:
    assert insights(Scoreboard(()), {}) == []


def test_a_model_that_was_never_called_gives_its_share_and_nothing_else() -> None:
    assert insights(board({"a:1b": []}), {"a:1b": []}) == [
        "0 of 1 model qualified (0%): correct in all 4 cases; 1 could not be measured to the end."
    ]


def test_the_share_of_qualified_models_tells_the_unfinished_ones_apart() -> None:
    text = said({"a": samples(RIGHT), "b": samples(("PASS",) * 4), "c": samples((None,) * 4)})
    assert "1 of 3 models qualified (33%): correct in all 4 cases; 1 could not be measured to the end." in text


def test_the_share_of_qualified_models_tells_those_apart_that_a_race_stopped() -> None:
    by_model = {"a": samples(RIGHT), "b": samples(RIGHT)}
    results = board(by_model).results
    raced = Scoreboard((results[0], replace(results[1], standing=Standing.OUTPACED, rank=None)))
    (share, *_) = insights(raced, by_model)
    assert share.endswith("in all 4 cases; 1 stopped by the race, correctness unknown.")


def test_the_margin_is_in_milliseconds_and_per_cent_of_the_runner_up() -> None:
    text = said({"a": samples(RIGHT, 150), "b": samples(RIGHT, 200)})
    assert "a leads b by 50 ms per case (25.0%): 150 ms (n=4 calls) against 200 ms (n=4 calls)." in text


def test_a_tie_is_no_lead() -> None:
    text = said({"a": samples(RIGHT, 150), "b": samples(RIGHT, 150)})
    assert "a and b are tied; their difference may be chance" in text
    assert "leads" not in text


def test_the_fastest_model_may_be_the_smallest_and_is_set_against_the_largest() -> None:
    text = said({"a": samples(RIGHT, 100), "b": samples(RIGHT, 300)}, sizes={"a": 2, "b": 8})
    assert "The fastest model, a, is also the smallest (2.00 GB; n=2 qualified models of known size)." in text
    assert "b, the largest that qualified (8.00 GB), is 4.0 times the size of a and takes 3.0 times as long" in text


def test_the_fastest_model_may_be_the_largest() -> None:
    text = said({"a": samples(RIGHT, 100), "b": samples(RIGHT, 300)}, sizes={"a": 8, "b": 2})
    assert "The fastest model, a (8.00 GB, 100 ms (n=4 calls)), is not the smallest, which is b (2.00 GB" in text
    assert "the largest that qualified" not in text


def test_without_known_sizes_nothing_is_said_of_size() -> None:
    assert "size" not in said({"a": samples(RIGHT, 100), "b": samples(RIGHT, 300)})


def test_families_are_compared_only_when_two_of_them_qualify() -> None:
    by_model = {"a": samples(RIGHT, 100), "b": samples(RIGHT, 300), "c": samples(RIGHT, 500)}
    text = said(by_model, families={"a": "qwen2", "b": "llama", "c": "llama"})
    assert "by family: qwen2 100 ms (n=1 model), llama 400 ms (n=2 models)." in text
    assert "family" not in said(by_model, families=dict.fromkeys("abc", "qwen2"))


def test_the_hardest_case_is_the_one_that_most_models_failed() -> None:
    text = said({"a": samples(RIGHT), "b": samples(("PASS", "PASS", "PASS", "FAIL")), "c": samples(("PASS",) * 4)})
    assert "Hardest cases: F1 (failed by 2 of 3 models), F2 (failed by 1 of 3 models)." in text
    assert "2 of 4 cases were answered correctly by every model that answered them." in text


def test_an_infrastructure_error_is_no_failed_case() -> None:
    assert "Hardest" not in said({"a": samples(RIGHT), "b": samples((None,) * 4)})


def test_a_model_with_one_verdict_for_every_case_is_named() -> None:
    text = said({"a": samples(RIGHT), "b": samples(("PASS",) * 4)})
    assert "b always says PASS, whatever the case (n=4 verdicts)." in text
    assert "a always says" not in text


def test_one_verdict_on_cases_of_one_class_is_no_habit() -> None:
    assert "always says" not in said({"a": samples(("PASS", "PASS", None, None))})


def test_false_verdicts_are_counted_over_all_models() -> None:
    text = said({"a": samples(RIGHT), "b": samples(("PASS",) * 4)})
    assert "2 of 4 verdicts on cases that should FAIL said PASS (false PASS)" in text
    assert "0 of 4 verdicts on cases that should PASS said FAIL (false FAIL)" in text


def test_false_verdicts_are_counted_for_every_model_that_has_any() -> None:
    text = said({"a": samples(RIGHT), "b": samples(("PASS",) * 4), "c": samples(("FAIL", "PASS", "FAIL", "FAIL"))})
    fail, passed = (
        "on cases that should FAIL said PASS (false PASS)",
        "on cases that should PASS said FAIL (false FAIL)",
    )
    assert f"b: 2 of 2 verdicts {fail}, and 0 of 2 verdicts {passed}." in text
    assert f"c: 0 of 2 verdicts {fail}, and 1 of 2 verdicts {passed}." in text
    assert "a: " not in text


def test_the_false_verdicts_of_a_lone_model_are_told_once() -> None:
    assert said({"b": samples(("PASS",) * 4)}).count("false PASS") == 1


def test_the_champions_time_is_split_by_the_servers_timings() -> None:
    timings = ServerTimings(prompt_ns=30_000_000, generation_ns=90_000_000)
    text = said({"a": samples(RIGHT, 120, timings)})
    assert "a spends 25% of its server time reading the prompt and 75% generating (30 ms and 90 ms per call" in text
    assert "server time" not in said({"a": samples(RIGHT, 120)})
