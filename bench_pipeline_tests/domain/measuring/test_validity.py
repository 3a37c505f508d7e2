"""The screen: every rule with its bounds, the order of the rules, and that what nobody can say excludes nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_pipeline.domain.measuring.protocol import Protocol
from bench_pipeline.domain.measuring.validity import ValidityRule, drift, misplaced, screen, truncation
from bench_pipeline.domain.models.decoding import DecodingOptions
from bench_pipeline.domain.models.identity import Placement
from bench_pipeline.domain.models.reply import Reply, ServerTimings

MS = 1_000_000
GB = 1_000_000_000
PROTOCOL = Protocol(decoding=DecodingOptions(num_ctx=4096))
ON_GPU_ONLY = Protocol(placement="gpu")
ANYWHERE = PROTOCOL.model_copy(update={"placement": "any"})
PROMPT_CHARS, SHARED_CHARS = 4000, 1000
TIMINGS = ServerTimings(
    load_ns=50 * MS,
    prompt_ns=200 * MS,
    generation_ns=700 * MS,
    total_ns=1000 * MS,
    prompt_tokens=1000,
    cached_prompt_tokens=250,
    generated_tokens=20,
)
REPLY = Reply("[PASS] fine", elapsed_ns=1001 * MS, timings=TIMINGS)
ON_GPU = Placement(memory_bytes=4 * GB, vram_bytes=4 * GB, context_length=4096)


def timed(**changed: int | None) -> Reply:
    """A good reply whose account is other in these fields."""
    return replace(REPLY, timings=replace(TIMINGS, **changed))


def placed(**changed: Any) -> Placement:  # noqa: ANN401
    return ON_GPU.model_copy(update=changed)


def rule_of(
    reply: Reply = REPLY,
    placement: Placement | None = ON_GPU,
    protocol: Protocol = PROTOCOL,
    first_pass: ServerTimings | None = None,
    prompt_chars: int = PROMPT_CHARS,
    shared_chars: int = SHARED_CHARS,
) -> ValidityRule | None:
    return screen(reply, prompt_chars, shared_chars, protocol, placement, first_pass)


def test_a_latency_that_no_rule_concerns_ranks() -> None:
    assert rule_of() is None


# Each rule, at its bounds


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        pytest.param(replace(REPLY, complete=False), ValidityRule.INCOMPLETE, id="not complete"),
        pytest.param(replace(REPLY, done_reason="length"), ValidityRule.CUT_OFF, id="cut off"),
        pytest.param(timed(load_ns=500 * MS, total_ns=1400 * MS), None, id="as much load as a loaded model may report"),
        pytest.param(timed(load_ns=500 * MS + 1), ValidityRule.LOADED_IN_CALL, id="more load"),
        pytest.param(timed(total_ns=1050 * MS), None, id="100 ms that nobody accounts for"),
        pytest.param(timed(total_ns=1190 * MS), ValidityRule.CONTENTION, id="240 ms of 1190 ms"),
        pytest.param(timed(total_ns=1180 * MS), None, id="230 ms of 1180 ms, less than a fifth"),
        pytest.param(
            timed(load_ns=0, prompt_ns=1 * MS, generation_ns=9 * MS, total_ns=109 * MS), None, id="99 ms of 109 ms"
        ),
        pytest.param(
            timed(load_ns=0, prompt_ns=1 * MS, generation_ns=9 * MS, total_ns=111 * MS),
            ValidityRule.CONTENTION,
            id="101 ms of 111 ms",
        ),
        pytest.param(timed(load_ns=None, total_ns=9000 * MS), None, id="a whole with a part that nobody knows"),
        pytest.param(timed(total_ns=900 * MS), None, id="parts that are more than the whole"),
        # A quarter of the characters is shared, a tenth and 32 tokens are slack: 382 of 1000.
        pytest.param(timed(cached_prompt_tokens=382), None, id="as many cached tokens as the template explains"),
        pytest.param(timed(cached_prompt_tokens=383), ValidityRule.CACHED_PROMPT, id="one cached token more"),
    ],
)
def test_what_the_account_of_a_reply_excludes(reply: Reply, rule: ValidityRule | None) -> None:
    assert rule_of(reply) is rule


@pytest.mark.parametrize(
    ("placement", "rule"),
    [
        pytest.param(placed(vram_bytes=3 * GB), ValidityRule.NOT_ON_GPU, id="a quarter is not on the GPU"),
        pytest.param(placed(vram_bytes=0), None, id="nothing is on the GPU of a server without one"),
        pytest.param(
            placed(vram_bytes=0, accelerated=True), ValidityRule.NOT_ON_GPU, id="nothing is on the GPU of a server"
        ),
        pytest.param(placed(others=("other:1b",)), ValidityRule.ANOTHER_MODEL_RESIDENT, id="another model beside it"),
        pytest.param(None, ValidityRule.PLACEMENT_UNKNOWN, id="the runtime failed to say"),
        pytest.param(Placement(), None, id="the runtime has no word for it"),
    ],
)
def test_what_the_place_of_the_model_excludes(placement: Placement | None, rule: ValidityRule | None) -> None:
    assert rule_of(placement=placement) is rule


def test_a_protocol_that_does_not_ask_for_the_gpu_excludes_nothing_outside_it() -> None:
    assert rule_of(placement=placed(vram_bytes=0), protocol=ANYWHERE) is None


@pytest.mark.parametrize(
    ("memory", "vram", "protocol", "outside"),
    [
        (4 * GB, 4 * GB, PROTOCOL, False),
        (4 * GB, 5 * GB, PROTOCOL, False),
        pytest.param(40 * GB, 39 * GB, PROTOCOL, False, id="the host's part of a runner"),
        pytest.param(100 * GB, 94 * GB, PROTOCOL, False, id="94 percent without memory mapping"),
        (100 * GB, 89 * GB, PROTOCOL, True),
        (4 * GB, 1, PROTOCOL, True),
        (4 * GB, 0, PROTOCOL, False),
        (4 * GB, 0, ON_GPU_ONLY, True),
        (4 * GB, 3 * GB, ANYWHERE, False),
        (4 * GB, 0, ANYWHERE, False),
        (4 * GB, None, PROTOCOL, False),
        (None, 4 * GB, PROTOCOL, False),
        (0, 0, ON_GPU_ONLY, False),
    ],
)
def test_a_model_is_misplaced_when_a_part_of_it_is_known_to_be_outside_the_gpu(
    memory: int | None, vram: int | None, protocol: Protocol, outside: bool
) -> None:
    """The figures are those of ollama/ollama issue 16637."""
    assert misplaced(Placement(memory_bytes=memory, vram_bytes=vram), protocol) is outside


@pytest.mark.parametrize(("accelerated", "outside"), [(True, True), (False, False), (None, False)])
def test_a_model_on_the_cpu_is_misplaced_where_its_server_has_a_gpu(accelerated: bool | None, outside: bool) -> None:
    on_cpu = Placement(memory_bytes=4 * GB, vram_bytes=0, accelerated=accelerated)
    assert misplaced(on_cpu, PROTOCOL) is outside


def test_a_thought_before_a_constrained_reply_is_not_contention() -> None:
    """Ollama makes two completions then, and its durations are those of the second."""
    reply = replace(timed(total_ns=9000 * MS), thinking="Well.")
    assert rule_of(reply) is ValidityRule.CONTENTION
    constrained = PROTOCOL.model_copy(update={"decoding": DecodingOptions(json_schema={"type": "object"})})
    assert rule_of(reply, protocol=constrained) is None


# A cache that is not counted shows in a later pass


@pytest.mark.parametrize(
    ("now_ms", "first_ms", "rule"),
    [
        (200, 400, None),
        (199, 400, ValidityRule.CACHED_PROMPT),
        (200, 200, None),
        (200, 100, None),
        (0, 0, None),
        (0, None, None),
        (None, 400, None),
    ],
)
def test_a_prompt_that_is_read_in_less_than_half_the_time_of_its_first_pass_was_cached(
    now_ms: int | None, first_ms: int | None, rule: ValidityRule | None
) -> None:
    reply = timed(cached_prompt_tokens=None, total_ns=None, prompt_ns=None if now_ms is None else now_ms * MS)
    first = ServerTimings(prompt_ns=None if first_ms is None else first_ms * MS)
    assert rule_of(reply, first_pass=first) is rule


@pytest.mark.parametrize(
    ("prompt_ms", "generation_ms", "rule"),
    [
        (100, 233, None),  # all of it was three times as fast
        (40, 233, ValidityRule.CACHED_PROMPT),
        (100, 700, ValidityRule.CACHED_PROMPT),
        (100, 2100, ValidityRule.CACHED_PROMPT),  # the machine is slower now, and yet the prompt was read faster
        (190, 700, ValidityRule.CACHED_PROMPT),
        (210, 700, None),
    ],
)
def test_a_first_pass_on_a_busy_machine_does_not_make_the_next_one_look_cached(
    prompt_ms: int, generation_ms: int, rule: ValidityRule | None
) -> None:
    now = {"prompt_ns": prompt_ms * MS, "generation_ns": generation_ms * MS}
    reply = timed(cached_prompt_tokens=None, total_ns=None, **now)
    first = ServerTimings(prompt_ns=400 * MS, generation_ns=700 * MS, generated_tokens=20)
    assert rule_of(reply, first_pass=first) is rule


def test_a_count_of_cached_tokens_is_believed_before_any_comparison_of_times() -> None:
    assert rule_of(timed(prompt_ns=1, total_ns=None), first_pass=ServerTimings(prompt_ns=400 * MS)) is None


def test_without_a_shared_beginning_a_few_tokens_may_still_be_cached() -> None:
    few, many = timed(cached_prompt_tokens=132), timed(cached_prompt_tokens=133)
    assert (rule_of(few, shared_chars=0), rule_of(many, shared_chars=0)) == (None, ValidityRule.CACHED_PROMPT)


def test_a_prompt_without_a_character_is_no_division_by_zero() -> None:
    assert rule_of(timed(prompt_tokens=5, cached_prompt_tokens=5), prompt_chars=0, shared_chars=0) is None


# Truncation


@pytest.mark.parametrize(
    ("tokens", "generated", "chars", "allocated", "words"),
    [
        pytest.param(250, 0, 4000, 4096, None, id="16 characters a token"),
        pytest.param(250, 0, 4001, 4096, "250 tokens were read of a prompt of 4001 characters", id="more than 16"),
        pytest.param(2050, 0, 12_289, 4096, "half of the window of 4096", id="half the window and two"),
        pytest.param(2049, 0, 12_289, 4096, "half of the window of 4096", id="one less"),
        pytest.param(2051, 0, 12_289, 4096, "half of the window of 4096", id="one more"),
        pytest.param(2048, 0, 12_289, 4096, None, id="two less"),
        pytest.param(2052, 0, 12_289, 4096, None, id="two more"),
        pytest.param(2050, 0, 12_288, 4096, None, id="half the window of a prompt that fits"),
        pytest.param(1026, 0, 12_000, 2048, "half of the window of 2048", id="half the window that was allocated"),
        pytest.param(2050, 0, 25_000, 32_768, "half of the window of 4096", id="half the window that was asked for"),
        pytest.param(4000, 96, 16_000, 4096, None, id="prompt and reply fill the window"),
        pytest.param(4000, 97, 16_000, 4096, "4000 tokens were read, but the window has only 4096", id="a token more"),
        pytest.param(5000, 97, 20_000, 8192, None, id="a window that is larger than was asked for"),
        pytest.param(5000, 97, 20_000, None, "but the window has only 4096", id="a window that nobody knows"),
        pytest.param(4097, None, 16_000, 4096, "but the window has only 4096", id="a reply that is not counted"),
        pytest.param(None, 20, 10**6, 4096, None, id="a prompt that is not counted"),
        pytest.param(0, 20, 10**6, 4096, None, id="a count that no prompt has"),
    ],
)
def test_a_prompt_was_cut_when_the_count_does_not_fit_what_was_sent(
    tokens: int | None, generated: int | None, chars: int, allocated: int | None, words: str | None
) -> None:
    reply = timed(prompt_tokens=tokens, generated_tokens=generated, cached_prompt_tokens=None)
    found = truncation(reply, chars, PROTOCOL, placed(context_length=allocated))
    assert found is None if words is None else words in str(found)
    rule = rule_of(reply, placed(context_length=allocated), prompt_chars=chars)
    assert rule is (ValidityRule.PROMPT_TRUNCATED if words else None)


# The order


FAULTS: dict[ValidityRule, dict[str, Any]] = {
    ValidityRule.INCOMPLETE: {"complete": False},
    ValidityRule.CUT_OFF: {"done_reason": "length"},
    ValidityRule.PROMPT_TRUNCATED: {"prompt_tokens": 5000},
    ValidityRule.ANOTHER_MODEL_RESIDENT: {"others": ("other:1b",)},
    ValidityRule.NOT_ON_GPU: {"vram_bytes": GB},
    ValidityRule.LOADED_IN_CALL: {"load_ns": 900 * MS},
    ValidityRule.CONTENTION: {"total_ns": 9000 * MS},
    ValidityRule.CACHED_PROMPT: {"cached_prompt_tokens": 990},
}
"""In the order in which they are looked for: what spoils the reply, then the machine, then the single call."""


def with_faults(*rules: ValidityRule) -> ValidityRule | None:
    changed = {name: value for rule in rules for name, value in FAULTS[rule].items()}
    ended = {name: changed.pop(name) for name in ("complete", "done_reason") if name in changed}
    where = {name: changed.pop(name) for name in ("others", "vram_bytes") if name in changed}
    return rule_of(replace(timed(**changed), **ended), placed(**where))


@pytest.mark.parametrize("rule", FAULTS)
def test_each_fault_alone_is_named_by_its_rule(rule: ValidityRule) -> None:
    assert with_faults(rule) is rule


@pytest.mark.parametrize(("first", "second"), list(pairwise(FAULTS)))
def test_of_two_faults_the_first_is_named(first: ValidityRule, second: ValidityRule) -> None:
    assert with_faults(first, second) is first


@given(st.sets(st.sampled_from(list(FAULTS)), min_size=1))
def test_of_many_faults_the_first_is_named(rules: set[ValidityRule]) -> None:
    assert with_faults(*rules) is next(rule for rule in FAULTS if rule in rules)


def test_a_prompt_that_was_cut_is_known_even_when_the_place_is_not() -> None:
    assert rule_of(timed(prompt_tokens=5000), placement=None) is ValidityRule.PROMPT_TRUNCATED


# What holds of every reply


NANOSECONDS = st.integers(0, 10**12)


@st.composite
def sound_replies(draw: st.DrawFn) -> tuple[Reply, ServerTimings]:
    """A reply that no rule concerns, and the account of its first pass."""
    load, prompt, generation = draw(st.integers(0, 500 * MS)), draw(NANOSECONDS), draw(NANOSECONDS)
    residue = draw(st.integers(0, 100 * MS))
    tokens = draw(st.integers(PROMPT_CHARS // 16, 2000))
    timings = ServerTimings(
        load_ns=load,
        prompt_ns=prompt,
        generation_ns=generation,
        total_ns=load + prompt + generation + residue,
        prompt_tokens=tokens,
        cached_prompt_tokens=draw(st.none() | st.integers(0, tokens // 4)),
        generated_tokens=draw(st.integers(0, 2000)),
    )
    first = ServerTimings(prompt_ns=draw(st.integers(0, 2 * prompt)))
    return Reply("[PASS]", elapsed_ns=draw(NANOSECONDS), timings=timings), first


@given(sound_replies())
def test_a_reply_that_no_rule_concerns_always_ranks(drawn: tuple[Reply, ServerTimings]) -> None:
    reply, first = drawn
    assert rule_of(reply, first_pass=first) is None


UNKNOWN = dict.fromkeys(ServerTimings.__slots__)


@given(sound_replies(), st.sets(st.sampled_from(list(UNKNOWN))), st.sets(st.sampled_from(list(Placement.model_fields))))
def test_what_is_not_known_never_excludes(
    drawn: tuple[Reply, ServerTimings], unsaid: set[str], unplaced: set[str]
) -> None:
    reply, _ = drawn
    reply = replace(reply, timings=replace(reply.timings, **dict.fromkeys(unsaid)))
    empty = Placement()
    assert rule_of(reply, placed(**{name: getattr(empty, name) for name in unplaced})) is None


def test_a_runtime_that_tells_nothing_at_all_has_latencies_that_rank() -> None:
    assert rule_of(replace(REPLY, timings=ServerTimings()), Placement(), first_pass=ServerTimings()) is None


# Drift


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [
        ([100.0, 200.0], [100.0, 200.0], 0.0),
        ([100.0], [105.0], 0.05),
        ([100.0, 100.0], [200.0, 50.0], 0.0),
        ([100.0, 1000.0], [120.0, 1200.0], 0.2),
        ([100.0], [50.0], -0.5),
    ],
)
def test_drift_is_the_mean_ratio_of_the_same_cases(first: list[float], last: list[float], share: float) -> None:
    assert drift(first, last) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("first", "last"), [([], []), ([1.0], []), ([1.0, 2.0], [1.0])])
def test_without_the_same_cases_there_is_no_drift(first: list[float], last: list[float]) -> None:
    assert drift(first, last) is None


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=20), st.floats(0.1, 10))
def test_a_machine_that_is_slower_by_a_factor_drifts_by_it_whatever_the_cases_take(
    first: list[float], factor: float
) -> None:
    assert drift(first, [latency * factor for latency in first]) == pytest.approx(factor - 1)
