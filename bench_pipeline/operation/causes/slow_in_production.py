"""A champion answers production much more slowly than it was measured. It is measured again, once a month at most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.task_keys import task_in_production
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.measuring.statistics import median, median_interval
from bench_pipeline.domain.models.actor import Candidate
from bench_pipeline.domain.models.ids import ActorId, ConversationId
from bench_pipeline.domain.promoting.champion import Champion
from bench_pipeline.domain.triggers.trigger import Cause, Finding
from bench_pipeline.storage.champions import champions_of
from bench_pipeline.storage.measured import measured_median

LAST = 100
"""How many calls are looked at."""
FEWEST = 30
"""How many are needed."""
MARGIN = 1.5
"""Production's texts are not the suite's: below this multiple of what was measured, nothing is said."""
LEVEL = 0.999
"""Of the interval; high, because production is looked at again and again."""


def find_slow_in_production(bench: Workbench, task: str, roster: Sequence[Candidate], now: datetime) -> list[Finding]:
    """Return one finding per champion whose median latency in production lies above `MARGIN` times the measured one.

    The calls are the last ones in the conversations of the task that it serves as champion, since it was decided. The
    whole confidence interval of their median must lie above. Without a table of interactions, or the right to read it,
    nothing is known.
    """
    if bench.application is None or "interactions" not in bench.application.optional:
        return []
    numbers = task_in_production(bench, task).conversations
    names = {one.actor_id: one.name for one in roster if one.eligible and one.actor_id is not None}
    with bench.database.engine.connect() as connection:
        serving = {one.conversation_id: one.actor_id for one in bench.application.conversations(connection, numbers)}
        lines: dict[ActorId, list[Champion]] = {}
        for line in champions_of(connection, task):
            if line.champion_actor_id in names and serving.get(line.conversation_id) == line.champion_actor_id:
                lines.setdefault(line.champion_actor_id, []).append(line)
        why = {actor_id: _why_slow(bench, connection, of_actor) for actor_id, of_actor in lines.items()}
    return [
        Finding(
            task=task,
            cause=Cause.SLOW_IN_PRODUCTION,
            subject=names[actor_id],
            why=f"{names[actor_id]} {text}",
            wanted={"actor": actor_id, "month": f"{now:%Y-%m}"},
            models=(names[actor_id],),
        )
        for actor_id, text in why.items()
        if text is not None
    ]


def _why_slow(bench: Workbench, connection: Connection, lines: Sequence[Champion]) -> str | None:
    newest = max(lines, key=lambda line: line.decided_at)
    measured = measured_median(connection, newest.benchmark_id, newest.champion_actor_id)
    if measured is None:
        return None
    calls = _latencies(bench, newest, [line.conversation_id for line in lines])
    interval = median_interval(calls, LEVEL) if len(calls) >= FEWEST else None
    if interval is None or interval[0] <= MARGIN * measured[1]:
        return None
    low, high = interval
    return (
        f"is slow in production: median {median(calls):,.0f} ms ({LEVEL:.1%} interval {low:,.0f} to {high:,.0f}) over "
        f"its last {len(calls)} calls; benchmark {measured[0]} measured {measured[1]:,.0f} ms"
    )


def _latencies(bench: Workbench, champion: Champion, numbers: Sequence[ConversationId]) -> list[float]:
    try:
        with bench.database.engine.connect() as connection:  # a refused query would end the caller's transaction
            return bench.production.latencies(
                connection, champion.champion_actor_id, numbers, champion.decided_at, LAST
            )
    except (InputError, DBAPIError):  # such as no right to read the table
        return []
