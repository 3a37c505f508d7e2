"""Delivery, the use case that brings a ranked benchmark into production. The entry point of this package.

`bench promote` and Dagster's `promotion_plan`, `production_update` and `validation` both use it. The steps are:
reconcile, plan, apply, documents, validate, documents. Each step is implemented in the module of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_pipeline.benchmark.events import Event
from bench_pipeline.benchmark.fitness import PassedOver, fit_benchmark
from bench_pipeline.benchmark.preparation import prepare
from bench_pipeline.benchmark.ranking import RankedBenchmark, read_ranked
from bench_pipeline.benchmark.task_folders import read_task
from bench_pipeline.benchmark.task_keys import task_in_production
from bench_pipeline.benchmark.workbench import Workbench
from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.promoting.changes import Promotion
from bench_pipeline.domain.promoting.facts import StoredPlan
from bench_pipeline.domain.promoting.plan import PromotionPlan
from bench_pipeline.promotion.plan import DecidedPlan, make_plan, store_plan
from bench_pipeline.promotion.plan_application import apply_plan
from bench_pipeline.promotion.reconciliation import reconcile, write_open_documents
from bench_pipeline.promotion.validation import ValidationResult, validate_promotion
from bench_pipeline.storage import promotions
from bench_pipeline.storage.plans import plan_by_hash


@dataclass(frozen=True, slots=True)
class PlanMade:
    """The plan that will be applied; sent before anything changes."""

    plan: PromotionPlan


@dataclass(frozen=True, slots=True)
class PlanApplied:
    """The promotion made from a plan; `already` says that an earlier delivery made it."""

    promotion: Promotion
    already: bool


DeliveryEvent = PlanMade | PlanApplied | Event
OnDelivery = Callable[[DeliveryEvent], None]


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """What to deliver: a stored plan, or what the benchmarks of these tasks decide.

    `benchmark_ids` choose the benchmarks of their tasks; the other tasks use their latest one that is fit for
    production. Without `validate` the promotion waits for a later validation.
    """

    requested_by: str
    tasks: Sequence[str] = ()
    benchmark_ids: Sequence[str] = ()
    plan_hash: str | None = None
    validate: bool = True
    dagster_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was delivered: the plan, its promotion (None when it changed nothing), the validations, the documents."""

    plan: PromotionPlan
    promotion: Promotion | None
    validations: tuple[ValidationResult, ...]
    documents: tuple[Path, ...]

    @property
    def valid(self) -> bool:
        """Whether every validation passed."""
        return all(one.passed for one in self.validations)


@dataclass(frozen=True, slots=True)
class ChosenBenchmarks:
    """One benchmark per task, in their order, and the newer ones that are not fit for production."""

    ranked: tuple[RankedBenchmark, ...]
    passed_over: tuple[PassedOver, ...]


def deliver(bench: Workbench, request: DeliveryRequest, on_event: OnDelivery) -> Delivery:
    """Put what was decided into production and validate it.

    After a crash, the same request completes what is left. Raises `PlanRefused` when nothing was changed,
    `GateFailed` and `InputError` as its steps do.
    """
    reconcile(bench, request.requested_by, request.dagster_run_id)
    stored = stored_plan(bench, request.plan_hash) if request.plan_hash else _proposed(bench, request)
    if request.validate:
        # Before anything changes: a faulty suite must not leave a promotion without its validation.
        for task in {row.task for row in stored.plan.changes}:
            prepare(bench, task)
    on_event(PlanMade(stored.plan))
    promotion, written = put_into_production(bench, stored.plan_hash, request, on_event)
    results: list[ValidationResult] = []
    if request.validate:
        results, validated = validate_waiting(bench, stored.plan.tasks.split(","), request, on_event)
        written += validated
    return Delivery(stored.plan, promotion, tuple(results), tuple(dict.fromkeys(written)))


def chosen_benchmarks(bench: Workbench, tasks: Sequence[str], benchmark_ids: Sequence[str]) -> ChosenBenchmarks:
    """Return the benchmark that decides for each task: the named one, else the latest that is fit for production.

    Raises `InputError` for a benchmark that belongs to none of these tasks, and as `fit_benchmark` does.
    """
    named = {ranked.benchmark.task_type: ranked for ranked in (_named(bench, tasks, one) for one in benchmark_ids)}
    ranked: list[RankedBenchmark] = []
    passed_over: list[PassedOver] = []
    for task in dict.fromkeys(tasks):
        read_task(bench.settings, task)  # a misspelt task is invalid input, not a task without benchmarks
        if task in named:
            ranked.append(named[task])
        else:
            fit = fit_benchmark(bench, task)
            ranked.append(fit.ranked)
            passed_over += fit.passed_over
    return ChosenBenchmarks(tuple(ranked), tuple(passed_over))


def plan_from(bench: Workbench, ranked: Sequence[RankedBenchmark]) -> DecidedPlan:
    """Return what these benchmarks would change, with the decisions. Stores nothing.

    Raises `InputError` when it would be applied to another database than the one that is read.
    """
    bench.writer.check_target()
    return make_plan(bench, ranked, [task_in_production(bench, one.benchmark.task_type) for one in ranked])


def propose(
    bench: Workbench, ranked: Sequence[RankedBenchmark], requested_by: str, dagster_run_id: str | None = None
) -> DecidedPlan:
    """Complete what an earlier delivery left open, then decide from these benchmarks and store the plan."""
    reconcile(bench, requested_by, dagster_run_id)
    made = plan_from(bench, ranked)
    store_plan(bench.database, made, requested_by)
    return made


def put_into_production(
    bench: Workbench, plan_hash: str, request: DeliveryRequest, on_event: OnDelivery
) -> tuple[Promotion | None, list[Path]]:
    """Apply a stored plan and write the documents; return the promotion and the files that changed."""
    with bench.database.engine.connect() as connection:
        already = promotions.promotion_by_plan(connection, plan_hash) is not None
    promotion = apply_plan(bench, plan_hash, request.requested_by, request.dagster_run_id)
    if promotion is not None:
        on_event(PlanApplied(promotion, already))
    return promotion, list(write_open_documents(bench)[0])


def validate_waiting(
    bench: Workbench, tasks: Sequence[str], request: DeliveryRequest, on_event: OnDelivery
) -> tuple[list[ValidationResult], list[Path]]:
    """Validate every promotion of these tasks that waits for it, also from interrupted runs; write the documents."""
    with bench.database.engine.connect() as connection:
        found = [one for task in tasks for one in promotions.unvalidated(connection, task)]
    results: list[ValidationResult] = []
    written: list[Path] = []
    for waiting in {one.promotion_id: one for one in found}.values():
        results.append(validate_promotion(bench, waiting, request.requested_by, on_event, request.dagster_run_id))
        written += write_open_documents(bench)[0]
    return results, written


def _named(bench: Workbench, tasks: Sequence[str], benchmark_id: str) -> RankedBenchmark:
    ranked = read_ranked(bench.database, benchmark_id)
    if ranked.benchmark.task_type not in tasks:
        raise InputError(f"benchmark {benchmark_id} belongs to {ranked.benchmark.task_type}, not to {', '.join(tasks)}")
    return ranked


def _proposed(bench: Workbench, request: DeliveryRequest) -> StoredPlan:
    chosen = chosen_benchmarks(bench, request.tasks, request.benchmark_ids)
    made = plan_from(bench, chosen.ranked)
    store_plan(bench.database, made, request.requested_by)
    return stored_plan(bench, made.plan.hash)


def stored_plan(bench: Workbench, plan_hash: str) -> StoredPlan:
    """Return the stored plan with this hash. Raises `InputError` when there is none."""
    with bench.database.engine.connect() as connection:
        stored = plan_by_hash(connection, plan_hash)
    if stored is None:
        raise InputError(f"there is no stored plan {plan_hash}; `bench log --plans` lists them")
    return stored
