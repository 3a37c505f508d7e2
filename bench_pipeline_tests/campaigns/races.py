"""Races for production's rows: promotions, rollbacks, edits and freezes at the same time, a thousand times.

`python -m bench_pipeline_tests.campaigns.races` prints the results, and exits with 1 on a violation. Seven of ten
rounds run on a real PostgreSQL server, the others on SQLite. Every contender is its own process; all start at a
barrier. It takes minutes. What must hold afterwards is in race_invariants.py.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from textwrap import fill

from sqlalchemy import func, insert, select, update

from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.storage import tables
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.plans import insert_plan
from bench_pipeline_tests.campaigns import race_log
from bench_pipeline_tests.campaigns.contenders import (
    APPLIED,
    Act,
    Contender,
    Edit,
    Freeze,
    Outcome,
    Promote,
    Statement,
    Undo,
    contenders,
    tell_who_writes,
)
from bench_pipeline_tests.campaigns.race_invariants import (
    AFTERWARDS,
    BUSY,
    DISABLED,
    FROZEN,
    ROW_CHANGED,
    UNDONE,
    Fought,
    audit_since,
    faults,
    held_rows,
)
from bench_pipeline_tests.campaigns.template_world import (
    OLD,
    Copy,
    Template,
    get_ready_to_fork,
    make_template,
    model_server,
)
from bench_pipeline_tests.fakes.postgres import create_database, postgres_server
from bench_pipeline_tests.kit.models import BROKEN, FAST, SILENT, SLOW
from bench_pipeline_tests.kit.production import actors, conversations
from benchmarks.page import put_between, table

SEED = 20261124
PROGRAM = "python -m bench_pipeline_tests.campaigns.races"
MARKERS = ("<!-- races -->", "<!-- /races -->")
WIDTH = 120
CONTENDERS = 5
SHARE_OF_POSTGRESQL = 0.7
BATCH = 100  # rounds in one copy of the world: the audit grows, and every look-up reads all of it
SOLO = 3  # undisturbed promotions, to learn how long one takes
STRANGERS = (SILENT, BROKEN)
COMMITS, RETHINKS, ENABLES_AGAIN = 0.85, 0.25, 0.4


@dataclass(frozen=True)
class Round:
    """A race as it is reported."""

    database: str
    raced: str
    outcomes: tuple[str, ...]
    promotions: int
    edits: int
    violations: tuple[str, ...]


class Arena:
    """One world in which a batch of races is run."""

    def __init__(
        self, name: str, template: Template, owner: Database, hired: Sequence[Contender], chance: random.Random
    ) -> None:
        self._name = name
        self._template = template
        self._owner = owner
        self._hired = hired
        self._chance = chance
        self._plans: dict[str, PromotionPlan] = {}
        self._took_ns = {looked: self._alone(looked) for looked in (True, False)}

    def race(self, raced: str) -> Round:
        """Run one."""
        self._set_up()
        acts = SCENARIOS[raced](self)
        with self._owner.engine.connect() as connection:
            last, first_line = self._last_promotion(), race_log.mark(connection)
            start = held_rows(connection)
        outcomes = self._run(acts)
        with self._owner.engine.connect() as connection:
            transactions = race_log.transactions_since(connection, first_line)
            audit, end = audit_since(connection, last), held_rows(connection)
        fought = Fought(start, self._plans, list(zip(acts, outcomes, strict=True)), transactions, audit, end)
        return Round(
            self._name,
            raced,
            tuple(one.word for one in outcomes),
            len(audit),
            sum(len(one.committed) for one in outcomes),
            tuple(faults(fought)),
        )

    def _run(self, acts: Sequence[Act]) -> list[Outcome]:
        hired = self._chance.sample(self._hired, len(acts))
        for contender, act in zip(hired, acts, strict=True):
            contender.begin(act, len(acts))
        answers = [contender.answer() for contender in hired]
        if failures := [answer for answer in answers if isinstance(answer, str)]:
            raise SystemExit("\n".join(["contenders failed:", *failures]))
        return [answer for answer in answers if isinstance(answer, Outcome)]

    def _set_up(self) -> None:
        """Give production its old actors, enable all models, end a freeze."""
        with self._owner.writing() as connection:
            for number, actor in OLD.items():
                mine = conversations.c.conversation_id == number
                connection.execute(update(conversations).where(mine).values(actor_id=actor))
            connection.execute(update(actors).values(enabled=True))
            thaw = {"frozen": False, "reason": "the next race", "set_by": "the campaign", "set_at": datetime.now(UTC)}
            connection.execute(insert(tables.freezes).values(thaw))

    def _last_promotion(self) -> int:
        with self._owner.engine.connect() as connection:
            return connection.scalar(select(func.max(tables.promotions.c.promotion_id))) or 0

    def _alone(self, looked: bool) -> int:
        """How long an undisturbed promotion takes from the barrier on (ns)."""
        took = []
        for _ in range(SOLO):
            self._set_up()
            (outcome,) = self._run([Promote(self.stored(self._template.plan), looked, 0)])
            took.append(outcome.took_ns)
        return round(median(took))

    # What scenarios are made of

    def stored(self, plan: PromotionPlan) -> str:
        """Store a new plan like this one, its rows in any order, and return its hash."""
        rows = tuple(self._chance.sample(plan.rows, len(plan.rows)))
        new = plan.model_copy(update={"reason": f"race {len(self._plans)} of a world", "rows": rows})
        with self._owner.writing() as connection:
            insert_plan(connection, new, "the campaign", datetime.now(UTC))
        self._plans[new.hash] = new
        return new.hash

    def one_plan(self) -> str:
        """A new plan that gives all conversations to the champion."""
        return self.stored(self._template.plan)

    def rival(self) -> str:
        """A new plan that gives two of them to the runner-up."""
        return self.stored(self._template.rival)

    def promoters(self, *plans: str) -> tuple[list[Promote], int]:
        """Promoters of these plans, and the time in which the others should act (ns)."""
        looked = self._chance.random() < 0.5
        took = self._took_ns[looked]
        return [Promote(plan, looked, self.spin(took // 4)) for plan in plans], took * 3 // 2

    def promoted(self) -> int:
        """Promote undisturbed and return the promotion."""
        (outcome,) = self._run([Promote(self.one_plan(), True, 0)])
        if outcome.promotion_id is None:
            raise SystemExit(f"an undisturbed promotion was refused: {outcome.word}")
        return outcome.promotion_id

    def spin(self, most_ns: int) -> int:
        """Any duration up to this."""
        return self._chance.randrange(most_ns + 1)

    def edits(self, took_ns: int) -> Edit:
        """An operator who sets some of the rows in any order, together or one by one, and may take one back."""
        rows = self._chance.sample(sorted(OLD), self._chance.randint(1, len(OLD)))
        statements = [Statement("conversation", row, self._chance.choice(STRANGERS), 0) for row in rows]
        if self._chance.random() < RETHINKS:
            statements.append(Statement("conversation", rows[0], OLD[rows[0]], 0))
        return self._transactions(statements, took_ns, self._chance.random() < 0.5)

    def switches(self, took_ns: int) -> Edit:
        """An operator who disables a model, who may edit a row with it, and may enable the model again."""
        actor = self._chance.choice((FAST, FAST, SLOW))
        statements = [Statement("actor", actor, value=False, spin_ns=0)]
        if self._chance.random() < ENABLES_AGAIN:
            statements.append(Statement("actor", actor, value=True, spin_ns=0))
        else:
            rows = self._chance.sample(sorted(OLD), self._chance.randint(0, 1))
            statements += [Statement("conversation", row, self._chance.choice(STRANGERS), 0) for row in rows]
            self._chance.shuffle(statements)
        return self._transactions(statements, took_ns, self._chance.random() < 0.5)

    def _transactions(self, statements: Sequence[Statement], took_ns: int, together: bool) -> Edit:
        spins = [self.spin(took_ns // 4 if number else took_ns) for number, _ in enumerate(statements)]
        spun = [Statement(s.what, s.key, s.value, spin) for s, spin in zip(statements, spins, strict=True)]
        parts = [tuple(spun)] if together else [(one,) for one in spun]
        return Edit(tuple((part, self._chance.random() < COMMITS) for part in parts))


def _one_plan_twice(arena: Arena) -> list[Act]:
    plan = arena.one_plan()
    return [*arena.promoters(plan, plan)[0]]


def _two_plans(arena: Arena) -> list[Act]:
    return [*arena.promoters(arena.one_plan(), arena.rival())[0]]


def _edited(arena: Arena) -> list[Act]:
    promoters, took_ns = arena.promoters(arena.one_plan())
    return [*promoters, arena.edits(took_ns), arena.edits(took_ns)]


def _switched(arena: Arena) -> list[Act]:
    promoters, took_ns = arena.promoters(arena.one_plan())
    return [*promoters, arena.switches(took_ns)]


def _frozen(arena: Arena) -> list[Act]:
    promoters, took_ns = arena.promoters(arena.one_plan())
    return [*promoters, Freeze(arena.spin(took_ns))]


def _undone(arena: Arena) -> list[Act]:
    promotion = arena.promoted()
    _, took_ns = arena.promoters()
    undoing = [Undo(promotion, arena.spin(took_ns // 4)) for _ in range(2)]
    return [*undoing, arena.edits(took_ns)]


def _all(arena: Arena) -> list[Act]:
    promoters, took_ns = arena.promoters(arena.one_plan(), arena.rival())
    return [*promoters, arena.edits(took_ns), arena.switches(took_ns), Freeze(arena.spin(2 * took_ns))]


SCENARIOS: Mapping[str, Callable[[Arena], list[Act]]] = {
    "two promoters, one plan": _one_plan_twice,
    "two promoters, two plans": _two_plans,
    "a promoter, two operators who edit": _edited,
    "a promoter, an operator who disables a model": _switched,
    "a promoter, a freeze": _frozen,
    "two rollbacks, an operator who edits": _undone,
    "two promoters, two operators, a freeze": _all,
}


# The whole


def run_races(rounds: int, seed: int) -> list[Round]:
    """Run all rounds, one scenario after another in turn."""
    get_ready_to_fork()
    tell_who_writes(lambda: "the campaign")
    on_postgresql = round(rounds * SHARE_OF_POSTGRESQL)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ollama = stack.enter_context(model_server())
        server = stack.enter_context(postgres_server(folder / "postgres", **race_log.SETTINGS))
        sqlite = make_template(f"sqlite:///{folder / 'sqlite_world' / 'bench.db'}", folder / "sqlite_world")
        postgresql = make_template(create_database(server, "world"), folder / "postgresql_world")
        return [
            *_races("SQLite", sqlite, ollama, folder, rounds - on_postgresql, seed),
            *_races("PostgreSQL", postgresql, ollama, folder, on_postgresql, seed),
        ]


def _races(name: str, template: Template, ollama: str, folder: Path, rounds: int, seed: int) -> Iterator[Round]:
    with _opened(template.world) as owner, owner.engine.begin() as connection:
        race_log.install(connection)
    chance = random.Random(f"{seed} {name}")  # noqa: S311 - jitter is no secret
    scenarios = islice(cycle(SCENARIOS), rounds)
    for number in range(0, rounds, BATCH):
        with (
            template.copied(folder / f"{name.lower()}_{number}") as world,
            contenders(CONTENDERS, world, ollama) as hired,
            _opened(world) as owner,
        ):
            arena = Arena(name, template, owner, hired, chance)
            yield from [arena.race(scenario) for scenario in islice(scenarios, BATCH)]


@contextmanager
def _opened(world: Copy) -> Iterator[Database]:
    database = open_database(world.owner_url)
    try:
        yield database
    finally:
        database.close()


def report(rounds: Sequence[Round], seed: int) -> str:
    """Return the table as Markdown."""
    rows = []
    for database in dict.fromkeys(one.database for one in rounds):
        for raced in SCENARIOS:
            mine = [one for one in rounds if (one.database, one.raced) == (database, raced)]
            if mine:
                rows.append([database, raced, *_counts(mine)])
    rows.append(["both", "all", *_counts(rounds)])
    head = ["Database", "What raced", "Rounds", "Changes applied", "Returned again", "Row edited", "Model disabled",
            "Frozen", "Busy", "Already undone", "Edits committed", "Violations"]  # fmt: skip
    setting = (
        f"{len(rounds):,} races, seed {seed}. The columns *Row edited* to *Already undone* count refusals by reason. "
        "*Returned again*: the other promoter had already applied the plan. *Busy*: the database ended a deadlock with "
        f"an operator, and nothing was changed. Generated by `{PROGRAM}`."
    )
    return "\n".join(["## Races", "", fill(setting, WIDTH), "", *table(head, rows, "ll" + "r" * 10)])


def _counts(rounds: Sequence[Round]) -> list[str]:
    words = Counter(word for one in rounds for word in one.outcomes)
    promotions = sum(one.promotions for one in rounds)
    refused = [words[ROW_CHANGED] + words[AFTERWARDS], *(words[word] for word in (DISABLED, FROZEN, BUSY, UNDONE))]
    counts = [len(rounds), promotions, words[APPLIED] - promotions, *refused, sum(one.edits for one in rounds)]
    return [str(number) for number in (*counts, sum(bool(one.violations) for one in rounds))]


def main() -> None:
    """Run the campaign and print; exit 1 when there was a violation."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="seven of ten on PostgreSQL (default 1000)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the acts, their order and their jitter")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every round to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the page that contains the table")
    options = parser.parse_args()
    rounds = run_races(options.rounds, options.seed)
    text = report(rounds, options.seed)
    print(text)
    for number, one in enumerate(rounds):
        for violation in one.violations:
            print(f"round {number}, {one.database}, {one.raced}: {violation}")
    if options.json:
        found = {"seed": options.seed, "rounds": [asdict(one) for one in rounds]}
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    if options.markdown:
        put_between(options.markdown, MARKERS, text, "Campaigns")
    sys.exit(any(one.violations for one in rounds))


if __name__ == "__main__":
    main()
