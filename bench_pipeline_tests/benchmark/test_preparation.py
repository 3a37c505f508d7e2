"""What a benchmark is about to measure: from the task's folder, completed from production, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bench_pipeline.benchmark import task_folders
from bench_pipeline.benchmark.preparation import PreparedTask, prepare, prepare_from_files
from bench_pipeline.benchmark.task_folders import read_suite, read_task, task_names
from bench_pipeline.benchmark.workbench import make_workbench
from bench_pipeline.domain.errors import FileRefused, InputError
from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.tasks.prompt import user_prompt
from bench_pipeline.domain.tasks.readers.contracts import JsonFields
from bench_pipeline.domain.tasks.task import PromptSource, Task
from bench_pipeline.runtimes.registry import Runtimes
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, open_database
from bench_pipeline.storage.production import Production, open_production
from bench_pipeline_tests.kit.production import PRODUCTION

SHIPPED = Path(__file__).parents[2] / "testcases"
TEMPLATE = "Posting: {posting} Summary: {summary}"


def case_of(verdict: str, posting_id: int) -> dict[str, Any]:
    return {
        "id": f"{verdict}_1",
        "type": verdict,
        "difficulty": "easy",
        "posting_id": posting_id,
        "summary": "Gardener in Derby.",
        "expected_verdict": verdict,
        "expected_scores": {"accuracy": 1, "completeness": 1, "formatting": 1},
        "reasoning": "All facts agree.",
        "posting": f"Posting {posting_id} of the file",
    }


class Folder:
    """A folder of tasks with one sound task, for a test to change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(testcases_dir=path)
        self.task: dict[str, Any] = {
            "task": "grading",
            "description": "Check a summary.",
            "conversations": [11],
            "prompt": {"conversation": 11, "template": TEMPLATE},
            "verdict": {"reader": "leading_tag"},
        }
        self.suite: dict[str, Any] = {
            "task_type": "grading",
            "version": "1.0.0",
            "created": "2026-11-24",
            "test_cases": [case_of("PASS", 5), case_of("FAIL", 6)],
        }

    def write(self, name: str = "grading") -> None:
        (self.path / name).mkdir(parents=True, exist_ok=True)
        (self.path / name / "task.yaml").write_text(json.dumps(self.task))
        (self.path / name / "suite.json").write_text(json.dumps(self.suite))

    def prepared(self, database: Database | None = None, production: Production | None = None) -> PreparedTask:
        self.write()
        if database is None:
            return prepare_from_files(self.settings, "grading")
        with Runtimes(self.settings) as runtimes:
            return prepare(make_workbench(self.settings, database, production, runtimes), "grading")

    def refusal(self, database: Database | None = None, production: Production | None = None) -> FileRefused:
        with pytest.raises(FileRefused) as refused:
            self.prepared(database, production)
        return refused.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "testcases")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'bench.db'}")
    with opened.writing() as connection:
        PRODUCTION.create_all(connection)
    yield opened
    opened.close()


@pytest.fixture
def production(database: Database) -> Production:
    return open_production(database, {})


def store(database: Database, statement: str, **values: object) -> None:
    with database.writing() as connection:
        connection.execute(text(statement), values)


def store_template(database: Database, template: str, conversation: int = 11) -> None:
    store(
        database,
        "INSERT INTO prompt_templates (conversation_id, template) VALUES (:id, :template)",
        id=conversation,
        template=template,
    )


def store_posting(database: Database, number: int, posting: str) -> None:
    store(
        database, "INSERT INTO postings (posting_id, posting_text) VALUES (:id, :posting)", id=number, posting=posting
    )


# The folder


def test_a_sound_task_is_prepared_from_its_folder_alone(folder: Folder) -> None:
    prepared = folder.prepared()
    assert (prepared.name, prepared.case_ids) == ("grading", ("PASS_1", "FAIL_1"))
    assert (prepared.prompt.text, prepared.prompt_source) == (TEMPLATE, "task.yaml")


def test_the_protocol_is_made_of_the_task_and_the_settings(folder: Folder) -> None:
    folder.task |= {"decoding": {"num_predict": 9}, "time_limit_s": 7}
    folder.settings = Settings(testcases_dir=folder.path, repeats=3, batch_size=4, load_time_limit_s=50)
    assert folder.prepared().protocol == Protocol(
        decoding=DecodingOptions(num_predict=9), time_limit_s=7, load_time_limit_s=50, repeats=3, batch_size=4
    )


def test_the_tasks_are_the_folders_with_a_task_file(folder: Folder) -> None:
    folder.write("grading")
    folder.write("formatting")
    (folder.path / "notes").mkdir()
    assert task_names(folder.settings) == ["formatting", "grading"]


@pytest.mark.parametrize("name", ["grade", "../grading", "", "grading/"])
def test_an_unknown_task_is_refused_with_the_known_ones(folder: Folder, name: str) -> None:
    folder.write()
    with pytest.raises(InputError, match=r"there is no task .* known tasks: grading$"):
        read_task(folder.settings, name)


def test_without_any_task_it_is_said_that_there_is_none(folder: Folder) -> None:
    with pytest.raises(InputError, match=r"known tasks: none$"):
        read_task(folder.settings, "grading")


def test_a_task_has_the_name_of_its_folder(folder: Folder) -> None:
    folder.write("formatting")
    with pytest.raises(FileRefused, match="task: is 'grading'; write 'formatting', the directory's name"):
        prepare_from_files(folder.settings, "formatting")


def test_a_suite_that_is_not_there_is_one_line(folder: Folder) -> None:
    folder.write()
    (folder.path / "grading" / "suite.json").unlink()
    with pytest.raises(InputError, match=r"suite\.json: cannot be read: No such file"):
        prepare_from_files(folder.settings, "grading")


def test_a_folder_in_place_of_a_suite_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_suite(tmp_path)


def test_another_suite_may_be_named(folder: Folder, tmp_path: Path) -> None:
    folder.write()
    other = tmp_path / "candidate.json"
    other.write_text(json.dumps(folder.suite | {"version": "2.0.0-candidate"}))
    assert prepare_from_files(folder.settings, "grading", suite_file=other).suite.version == "2.0.0-candidate"


def test_the_configured_folder_comes_before_the_one_here_and_that_before_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_TESTCASES_DIR", raising=False)
    assert "grading" in task_names(Settings())
    assert task_folders.testcases_dir(Settings()).is_absolute()
    (tmp_path / "testcases").mkdir()
    assert task_folders.testcases_dir(Settings()) == Path("testcases")
    assert task_folders.testcases_dir(Settings(testcases_dir=tmp_path / "mine")) == tmp_path / "mine"


# What production has


def test_the_template_of_production_comes_before_the_one_of_the_file(
    folder: Folder, database: Database, production: Production
) -> None:
    store_template(database, "PRODUCTION {summary}")
    prepared = folder.prepared(database, production)
    assert (prepared.prompt.text, prepared.prompt_source) == ("PRODUCTION {summary}", "conversation 11")
    assert prepared.prompt_hash != folder.prepared().prompt_hash


@pytest.mark.parametrize(
    ("stored_for", "template"),
    [pytest.param(12, "OTHER {summary}", id="of another conversation"), pytest.param(11, "", id="that is empty")],
)
def test_a_template_that_is_not_this_conversations_changes_nothing(
    folder: Folder, database: Database, production: Production, stored_for: int, template: str
) -> None:
    store_template(database, template, stored_for)
    assert folder.prepared(database, production).prompt_source == "task.yaml"


def whole_prompt(database: Database, **columns: object) -> Production:
    """Let production keep more about conversation 11 than its template."""
    for name in columns:
        store(database, f"ALTER TABLE prompt_templates ADD COLUMN {name}")
    store_template(database, "PRODUCTION {summary}")
    for name, value in columns.items():
        store(database, f"UPDATE prompt_templates SET {name} = :value", value=value)  # noqa: S608 - names of the test
    return open_production(database, {})


def test_production_may_keep_the_whole_request(folder: Folder, database: Database) -> None:
    folder.task["decoding"] = {"num_ctx": 2048, "options": {"top_k": 5}}
    options = '{"top_p": 0.9, "max_tokens": 77, "temperature": 0.3, "think": "low", "format": {"type": "object"}}'
    production = whole_prompt(database, system_template="You grade.", options=options, time_limit_s="7.5")
    prepared = folder.prepared(database, production)
    assert [(one.role, one.content) for one in prepared.prompt.messages] == [
        ("system", "You grade."),
        ("user", "PRODUCTION {summary}"),
    ]
    decoding = prepared.protocol.decoding
    assert (decoding.num_ctx, decoding.num_predict, decoding.temperature, decoding.think) == (2048, 77, 0.3, "low")
    assert decoding.options == {"top_k": 5, "top_p": 0.9}
    assert decoding.json_schema == {"type": "object"}
    assert prepared.protocol.time_limit_s == 7.5


def test_what_production_does_not_keep_is_as_the_task_states_it(folder: Folder, database: Database) -> None:
    folder.task["decoding"] = {"num_ctx": 2048}
    folder.task["time_limit_s"] = 9
    prepared = folder.prepared(database, whole_prompt(database, options=None, time_limit_s=None))
    assert (prepared.protocol.decoding.num_ctx, prepared.protocol.time_limit_s) == (2048, 9)


@pytest.mark.parametrize(
    ("options", "field", "problem"),
    [
        ('{"temperature": 9}', "options.temperature", "less than or equal to 2"),
        ('{"keep_alive": 0}', "options.keep_alive", "unloads the model after every call"),
        ('{"think": "a lot"}', "options.think", "should be"),
    ],
)
def test_options_of_production_that_cannot_be_are_named_with_the_conversation(
    folder: Folder, database: Database, options: str, field: str, problem: str
) -> None:
    (fault,) = folder.refusal(database, whole_prompt(database, options=options)).faults
    assert (fault.file, fault.field) == ("conversation 11", field)
    assert problem in fault.problem


def test_a_task_without_a_conversation_keeps_its_own_template(
    folder: Folder, database: Database, production: Production
) -> None:
    store_template(database, "PRODUCTION {summary}")
    folder.task["prompt"] = {"template": TEMPLATE}
    assert folder.prepared(database, production).prompt.text == TEMPLATE


# The prompt of another task


def write_borrower(folder: Folder, borrows: str = "grading", name: str = "injection") -> None:
    """Write a task that serves nothing and uses the prompt of another one."""
    borrower = Folder(folder.path)
    borrower.task |= {"task": name, "prompt": {"task": borrows}, "conversations": []}
    borrower.suite["task_type"] = name
    borrower.write(name)


def test_a_task_may_use_the_prompt_of_another(folder: Folder) -> None:
    folder.write()
    write_borrower(folder)
    prepared = prepare_from_files(folder.settings, "injection")
    assert (prepared.prompt.text, prepared.prompt_source) == (TEMPLATE, "task.yaml of grading")
    assert prepared.prompt_hash == prepare_from_files(folder.settings, "grading").prompt_hash
    assert prepared.task.conversations == ()


def test_the_prompt_of_another_task_is_the_one_that_production_has_for_it(
    folder: Folder, database: Database, production: Production
) -> None:
    store_template(database, "PRODUCTION {summary}")
    folder.write()
    write_borrower(folder)
    with Runtimes(folder.settings) as runtimes:
        bench = make_workbench(folder.settings, database, production, runtimes)
        prepared = prepare(bench, "injection")
    assert (prepared.prompt.text, prepared.prompt_source) == ("PRODUCTION {summary}", "conversation 11")


def test_a_prepared_task_holds_the_prompt_itself_so_that_it_can_be_stored_and_read_back(folder: Folder) -> None:
    folder.write()
    write_borrower(folder)
    task = prepare_from_files(folder.settings, "injection").task
    assert task.prompt == PromptSource(conversation=11, template=TEMPLATE)
    assert Task.model_validate(task.model_dump(mode="json")) == task


@pytest.mark.parametrize(
    ("borrows", "problem"),
    [
        pytest.param("grade", "there is no task 'grade'; name one of also_injection, grading, injection", id="unknown"),
        pytest.param("../grading", "there is no task '../grading'", id="a path"),
        pytest.param("injection", "'injection' has no template of its own", id="its own"),
        pytest.param("also_injection", "'also_injection' has no template of its own", id="a circle"),
    ],
)
def test_a_prompt_that_no_task_has_is_refused(folder: Folder, borrows: str, problem: str) -> None:
    folder.write()
    write_borrower(folder, "injection", "also_injection")
    write_borrower(folder, borrows)
    with pytest.raises(FileRefused, match=problem) as refused:
        prepare_from_files(folder.settings, "injection")
    (fault,) = refused.value.faults
    assert (Path(fault.file), fault.field) == (folder.path / "injection" / "task.yaml", "prompt.task")


# Postings


def test_a_posting_that_the_file_lacks_is_looked_up(folder: Folder, database: Database, production: Production) -> None:
    del folder.suite["test_cases"][0]["posting"]
    store_posting(database, 5, "Posting 5 of the database")
    store_posting(database, 6, "Posting 6 of the database")
    prepared = folder.prepared(database, production)
    assert [case.posting for case in prepared.suite.test_cases] == [
        "Posting 5 of the database",
        "Posting 6 of the file",
    ]


def test_another_posting_in_the_database_is_other_evidence(
    folder: Folder, database: Database, production: Production
) -> None:
    del folder.suite["test_cases"][0]["posting"]
    store_posting(database, 5, "one")
    before = folder.prepared(database, production).evidence_key({})
    store(database, "UPDATE postings SET posting_text = 'two'")
    assert folder.prepared(database, production).evidence_key({}) != before


# Faults


def test_a_posting_that_is_nowhere_is_named_with_its_case_and_both_remedies(
    folder: Folder, database: Database, production: Production
) -> None:
    for case in folder.suite["test_cases"]:
        del case["posting"]
    store_posting(database, 6, "Posting 6 of the database")
    (fault,) = folder.refusal(database, production).faults
    assert (fault.case_id, fault.field) == ("PASS_1", "posting")
    assert fault.remedy == "add 'posting' to the case, or posting 5 to the database"
    assert Path(fault.file) == folder.path / "grading" / "suite.json"


def test_a_field_that_only_productions_template_needs_is_named_with_the_template(
    folder: Folder, database: Database, production: Production
) -> None:
    store_template(database, "PRODUCTION {input}")
    faults = folder.refusal(database, production).faults
    assert [(fault.case_id, fault.field, fault.problem) for fault in faults] == [
        ("PASS_1", "input", "is needed by the prompt (conversation 11)"),
        ("FAIL_1", "input", "is needed by the prompt (conversation 11)"),
    ]


def test_a_template_of_production_that_names_no_field_is_refused(
    folder: Folder, database: Database, production: Production
) -> None:
    store_template(database, "Summarise the posting, please.")
    (fault,) = folder.refusal(database, production).faults
    assert (fault.file, fault.field) == ("conversation 11", "prompt")


def test_gold_that_the_contract_cannot_compare_is_refused(folder: Folder) -> None:
    folder.task["verdict"] = {"reader": "json_fields", "fields": ["title"]}
    assert [(fault.case_id, fault.field) for fault in folder.refusal().faults] == [
        ("PASS_1", "expected_output"),
        ("FAIL_1", "expected_output"),
    ]


def test_a_suite_of_another_task_is_refused(folder: Folder) -> None:
    folder.suite["task_type"] = "formatting"
    (fault,) = folder.refusal().faults
    assert (fault.field, fault.problem, fault.remedy) == ("task_type", "is 'formatting'", "write 'grading'")


def test_every_fault_is_named_at_once(folder: Folder) -> None:
    folder.suite["task_type"] = "formatting"
    folder.task["verdict"] = {"reader": "json_fields", "fields": ["title"]}
    folder.task["prompt"]["template"] = "{input}"
    assert {(fault.case_id, fault.field) for fault in folder.refusal().faults} == {
        (None, "task_type"),
        ("PASS_1", "expected_output"),
        ("FAIL_1", "expected_output"),
        ("PASS_1", "input"),
        ("FAIL_1", "input"),
    }


# The evidence


def with_suite_version(prepared: PreparedTask) -> PreparedTask:
    return replace(prepared, suite=prepared.suite.model_copy(update={"version": "2"}))


def with_contract(prepared: PreparedTask) -> PreparedTask:
    return replace(prepared, task=prepared.task.model_copy(update={"verdict": JsonFields(fields=("a",))}))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_suite_version, id="suite"),
        pytest.param(with_contract, id="contract"),
        pytest.param(lambda p: replace(p, prompt=user_prompt(f"{p.prompt.text} ")), id="prompt"),
        pytest.param(lambda p: replace(p, protocol=p.protocol.model_copy(update={"repeats": 2})), id="protocol"),
        pytest.param(lambda p: replace(p, task=p.task.model_copy(update={"task": "other"})), id="task"),
    ],
)
def test_the_evidence_is_other_when_anything_that_was_measured_under_is(
    folder: Folder, change: Callable[[PreparedTask], PreparedTask]
) -> None:
    prepared = folder.prepared()
    assert change(prepared).evidence_key({"gpu": "A"}) != prepared.evidence_key({"gpu": "A"})


def test_the_evidence_is_other_on_other_hardware_and_the_same_on_the_same(folder: Folder) -> None:
    prepared = folder.prepared()
    assert prepared.evidence_key({"gpu": "A"}) == folder.prepared().evidence_key({"gpu": "A"})
    assert prepared.evidence_key({"gpu": "A"}) != prepared.evidence_key({"gpu": "B"})


def test_the_description_of_a_task_is_no_evidence(folder: Folder) -> None:
    before = folder.prepared().evidence_key({})
    folder.task["description"] = "Said in other words."
    assert folder.prepared().evidence_key({}) == before
