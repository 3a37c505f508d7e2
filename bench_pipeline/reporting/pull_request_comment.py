"""What a change did to a task, as a Markdown comment on a pull or merge request. The comparison is in domain/.

Names and replies are foreign text. They stand in code spans, in which no mention, reference, link, image or HTML works,
and no line begins with one, as a command to GitLab would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.measuring.regression import (
    BenchmarkChange,
    CaseChange,
    CaseChangeKind,
    LatencyChange,
    ModelChange,
)
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import ModelResult
from bench_pipeline.domain.measuring.statistics import interval_text
from bench_pipeline.reporting.markdown import code, number

MAX_BYTES = 65_536
"""GitHub refuses a comment of more characters; as bytes it is safe whatever a server counts."""
_MARK = "<!-- bench run -->"
_MAX_REPLY = 300
_MAX_WHY = 300
_HEADINGS = {
    CaseChangeKind.GOT_WRONG: "got wrong",
    CaseChangeKind.NEW_WRONG: "wrong, not asked before",
    CaseChangeKind.STILL_WRONG: "still wrong",
    CaseChangeKind.UNMEASURED: "could not be measured",
    CaseChangeKind.GOT_RIGHT: "got right",
}


def comment_of(ranked: RankedBenchmark, change: BenchmarkChange) -> str:
    """Return the comment, at most `MAX_BYTES` long: regressions first, then model by model, case by case."""
    return _fitted([*_head(ranked, change), *_models(change, ranked.samples)])


def comment_of_failure(task: str, why: str) -> str:
    """Return the comment on a benchmark that ended early."""
    return _fitted([_MARK, f"### ⚠️ {code(task)}: the benchmark did not end", "", f"- {code(why, _MAX_WHY)}"])


def _head(ranked: RankedBenchmark, change: BenchmarkChange) -> Iterator[str]:
    task, found = ranked.benchmark.task_type, change.regressions
    yield _MARK
    verdict = f"❌ {code(task)}: {len(found)} regression{'s' * (len(found) != 1)}" if found else f"✅ {code(task)}"
    yield f"### {verdict}"
    yield ""
    yield f"Benchmark {code(change.now_id)}, compared with {code(change.before_id)}."
    yield ""
    for one in found:
        about = f"{code(one.model)}: " if one.model else ""
        yield f"- ❌ {about}{code(one.why, _MAX_WHY)}"
    champion = ranked.scoreboard.champion
    yield f"- Champion before: {_named(change.champion)}; now: {_named(champion.model if champion else None)}."
    if change.added_cases:
        yield f"- Cases added: {_listed(change.added_cases)}."
    if change.removed_cases:
        yield f"- Cases removed: {_listed(change.removed_cases)}."


def _named(model: str | None) -> str:
    return code(model) if model else "none"


def _listed(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - 10} more" if len(cases) > 10 else ""
    return ", ".join(code(case) for case in cases[:10]) + more


def _models(change: BenchmarkChange, samples: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    for one in change.models:
        yield ""
        yield f"#### {code(one.model)}{' (champion before)' if one.model == change.champion else ''}"
        yield ""
        yield f"- Correct: {_correct(one.before)} → {_correct(one.now)}."
        if (latency := _latency(one)) is not None:
            yield f"- {latency}"
        for kind, heading in _HEADINGS.items():
            for case in (case for case in one.cases if case.kind is kind):
                yield f"- **{heading}**: {_case(case, samples.get(one.model, ()))}"


def _correct(result: ModelResult | None) -> str:
    return f"{result.cases_correct}/{result.cases} ({result.standing.value})" if result else "not measured"


def _latency(one: ModelChange) -> str | None:
    found = one.latency
    if found is None:
        return None
    line = f"Mean latency: {number(found.before_ms)} ms → {number(found.now_ms)} ms{_interval(found)}."
    return f"{line} Not judged: {found.unjudged}." if found.unjudged else line


def _interval(found: LatencyChange) -> str:
    if found.comparison is None:
        return ""
    return f", {found.comparison.ratio:.2f} times as long ({interval_text(found.comparison)})"


def _case(case: CaseChange, samples: Sequence[Sample]) -> str:
    if case.failure is None:
        return code(case.case_id)
    made = (one for one in samples if one.case_id == case.case_id and one.outcome is case.failure.outcome)
    sample = next(made, None)
    if sample is None:
        return f"{code(case.case_id)}: {code(case.failure.reason, _MAX_WHY)}"
    line = f"{code(case.case_id)}: expected {code(sample.expected)}, said {code(sample.verdict or 'no verdict')}"
    line += f"; {code(case.failure.reason, _MAX_WHY)}"
    return f"{line}; reply {code(sample.reply_text, _MAX_REPLY)}" if sample.reply_text else line


def _fitted(lines: Sequence[str]) -> str:
    """Return as many whole lines as fit, and the number of the others."""
    reserve = 120
    kept: list[str] = []
    used = 0
    for line in lines:
        used += len(line.encode()) + 1
        if used > MAX_BYTES - reserve:
            break
        kept.append(line)
    rest = len(lines) - len(kept)
    if rest:
        kept += ["", f"{rest} more lines do not fit here; the JUnit file and the report have all cases."]
    return "\n".join(kept) + "\n"
