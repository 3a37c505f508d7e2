"""The definitions over a small world, run in this process on an instance of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dagster as dg
import pytest

from bench_pipeline.assets.workbench_resource import WorkbenchResource, workbench_resource
from bench_pipeline.definitions import build_definitions
from bench_pipeline.settings import Settings, load_settings
from bench_pipeline_tests.kit.models import FINAL_PASSES
from bench_pipeline_tests.kit.shell import PLAIN_PROTOCOL
from bench_pipeline_tests.kit.world import World


@dataclass
class Pipeline:
    """What a person does in Dagster, and what Dagster then knows."""

    world: World
    instance: dg.DagsterInstance
    settings: Settings

    @cached_property
    def definitions(self) -> dg.Definitions:
        """What Dagster loads for these settings."""
        return build_definitions(self.settings)

    @property
    def workbench(self) -> WorkbenchResource:
        """The resource of these settings, for what is evaluated without a run."""
        return workbench_resource(self.settings)

    def run(
        self,
        job: str = "benchmark_grading",
        partition: str | None = None,
        tags: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        assets: list[str] | None = None,
        fails: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or only these of its assets; it must succeed, or fail when that is what is tested."""
        ops = {"grading__model_runs": {"config": config}} if config else {}
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            tags=tags,
            asset_selection=[key_of(asset) for asset in assets] if assets else None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": ops},
            raise_on_error=False,
        )
        assert result.success is not fails, failures_of(result) or "nothing failed"
        return result

    def metadata(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        """The metadata of an asset's last materialization."""
        records = self.instance.fetch_materializations(key_of(asset), limit=50).records
        found = next(r for r in records if partition is None or r.partition_key == partition)
        assert found.asset_materialization is not None
        return {name: value.value for name, value in found.asset_materialization.metadata.items()}

    def data_version(self, asset: str) -> str | None:
        """The data version of an asset's last materialization."""
        (record,) = self.instance.fetch_materializations(key_of(asset), limit=1).records
        assert record.asset_materialization is not None
        return (record.asset_materialization.tags or {}).get("dagster/data_version")

    def recorded(self) -> Counter[str | None]:
        """How often each partition of the model runs was materialized; None is the run's own event."""
        records = self.instance.fetch_materializations(key_of("grading/model_runs"), limit=500).records
        return Counter(record.partition_key for record in records)

    def partitions(self) -> set[str]:
        """The models that were materialized."""
        return self.instance.get_materialized_partitions(key_of("grading/model_runs"))


def with_settings(pipeline: Pipeline, **changed: object) -> Pipeline:
    """The same pipeline, loaded with other settings."""
    return replace(pipeline, settings=pipeline.settings.model_copy(update=changed))


def key_of(asset: str) -> dg.AssetKey:
    return dg.AssetKey(asset.split("/"))


def failures_of(result: dg.ExecuteInProcessResult) -> str:
    """What failed, as Dagster tells it."""
    return "\n".join(str(event.event_specific_data) for event in result.get_step_failure_events())


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Every check that a run made, and whether it passed."""
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


@contextmanager
def open_pipeline(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The definitions over the world, which the environment of this process describes meanwhile.

    Its benchmarks hold a final that is long enough to decide.
    """
    world.configure(final_passes=FINAL_PASSES)
    _set_environment(world, monkeypatch)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Pipeline(world, instance, load_settings())


def _set_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.folder)
    for name, value in {
        **PLAIN_PROTOCOL,
        "BENCH_FINAL_PASSES": str(FINAL_PASSES),
        "BENCH_DATABASE_URL": world.url,
        "BENCH_OLLAMA_HOST": world.server.url,
        "BENCH_TESTCASES_DIR": str(world.folder / "testcases"),
        "BENCH_CACHE_DIR": str(world.folder / "cache"),
        **({"BENCH_PROMOTER_URL": world.promoter_url} if world.promoter_url else {}),
    }.items():
        monkeypatch.setenv(name, value)
