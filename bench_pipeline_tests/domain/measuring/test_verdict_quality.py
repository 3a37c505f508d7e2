"""Format compliance and verdict accuracy: what each counts, and that neither hides the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import Standing, score_model
from bench_pipeline.domain.measuring.verdict_quality import Confusion, VerdictQuality, verdict_quality
from bench_pipeline.domain.tasks.outcome import Outcome

Said = tuple[str, str | None]  # the gold, and the verdict that was read; ERROR stands for no reply
ERROR = "ERROR"


def sample_of(number: int, gold: str, said: str | None) -> Sample:
    if said == ERROR:
        return Sample(f"C{number}", 1, 1, Outcome.ERROR, gold)
    outcome = Outcome.INVALID if said is None else Outcome.CORRECT if said == gold else Outcome.WRONG
    return Sample(f"C{number}", 1, 1, outcome, gold, said, latency_ns=None if said is None else 1_000_000)


def samples_of(pairs: Sequence[Said]) -> list[Sample]:
    return [sample_of(number, gold, said) for number, (gold, said) in enumerate(pairs)]


def quality_of(*pairs: Said) -> VerdictQuality:
    return verdict_quality(samples_of(pairs))


any_pairs = st.lists(st.tuples(st.sampled_from(["PASS", "FAIL"]), st.sampled_from(["PASS", "FAIL", None, ERROR])))


def test_without_samples_there_are_no_numbers() -> None:
    quality = quality_of()
    assert (quality.format_compliance, quality.verdict_accuracy, quality.constant_verdict) == (None, None, None)


def test_a_reply_without_a_verdict_lowers_format_compliance_and_not_accuracy() -> None:
    quality = quality_of(("PASS", "PASS"), ("PASS", None), ("FAIL", "FAIL"), ("FAIL", None))
    assert (quality.read, quality.answered, quality.format_compliance) == (2, 4, 0.5)
    assert (quality.right, quality.verdict_accuracy) == (2, 1.0)


def test_a_wrong_verdict_lowers_accuracy_and_not_format_compliance() -> None:
    quality = quality_of(("PASS", "PASS"), ("FAIL", "PASS"))
    assert (quality.format_compliance, quality.verdict_accuracy) == (1.0, 0.5)


def test_an_infrastructure_error_is_no_answer() -> None:
    quality = quality_of(("PASS", "PASS"), ("FAIL", ERROR))
    assert (quality.answered, quality.format_compliance, quality.verdict_accuracy) == (1, 1.0, 1.0)
    assert quality_of(("PASS", ERROR)).format_compliance is None


def test_a_right_verdict_with_a_wrong_value_beside_it_is_accurate() -> None:
    sample = Sample("C1", 1, 1, Outcome.WRONG, "PASS", "PASS", "title differs from the gold")
    assert verdict_quality([sample]).verdict_accuracy == 1.0


def test_false_pass_and_false_fail_are_counted_apart_each_over_its_class() -> None:
    quality = quality_of(("FAIL", "PASS"), ("FAIL", "FAIL"), ("FAIL", None), ("PASS", "FAIL"), ("PASS", "PASS"))
    assert (quality.false_pass, quality.should_fail) == (1, 2)
    assert (quality.false_fail, quality.should_pass) == (1, 2)


@pytest.mark.parametrize(
    ("pairs", "constant"),
    [
        ([("PASS", "PASS"), ("FAIL", "PASS")], "PASS"),
        ([("PASS", "FAIL"), ("FAIL", "FAIL"), ("FAIL", None)], "FAIL"),
        ([("PASS", "PASS"), ("FAIL", "FAIL")], None),
        ([("PASS", "PASS"), ("PASS", "PASS")], None),
        ([("PASS", "PASS"), ("FAIL", None)], None),
    ],
)
def test_a_verdict_is_constant_when_it_was_said_of_both_classes_and_no_other(
    pairs: list[Said], constant: str | None
) -> None:
    assert quality_of(*pairs).constant_verdict == constant


def test_of_several_classes_every_pair_of_gold_and_verdict_is_counted_over_its_class() -> None:
    invoices = [("invoice", "receipt"), ("invoice", "receipt"), ("invoice", "invoice")]
    quality = quality_of(*invoices, ("other", "invoice"), ("other", None))
    assert quality.confusions == (Confusion("invoice", "receipt", 2, 3), Confusion("other", "invoice", 1, 1))
    assert (quality.false_pass, quality.false_fail, quality.right) == (0, 0, 1)


def test_of_several_classes_one_verdict_for_all_is_constant() -> None:
    assert quality_of(("invoice", "other"), ("receipt", "other"), ("other", "other")).constant_verdict == "other"
    assert quality_of(("other", "other"), ("other", "other")).constant_verdict is None


@given(any_pairs)
def test_the_counts_agree_with_each_other(pairs: list[Said]) -> None:
    quality = quality_of(*pairs)
    assert quality.right <= quality.read <= quality.answered <= len(pairs)
    assert quality.should_fail + quality.should_pass == quality.read
    assert quality.right + quality.false_pass + quality.false_fail == quality.read
    assert quality.right + sum(pair.count for pair in quality.confusions) == quality.read


@given(any_pairs.filter(bool))
def test_a_model_that_qualifies_has_both_numbers_at_one(pairs: list[Said]) -> None:
    samples = samples_of(pairs)
    result = score_model("m", [sample.case_id for sample in samples], samples, 1)
    quality = verdict_quality(samples)
    both = quality.answered == len(pairs) and (quality.format_compliance, quality.verdict_accuracy) == (1.0, 1.0)
    assert (result.standing is Standing.QUALIFIED) == both
