"""A database that goes away in the middle of a command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, text

from bench_pipeline_tests.kit.shell import Typed
from bench_pipeline_tests.kit.world import World

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
_END = text("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'bench_recorder'")


@pytest.fixture
def sessions_end(world: World) -> Iterator[None]:
    """The server ends the command's sessions just before the plan is stored."""
    ended = []

    def end(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if re.match(r"INSERT INTO (public\.)?benchmark_plans", statement) and not ended:
            ended.append(statement)
            world.change(_END)

    world.ranked("fast", "slow")
    event.listen(Engine, "before_cursor_execute", end)
    yield
    event.remove(Engine, "before_cursor_execute", end)


def test_it_is_told_in_one_line_and_the_same_command_does_what_is_left(typed: Typed, sessions_end: None) -> None:
    done = typed("promote", "--task", "grading")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith("bench: the connection to the database was lost: ")
    again = typed("promote", "--task", "grading")
    assert (again.returncode, "✅ promotion 1 applied" in again.stdout) == (0, True)
