"""PostgreSQL for a rehearsal: a cluster that outlives the process which made it, with a password for each login."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine

from bench_pipeline_tests.fakes.postgres import (
    create_database,
    run_as,
    server_account,
    server_home,
    server_programs,
)

LOGINS = ("postgres", "dagster", "bench_recorder", "bench_promoter")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
}


@dataclass(frozen=True)
class Cluster:
    """A server's data, its port and the passwords of its logins."""

    data: Path
    port: int
    passwords: Mapping[str, str]

    def url(self, login: str, database: str = "production") -> str:
        """The address of a database for a login."""
        return f"postgresql+psycopg2://{login}:{quote(self.passwords[login])}@127.0.0.1:{self.port}/{database}"

    @property
    def command(self) -> list[str]:
        """What serves it, in the foreground."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return [str(_programs() / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]

    def fill(self, fill: Callable[[str], None]) -> None:
        """Create Dagster's database and production's on the running server, unless they are there."""
        server = create_engine(self.url("postgres", "postgres"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            known = connection.exec_driver_sql("SELECT datname FROM pg_database").scalars().all()
            if "dagster" not in known:
                secret = self.passwords["dagster"]
                connection.exec_driver_sql(f"CREATE ROLE dagster LOGIN PASSWORD '{secret}'")
                connection.exec_driver_sql("CREATE DATABASE dagster OWNER dagster")
        server.dispose()
        if "production" not in known:
            fill(create_database(self.url("postgres", "postgres"), "production"))

    def answers(self) -> bool:
        """Whether the server takes connections."""
        engine = create_engine(self.url("postgres", "postgres"))
        try:
            engine.connect().close()
        except Exception:  # noqa: BLE001 - it starts, or it is down
            return False
        finally:
            engine.dispose()
        return True


def make_cluster(link: Path, passwords: Mapping[str, str], port: int) -> Cluster:
    """Return the cluster behind `link`, made if it is not there."""
    account = server_account()
    if not (link / "data").exists():
        link.unlink(missing_ok=True)
        home = server_home(link, account)
        if home != link:
            link.symlink_to(home)
        secret = home / "password"
        secret.write_text(passwords["postgres"], encoding="utf-8")
        if account:
            os.chown(secret, account["user"], account["group"])
        logins = ["-A", "scram-sha-256", f"--pwfile={secret}"]
        options = ["-U", "postgres", *logins, "-E", "UTF8", "--no-locale", "-N"]
        run_as([_programs() / "initdb", "-D", home / "data", *options], account)
        secret.unlink()
    return Cluster(link.resolve() / "data", port, passwords)


def _programs() -> Path:
    return next(iter(server_programs().values()))
