"""Who clicked: the proxy's user becomes a tag of every run, and a client names nobody."""

from __future__ import annotations

from typing import Any

import pytest
from dagster_graphql.schema import create_schema
from graphql import ExecutionResult, GraphQLSchema, graphql_sync
from starlette.requests import HTTPConnection

from bench_pipeline.ui.clicks import name_users, proxy_user

FORGED = '{key: "bench/user", value: "mallory"}'
KEPT = '{key: "why", value: "test"}'
SELECTOR = 'selector: {repositoryName: "r", repositoryLocationName: "l", jobName: "j"}'
TAGS = f"executionMetadata: {{tags: [{FORGED}, {KEPT}]}}"
AGAIN = 'parentRunId: "1", strategy: ALL_STEPS'
USER = {"key": "bench/user", "value": "alice"}
WHY = {"key": "why", "value": "test"}

STARTS = {
    "launchRun": (f"executionParams: {{{SELECTOR}, {TAGS}}}", ["executionParams", "executionMetadata", "tags"]),
    "launchPipelineExecution": (
        f"executionParams: {{{SELECTOR}, {TAGS}}}",
        ["executionParams", "executionMetadata", "tags"],
    ),
    "launchMultipleRuns": (
        f"executionParamsList: [{{{SELECTOR}, {TAGS}}}]",
        ["executionParamsList", 0, "executionMetadata", "tags"],
    ),
    "launchRunReexecution": (
        f"reexecutionParams: {{{AGAIN}, extraTags: [{FORGED}, {KEPT}]}}",
        ["reexecutionParams", "extraTags"],
    ),
    "launchPipelineReexecution": (
        f"executionParams: {{{SELECTOR}, {TAGS}}}",
        ["executionParams", "executionMetadata", "tags"],
    ),
    "launchPartitionBackfill": (f"backfillParams: {{tags: [{FORGED}, {KEPT}]}}", ["backfillParams", "tags"]),
}
CONTINUED = {
    "resumePartitionBackfill": 'backfillId: "b"',
    "reexecutePartitionBackfill": f"reexecutionParams: {{{AGAIN}}}",
}


class Asked:
    """Dagster's own schema, whose mutations tell what they were given instead of starting anything."""

    def __init__(self, header: str | None) -> None:
        self.given: dict[str, Any] = {}
        self.schema: GraphQLSchema = create_schema().graphql_schema
        assert self.schema.mutation_type is not None
        for field in self.schema.mutation_type.fields.values():
            field.resolve = self._resolve
        name_users(self.schema.mutation_type, proxy_user(header) if header else None)

    def _resolve(self, _root: object, _info: object, **arguments: object) -> None:
        self.given.clear()
        self.given.update(arguments)

    def mutate(self, name: str, arguments: str, peer: str = "127.0.0.1", **headers: str) -> ExecutionResult:
        raw = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        client = (peer, 5) if peer else None
        request = HTTPConnection({"type": "http", "headers": raw, "client": client})
        return graphql_sync(
            self.schema,
            f"mutation {{ {name}({arguments}) {{ __typename }} }}",
            context_value=type("Context", (), {"source": request})(),
        )

    def at(self, path: list[Any]) -> object:
        value: Any = self.given
        for step in path:
            value = value[step]
        return value


@pytest.fixture(scope="module")
def named() -> Asked:
    return Asked("X-Forwarded-User")


@pytest.fixture(scope="module")
def nameless() -> Asked:
    return Asked(None)


@pytest.mark.parametrize("mutation", STARTS)
def test_every_start_has_the_proxys_user_and_not_the_one_that_the_client_names(named: Asked, mutation: str) -> None:
    arguments, path = STARTS[mutation]

    done = named.mutate(mutation, arguments, x_forwarded_user="alice")

    assert done.errors is None or "Cannot return null" in str(done.errors[0])
    assert named.at(path) == [WHY, USER]


def test_a_start_without_any_tags_gets_the_user_too(named: Asked) -> None:
    named.mutate("launchRun", f"executionParams: {{{SELECTOR}}}", x_forwarded_user="alice")
    assert named.at(["executionParams", "executionMetadata", "tags"]) == [USER]

    named.mutate("launchRunReexecution", f"reexecutionParams: {{{AGAIN}}}", x_forwarded_user="alice")
    assert named.at(["reexecutionParams", "extraTags"]) == [USER]


@pytest.mark.parametrize("mutation", STARTS)
def test_without_a_proxy_nobody_is_named(nameless: Asked, mutation: str) -> None:
    arguments, path = STARTS[mutation]

    nameless.mutate(mutation, arguments, x_forwarded_user="mallory")

    assert nameless.at(path) == [WHY]


@pytest.mark.parametrize(
    ("peer", "headers"),
    [("127.0.0.1", {}), ("127.0.0.1", {"x_forwarded_user": " "}), ("192.168.0.9", {"x_forwarded_user": "mallory"})],
)
def test_a_start_around_the_proxy_is_refused_when_users_are_named(
    named: Asked, peer: str, headers: dict[str, str]
) -> None:
    named.given.clear()

    done = named.mutate("launchRun", STARTS["launchRun"][0], peer=peer, **headers)

    assert "this request names no user; start runs through the proxy" in str(done.errors)
    assert named.given == {}


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", ""])
def test_the_proxy_is_on_this_machine_or_behind_a_unix_socket(named: Asked, peer: str) -> None:
    named.mutate("launchRun", STARTS["launchRun"][0], peer=peer, x_forwarded_user="alice")
    assert named.at(STARTS["launchRun"][1])[-1] == USER


@pytest.mark.parametrize("mutation", CONTINUED)
def test_a_backfill_is_not_continued_in_the_name_of_another(named: Asked, mutation: str) -> None:
    done = named.mutate(mutation, CONTINUED[mutation], x_forwarded_user="bob")
    assert "would run in the name of who started it; launch a new one" in str(done.errors)


def test_no_mutation_of_dagster_takes_tags_that_these_tests_do_not_know(named: Asked) -> None:
    """An upgrade may add one, or move the tags."""
    assert named.schema.mutation_type is not None
    tagged = {
        name
        for name, field in named.schema.mutation_type.fields.items()
        if any(str(argument.type).strip("[]!") in TAGGED for argument in field.args.values())
    }
    assert tagged == {*STARTS, "reexecutePartitionBackfill"}


TAGGED = {"ExecutionParams", "ReexecutionParams", "LaunchBackfillParams"}
