"""Every reason for which a plan is refused has its sentence, whichever database found it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench_pipeline import domain, promotion, storage
from bench_pipeline.domain.promoting.refusal import SENTENCES, PlanRefused

_SQL = Path(storage.__file__).parent / "writers" / "apply.sql"
_PYTHON = Path(storage.__file__).parent / "writers" / "sqlite.py"


def reasons_of(path: Path, pattern: str) -> set[str]:
    return set(re.findall(pattern, path.read_text(encoding="utf-8")))


IN_SQL = reasons_of(_SQL, r"MESSAGE = '(\w+)'")
_APPROVAL = Path(domain.__file__).parent / "promoting" / "approval.py"
IN_PYTHON = reasons_of(_PYTHON, r"_refuse\(\s*\"(\w+)\"") | reasons_of(_APPROVAL, r"PlanRefused\(\"(\w+)\"")


def test_both_databases_refuse_for_the_same_reasons() -> None:
    assert IN_SQL == IN_PYTHON


def test_every_reason_has_a_sentence_and_every_sentence_a_reason() -> None:
    looked = set[str]()
    for file in Path(promotion.__file__).parent.glob("*.py"):
        looked |= reasons_of(file, r"PlanRefused\(\s*\"(\w+)\"")
    in_writer = reasons_of(_SQL.with_name("writer.py"), r"PlanRefused\(\s*\"(\w+)\"")
    assert IN_SQL | looked | in_writer == SENTENCES.keys()


@pytest.mark.parametrize("reason", sorted(IN_SQL))
def test_the_facts_that_the_function_gives_are_the_ones_of_the_sentence(reason: str) -> None:
    wanted = set(re.findall(r"\{(\w+)", SENTENCES[reason]))
    source = _SQL.read_text(encoding="utf-8")
    raised = re.findall(rf"MESSAGE = '{reason}',\s*DETAIL = json_build_object\((.*?)\);", source, re.DOTALL)
    assert raised
    for facts in raised:
        given = set(re.findall(r"'(\w+)', ", facts))
        assert wanted <= given, facts


def test_a_refusal_reads_as_a_sentence() -> None:
    refused = PlanRefused("actor_disabled", {"actor": "fast"})
    assert (refused.reason, str(refused)) == (
        "actor_disabled",
        "actor fast is not enabled now; nothing was changed, make a new plan",
    )
