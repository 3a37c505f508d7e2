"""A benchmarked world, made once for each database and copied for every trial."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TypeVar

from sqlalchemy import create_engine, make_url

from bench_pipeline.benchmark.ranking import RankedBenchmark
from bench_pipeline.domain.promoting.plan import PromotionPlan, identity_hash
from bench_pipeline.promotion.reconciliation import write_open_documents
from bench_pipeline_tests.fakes.ollama_server import FakeOllama
from bench_pipeline_tests.kit.models import FAST, SLOW, WRONG, fake_models
from bench_pipeline_tests.kit.tasks import GRADE_A, GRADE_B, REGRADE
from bench_pipeline_tests.kit.world import open_world

FORK = get_context("fork")
OLD: Mapping[int, int | None] = {GRADE_A: SLOW, GRADE_B: WRONG, REGRADE: None}
"""Who carries out the task's conversations before: three different actors, one of them nobody."""
NEW: Mapping[int, int | None] = dict.fromkeys(OLD, FAST)
Made = TypeVar("Made")
# What the program imports when it first needs it; a child of a parent that has it starts at once.
_LATE_IMPORTS = (
    "bench_pipeline.cli.production",
    "bench_pipeline.runtimes.ollama",
    "filelock",
    "psutil",
    "scipy.special",
)


@dataclass(frozen=True)
class Copy:
    """A world of its own: a folder with the task and the documents, and a database."""

    folder: Path
    url: str
    promoter_url: str | None
    owner_url: str

    @property
    def production(self) -> Path:
        """Where its documents are."""
        return self.folder / "production"


@dataclass(frozen=True)
class Template:
    """A world before its promotion: benchmarked, planned, documents written, nothing promoted.

    `rival` is another plan by the same benchmark: it gives two of the conversations to the runner-up.
    """

    world: Copy
    plan: PromotionPlan
    rival: PromotionPlan

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return make_url(self.world.url).get_backend_name()

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Copy]:
        """Yield a world like it in `folder`; it is gone afterwards."""
        shutil.copytree(self.world.folder, folder)
        try:
            if self.dialect == "sqlite":
                url = f"sqlite:///{folder / 'bench.db'}"
                yield Copy(folder, url, None, url)
            else:
                with self._copied_database(folder.name) as urls:
                    yield Copy(folder, *urls)
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def _copied_database(self, name: str) -> Iterator[tuple[str, str, str]]:
        original = make_url(self.world.owner_url)
        server = create_engine(original.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {original.database}")
            urls = [
                make_url(url or "").set(database=name).render_as_string(hide_password=False)
                for url in (self.world.url, self.world.promoter_url, self.world.owner_url)
            ]
        server.dispose()  # no connection is open while a child is forked
        try:
            yield urls[0], urls[1], urls[2]
        finally:
            with server.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
            server.dispose()


def get_ready_to_fork() -> None:
    """Import all that a run needs. This process keeps its one thread: a fork copies no other."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in _LATE_IMPORTS:
        import_module(name)


def make_template(url: str, folder: Path) -> Template:
    """Make the world at `url` in a process of its own, so that this one keeps a single thread and may fork."""
    folder.mkdir()
    return in_a_process(_make, url, folder)


def in_a_process(function: Callable[..., Made], *arguments: object) -> Made:
    """Call a function in a child and return what it returned."""
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        return pool.submit(function, *arguments).result()


def _make(url: str, folder: Path) -> Template:
    os.chdir(folder)
    with open_world(url, folder) as world:
        for conversation, actor in OLD.items():
            world.give(conversation, actor)
        ranked = world.ranked("fast", "slow", "wrong")
        plan = world.plan(ranked)
        write_open_documents(world.bench)
        return Template(Copy(folder, world.url, world.promoter_url, url), plan, _rival(plan, ranked))


def _rival(plan: PromotionPlan, ranked: RankedBenchmark) -> PromotionPlan:
    run = ranked.runs["slow"]
    runner_up = {
        "new_actor_id": SLOW,
        "new_actor": "slow",
        "execution_path": run.ref.execution_path,
        "identity_hash": identity_hash(run.identity),
        "avg_latency_ms": next(one.avg_latency_ms for one in ranked.scoreboard.results if one.model == "slow"),
    }
    rows = tuple(row.model_copy(update=runner_up) for row in plan.rows if row.old_actor_id != SLOW)
    return plan.model_copy(update={"rows": rows})


@contextmanager
def model_server(champion_is_right: bool = True) -> Iterator[str]:
    """Yield the address of a model server in a process of its own.

    Without `champion_is_right` the champion is the same model by every sign, but answers wrongly.
    """
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_serve, args=(theirs, champion_is_right), daemon=True)
    process.start()
    address: str = ours.recv()
    try:
        yield address
    finally:
        process.kill()
        process.join()


def _serve(pipe: Pipe, champion_is_right: bool) -> None:
    models = fake_models()
    if not champion_is_right:
        models["fast:1b"].answers = {}
    server = FakeOllama(models)
    pipe.send(server.url)
    server.serve_forever()
