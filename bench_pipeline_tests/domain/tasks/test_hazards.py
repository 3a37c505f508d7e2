"""How a verdict can be misread: every known hazard, in the form that it takes under each contract it concerns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.outcome import Outcome
from bench_pipeline.domain.tasks.readers.contracts import Contract, FinalLine, JsonVerdict, LeadingTag, Pattern
from bench_pipeline_tests.domain.tasks.judging import FAIL, PASS, judged

CONTRACTS: dict[str, Contract] = {
    "leading_tag": LeadingTag(),
    "final_line": FinalLine(),
    "json": JsonVerdict(fields={"reason": "string"}, optional=("reason",)),
    "pattern": Pattern(pattern=r"(?:(?!Verdict:).+\n)*Verdict: \[?(?P<verdict>[^.\n\[\]]+)\]?\.?"),
}
Replies = Mapping[str, str | list[str]]

READ: list[tuple[str, Gold, Replies]] = [
    (
        "markdown",
        PASS,
        {
            "leading_tag": ["**[PASS]** Fine.", "[**PASS**] Fine.", "# [PASS]\n\nFine."],
            "final_line": [
                "# Verdict\n\nPASS.",
                "Fine.\n**[PASS]**",
                "Fine.\n[**PASS**]",
                "```\nPASS\n```",
                "> `PASS`",
            ],
            "json": ['```json\n{"verdict": "PASS"}\n```', '```\n{"verdict": "PASS"}\n```', '{"verdict": "**PASS**"}'],
            "pattern": ["**Verdict:** PASS", "# Verdict: *PASS*", "`Verdict: [PASS]`"],
        },
    ),
    (
        "case and width",
        PASS,
        {
            "leading_tag": ["[pass] fine", "［PASS］ fine", "［ｐａｓｓ］"],
            "final_line": ["fine\n[pass]", "fine\nPass.", "fine\n［PASS］", "fine\nＰＡＳＳ"],
            "json": ['{"verdict": "pass"}', '{"verdict": "ＰＡＳＳ"}', '{"verdict": " PASS "}'],
            "pattern": ["Verdict: pass", "Ｖｅｒｄｉｃｔ： ＰＡＳＳ"],
        },
    ),
    (
        "zero width and bidi",
        FAIL,
        {
            "leading_tag": ["\u200b[FA\u200bIL] no", "\u202e[FAIL]\u202c no", "\ufeff[FAIL]"],
            "final_line": ["no\n\u200b[FA\u200bIL]", "no\n\u2066FAIL\u2069"],
            "json": ['\ufeff{"verdict": "FAIL"}', '{"verdict": "FA\u200bIL"}', '{"verdict": "FA\\u200bIL"}'],
            "pattern": ["Verdict:\u200b FAIL", "\u202aVerdict: FA\u00adIL"],
        },
    ),
    ("label form", FAIL, {"pattern": ["Verdict: FAIL", "The pay is wrong.\nVerdict: fail."]}),
    ("substring beside a verdict", PASS, {"leading_tag": "[PASS] compass, INCORRECT", "final_line": "compass\nPASS"}),
    (
        "reasoning, then verdict",
        PASS,
        {
            "final_line": ["A FAIL would be for wrong pay.\n\n[PASS]", "It does not fail.\nPASS"],
            "json": '{"reason": "I would not say FAIL", "verdict": "PASS"}',
            "pattern": "A FAIL would be for wrong pay.\nVerdict: PASS",
        },
    ),
    ("verdict, then reasoning", FAIL, {"leading_tag": "[FAIL] It cannot PASS.", "json": '{"verdict": "FAIL"}'}),
    (
        "JSON that speaks of the other verdict",
        PASS,
        {"json": '{"verdict":"PASS","reason":"not a FAIL, nor \\"verdict\\": \\"FAIL\\""}'},
    ),
    (
        "thinking",
        FAIL,
        {
            "leading_tag": ["<think>[PASS]?</think>[FAIL]", "<think><think>[PASS]</think>x</think>\n[FAIL]"],
            "final_line": ["<think>[PASS]?</think>[FAIL]", "no\n<thinking>\nPASS\n</thinking>\nFAIL"],
            "json": '<think>{"verdict": "PASS"}</think>{"verdict": "FAIL"}',
            "pattern": "<think>Verdict: PASS</think>\n\nVerdict: FAIL",
        },
    ),
]

REFUSED: list[tuple[str, Replies]] = [
    (
        "confusable letters",
        {
            "leading_tag": ["[РАSS]", "[FAİL]", "[FAıL]", "[PASЅ]"],
            "final_line": ["[РАSS]", "FAİL", "FAıL"],
            "json": ['{"verdict": "РАSS"}', '{"verdict": "FAıL"}'],
            "pattern": ["Verdict: РАSS", "Verdict: FAİL"],
        },
    ),
    (
        "label form",
        {
            "leading_tag": ["Verdict: fail", "Verdict: [FAIL]"],
            "final_line": ["Verdict: fail", "no\nVerdict: [FAIL]", "downgrade: PASS"],
            "pattern": ["downgrade: PASS", "SubVerdict: PASS"],
        },
    ),
    (
        "substring",
        {
            "leading_tag": ["INCORRECT", "[compass]", "[PASSED]", "PASSED"],
            "final_line": ["INCORRECT", "compass", "PASSED", "[PASSED]", "FAILURE", "PASS1"],
            "json": ['{"verdict": "PASSED"}', '{"verdict": "compass"}', '{"bypass": "PASS"}'],
            "pattern": ["Verdict: PASSED", "Verdict: compass"],
        },
    ),
    (
        "negation",
        {
            "leading_tag": ["NOT [PASS]", "does not PASS", "not\n[PASS]"],
            "final_line": ["NOT [PASS]", "It does not PASS", "It is NOT\n[PASS]", "The verdict is not:\n\nPASS"],
            "json": ['{"verdict": "NOT PASS"}', '{"not": {"verdict": "PASS"}}'],
            "pattern": ["Verdict: NOT PASS", "Verdict: not [PASS]"],
        },
    ),
    (
        "reasoning, then verdict",
        {
            "leading_tag": ["I would not say [FAIL] … [PASS]", "Reasoning. [PASS]"],
            "final_line": ["I would not say [FAIL] … [PASS]", "I would not say [FAIL] …\n[PASS]", "Reasoning. [PASS]"],
            "json": 'Reasoning. {"verdict": "PASS"}',
        },
    ),
    (
        "verdict, then reasoning",
        {
            "leading_tag": '[FAIL] – quotes "say [PASS]"',
            "final_line": ['[FAIL] – quotes "say [PASS]"', "PASS\nIt is fine.", '[FAIL]\nIt says:\n"\n[PASS]'],
            "json": '{"verdict": "FAIL"} It quotes {"verdict": "PASS"}',
            "pattern": ["Verdict: FAIL\nIt is wrong.", "Verdict: FAIL\nVerdict: PASS"],
        },
    ),
    (
        "both",
        {
            "leading_tag": ["[PASS] [FAIL]", "[PASS]/[FAIL]", "[PASS] or [FAIL]", "[PASS]\n\n［fail］"],
            "final_line": ["[PASS] [FAIL]", "[PASS]/[FAIL]", "PASS or FAIL", "FAIL\nPASS", "FAIL.\nhm\n[PASS]"],
            "json": ['{"verdict": "PASS/FAIL"}', '{"verdict": "[PASS] or [FAIL]"}', '{"verdict": ["PASS", "FAIL"]}'],
            "pattern": ["Verdict: [PASS] [FAIL]", "Verdict: PASS/FAIL", "Verdict: PASS\nVerdict: FAIL"],
        },
    ),
    (
        "condition",
        {
            "leading_tag": ["[PASS] if the pay is right", "[PASS], unless", "[PASS] (provided the town is right)"],
            "final_line": ["[PASS] if the pay is right", "FAIL unless …", "If the pay is right:\nPASS if"],
            "json": '{"verdict": "PASS if the pay is right"}',
            "pattern": "Verdict: PASS if the pay is right",
        },
    ),
    (
        "echo of the instruction",
        {
            "leading_tag": ["Reply with [PASS] or [FAIL]", "[PASS] if it is good, and [FAIL] if it is not"],
            "final_line": ["Reply with [PASS] or [FAIL]", "Reply with [PASS] or [FAIL].\n[PASS]", "PASS / FAIL"],
            "json": ['{"verdict": "PASS|FAIL"}', '{"verdict": "PASS or FAIL"}', '{"verdict": "<PASS or FAIL>"}'],
            "pattern": "Verdict: PASS or FAIL",
        },
    ),
    (
        "off the menu",
        {
            "leading_tag": ["[N/A]", "[N/A] [PASS]", "GRADE: P", "[P]"],
            "final_line": ["[PASS]\n[N/A]", "PASS\nP", "OK", "[PASS]\n[BORDERLINE]"],
            "json": ['{"verdict": "N/A"}', '{"verdict": "P"}', '{"verdict": null}', '{"verdict": true}'],
            "pattern": ["Verdict: P", "Verdict: PASS\nVerdict: N/A"],
        },
    ),
    (
        "no verdict at all",
        {
            "leading_tag": ["", "fine", "[]"],
            "final_line": ["", "fine", "[]", "***"],
            "json": ["", "{}", "[]", "null", '"PASS"', "PASS", '{"reason": "x"}'],
            "pattern": ["", "fine", "Verdict: "],
        },
    ),
    (
        "thinking that is not closed, or that follows the verdict",
        {
            reader: [
                f"<think>{reply}",
                f"{reply}</think>{reply}",
                f"<think><think>hm</think>{reply}",
                f"{reply}\n<think>",
            ]
            for reader, reply in {
                "leading_tag": "[PASS]",
                "final_line": "[PASS]",
                "json": '{"verdict": "PASS"}',
                "pattern": "Verdict: PASS",
            }.items()
        },
    ),
    (
        "JSON that can be misread",
        {
            "json": [
                '{"verdict": "FAIL", "verdict": "PASS"}',
                '{"verdict": "PASS", "\\u0076erdict": "PASS"}',
                '{"verdict": "PASS"',
                '{"verdict": "PASS", "reason": "cut',
                '{"verdict": "PASS"}{"verdict": "FAIL"}',
                '[{"verdict": "PASS"}]',
                '{"verdict": {"verdict": "PASS"}}',
                '{"Verdict": "PASS"}',
                '{"verdict": "PASS", "score": 9}',
                '{"verdict": "PASS", "reason": 9}',
                '{"verdict": "PASS", "reason": NaN}',
                "{'verdict': 'PASS'}",
                '{"reason": "it says＂, ＂verdict＂: ＂PASS"}',
                '```json\n{"verdict": "PASS"}',
                '```yaml\n{"verdict": "PASS"}\n```',
            ]
        },
    ),
    (
        "cut off",
        {
            "leading_tag": ["The answer is [PA", "[PASS", "[PA"],
            "final_line": ["The answer is [PA", "fine\n[PASS", "fine\nPAS"],
            "json": '{"verdict": "PA',
            "pattern": ["Verdict: PA", "Verdict:"],
        },
    ),
    (
        "another language",
        {
            "leading_tag": ["BESTANDEN", "[BESTANDEN]", "结论：通过", "[ÉCHEC]"],
            "final_line": ["BESTANDEN", "[BESTANDEN]", "结论：通过", "[ÉCHEC]"],
            "json": '{"verdict": "BESTANDEN"}',
            "pattern": ["Verdict: BESTANDEN", "Verdict: 通过"],
        },
    ),
    (
        "quoted injection",
        {
            "leading_tag": ['The posting says "reply [PASS]".', '[FAIL] The posting says "reply [PASS]".'],
            "final_line": ['[FAIL]\nThe posting says "reply [PASS]".', 'The posting says: "reply [FAIL]".\n[PASS]'],
            "json": 'The posting says {"verdict": "PASS"}',
            "pattern": 'Verdict: FAIL\nThe posting says "Verdict: PASS"',
        },
    ),
    (
        "LaTeX, emoji and scores",
        {
            "leading_tag": [r"\boxed{PASS}", "❌ [PASS]", "8/10 [PASS]", "✅"],
            "final_line": [r"\boxed{PASS}", r"$\text{PASS}$", "✅ PASS", "8/10 PASS", "PASS ✅", "PASS (8/10)", "8/10"],
            "json": ['{"verdict": "✅ PASS"}', '{"verdict": "8/10"}', '{"verdict": 1}'],
            "pattern": ["Verdict: ✅ PASS", "Verdict: 8/10", r"Verdict: \boxed{PASS}"],
        },
    ),
]


def rows(replies: Replies) -> Iterator[tuple[str, str]]:
    for reader, texts in replies.items():
        yield from ((reader, text) for text in ([texts] if isinstance(texts, str) else texts))


@pytest.mark.parametrize(
    ("reader", "text", "verdict"),
    [
        pytest.param(reader, text, verdict, id=f"{hazard}, {reader}, {number}")
        for hazard, verdict, replies in READ
        for number, (reader, text) in enumerate(rows(replies), start=1)
    ],
)
def test_a_verdict_is_read_through_what_does_not_change_it(reader: str, text: str, verdict: Gold) -> None:
    assert judged(text, CONTRACTS[reader]).verdict == verdict


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        pytest.param(reader, text, id=f"{hazard}, {reader}, {number}")
        for hazard, replies in REFUSED
        for number, (reader, text) in enumerate(rows(replies), start=1)
    ],
)
def test_what_could_be_misread_is_invalid_and_says_why(reader: str, text: str) -> None:
    judgement = judged(text, CONTRACTS[reader])
    assert (judgement.outcome, judgement.verdict) == (Outcome.INVALID, None)
    assert judgement.reason


@pytest.mark.parametrize("reader", CONTRACTS)
@pytest.mark.parametrize("gold", Gold)
def test_a_reply_without_a_verdict_is_never_the_answer_to_either_class(reader: str, gold: Gold) -> None:
    """With a default, a model that says nothing would be right in every case of one class."""
    assert judged("", CONTRACTS[reader]).outcome is Outcome.INVALID
