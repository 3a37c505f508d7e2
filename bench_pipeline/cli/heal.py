"""`bench heal`: ends ghost runs by hand. What a ghost is, is in operation/ghost_runs.py."""

from __future__ import annotations

from dataclasses import asdict

import click

from bench_pipeline.cli.output import json_option, print_json, safe


@click.command()
@click.option("--run", "run_id", metavar="RUN_ID", help="End this run, which you know to be dead.")
@json_option
def heal(run_id: str | None, as_json: bool) -> int:
    """End runs of Dagster whose process is dead.

    Pool slots that they or other runs left taken become free. Uses the Dagster instance of DAGSTER_HOME, or of
    .dagster in this folder when the variable is not set. `bench ui` and the sensor `ghost_runs` do the same by
    themselves. A run on another machine cannot be judged from here and is only named; run the command there, or name
    the run with --run once its process is dead.

    Exit status: 0 no ghost is left, 1 some runs cannot be judged from here.
    """
    from bench_pipeline.demo.home import dagster_home, open_instance  # Dagster takes a second to import
    from bench_pipeline.operation import ghost_runs

    with open_instance(dagster_home()) as instance:
        if run_id is not None:
            found = ghost_runs.Healing([ghost_runs.end_run(instance, run_id)], [])
        else:
            found = ghost_runs.heal(instance)
    if as_json:
        print_json(asdict(found))
    else:
        for ghost in found.ended:
            click.echo(f"✅ ended {ghost.run_id} ({safe(ghost.job)}): {safe(ghost.why)}")
        for ghost in found.unknown:
            click.echo(f"⚠️ left {ghost.run_id} ({safe(ghost.job)}) alone: {safe(ghost.why)}")
            click.echo(f"   if you know its process to be dead: bench heal --run {ghost.run_id}")
        for freed in found.freed:
            click.echo(f"✅ freed the pool slot of {freed}, which is over")
        if not (found.ended or found.unknown or found.freed):
            click.echo("✅ every run in progress has its process")
    return 1 if found.unknown else 0
