"""What `bench doctor` says about the database. It only reads: what it looks at is in storage/inspection/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from bench_pipeline.benchmark.conversations import conversation_faults, existing_conversations
from bench_pipeline.domain.errors import BenchError, GateFailed, InputError
from bench_pipeline.promotion.validation_hook import check_hook
from bench_pipeline.settings import Settings
from bench_pipeline.storage.database import Database, FileMissing, look_into
from bench_pipeline.storage.database_errors import driver_message
from bench_pipeline.storage.identifiers import in_schema
from bench_pipeline.storage.inspection.findings import Finding, Stops, install_remedy
from bench_pipeline.storage.inspection.inspected import Inspected, inspected
from bench_pipeline.storage.inspection.inspection import findings
from bench_pipeline.storage.inspection.own_tables import OwnTables
from bench_pipeline.storage.inspection.schemas import creation, may_read_version, our_schemas
from bench_pipeline.storage.inspection.sessions import pooler, session, time_limits
from bench_pipeline.storage.plans import latest_freeze
from bench_pipeline.storage.production import Production, has_production, open_production
from bench_pipeline.storage.same_database import is_same_database
from bench_pipeline.storage.schema import NO_RIGHT, SCHEMA_VERSION, version_of
from bench_pipeline.storage.writers.function import SIGNATURE, installed_fault, may_promote
from bench_pipeline.storage.writers.installation import Roles, own_rights

_INSTALL = "set BENCH_OWNER_URL to the login of the tables' owner, then run `bench db install`"
_PARTS = {Stops.BENCHMARK: "production tables", Stops.PROMOTION: "promotion", Stops.SAFETY: "safety"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the output. A line that is not `needed` does not affect the exit status.

    `text` contains the `remedy`, which is None where nothing has to be done.
    """

    what: str
    ok: bool
    text: str
    needed: bool = True
    remedy: str | None = None


def checked(what: str, check: Callable[[], str], needed: bool = True) -> Line:
    """Return what a check says, or its error as a line that is not ok."""
    try:
        return Line(what, True, check(), needed)
    except BenchError as error:
        return Line(what, False, str(error), needed)
    except DBAPIError as error:
        return Line(what, False, driver_message(error), needed)


def database_lines(settings: Settings) -> list[Line]:
    """Return the lines about database, production's tables and the promotion."""
    try:
        database = look_into(settings.database_url.get_secret_value(), schema=settings.own_schema)
    except FileMissing as error:
        return list(_missing_file(settings, error))
    except InputError as error:
        return [Line("database", False, str(error))]
    with closing(database):
        try:
            postgresql = database.engine.dialect.name == "postgresql"
            return list(_PostgresqlLines(settings, database) if postgresql else _sqlite_lines(settings, database))
        except DBAPIError as error:
            problem = f"{database.name} cannot be inspected: {driver_message(error)}"
            if getattr(error.orig, "pgcode", None) not in NO_RIGHT:
                return [Line("database", False, problem)]
            return [Line("database", False, f"{problem}; {_INSTALL}", remedy=_INSTALL)]


def names_production(settings: Settings) -> bool:
    """Whether the settings name a database that should be production's; the default one need not be."""
    return bool({"database_url", "production_names"} & settings.model_fields_set)


# SQLite


def _missing_file(settings: Settings, error: FileMissing) -> Iterator[Line]:
    named = names_production(settings)
    remedy = (
        "set BENCH_DATABASE_URL to your production database"
        if named
        else "`bench demo` creates it, and so does `bench run`"
    )
    yield Line("database", False, f"{error}; {remedy}", named, remedy if named else None)
    if not named:
        yield Line("production tables", False, _NO_PRODUCTION, needed=False)


def _sqlite_lines(settings: Settings, database: Database) -> Iterator[Line]:
    with database.engine.connect() as connection:
        version = version_of(connection)
    if version == SCHEMA_VERSION:
        yield Line("database", True, f"{database.name}, schema {version}")
    else:
        state = f"schema {version}" if version else "without our tables"
        yield Line("database", True, f"{database.name}, {state}; the next command that writes brings it up to date")
    production = None
    try:
        production = _opened(settings, database)
        yield _tables(production)
        yield from _unreadable_truths(database, production)
    except BenchError as error:
        yield Line("production tables", False, str(error), names_production(settings))
    if version == SCHEMA_VERSION and production is not None:
        yield checked("promotion", lambda: _promotion(settings, database), needed=False)
    yield from _conversation_lines(settings, database, production)


_NO_PRODUCTION = (
    "none; models can be measured by name, and nothing can be promoted. Set BENCH_DATABASE_URL to your production "
    "database, or run `bench demo` for a sample"
)


def _opened(settings: Settings, database: Database) -> Production:
    if not names_production(settings) and not has_production(database, {}):
        raise GateFailed(_NO_PRODUCTION)
    return open_production(database, settings.production_names, settings.model_actor_types)


def _tables(production: Production) -> Line:
    optional = ", ".join(sorted(production.optional)) or "none"
    return Line("production tables", True, f"all required tables exist; optional tables: {optional}")


def _unreadable_truths(database: Database, production: Production) -> Iterator[Line]:
    """One line for each actor of which its row does not say whether it is enabled."""
    try:
        with database.engine.connect() as connection:
            faults = production.enabled_faults(connection)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in NO_RIGHT:
            raise
        return  # a line of its own names the missing right
    for fault in faults:
        yield Line("production tables", False, fault, remedy=fault.partition("; ")[2])


def _promotion(settings: Settings, database: Database) -> str:
    if settings.validation_hook is not None:
        check_hook(settings.validation_hook)
    with database.engine.connect() as connection:
        last = latest_freeze(connection)
    if last is not None and last.frozen:
        raise GateFailed(f"frozen by {last.signer}: {last.reason}; `bench thaw` ends the freeze")
    return "possible"


def _conversation_lines(settings: Settings, database: Database, production: Production | None) -> Iterator[Line]:
    """One line for each fault of a task.yaml, which leaves the measurement possible."""
    existing = existing_conversations(database, production) if production is not None else None
    for fault in conversation_faults(settings, existing):
        problem = f"{fault.file}: {fault.problem}"
        yield Line("conversations", False, f"{problem}; {fault.remedy}", False, fault.remedy)


# PostgreSQL


@dataclass(frozen=True, slots=True)
class _PostgresqlLines:
    """The lines about a PostgreSQL database, in their order."""

    settings: Settings
    database: Database

    def __iter__(self) -> Iterator[Line]:
        with self.database.engine.connect() as connection:
            readable = may_read_version(connection)
            version = version_of(connection) if readable else None
            of_session = [*session(connection, "BENCH_DATABASE_URL", Stops.BENCHMARK), *time_limits(connection)]
        if version == SCHEMA_VERSION:
            yield Line("database", True, f"{self.database.name}, schema {version}")
        yield from _lines("database", [*of_session, *pooler(self.database.engine)])
        try:
            production = _opened(self.settings, self.database)
        except BenchError as error:
            yield Line("production tables", False, str(error), remedy=str(error).partition("; ")[2] or None)
            return
        yield _tables(production)
        yield from _unreadable_truths(self.database, production)
        yield from self._about(production, version)
        yield from _conversation_lines(self.settings, self.database, production)

    def _about(self, production: Production, version: str | None) -> Iterator[Line]:
        settings = self.settings
        with self.database.engine.connect() as connection:
            ours = our_schemas(connection)
            seen = inspected(connection, production, settings.recorder_role, settings.promoter_role)
            roles = Roles(settings.recorder_role, settings.promoter_role)
            found = list(findings(seen, OwnTables(ours[0] if ours else "", own_rights(roles))))
            missing = [] if version == SCHEMA_VERSION else list(creation(connection, seen.owner, seen.owner_path))
        yield from _lines(_PARTS[Stops.PROMOTION], missing)
        if version != SCHEMA_VERSION and (version or not ours or ours[0] in seen.path):
            yield self._outdated(version, bool(ours), seen)
        found += self._logins()
        yield from (line for finding in found for line in _lines(_PARTS.get(finding.stops, "database"), [finding]))
        if version == SCHEMA_VERSION and not any(finding.stops is Stops.PROMOTION for finding in found):
            yield self._promotion(production, seen)

    def _outdated(self, version: str | None, exist: bool, seen: Inspected) -> Line:
        state = "has our tables, which this login may not read" if exist else "lacks our tables"
        if version:
            state = f"has our tables in version {version}, not {SCHEMA_VERSION}"
        remedy = install_remedy(seen.owner)
        return Line("database", False, f"{self.database.name} {state}; {remedy}", True, remedy)

    def _logins(self) -> list[Finding]:
        """Look into the addresses of the promoter and the owner, as far as they are set."""
        found: list[Finding] = []
        for variable, url in (("PROMOTER", self.settings.promoter_url), ("OWNER", self.settings.owner_url)):
            if url is not None:
                found += self._of_login(f"BENCH_{variable}_URL", url)
        return found

    def _of_login(self, variable: str, url: SecretStr) -> Iterator[Finding]:
        try:
            other = look_into(url.get_secret_value(), variable, self.settings.own_schema)
        except InputError as error:
            yield Finding(Stops.PROMOTION, str(error))
            return
        with closing(other), other.engine.connect() as connection:
            yield from session(connection, variable, Stops.PROMOTION)
            if not is_same_database(self.database, connection):
                problem = f"{variable} leads to a different database than BENCH_DATABASE_URL"
                yield Finding(Stops.PROMOTION, problem, f"`{self._address(variable, url)}`")

    def _address(self, variable: str, url: SecretStr) -> str:
        """The variable with the address that it should have; the password is left to the reader."""
        place = make_url(self.settings.database_url.get_secret_value())
        user = make_url(url.get_secret_value()).username
        right = place.set(username=user, password=None).difference_update_query(["password", "sslpassword"])
        return f"export {variable}='{right.render_as_string()}'"

    def _promotion(self, production: Production, seen: Inspected) -> Line:
        if fault := installed_fault(self.database.engine, production):
            remedy = install_remedy(seen.owner)
            return Line("promotion", False, f"{fault}; {remedy}", False, remedy)
        return checked("promotion", lambda: self._possible(), needed=False)

    def _possible(self) -> str:
        url = self.settings.promoter_url or self.settings.database_url
        signature = in_schema(self.database.engine, SIGNATURE)
        promoter = look_into(url.get_secret_value(), "BENCH_PROMOTER_URL", self.settings.own_schema)
        with closing(promoter), promoter.engine.connect() as connection:
            allowed = may_promote(connection, signature)
        if not allowed:
            raise InputError("BENCH_PROMOTER_URL: this login may not promote; set it to the promoter's login")
        return _promotion(self.settings, self.database)


def _lines(what: str, found: Iterable[Finding]) -> Iterator[Line]:
    for finding in found:
        yield Line(what, False, str(finding), finding.stops is Stops.BENCHMARK, finding.remedy or None)
