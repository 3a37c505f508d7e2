"""Production's tables in the tests, and the rows of the sample workflow.

The tables are those of the sample database. The tests loosen them, because production may hold anything: no foreign
keys, nothing required but the keys of its entities, and a column that we know nothing about.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, MetaData, Table, Text, create_engine, insert

from bench_pipeline.demo import sample_database
from bench_pipeline_tests.kit.models import ACTORS, SCRIPT, SLOW, fake_models
from bench_pipeline_tests.kit.tasks import EXTRACT, FORMAT, TICKET


def _loosened(declared: MetaData) -> MetaData:
    loose = MetaData()
    for table in declared.sorted_tables:
        columns = [
            Column(column.name, column.type, primary_key=column.primary_key and not column.foreign_keys)
            for column in table.columns
        ]
        Table(table.name, loose, *columns)
    return loose


PRODUCTION = _loosened(sample_database.application)
actors = PRODUCTION.tables["actors"]
conversations = PRODUCTION.tables["conversations"]
workflows = PRODUCTION.tables["workflows"]
workflow_conversations = PRODUCTION.tables["workflow_conversations"]
prompt_templates = PRODUCTION.tables["prompt_templates"]
postings = PRODUCTION.tables["postings"]
interactions = PRODUCTION.tables["interactions"]
conversations.append_column(Column("owner", Text))


def fill_production(url: str, templates: Mapping[int, str] | None = None) -> None:
    """Create production's tables in any database: five models and a script, and one workflow of seven steps."""
    engine = create_engine(url)
    names = ["Extract", "Grade A", "Grade B", "Improve", "Regrade", "Ticket", "Format"]
    steps = dict(zip(range(EXTRACT, FORMAT + 1), names, strict=True))
    with engine.begin() as connection:
        PRODUCTION.create_all(connection, checkfirst=False)
        rows = [
            {"actor_id": number, "actor_name": name, "actor_type": "ai_model", "execution_path": path, "enabled": True}
            for (number, name), path in zip(ACTORS.items(), (f"ollama:{m}" for m in fake_models()), strict=True)
        ]
        script = {"actor_id": SCRIPT, "actor_name": "ticket.py", "actor_type": "script", "execution_path": "ticket.py"}
        connection.execute(insert(actors), [*rows, script | {"enabled": True}])
        connection.execute(
            insert(conversations),
            [
                {"conversation_id": n, "conversation_name": name, "actor_id": SCRIPT if n == TICKET else SLOW}
                for n, name in steps.items()
            ],
        )
        connection.execute(
            insert(workflows), {"workflow_id": 3001, "workflow_name": "Complete Job Processing Pipeline"}
        )
        connection.execute(
            insert(workflow_conversations),
            [{"workflow_id": 3001, "conversation_id": n, "execution_order": n - EXTRACT} for n in steps],
        )
        if templates:
            own = [{"conversation_id": n, "template": text} for n, text in templates.items()]
            connection.execute(insert(prompt_templates), own)
    engine.dispose()
