"""The documents say what the code does: what can be compared is compared."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml
from pydantic import SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from bench_pipeline.cli.failures import STATUSES
from bench_pipeline.cli.main import COMMANDS, bench
from bench_pipeline.domain.alerts.alert import AlertCause
from bench_pipeline.domain.mapping.names import OPTIONAL, OPTIONAL_COLUMNS, REQUIRED
from bench_pipeline.domain.measuring.validity import ValidityRule
from bench_pipeline.domain.promoting.refusal import SENTENCES
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.domain.tasks.readers.thinking import THINKING_FORMS
from bench_pipeline.domain.tasks.suite import parse_suite
from bench_pipeline.domain.tasks.task import parse_task
from bench_pipeline.domain.tasks.verdict import contract_faults
from bench_pipeline.runtimes import openai_servers
from bench_pipeline.settings import REMOVED_NAMES, Settings
from bench_pipeline.storage.own_schema import VERSION_TABLE
from bench_pipeline.storage.tables import metadata
from bench_pipeline_tests.domain.tasks.judging import judged, verdict_of
from bench_pipeline_tests.runtimes.test_openai_servers import SAID
from bench_pipeline_tests.storage.broken.faults import FAULTS
from bench_pipeline_tests.storage.broken.unusual import FAILING, UNUSUAL

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
CHANGELOG = ROOT / "CHANGELOG.md"
GROUPS = ("cases", "db")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for named, body in _FENCED.findall(text) if named == language]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every line of every table, without the headers."""
    lines = text.splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("|")
        and not line.startswith("| ---")
        and not (number + 1 < len(lines) and lines[number + 1].startswith("| ---"))
    ]


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, to the next one of its level or above."""
    level = heading.partition(" ")[0]
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = bench.get_command(click.Context(bench), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


def options_of(command: click.Command) -> set[str]:
    """Return the names of a command's options, without hidden ones: former names."""
    shown = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    return {name for option in shown for name in option.opts}


def setting_row(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    names = getattr(alias, "choices", None) or [f"BENCH_{name.upper()}"]
    return [", ".join(f"`{variable}`" for variable in names), default_text(name, field), field.description or ""]


def default_text(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if name == "cache_dir":  # differs from one user to another
        return "`bench_pipeline` in the user's cache folder"
    if value is None:
        return "–"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return ", ".join(f"`{item}`" for item in value) if isinstance(value, tuple) else f"`{value}`"


def test_the_settings_are_listed_with_their_variables_defaults_and_meanings() -> None:
    own = text_of("reference/settings.md").partition("## Other variables")[0]

    assert table_rows(own) == [setting_row(name, field) for name, field in Settings.model_fields.items()]


@every_document
def test_every_variable_that_is_named_is_a_setting(document: Path) -> None:
    known = {name for field in Settings.model_fields.items() for name in _INLINE.findall(setting_row(*field)[0])}

    assert (
        set(re.findall(r"\bBENCH_[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8"))) <= known | REMOVED_NAMES.keys()
    )


def test_every_command_stands_in_the_reference_with_exactly_its_options() -> None:
    text = text_of("reference/commands.md")
    documented = {}
    for name, _ in all_commands():
        heading = f"{'##' if ' ' not in name else '###'} bench {name}"
        documented[name] = {option for row in table_rows(section(text, heading)) for option in options_in(row[0])}

    assert documented == {name: options_of(command) for name, command in all_commands()}


def options_in(cell: str) -> list[str]:
    return re.findall(r"(?<!\S)`?(--?[a-z-]+)", cell)


def test_the_overview_of_the_reference_names_every_command() -> None:
    overview = text_of("reference/commands.md").partition("\n## ")[0]

    assert set(re.findall(r"^\| `bench ([a-z ]+)` \|", overview, re.MULTILINE)) == {name for name, _ in all_commands()}


def test_the_kinds_of_failures_stand_in_the_reference_with_their_exit_statuses() -> None:
    text = text_of("reference/commands.md")
    statuses = {int(row[0]) for row in table_rows(text.partition("\n| Command |")[0])}

    assert {row[0].strip("`"): int(row[1]) for row in table_rows(section(text, "## JSON"))} == STATUSES
    assert statuses == {0, *STATUSES.values()}


def command_lines(text: str) -> list[str]:
    """Return every `bench …` of code blocks and of code within sentences, but no output of a program."""
    fenced = [
        line.strip() for language in ("", "sh", "bash") for body in blocks(text, language) for line in body.splitlines()
    ]
    inline = _INLINE.findall(_FENCED.sub("", text))
    return [line for line in [*fenced, *inline] if re.match(r"bench\s", line)]


def words_of_the_name(words: list[str]) -> int:
    """A group's command has two words."""
    return 2 if words[0] in GROUPS else 1


@every_document
def test_every_command_line_is_a_command_with_known_options(document: Path) -> None:
    commands = dict(all_commands())
    for line in command_lines(document.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)[1:]
        if set(words) <= {"--help", "-h", "--version"}:
            continue
        length = words_of_the_name(words)
        command = commands.get(" ".join(words[:length]))
        assert command is not None, line
        context = click.Context(command, info_name=line)
        try:
            command.make_parser(context).parse_args(words[length:])
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


@every_document
def test_a_command_line_of_a_code_block_has_the_options_that_are_required(document: Path) -> None:
    commands = dict(all_commands())
    for body in blocks(document.read_text(encoding="utf-8"), ""):
        for line in (line.strip() for line in body.splitlines()):
            if not line.startswith("bench "):
                continue
            words = shlex.split(line, comments=True)[1:]
            command = commands[" ".join(words[: words_of_the_name(words)])]
            required = {p.opts[0] for p in command.params if isinstance(p, click.Option) and p.required}
            assert required <= set(words), line


@every_document
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = document.read_text(encoding="utf-8")

    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", [*DOCUMENTS, CHANGELOG], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_its_heading(document: Path) -> None:
    for target in _LINK.findall(_FENCED.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors_of(file.read_text(encoding="utf-8")), target


def anchors_of(text: str) -> set[str]:
    """Return what the headings are called in addresses."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_document() -> None:
    index = {(DOCS / target).resolve() for target in _LINK.findall(text_of("README.md"))}

    assert index == {path for path in DOCUMENTS[1:] if path != DOCS / "README.md"}


def test_the_example_of_a_task_is_sound() -> None:
    text = text_of("how-to/your-own-task.md")
    (task_text,) = [body for body in blocks(text, "yaml") if body.startswith("task:")]
    (suite_text,) = [body for body in blocks(text, "json") if "test_cases" in body]

    task, suite = parse_task(task_text.encode(), "task.yaml"), parse_suite(suite_text.encode(), "suite.json")

    assert suite.task_type == task.task
    assert contract_faults(task.verdict, suite, "suite.json") == []
    assert all(case.posting for case in suite.test_cases)


def test_the_example_of_every_reader_is_a_contract() -> None:
    bodies = [yaml.safe_load(body) for body in blocks(text_of("how-to/your-own-task.md"), "yaml")]

    contracts = [TypeAdapter(Contract).validate_python(body["verdict"]) for body in bodies if "verdict" in body]

    known = {form.model_fields["reader"].default for form in get_args(get_args(Contract)[0])}
    assert {contract.reader for contract in contracts} == known


@pytest.mark.parametrize("name", ["how-to/your-own-task.md", "how-to/promote-safely.md"])
def test_the_example_of_what_may_be_promoted_is_one_of_a_task(name: str) -> None:
    (body,) = [body for body in blocks(text_of(name), "yaml") if "promotion:" in body]
    (task,) = [body for body in blocks(text_of("how-to/your-own-task.md"), "yaml") if body.startswith("task:")]

    assert parse_task(yaml.safe_dump(yaml.safe_load(task) | yaml.safe_load(body)).encode(), name).promotion.auto


def test_the_rules_of_validity_stand_in_the_reference_as_they_are_stored() -> None:
    text = text_of("reference/validity.md")

    assert [row[0].strip("`") for row in table_rows(section(text, "## The rules"))] == list(ValidityRule)


def test_every_reason_for_a_refusal_is_listed_with_words_of_its_sentence() -> None:
    rows = table_rows(section(text_of("how-to/promote-safely.md"), "## What is refused"))

    assert [row[0].strip("`") for row in rows] == list(SENTENCES)
    for reason, said, happened, remedy in rows:
        words = [part.strip(" ") for part in said.strip('"').split("…")]
        sentence = re.sub(r"\{[^}]*\}", "…", SENTENCES[reason.strip("`")])
        assert all(part in sentence for part in words), reason
        assert happened, reason
        assert remedy, reason


def test_every_alert_has_a_section_that_says_what_to_do() -> None:
    alerts = section(text_of("how-to/operate.md"), "## Alerts")

    assert re.findall(r"^### `(\w+)`$", alerts, re.MULTILINE) == [cause.value for cause in AlertCause]


def test_our_tables_stand_in_the_reference_with_their_columns() -> None:
    text = text_of("reference/tables.md")
    documented = {
        name: [row[0].strip("`") for row in table_rows(section(text, f"## `{name}`"))]
        for name in re.findall(r"^## `(\w+)`$", text, re.MULTILINE)
    }

    assert documented.pop(VERSION_TABLE) == []
    assert documented == {name: [column.name for column in table.columns] for name, table in metadata.tables.items()}


def test_productions_tables_stand_in_the_guide_with_their_columns() -> None:
    text = text_of("how-to/your-own-database.md")
    documented = {
        row[0].strip("`"): tuple(_INLINE.findall(row[1])) for row in table_rows(section(text, "## What is relied on"))
    }

    assert {name: documented.get(name) for name in REQUIRED | OPTIONAL} == REQUIRED | OPTIONAL


def test_productions_optional_columns_stand_in_the_guide() -> None:
    rows = table_rows(section(text_of("how-to/your-own-database.md"), "## Optional columns"))

    assert {row[0].strip("`"): tuple(_INLINE.findall(row[1])) for row in rows} == OPTIONAL_COLUMNS


def test_the_databases_of_the_reference_are_those_that_are_tested() -> None:
    text = text_of("reference/databases.md")
    found = {name: fault for group in FAULTS.values() for name, fault in group.items()}
    rows = {row[0]: row[1:] for row in table_rows(section(text, "## What doctor finds"))}

    assert [row[0] for row in table_rows(section(text, "## What works"))] == list(UNUSUAL)
    assert [row[0] for row in table_rows(section(text, "## What only a rehearsal finds"))] == list(FAILING)
    assert list(rows) == list(found)
    assert {name: row[0] for name, row in rows.items()} == {name: fault.stopped for name, fault in found.items()}
    assert {name: row[2] for name, row in rows.items()} == {
        name: "yes" if fault.refused else "no" for name, fault in found.items()
    }


_TESTED = re.compile(r'\[[^\]]+\]\((\S+) "(test_\w+)(?:: ([^"]+))?"\)')


def test_each_cell_about_a_schema_names_a_test_that_exists() -> None:
    """In a cell `[words](file "test: case")` the case, where there is one, is the name of a database that is tested."""
    rows = table_rows(section(text_of("reference/databases.md"), "## What a schema may have"))
    tested = {*UNUSUAL, *FAILING, *(name for group in FAULTS.values() for name in group)}

    assert rows
    for feature, *cells in rows:
        assert any(cells), feature
        for cell in filter(None, cells):
            assert _TESTED.sub("", cell).strip(", ") == "", cell
            for file, test, case in _TESTED.findall(cell):
                source = (DOCS / "reference" / file).read_text(encoding="utf-8")
                assert f"def {test}(" in source, cell
                assert not case or case in tested, cell


@every_document
def test_every_module_and_file_of_the_program_that_is_named_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    modules = re.findall(r"python -m ((?:bench_pipeline|benchmarks)[\w.]*)", text)
    named = [module.replace(".", "/") + ".py" for module in modules] + re.findall(r"`([\w/.-]+/[\w.-]+\.py)`", text)

    missing = [name for name in named if not (ROOT / name).is_file() and not (ROOT / "bench_pipeline" / name).is_file()]

    assert missing == []


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    headings = re.findall(r"^## (.+)$", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)

    assert re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", headings[0])


@every_document
def test_no_document_names_a_path_of_one_machine(document: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|home|root|tmp|Users)/", document.read_text(encoding="utf-8"))


def test_the_forms_of_thinking_stand_in_the_reference_as_they_are_removed() -> None:
    lines = section(text_of("reference/replies.md"), "## Thinking").splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("| `")]
    documented = [
        (*(tuple(_INLINE.findall(cell.replace("\\|", "|"))) for cell in row[:2]), row[2].strip()) for row in rows
    ]

    assert documented == [(form.opening, form.closing, form.families) for form in THINKING_FORMS]
    assert all(form.source in row[3] for form, row in zip(THINKING_FORMS, rows, strict=True))


def test_the_examples_of_verdicts_that_are_taken_back_are_refused_for_their_reason_or_read() -> None:
    rows = table_rows(section(text_of("reference/replies.md"), "## Verdicts that are taken back"))

    for reason, refused, read in rows:
        assert [judged(text).reason for text in _INLINE.findall(refused)] == [reason] * len(_INLINE.findall(refused))
        assert [verdict_of(text) for text in _INLINE.findall(read)] != []
        assert None not in [verdict_of(text) for text in _INLINE.findall(read)]


def test_the_table_of_openai_compatible_servers_says_what_the_code_asks_them_for() -> None:
    rows = table_rows(section(text_of("reference/servers.md"), "## What it can be asked for"))
    models = [openai_servers.Listed.model_validate(said) for said in SAID.values()]
    assert {row[0]: row[2:] for row in rows} == {
        server.name: [
            f"`{server.thinking}`",
            f"`{server.schema}`" if server.schema else "no",
            "yes" if server.json_mode else "no",
            f"`{'.'.join(server.grammar)}`" if server.grammar else "no",
            "yes" if server.completes else "no",
            f"`{server.memory.listing}`" if server.memory else "no",
        ]
        for server in (openai_servers.recognised([model]) for model in models)
    }
