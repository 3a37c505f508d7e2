"""What the pages of Dagster show, first and at most. How high a page is in a browser: test_pages_in_browser.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from bench_pipeline.assets.documents import _registry_metadata
from bench_pipeline.assets.metadata import SHOWN, cut, first_rows, markdown, text
from bench_pipeline.assets.scoreboard import waiting_text
from bench_pipeline.automation.freshness import longest_interval
from bench_pipeline.definitions import build_definitions
from bench_pipeline.domain.promoting.holders import Holder
from bench_pipeline.domain.triggers.trigger import Cause, Trigger, TriggerState
from bench_pipeline.settings import Settings
from bench_pipeline_tests.assets.pages import page

ROOT = Path(__file__).parents[2]
MOST_BYTES = 32_000
NOW = datetime(2026, 11, 30, tzinfo=UTC)
KEY = dg.AssetKey(["grading", "scoreboard"])


def size(metadata: dict[str, object]) -> int:
    """What one materialization adds to Dagster's storage, in bytes."""
    return len(dg.serialize_value(dg.AssetMaterialization(KEY, metadata=metadata)).encode())


def test_a_scoreboard_begins_with_its_result_and_ends_with_its_tables() -> None:
    names = list(page(200))

    assert names[:4] == ["result", "champion", "runner_up", "champion_before"]
    assert names.index("table") > max(names.index(name) for name in ("qualified", "report", "waiting_or_given_up"))


def test_a_scoreboard_tells_estimate_interval_and_n_and_the_champion_before_in_few_digits() -> None:
    shown = page(2)

    assert "1,000 ms per case (95 % interval 975 to 1,025 ms, n=3 passes of 10 cases); runner-up" in shown["result"]
    assert shown["champion_before"] == "old:7b, 4,601 ms per case (2025-02-01, grading-0)"
    assert shown["report_before"].value.endswith("reports/grading/2025-02-01-grading-0.md")
    assert shown["triggers"].value == dg.AssetKey("triggers")


def test_a_scoreboard_of_200_models_is_hardly_larger_than_one_of_20() -> None:
    assert size(page(200)) < MOST_BYTES
    assert size(page(200)) < 1.2 * size(page(SHOWN))
    assert page(200)["table_shows"].startswith("first 20 of 200; all: ")
    assert "table_shows" not in page(SHOWN)


def test_a_scoreboard_tells_what_waits_or_was_given_up_the_first_in_words() -> None:
    waits = Trigger(
        1, "grading", Cause.NEW_MODEL, "fast", "e", "fast is new", None, {}, TriggerState.GIVEN_UP, attempts=3, lost=0,
        claims=3, due_at=NOW, note="the server is down", dagster_run_id=None, benchmark_id=None, noticed_at=NOW,
        changed_at=NOW,
    )  # fmt: skip

    said = waiting_text([waits] * 5, NOW)

    assert said.startswith("fast: the server is down; bench retry grading")
    assert said.endswith("and 2 more, all: bench triggers")
    assert waiting_text([], NOW) == "none"


def test_a_registry_of_5000_conversations_is_bounded_and_begins_with_those_without_their_champion() -> None:
    found = [
        Holder(number, "Grade " * 50, "grading", 2, "slow", 1, 2, "b", 2, "old", 7, datetime(2026, 11, 1, tzinfo=UTC))
        for number in range(5000)
    ]
    lines = [{"conversation_id": number, "champion": {"actor_id": 1, "name": "fast"}} for number in range(5000)]

    shown = _registry_metadata({"champions": lines}, found, "champions.md")

    assert size(shown) < MOST_BYTES
    assert (shown["differ_from_champion"], shown["holders_shows"]) == (5000, "first 20 of 5,000; all: champions.md")
    first = shown["holders"].records[0].data
    assert (first["actor"], first["before"], first["promotion"]) == ("slow", "old", "7 of 2026-11-01")


def test_long_texts_lists_and_documents_are_cut_and_say_so() -> None:
    assert text([1, 2]) == "1; 2"
    assert text([]) == "none"
    assert text(list(range(23)), rest="there") == f"{'; '.join(map(str, range(20)))}; and 3 more, all: there"
    assert cut({"a": list(range(21)), "b": [[1]]}) == {"a": [*range(20), "and 1 more"], "b": [[1]]}
    assert first_rows("t", [{"a": "x" * 500}], {"a": "string"})["t"].records[0].data == {"a": "x" * 199 + "…"}
    assert markdown("# Short\n", "there").value == "# Short\n"
    assert markdown("line\n" * 9999, "there").value.endswith("\nline\n\n… the rest: there\n")
    assert len(markdown("line\n" * 9999, "there").value) < 20_100


@pytest.mark.parametrize(
    ("cron", "interval"),
    [("0 3 1 * *", timedelta(days=31)), ("0 3 * * 1", timedelta(days=7)), ("0 0 29 2 *", timedelta(days=2921))],
)
def test_the_longest_interval_of_a_schedule_is_known(cron: str, interval: timedelta) -> None:
    assert longest_interval(cron) == interval


def test_the_daemon_evaluates_freshness_by_default_and_no_setting_of_ours_switches_it_off() -> None:
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))

    assert ours.get("freshness", {"enabled": True})["enabled"]
    with dg.DagsterInstance.ephemeral() as instance:
        assert instance.freshness_enabled


def test_a_scoreboard_is_fresh_until_its_schedule_is_overdue() -> None:
    definitions = build_definitions(Settings(schedule="0 3 * * 1"))
    policy = definitions.resolve_asset_graph().get(KEY).freshness_policy_or_from_metadata

    assert policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(days=11), warn_window=timedelta(days=8))
