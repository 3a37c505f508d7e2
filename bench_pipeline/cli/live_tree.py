"""A benchmark's progress as a live tree, and its final rankings as lines. The full report is in reporting/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from bench_pipeline.benchmark.events import (
    AnchorStarted,
    BenchmarkStarted,
    CallRetried,
    CallsRepeated,
    Event,
    FinalOmitted,
    FinalPass,
    HostSkipped,
    HostStopped,
    LockAwaited,
    ModelFinished,
    ModelStarted,
    OnHost,
    SampleTaken,
    ServerOnCpu,
)
from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.cli.output import duration, safe
from bench_pipeline.domain.measuring.sample import Sample
from bench_pipeline.domain.measuring.scoreboard import TIE_LEVEL, ModelResult, Scoreboard, Standing, compare_means
from bench_pipeline.domain.measuring.statistics import interval_text
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.reporting.machine_load import machine_load

_MEDALS = {1: "🥇 Champion", 2: "🥈 Runner-up", 3: "🥉 Third"}


class LiveTree:
    """Prints events as they arrive; `err` sends them to standard error, which keeps JSON output clean."""

    def __init__(self, err: bool = False, write: Callable[[str], None] | None = None) -> None:
        self._write = write or (lambda line: click.echo(line, err=err))
        self._left = 0
        self._repeats = 1
        self._model = ""
        self._hosts: dict[str, LiveTree] = {}

    def __call__(self, event: Event) -> None:
        """Print one event."""
        match event:
            case OnHost():
                self._on(event.host)(event.event)
            case LockAwaited() | BenchmarkStarted() | ServerOnCpu() | HostSkipped() | HostStopped() | FinalOmitted():
                self._remark(event)
            case ModelStarted():
                self._model = event.model
                self._left = event.calls - event.calls_done
                done = f" ({event.calls_done} of {event.calls} calls already made)" if event.calls_done else ""
                self._write(f"\n[{event.number}/{event.total}] {safe(event.model)}{done}")
            case AnchorStarted():
                self._model = event.model
                self._left = event.calls
                self._write(f"\n⚓ {safe(event.model)}")
            case FinalPass():
                self._model = ""
                self._left = 0
                self._write(f"\n⚔️  final, pass {event.number}: {safe(' then '.join(event.models))}")
            case CallRetried():
                why = f"🔁 attempt {event.attempt} failed" if event.attempt else "⏳ waiting for the server"
                self._write(f"  ├─ {event.case_id}: {why}: {safe(event.failure)}")
            case SampleTaken():
                self._name(event.model)
                self._left -= 1
                self._write(f"  {'├─' if self._left else '└─'} {self._sample(event.sample)}")
            case CallsRepeated():
                self._name(event.model)
                self._left = len(event.calls)
                calls = f"{self._left} call{'s' * (self._left != 1)}"
                self._write(f"  🐢 {calls} took far longer than expected; repeating once")
            case ModelFinished():
                self._name(event.model)
                self._write(f"  {_result(event.result)}")

    def _on(self, host: str) -> LiveTree:
        """Return the tree of a named host, whose lines begin with its name: those of several hosts come mixed."""
        if host not in self._hosts:
            tree = LiveTree(write=lambda line: self._write(f"{safe(host)} │ " + line.lstrip("\n")))
            tree._repeats = self._repeats
            self._hosts[host] = tree
        return self._hosts[host]

    def _remark(
        self, event: LockAwaited | BenchmarkStarted | ServerOnCpu | HostSkipped | HostStopped | FinalOmitted
    ) -> None:
        match event:
            case LockAwaited():
                self._write(f"⏳ waiting: {safe(event.why)}")
            case BenchmarkStarted():
                self._repeats = event.repeats
                verb = "continuing" if event.resumed else "starting"
                models = f"{len(event.models)} model{'s' * (len(event.models) != 1)}"
                self._write(f"🏁 {event.task}: {verb} {event.benchmark_id}, {models} × {event.cases} cases")
            case ServerOnCpu():
                self._write(f"🖥️  {safe(event.address)} has no GPU in use: its models run on the CPU")
            case HostSkipped():
                self._write(f"⏭️  host {safe(event.host)} is left out: {safe(event.why)}")
            case HostStopped():
                self._write(f"🔌 host {safe(event.host)} was lost: {safe(event.why)}")
            case FinalOmitted():
                self._write(f"⚔️  no final: {safe(event.why)}")

    def _name(self, model: str) -> None:
        """Print the model's name when the lines above belong to another model: in a final, or as a race ends."""
        if model != self._model:
            self._model = model
            self._write(f"  {safe(model)}")

    def _sample(self, sample: Sample) -> str:
        name = sample.case_id if self._repeats == 1 else f"{sample.case_id} #{sample.repeat}"
        name = f"{name} again" if sample.take > 1 else name
        took = f" ({duration(sample.latency_ns / 1e6)})" if sample.latency_ns is not None else ""
        match sample.outcome:
            case Outcome.CORRECT:
                return f"{name}: ✅ {sample.verdict}{took}"
            case Outcome.WRONG:
                return f"{name}: ❌ {sample.verdict}{took}: {safe(sample.reason)}"
            case Outcome.INVALID:
                return f"{name}: ⚠️  no verdict: {safe(sample.reason)}"
            case Outcome.ERROR:
                return f"{name}: 🔌 {safe(sample.reason)}"


def _result(result: ModelResult) -> str:
    mark = "✅" if result.qualified else "❌"
    line = f"Result: {result.cases_correct}/{result.cases} {mark} | Avg: {duration(result.avg_latency_ms)}"
    if result.speed_score is not None:
        line += f" | Score: {result.speed_score:.0f}"
    return f"{line} | {safe(result.reason)}" if result.reason else line


def summary(ranked: RankedBenchmark) -> list[str]:
    """Return the final rankings as lines."""
    board = ranked.scoreboard
    lines = ["", f"📊 Final rankings{safe(f' (invalid run: {board.invalid})') if board.invalid else ''}:"]
    for result in board.ranked:
        title = _MEDALS.get(result.rank or 0, f"   {result.rank}.")
        size = f", {result.size_bytes / 1e9:.2f} GB" if result.size_bytes else ""
        tied = f", tied with {', '.join(result.tied_with)}" if result.tied_with else ""
        figures = f"{duration(result.avg_latency_ms)} (n={result.valid_calls}), score {result.speed_score:.0f}"
        lines.append(f"{title}: {safe(result.model)}  {figures}{size}{safe(tied)}")
    if not board.ranked:
        lines.append("   none: no model was correct in every case")
    lines += _lead(board)
    lines += _disturbed(ranked)
    outpaced = [result for result in board.results if result.standing is Standing.OUTPACED]
    failed = [result for result in board.results if not result.qualified and result not in outpaced]
    if failed:
        lines.append("⚠️  Did not qualify:")
        lines += [f"   {_why(result)}" for result in failed]
    if outpaced:
        lines.append("🏃 Outpaced, stopped by the race:")
        lines += [f"   {safe(r.model)}: {r.cases_seen} of {r.cases} cases seen" for r in outpaced]
    if ranked.excluded:
        lines.append("⏭️  Not run:")
        lines += [f"   {safe(one.model)}: {safe(one.detail)}" for one in ranked.excluded]
    return lines


def _lead(board: Scoreboard) -> list[str]:
    """Return how the two leaders compare; the ranking already computed it, so this costs nothing."""
    if board.champion is None or board.runner_up is None:
        return []
    found = compare_means(board.champion, board.runner_up, TIE_LEVEL)
    if found is None:
        return []
    return [f"   champion / runner-up, mean latency: {found.ratio:.3g} ({interval_text(found)})"]


def _disturbed(ranked: RankedBenchmark) -> list[str]:
    """Return the disturbed calls, and what else ran."""
    load = machine_load(ranked)
    lines = [f"   {safe(_disturbed_line(line))}" for line in load["disturbed_calls"]]
    lines = ["🐢 Disturbed calls:", *lines] if lines else []
    return [*lines, *(f"   {safe(text)}" for text in load["other_programs"])]


def _disturbed_line(line: Mapping[str, Any]) -> str:
    ratio = f", {line['ratio']:.1f} × as long as expected" if line["ratio"] is not None else ""
    again = f"again {duration(line['again_ms'])}" if line["repeated"] else "not repeated"
    ranks = f"the {line['ranks']} ranks" if line["ranks"] else "neither ranks"
    what = f"{line['model']}, {line['case_id']}, pass {line['pass']}"
    return f"{what}: {duration(line['latency_ms'])}{ratio}; {again}; {ranks}"


def _why(result: ModelResult) -> str:
    cases = ", ".join(f"{failure.case_id} ({failure.outcome})" for failure in result.failures[:5])
    more = f" and {len(result.failures) - 5} more" if len(result.failures) > 5 else ""
    why = safe(result.reason) or cases + more
    asked = f" ({result.cases_seen} of {result.cases} cases asked)" if 0 < result.cases_seen < result.cases else ""
    return f"{safe(result.model)}: {result.standing}, {result.cases_correct}/{result.cases} correct{asked}: {why}"
