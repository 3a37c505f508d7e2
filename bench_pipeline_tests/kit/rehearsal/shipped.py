"""The files of deploy/ as a machine would use them: units, variables, the proxy's configuration. Starts nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
ENVIRONMENTS = DEPLOY / "env"
UNITS = DEPLOY / "systemd"
INSTANCE = "bench-instance.service"
_PLACEHOLDER = re.compile(r"\$\{([A-Z_]+)\}")


@dataclass(frozen=True)
class Unit:
    """A unit file of systemd: its lines, by section and name, in their order."""

    name: str
    sections: Mapping[str, Mapping[str, tuple[str, ...]]]

    def all(self, name: str, section: str = "Service") -> tuple[str, ...]:
        """Every value of a name that may be repeated."""
        return self.sections.get(section, {}).get(name, ())

    def one(self, name: str, section: str = "Service") -> str:
        """The only value of a name."""
        [value] = self.all(name, section)
        return value

    @property
    def part(self) -> str:
        """The name of the process in short, such as `web-read-only`."""
        return self.name.removeprefix("bench-").removesuffix(".service")

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of its files of variables, such as `dagster.env`."""
        return tuple(Path(path).name for path in self.all("EnvironmentFile"))

    def commands(self, variables: Mapping[str, str]) -> Iterator[list[str]]:
        """What it executes, word by word, as systemd fills in variables."""
        for line in self.all("ExecStart"):
            yield [filled(word, variables) for word in shlex.split(line)]


def read_unit(path: Path) -> Unit:
    """Read a unit file."""
    sections: dict[str, dict[str, tuple[str, ...]]] = {}
    section = ""
    for raw in path.read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values = sections.setdefault(section, {})
            values[name] = (*values.get(name, ()), value)
    return Unit(path.name, sections)


def units() -> dict[str, Unit]:
    """All units of services, by file name."""
    return {path.name: read_unit(path) for path in sorted(UNITS.glob("*.service"))}


def processes() -> list[Unit]:
    """The units that run all the time."""
    return [unit for unit in units().values() if unit.one("Type") != "oneshot"]


def read_variables(path: Path) -> dict[str, str]:
    """Read a file of variables."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Replace each `${NAME}`. Raises `KeyError` for a name without a value."""
    return _PLACEHOLDER.sub(lambda found: variables[found[1]], text)


def dagster_yaml() -> str:
    """Dagster's configuration of a deployment."""
    return "".join((ROOT / path).read_text(encoding="utf-8") for path in ("dagster.yaml", "deploy/storage.yaml"))
