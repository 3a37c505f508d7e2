"""A benchmark as JUnit XML, one suite per model and one test per case, as CI servers show it.

What a pull request changed is in pull_request_comment.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.regression import BenchmarkChange
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.tasks.outcome import Outcome

_MAX_REPLY = 2000
_WORST_FIRST = (Outcome.WRONG, Outcome.INVALID, Outcome.ERROR)
# What no XML 1.0 document can hold, escaped or not.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_of(ranked: RankedBenchmark, change: BenchmarkChange | None) -> str:
    """Return the XML of a ranked benchmark; with a comparison, a suite of its own holds one test per model.

    A test fails when the model did not pass the case: `failure` for a wrong or unreadable answer, `error` when the
    infrastructure failed, `skipped` when the case was not asked. Times are mean seconds per call.
    """
    task = ranked.benchmark.task_type
    cases = [case["id"] for case in ranked.benchmark.suite["test_cases"]]
    document = JUnitXml(_legal(task))
    for result in ranked.scoreboard.results:
        samples = ranked.samples.get(result.model, ())
        suite = _suite(f"{task}: {result.model}", _tests(task, result.model, cases, samples, result))
        for name, value in _properties(ranked, result).items():
            suite.add_property(name, _legal(value))
        document.add_testsuite(suite)
    if change is not None:
        document.add_testsuite(_suite(f"{task}: compared with {change.before_id}", _compared(task, change)))
    return _written(document)


def junit_of_failure(task: str, why: str, samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the XML of a benchmark that ended early: the calls that it made, and an error that says why it ended."""
    document = JUnitXml(_legal(task))
    ended = TestCase("the benchmark ends", _legal(task), 0.0)
    ended.result = [Error(_legal(why), "ended_early")]
    document.add_testsuite(_suite(task, [ended]))
    for model, made in samples.items():
        asked = list(dict.fromkeys(sample.case_id for sample in made))
        document.add_testsuite(_suite(f"{task}: {model}", _tests(task, model, asked, made, None)))
    return _written(document)


def _suite(name: str, tests: Sequence[TestCase]) -> TestSuite:
    suite = TestSuite(_legal(name))
    for test in tests:
        suite.add_testcase(test)
    return suite


def _written(document: JUnitXml) -> str:
    document.update_statistics()
    text = document.tostring().decode()
    return text if text.startswith("<?xml") else f'<?xml version="1.0" encoding="utf-8"?>\n{text}'


def _properties(ranked: RankedBenchmark, result: ModelResult) -> dict[str, str]:
    row = ranked.benchmark
    found = {
        "benchmark_id": row.benchmark_id,
        "standing": result.standing.value,
        "digest": result.digest,
        "suite_hash": row.suite_hash,
        "prompt_hash": row.prompt_hash,
        "rank": None if result.rank is None else str(result.rank),
        "avg_latency_ms": None if result.avg_latency_ms is None else f"{result.avg_latency_ms:.3f}",
        "reason": result.reason,
    }
    return {name: value for name, value in found.items() if value}


def _tests(
    task: str, model: str, cases: Sequence[str], samples: Sequence[Sample], result: ModelResult | None
) -> list[TestCase]:
    """Return one test per case; `result` is None for a model that was still running."""
    by_case: dict[str, list[Sample]] = {case: [] for case in cases}
    for sample in samples:
        by_case.setdefault(sample.case_id, []).append(sample)
    return [_test(f"{task}.{model}", case, made, result) for case, made in by_case.items()]


def _test(classname: str, case: str, samples: Sequence[Sample], result: ModelResult | None) -> TestCase:
    test = TestCase(_legal(case), _legal(classname), _seconds(samples))
    if (found := _outcome(case, samples, result)) is not None:
        test.result = [found]
    return test


def _seconds(samples: Sequence[Sample]) -> float:
    taken = [ns for one in samples if (ns := one.latency_ns or one.elapsed_ns) is not None]
    return round(fmean(taken) / 1e9, 6) if taken else 0.0


def _outcome(case: str, samples: Sequence[Sample], result: ModelResult | None) -> FinalResult | None:
    failure = next((one for one in result.failures if one.case_id == case), None) if result else None
    if result is not None and failure is None and samples:
        return None  # the case errored once, and another pass answered it
    for outcome in _WORST_FIRST:
        for sample in samples:
            if sample.outcome is outcome:
                return _failed(sample, failure.reason if failure else sample.reason or outcome.value)
    if failure is not None:
        return Error(_legal(failure.reason), failure.outcome.value)
    if samples:
        return None
    if result is not None and result.standing is Standing.INCONCLUSIVE:
        return Error(_legal(result.why), "not_measured")
    return Skipped("not asked: the model's place was decided before" if result else "not asked")


def _failed(sample: Sample, why: str) -> FinalResult:
    kind = Error if sample.outcome is Outcome.ERROR else Failure
    found = kind(_legal(why), sample.outcome.value)
    said = sample.verdict or "no verdict"
    lines = [f"expected: {sample.expected}", f"actual: {said}", f"pass: {sample.repeat}"]
    if sample.reply_text is not None:
        cut = sample.reply_text[:_MAX_REPLY] + ("…" if len(sample.reply_text) > _MAX_REPLY else "")
        lines.append(f"reply: {cut}")
    found.text = _legal("\n".join(lines))
    return found


def _compared(task: str, change: BenchmarkChange) -> list[TestCase]:
    """Return one test per model that both benchmarks have, and one for the benchmark itself."""
    models = [one.model for one in change.models if one.before is not None]
    tests = []
    for model in ("", *models):
        test = TestCase(_legal(model or "the benchmark is valid"), _legal(f"{task}.compared"), 0.0)
        test.result = [Failure(_legal(one.why), one.kind.value) for one in change.regressions if one.model == model]
        tests.append(test)
    return tests


def _legal(text: str) -> str:
    """Return `text` without the characters that XML cannot hold."""
    return _ILLEGAL.sub("", text)
