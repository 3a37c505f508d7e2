"""Who clicked: the user whom the proxy before the web server names becomes a tag of every run started through it.

A client cannot set the tag itself. What the audit makes of the tag is in assets/workbench_resource.py.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from starlette.requests import HTTPConnection

from bench_pipeline.assets.workbench_resource import USER_TAG

_TAG_TYPE = "ExecutionTag"
_MAX_CHARS = 200
_CONTINUED = ("resumePartitionBackfill", "reexecutePartitionBackfill")
"""These copy the tags of an earlier backfill, whatever the request says."""

Caller = Callable[[HTTPConnection], str | None]


def proxy_user(header: str) -> Caller:
    """Return what reads the user from `header`, if the proxy sent it: a process of this machine."""

    def user(request: HTTPConnection) -> str | None:
        named = request.headers.get(header, "").strip()[:_MAX_CHARS]
        return named if named and _is_this_machine(request) else None

    return user


def _is_this_machine(request: HTTPConnection) -> bool:
    if request.client is None or not request.client.host:
        return True  # a unix socket
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def name_users(mutations: GraphQLObjectType, caller: Caller | None) -> None:
    """Make every mutation that starts a run tag it with the caller, and with nothing that the client names as one.

    The arguments are looked at as the server reads them, so it does not matter where in a document they are. Without
    a `caller` the tag is only removed.
    """
    for name, field in mutations.fields.items():
        if any(_has_tags(argument) for argument in field.args.values()):
            field.resolve = _named(field, caller)
        if caller is not None and name in _CONTINUED:
            field.resolve = _refused


def _refused(*_: object, **__: object) -> None:
    raise GraphQLError("a backfill that is continued would run in the name of who started it; launch a new one")


def _named(field: GraphQLField, caller: Caller | None) -> Callable[..., Any]:
    resolve = field.resolve
    assert resolve is not None  # noqa: S101 - every mutation of Dagster has its own

    def resolve_named(root: Any, info: Any, **arguments: Any) -> Any:  # noqa: ANN401 - as GraphQL calls it
        user = caller(info.context.source) if caller is not None else None
        if caller is not None and user is None:
            raise GraphQLError(
                "BENCH_PROXY_USER_HEADER is set, and this request names no user; start runs through the proxy"
            )
        for name, argument in field.args.items():
            if _has_tags(argument) and arguments.get(name) is not None:
                arguments[name] = _with_user(argument.type, arguments[name], user)
        return resolve(root, info, **arguments)

    return resolve_named


def _has_tags(place: GraphQLArgument | GraphQLInputField) -> bool:
    named = get_named_type(place.type)
    if not isinstance(named, GraphQLInputObjectType):
        return False
    return named.name == _TAG_TYPE or any(_has_tags(inner) for inner in named.fields.values())


def _with_user(kind: Any, value: Any, user: str | None) -> Any:  # noqa: ANN401 - any input of GraphQL
    """Return an input in which every list of tags names this user and no other."""
    kind = get_nullable_type(kind)
    if is_list_type(kind):
        inner = get_named_type(kind)
        if inner.name == _TAG_TYPE:
            kept = [tag for tag in value or [] if tag["key"] != USER_TAG]
            return kept if user is None else [*kept, inner.out_type({"key": USER_TAG, "value": user})]
        return [_with_user(inner, one, user) for one in value]
    fields = {name: field for name, field in kind.fields.items() if _has_tags(field)}
    for name, field in fields.items():
        key = field.out_name or name
        given = value.get(key)
        if given is None and user is None:
            continue
        empty = [] if is_list_type(get_nullable_type(field.type)) else get_named_type(field.type).out_type({})
        value[key] = _with_user(field.type, empty if given is None else given, user)
    return value
