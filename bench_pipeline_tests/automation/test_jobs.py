"""The schedule and the jobs: what is refused, and what belongs to each."""

from __future__ import annotations

import pytest

from bench_pipeline.definitions import build_definitions
from bench_pipeline.domain.errors import InputError
from bench_pipeline.settings import Settings
from bench_pipeline_tests.kit.engines import ONE_ENGINE
from bench_pipeline_tests.kit.shell import Typed

WRONG = [
    ({"schedule": "every month"}, "BENCH_SCHEDULE: 'every month' is not a cron expression"),
    ({"schedule": "0 3 1 *"}, "BENCH_SCHEDULE: '0 3 1 *' is not a cron expression"),
    ({"schedule": "61 3 1 * *"}, "BENCH_SCHEDULE: '61 3 1 * *' is not a cron expression"),
    ({"schedule": ""}, "BENCH_SCHEDULE: '' is not a cron expression"),
    ({"schedule_timezone": "Mars/Olympus"}, "BENCH_SCHEDULE_TIMEZONE: 'Mars/Olympus' is not a time zone"),
    ({"schedule_timezone": ""}, "BENCH_SCHEDULE_TIMEZONE: '' is not a time zone"),
    ({"schedule_timezone": "../etc/passwd"}, "BENCH_SCHEDULE_TIMEZONE: '../etc/passwd' is not a time zone"),
]


@pytest.mark.parametrize(("setting", "says"), WRONG)
def test_a_wrong_cron_expression_or_time_zone_is_refused_in_one_line(setting: dict[str, str], says: str) -> None:
    with pytest.raises(InputError) as refused:
        build_definitions(Settings(**setting))
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


@ONE_ENGINE
def test_the_doctor_names_a_wrong_schedule(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_SCHEDULE", "monthly please")
    assert "schedule: BENCH_SCHEDULE: 'monthly please' is not a cron expression" in typed("doctor").stdout


def test_definitions_honour_the_settings_that_they_are_given() -> None:
    definitions = build_definitions(Settings(schedule="0 4 2 * *", schedule_timezone="Europe/Berlin"))
    schedule = definitions.resolve_schedule_def("monthly_benchmark")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 4 2 * *", "Europe/Berlin")
