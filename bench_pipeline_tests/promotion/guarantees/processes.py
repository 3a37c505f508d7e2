"""Promoters in processes of their own, which race, or die just after their commit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from bench_pipeline.benchmark.workbench import make_workbench
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.domain.promoting.refusal import PlanRefused
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import open_database
from bench_pipeline.storage.production import open_production
from bench_pipeline_tests.kit.world import World
from bench_pipeline_tests.promotion.guarantees.hands import Interrupted

_SPAWN = multiprocessing.get_context("spawn")
Between = Callable[[], object]


def apply_at_once(world: World, *plans: PromotionPlan) -> list[int | str | None]:
    """Apply stored plans, each in its process; all have looked at the world before any comes to the locks.

    Return each one's promotion, or the reason of its refusal. Fails if one is refused before the others get there.
    """
    barrier = _SPAWN.Barrier(len(plans), timeout=60)
    pipes, processes = [], []
    for plan in plans:
        ours, theirs = _SPAWN.Pipe()
        processes.append(_start(world, plan, theirs, before=barrier.wait))
        pipes.append(ours)
    answers = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return answers


def apply_and_die(world: World, plan: PromotionPlan) -> None:
    """Apply a stored plan in a process that is killed between its commit and whatever it would do next."""
    _, theirs = _SPAWN.Pipe()
    process = _start(world, plan, theirs, after=_die)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _start(world: World, plan: PromotionPlan, pipe: Connection, **between: Between) -> multiprocessing.Process:
    process = _SPAWN.Process(target=_apply, args=(world.settings, plan.hash, pipe, between), daemon=True)
    process.start()
    pipe.close()
    return process


def _apply(settings: Settings, plan_hash: str, pipe: Connection, between: dict[str, Between]) -> None:
    database = open_database(settings.database_url.get_secret_value())
    bench = make_workbench(settings, database, open_production(database, {}), Runtimes(settings))
    bench = replace(bench, application_writer=Interrupted(bench.writer, **between))
    try:
        promotion = apply_plan(bench, plan_hash, "the tests")
        pipe.send(promotion.promotion_id if promotion else None)
    except PlanRefused as refusal:
        pipe.send(refusal.reason)
