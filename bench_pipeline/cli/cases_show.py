"""`bench cases show`: prints the request that a case makes. Forming it is the runtimes' work."""

from __future__ import annotations

import json
import shlex

import click

from bench_pipeline.benchmark.eligibility import named_candidates
from bench_pipeline.benchmark.preparation import PreparedTask, prepare, prepare_from_files
from bench_pipeline.benchmark.task_folders import task_folders
from bench_pipeline.benchmark.workbench import Workbench, open_workbench
from bench_pipeline.cli.completion import task_names
from bench_pipeline.cli.output import json_option, print_json
from bench_pipeline.domain.errors import GateFailed, InputError
from bench_pipeline.domain.tasks.suite import TestCase
from bench_pipeline.runtimes.wire import WireRequest
from bench_pipeline.settings import Settings, load_settings


@click.command()
@click.argument("case_id", metavar="CASE")
@click.option("--model", "-m", required=True, help="An actor, an execution path or a model of the Ollama server.")
@click.option("--task", shell_complete=task_names, help="The case's task.  [default: the only task with such a case]")
@click.option("--curl", is_flag=True, help="Print a curl command that sends the same bytes.")
@json_option
def show(case_id: str, model: str, task: str | None, curl: bool, as_json: bool) -> int:
    """Print the exact request for a case, as JSON: prompt, options, response format, thinking.

    Nothing is measured or sent, except the question to the server whether the model can think. A key appears as the
    name of its variable. With --curl, --json prints the command as JSON.

    Exit status: 0 shown, 1 the model cannot be asked this, 2 unknown case or model.
    """
    settings = load_settings()
    with open_workbench(settings) as bench:
        prepared, case = _case_of(bench, settings, case_id, task)
        request = _wire(bench, prepared, case, model)
    if curl and as_json:
        print_json({"curl": _curl(request)})
    elif curl:
        click.echo(_curl(request))
    else:
        print_json(
            {
                "method": request.method or None,
                "url": request.url or None,
                "headers": dict(request.headers),
                "body": json.loads(request.body),
            }
        )
    return 0


def _case_of(bench: Workbench, settings: Settings, case_id: str, task: str | None) -> tuple[PreparedTask, TestCase]:
    if task is not None:
        return _found(prepare(bench, task), case_id)
    holding = [name for name in task_folders(settings).valid if _holds(settings, name, case_id)]
    if len(holding) != 1:
        which = f"is in {', '.join(holding)}; name one with --task" if holding else "is in no valid task"
        raise InputError(f"case {case_id!r} {which}; `bench cases check` lists the tasks")
    return _found(prepare(bench, holding[0]), case_id)


def _holds(settings: Settings, task: str, case_id: str) -> bool:
    try:
        return case_id in prepare_from_files(settings, task).case_ids
    except InputError:
        return False


def _found(prepared: PreparedTask, case_id: str) -> tuple[PreparedTask, TestCase]:
    for case in prepared.suite.test_cases:
        if case.id == case_id:
            return prepared, case
    raise InputError(f"{prepared.name} has no case {case_id!r}; it has {', '.join(prepared.case_ids)}")


def _wire(bench: Workbench, prepared: PreparedTask, case: TestCase, model: str) -> WireRequest:
    (candidate,) = named_candidates(bench, [model])
    if candidate.ref is None or candidate.identity is None:
        raise GateFailed(f"{model}: {candidate.detail}")
    place = candidate.places[0]
    runtime = bench.runtimes.of(place)
    if refusal := runtime.refusal(prepared.protocol):
        raise GateFailed(f"{model}: {refusal}")
    return runtime.wire(place, prepared.prompt.render(case.prompt_fields), prepared.protocol.decoding)


def _curl(request: WireRequest) -> str:
    if not request.url:
        raise InputError("this model runs in this process, not on a server; leave out --curl")
    # A key's variable is expanded by the shell that runs the command; everything else is quoted.
    texts = [f"{name}: {value}" for name, value in request.headers.items()]
    headers = [f'-H "{text}"' if "$" in text else f"-H {shlex.quote(text)}" for text in texts]
    parts = [f"curl -sS -X {request.method} {shlex.quote(request.url)}", *headers]
    return " \\\n  ".join([*parts, f"--data-binary {shlex.quote(request.body.decode('ascii'))}"])
