"""Stage 5: the report on a benchmark. It is rendered in reporting/report.py."""

import dagster as dg

from bench_pipeline.assets.lineage import handed_on
from bench_pipeline.assets.metadata import CODE_VERSION, OWNERS, markdown, words
from bench_pipeline.assets.workbench_resource import WorkbenchResource
from bench_pipeline.benchmark.ranking import read_ranked
from bench_pipeline.operation.causes.quarterly import review_note
from bench_pipeline.reporting.files import write_new
from bench_pipeline.reporting.report import render_report, report_path, result_line


def report_asset(task: str) -> dg.AssetsDefinition:
    """Return `<task>/report`."""
    scoreboard = dg.AssetKey([task, "scoreboard"])

    @dg.asset(
        key=[task, "report"],
        group_name=task,
        owners=OWNERS,
        kinds={"markdown"},
        deps=[scoreboard],
        code_version=CODE_VERSION,
        description=f"The report on {task} in Markdown; every benchmark has its own file.",
    )
    def report(context: dg.AssetExecutionContext, workbench: WorkbenchResource) -> dg.MaterializeResult[None]:
        with workbench.open() as bench:
            ranked = read_ranked(bench.database, handed_on(context, scoreboard, "benchmark_id"))
            text = render_report(ranked, review_note(bench, ranked.benchmark))
            path = write_new(report_path(bench.settings.reports_dir, ranked), text)
        return dg.MaterializeResult(
            metadata={
                "result": words(result_line(ranked.scoreboard)),
                "path": dg.MetadataValue.path(str(path)),
                "scoreboard": dg.MetadataValue.asset(scoreboard),
                "promotion": dg.MetadataValue.asset(dg.AssetKey([task, "production_update"])),
                "report": markdown(text, str(path)),
                "benchmark_id": ranked.benchmark.benchmark_id,
            }
        )

    return report
