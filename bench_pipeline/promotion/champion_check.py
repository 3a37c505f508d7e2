"""Runs a promoted champion through its suite again, in one session with what it replaced. Undoes nothing.

When the session is over and what it shows is decided in domain/promoting/validation.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from bench_pipeline.benchmark.eligibility import named_candidates
from bench_pipeline.benchmark.events import OnEvent
from bench_pipeline.benchmark.field import Field
from bench_pipeline.benchmark.hardware import common_hardware
from bench_pipeline.benchmark.preparation import PreparedTask, prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, anchor_latency, read_ranked, unranked_results
from bench_pipeline.benchmark.runner import RunTerms, bound, run_benchmark
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.measuring.benchmark import Purpose
from bench_pipeline.domain.measuring.protocol import MAX_DRIFT
from bench_pipeline.domain.measuring.scoreboard import ModelResult, Standing
from bench_pipeline.domain.models.actor import Candidate, Exclusion
from bench_pipeline.domain.models.ids import ActorId
from bench_pipeline.domain.promoting.changes import Promotion, PromotionRow
from bench_pipeline.domain.promoting.plan import PlanKind
from bench_pipeline.domain.promoting.validation import slower_than, slowness_in_words, speed_in_words

_FEWEST_PASSES = 2


@dataclass(frozen=True, slots=True)
class ChampionCheck:
    """The check of one new champion: its result on the test cases, its faults, and what is known of its speed.

    `lasting` distinguishes a fault of the model from one of the machine or the runtime, which may be temporary.
    `speed` says with what it was compared, and what not, and why.
    """

    task: str
    model: str
    result: ModelResult | None
    faults: tuple[str, ...] = ()
    lasting: bool = True
    speed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rivals:
    """Who meets the champion, each with its limit by name, and what is to be said of those who do not."""

    candidates: tuple[Candidate, ...] = ()
    limits: Mapping[str, float] = dataclass_field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_champion(
    bench: Workbench, promotion: Promotion, row: PromotionRow, lines: Sequence[Candidate], on_event: OnEvent
) -> ChampionCheck:
    """Measure the new champion of a row. `lines` are the candidates of the promotion's actors, old and new."""
    name = row.new_actor or f"actor {row.new_actor_id}"
    line = _line_of(row.new_actor_id, lines)
    if not line.eligible:
        return _uncallable(row, name, line)
    prepared = prepare(bench, row.task)
    line = bound(line, prepared, bench.runtimes)
    if not line.eligible:
        return _uncallable(row, name, line)
    rivals = _rivals(bench, prepared, promotion, row, lines)
    field = Field((line, *rivals.candidates))
    terms = RunTerms(Purpose.VALIDATION, resume_hours=0.0, limits=rivals.limits)
    results = unranked_results(bench.database, run_benchmark(bench, prepared, field, on_event, terms))
    champion = results[line.name]
    lasting = list(_lasting_faults(champion, bench.settings.max_model_bytes))
    slow, speed = _speed(bench, champion, results, rivals)
    known = champion.standing is not Standing.INCONCLUSIVE
    return ChampionCheck(row.task, name, champion, (*lasting, *slow), bool(lasting) and known, speed)


def _line_of(actor_id: ActorId | None, lines: Sequence[Candidate]) -> Candidate:
    gone = Candidate(
        f"actor {actor_id}", actor_id, None, exclusion=Exclusion.DISABLED, detail="the actor no longer exists"
    )
    return next((line for line in lines if line.actor_id == actor_id), gone)


def _uncallable(row: PromotionRow, name: str, line: Candidate) -> ChampionCheck:
    return ChampionCheck(row.task, name, None, (f"{name} cannot be called: {line.detail}",), lasting=False)


def _rivals(
    bench: Workbench, prepared: PreparedTask, promotion: Promotion, row: PromotionRow, lines: Sequence[Candidate]
) -> _Rivals:
    """Return the replaced incumbents that qualified in the promotion's benchmark and can run, else the anchor."""
    replaced = {
        one.old_actor_id: one.old_actor or f"actor {one.old_actor_id}"
        for one in promotion.changed
        if (one.task, one.new_actor_id) == (row.task, row.new_actor_id) and one.old_actor_id is not None
    }
    if not replaced or row.benchmark_id is None:
        return _Rivals(notes=("speed not compared: it replaced no actor",))
    if promotion.kind is PlanKind.FAILOVER:
        return _Rivals(notes=("speed not compared: a failover replaces a champion that failed",))
    if prepared.protocol.final_passes < _FEWEST_PASSES:
        return _Rivals(notes=(f"speed not compared: BENCH_FINAL_PASSES is below {_FEWEST_PASSES}",))
    ranked = read_ranked(bench.database, row.benchmark_id)
    qualified = {result.actor_id: result for result in ranked.scoreboard.ranked}
    found: list[Candidate] = []
    notes: list[str] = []
    for actor_id, name in replaced.items():
        line = bound(_line_of(actor_id, lines), prepared, bench.runtimes)
        if actor_id not in qualified:
            notes.append(f"speed not compared with {name}: it did not qualify in the promotion's benchmark")
        elif not line.eligible:
            notes.append(f"speed not compared with {name}: {line.detail}")
        else:
            found.append(line)
    if found:
        return _Rivals(tuple(found), {line.name: 1.0 for line in found}, tuple(notes))
    gone = [qualified[actor_id] for actor_id in replaced if actor_id in qualified]
    return _anchor(bench, prepared, ranked, gone, lines, tuple(notes))


def _anchor(
    bench: Workbench,
    prepared: PreparedTask,
    ranked: RankedBenchmark,
    gone: Sequence[ModelResult],
    lines: Sequence[Candidate],
    notes: tuple[str, ...],
) -> _Rivals:
    """Return the anchor as the rival for the incumbents that are gone, if it is what it was in the benchmark.

    The champion may take as many times its latency as the fastest of them did then, and as much more as the anchor
    may drift.
    """
    fastest = min((result.avg_latency_ms, result.model) for result in gone if result.avg_latency_ms) if gone else None
    then = anchor_latency(bench.database, ranked.benchmark.benchmark_id)
    hardware = common_hardware(bench, lines, ())
    same_terms = ranked.benchmark.evidence_key == prepared.evidence_key(hardware)
    if fastest is None or then is None or prepared.protocol.anchor is None or not same_terms:
        return _Rivals(notes=notes)
    (anchor,) = named_candidates(bench, [prepared.protocol.anchor], bench.settings.load_time_limit_s)
    if not anchor.eligible or anchor.identity != then[0]:
        return _Rivals(notes=(*notes, f"the anchor {anchor.name} cannot stand in: it changed or cannot be called"))
    times = fastest[0] / then[1]
    note = f"the anchor {anchor.name} stands in for {fastest[1]}, which took {times:.3g} times its latency"
    return _Rivals((anchor,), {anchor.name: times * (1 + MAX_DRIFT)}, (*notes, note))


def _speed(
    bench: Workbench, champion: ModelResult, results: Mapping[str, ModelResult], rivals: _Rivals
) -> tuple[list[str], tuple[str, ...]]:
    """Return the faults of speed, and in words what the champion was compared with."""
    policy = bench.settings.promotion_policy
    slow: list[str] = []
    words = list(rivals.notes)
    for name, limit in rivals.limits.items():
        rival = results.get(name)
        if not champion.qualified:
            words.append(f"speed not compared with {name}: {champion.model} did not get through its test cases")
        elif rival is None or not rival.qualified:
            why = rival.why if rival else "it was not run"
            words.append(f"speed not compared with {name}: it did not get through the session: {why}")
        else:
            words.append(speed_in_words(champion, rival, policy))
            if found := slower_than(champion, rival, limit, policy):
                slow.append(slowness_in_words(champion, rival, limit, found))
    return slow, tuple(words)


def _lasting_faults(champion: ModelResult, max_model_bytes: int) -> Iterator[str]:
    if not champion.qualified:
        yield f"{champion.model} got {champion.cases_correct}/{champion.cases} cases right: {champion.why}"
    if champion.memory_bytes is not None and champion.memory_bytes > max_model_bytes:
        yield f"{champion.model} uses {champion.memory_bytes / 1e9:.1f} GB, the limit is {max_model_bytes / 1e9:.1f} GB"
