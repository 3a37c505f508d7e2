"""How prose around a verdict takes it back: it negates, questions, limits or revises it, or only speaks of it.

English, with the commonest words of German. Everything here refuses; nothing here finds a verdict. Each expression
looks at a bounded piece of text, because replies are hostile.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bench_pipeline.domain.tasks.gold import Gold
from bench_pipeline.domain.tasks.readers.labels import APPROVING, REFUSING, Vocabulary

_BEGINNING = 300  # characters after a tag that can be about the tag
_CLAUSE = 100  # characters around a word that can be about the word

CONDITION = "the verdict has a condition"
NEGATED = "the verdict is negated"
QUESTIONED = "the verdict is a question"
ALTERNATIVE = "another verdict is offered beside it"
SPOKEN_OF = "the verdict is only spoken of"
REVISED = "the verdict is revised later"


def _expression(*parts: str) -> re.Pattern[str]:
    return re.compile("".join(parts), re.IGNORECASE)


_NOT = r"(?:not|never|cannot|neither|nor|hardly|barely|\w{1,12}n't|nicht|nie|kein\w{0,2})"

# Directly after a tag

_QUESTION = _expression(
    r"[\s.…\"'”’)(!,]{0,5}\?|\W{0,5}\b(?:really|right|correct|sure|maybe|perhaps|is (?:it|that)(?: so| right)?|",
    r"isn't it|",
    r"or not|or is it|yes|no|hm+|huh|oder(?: nicht)?|wirklich|nicht wahr|echt)\W{0,2}\?",
)
_CONDITION = _expression(
    r"[\s.…,;:/|(–—-]{0,10}\b(?:(?:yes|ok|okay|sure|ja),? )?",
    r"(if|iff|unless|when|whenever|where|whether|or|provided|assuming|only|except|excluding|apart from|",
    r"with the exception of|in case|as long as|so long as|as soon as|subject to|depending on|pending|contingent on|",
    r"until|once|but only|but not|otherwise|else|tbd|to be (?:decided|confirmed|determined|reviewed)|",
    r"wenn|falls|sofern|solange|nur|außer|ausser|vorausgesetzt|oder|sonst)\b([^.!?;\n]{0,200})",
)
_CONDITION_AFTER_ONLY = _expression(r"\W{0,3}(?:if|when|after|once|provided|in case|partially|partly)\b")
_DETERMINER = _expression(r"\W{0,3}(?:that|the|it|this|these|those|they|all|an?|you|we|both|everything)\b")
_ASSENT = _expression(r"\s{0,3}(?:then )?(?:yes|ok|okay|fine|(?:it|this|that) (?:is|passes)|passes)\b")
_QUALIFIED = _expression(
    r"\W{0,5}\b(?:conditional|tentative|provisional)(?:ly)?\b|\W{0,5}i(?:'m| am) (?:not (?:sure|certain)|unsure)\b|",
    r"\W{0,5}\b(?:maybe|perhaps|almost|nearly|unsure|undecided|not(?: sure| certain| really| quite| yet| at all)?)",
    r"\s{0,3}(?:[.!,;)]|$)",
)
_SUBJECT_AND_VERB = (
    r"[\s.…,;:(–—-]{0,10}(?:(?:which|that|this|it|but) ){0,2}"
    r"(?:(?:is|was|seems|has|have|can|could|should|would|may|must|does|did|do|been|be) ){0,3}"
)
_NOT_AT_ALL = rf"{_NOT} (?:(?:be|been|at all|really|quite|yet|actually|fully|to be|seem|appear) ){{0,3}}"
_DENIED = _expression(
    rf"{_SUBJECT_AND_VERB}(?:{_NOT_AT_ALL}",
    r"(?:deserve(?! (?:an?|to)\b)|deserved|warrant(?:ed)?|justified|awarded|granted|merited|earned|tenable|",
    r"an option|be given|given here|",
    r"verdient|gerechtfertigt)|undeserved|unwarranted|unjustified|too (?:generous|lenient|harsh|strict)|",
    r"would be (?:wrong|incorrect|unfair|a mistake|too \w{1,20}))\b|",
    r"\s{0,3}(?:do|does|did)(?:n't| not) (?:really |quite |seem to )?(?:apply|stand|hold)\b|",
    r"\W{0,5}(?:it|this|that) (?:is|was|does) ?(?:not|n't)\W{0,3}(?:$|\n)",
)
# Of a FAIL, the same words may be the reason: "[FAIL] This is not correct", "[FAIL] Criteria not met".
_DENIED_UNLESS_FAIL = _expression(
    rf"{_SUBJECT_AND_VERB}(?:{_NOT_AT_ALL}",
    r"(?:applicable|apply|fitting|possible(?! to)|appropriate|correct|right|the case)|",
    r"inappropriate|denied|refused|rejected|withheld|revoked|ruled out|out of the question)\b|",
    r"\W{0,5}i (?:cannot|can't|won't|will not|would not|wouldn't|do not|don't) ",
    r"(?:give|award|grant|assign|say|justify|support)\b|",
    r"\W{0,5}(?:do|does|did)(?:n't| not) (?:really |quite |seem to )?(?:fit|work|suit|follow|belong|count|seem|",
    r"appear)\b|",
    r"\W{0,5}(?:has|have|had)(?:n't| not| no) (?:been|place|basis|support|justification|grounds|to be)\b|",
    r"\W{0,5}(?:no|nope|nein|false|never|not given|no longer applies)\s{0,3}(?:[,.!:;)–—-]|$)|",
    r"\W{0,3}(?:criteri(?:a|on)|conditions?|requirements?|verdict|grade|tag|mark|rating)\b[^.!?;:\n]{0,60}\b",
    rf"(?:{_NOT}|missed|unmet|fails?|failed)\b",
)
_RULE = _expression(
    r"\s{0,5}=|-(?:worthy|able|like|grade|level|ish)\b|",
    r"\W{0,5}(?:is )?(?:for|means|stands for|applies to|applies when|applies if)\b:?",
    r" (?:everything|anything|all|any|every|cases?|summaries|replies|other|others|when|short|texts?)\b",
)
_SUBJECT = re.compile(r"\s{1,5}([^\W\d]{1,12}(?:'t)?)(?!\w)")
_AUXILIARY = _expression(
    r"(?:is|was|are|were|could|should|would|must|wo|ca)(?:n't)?|being|can|cannot|will|may|might|shall|ought|seems?|",
    r"appears|",
    r"looks|sounds|feels|remains|goes|belongs|means|stands|denotes|indicates|signifies|represents|refers|applies|",
    r"covers|",
    r"implies|needs|requires|demands|gets|says|said|",
    r"ist|wäre|war|kann|könnte|darf|dürfte|sollte|gilt|heißt|bedeutet|steht",
)
_AFFIRMED = _expression(
    r"\s{0,5}(?:(?:is|was|seems|remains|appears|ist) (?:(?:to be|well|indeed|thus|\w{1,12}ly|therefore) ){0,2}",
    r"(?:the (?:right|correct|proper|appropriate|final|only|best) (?:verdict|answer|decision|grade|choice)|",
    r"my (?:final )?(?:verdict|answer|decision)|an? (?:correct|good|accurate|fair|complete|sound)|deserved|warranted|",
    r"justified|correct|right|appropriate|earned|fair|",
    r"verdient|gerechtfertigt|richtig|korrekt)|applies)\b",
)
_CONTRARY = _expression(rf"\b(?:{_NOT}|but|however|if|unless|only|except|when|would|to|aber|wenn|nur)\b")
_BESIDE = _expression(
    r"\W{0,10}(?:(?:or|and|oder|und|vs\.?|versus|bzw\.?|but|then|rather|also)[\s,:]{1,3}|(?:no|",
    r"nope)[,:]\s?){0,3}[\"'“„‘«]?",
)
_SEPARATOR = re.compile(r"[/|&+\\]")


def taken_back_at_once(rest: str, vocabulary: Vocabulary, verdict: str) -> str | None:
    """Return why the text right after a tag takes the tag back; None if it does not."""
    head = rest[:_BEGINNING].replace("’", "'")
    checks: tuple[tuple[str, Callable[[str, Vocabulary, str], bool]], ...] = (
        (QUESTIONED, lambda text, *_: _QUESTION.match(text) is not None),
        (ALTERNATIVE, _offers_another),
        (CONDITION, _is_conditional),
        (NEGATED, _is_denied),
        (SPOKEN_OF, _is_spoken_of),
    )
    return next((reason for reason, holds in checks if holds(head, vocabulary, verdict)), None)


def _is_conditional(head: str, vocabulary: Vocabulary, verdict: str) -> bool:
    found = _CONDITION.match(head)
    if found is None:
        return False
    _, comma, main = found[2].partition(",")
    assents = _ASSENT.match(main) or next(vocabulary.spoken(main, verdict, own=True), None)
    return not _states_a_reason(found[1], found[2], main_clause=bool(comma) and not assents)


def _states_a_reason(word: str, clause: str, *, main_clause: bool) -> bool:
    """Whether a capitalised `word` begins a sentence of its own, as "Only the title is named" after [FAIL]."""
    if not word[:1].isupper() or word.isupper():
        return False
    match word.lower():
        case "only" | "once":
            return not _CONDITION_AFTER_ONLY.match(clause)
        case "provided":
            return not _DETERMINER.match(clause)
        case "if" | "when" | "where" | "whenever" | "except" | "apart from" | "until":
            return main_clause
        case _:
            return False


def _offers_another(head: str, vocabulary: Vocabulary, verdict: str) -> bool:
    """Whether another word follows at once, as in "[PASS]/FAIL"; "[PASS] Fail criteria are absent" is a sentence."""
    lead = _BESIDE.match(head)
    start = lead.end() if lead else 0
    found = next(vocabulary.spoken(head, verdict, own=False), None)
    if found is None or found.start() > start:
        return False
    begins_sentence = found[1].istitle() or not found[1].isalpha() or vocabulary.is_ordinary(found[1])
    continues = re.match(r" [a-z]", head[found.end() :])
    return not (begins_sentence and continues and not _SEPARATOR.search(head[:start]))


def _is_denied(head: str, _: Vocabulary, verdict: str) -> bool:
    sign = head.lstrip()[:1]
    contrary_sign = REFUSING if verdict == Gold.PASS else APPROVING if verdict == Gold.FAIL else ""
    return bool(
        _DENIED.match(head)
        or _QUALIFIED.match(head)
        or (verdict != Gold.FAIL and _DENIED_UNLESS_FAIL.match(head))
        or (sign and sign in contrary_sign)
    )


def _is_spoken_of(head: str, _: Vocabulary, __: str) -> bool:
    """Whether the tag is a word of a sentence: a rule, a quotation, or the subject of what is said of it."""
    if _RULE.match(head) or head.startswith(('"', "'", "”", "»")):
        return True
    word = _SUBJECT.match(head)
    if not word or not (word[1].islower() or word[1].isupper()) or not _AUXILIARY.fullmatch(word[1]):
        return False
    sentence = re.split(r"[.!?;:\n]", head.lstrip(), maxsplit=1)[0]
    return not _AFFIRMED.match(head) or _CONTRARY.search(sentence) is not None


# Later in the text

_NEGATION = _expression(rf"\b(?:{_NOT}|no|nothing|none|without|rather than|instead of)\b")
_NEGATES = _expression(
    rf"\b(?:{_NOT}(?:[\s,]{{1,2}}(?!(?:but|rather|only|sondern)\b)\w[\w'-]{{0,20}}){{0,3}}|no)\s{{0,2}}\Z"
)
_CONCLUDES = _expression(
    r"\b(?:verdict|answer|decision|judge?ment|grade|result|rating|conclusion|classification|label|outcome|assessment|",
    r"tag|",
    r"urteil|ergebnis|bewertung|fazit|entscheidung|should be|should have been|must be|needs? to be|ought to be|",
    r"has to be|",
    r"chang(?:e|ed|ing)|switch|correct(?:ed|ing)?|revis(?:e|ed|ing)|downgraded?|upgraded?|say|choose|go (?:with|for)|",
    r"give|",
    r"conclude|rate|rating|vote|make (?:it|that)|i meant?|call it|deserves|warrants|merits|fix(?:ed)?|updated?|",
    r"classify|",
    r"classified|counts|mark(?:ed)?|gets|receives|please read|read this)\b",
    r"((?:[^\w]{1,4}\w[\w']{0,20}){0,4})[^\w]{0,5}\Z",
)
_FOLLOWS = _expression(
    r"\b(?:so|therefore|thus|hence|consequently|accordingly|actually|rather|instead|really|correction|wait|sorry|oops|",
    r"better|overall|also|daher|somit|folglich|doch|sondern|",
    r"(?:it|this|that) (?:is|was) an?|it's an?|that's an?|(?:it|this|that|this one|i|we|you|the (?:summary|text|",
    r"reply)) ",
    r"(?:must|should|has to|have to|had to|clearly|simply|just|now)|it|this|that|this one)\b",
    r"(?:[\s,:–—-]{1,3}(?:it|this|that|is|it's|that's|must|be|should|an?|clear|clearly|really|actually|therefore|now|",
    r"the (?:summary|text|reply|candidate|document|verdict)|i say|ist|es|das|ein)){0,5}[\s,:–—-]{0,3}\Z",
)
_IS_RIGHT = _expression(
    r"\s{1,3}(?:it is\b|applies\b|(?:is|was|would be|seems) (?:the (?:right|correct|proper|only|final|better|",
    r"appropriate)\b|",
    r"my\b|more\b|right\b|correct\b|appropriate\b|warranted\b|deserved\b|justified\b|better\b|required\b))",
)
_OF_NOTHING = _expression(
    r"\s(?:to (?!be\b)\w|no\b|none\b|nothing\b|neither\b)"
)  # "it fails to say", "it fails no rule"
_HYPOTHETICAL = _expression(r"\b(?:would|could|might|if|unless|when)\b|\A\W{0,5}(?:in order )?to\W{0,3}\Z")
_REQUIREMENT = _expression(
    r"\s(?:requires?|needs?|would|could|criteri(?:a|on)|conditions?|rules?|is (?:only )?for|means|",
    r"(?:do|does|did|is|are|was|were)(?:n't| not))\b",
)
_ATTRIBUTED = _expression(
    r"\b(?:it|they|posting|summary|text|instruction|ad|advert|description|author|input|prompt|document)s?\b[^\n]{0,40}",
    r"\b(?:says?|said|asks?|asked|tells?|told|instructs?|demands?|orders?|claims?|contains?|quotes?|mentions?|states?|",
    r"requests?|includes?|wants?)\b",
)
_NOT_GIVEN = _expression(
    rf"\b{_NOT} (?:give|award|grant|call|rate|consider|get|deserve|merit|warrant|earn|be|become)",
    r"(?: (?:this|it|that|the \w{1,20}))?(?: an?| as| the)?\s{0,2}\Z",
)
_OF_THE_TEXT = _expression(r"\b(?:the|this) (?:summary|text|reply|candidate|document|posting)\s{0,2}\Z")
_ALTOGETHER = _expression(r"\s{0,3}(?:[.!,;:)\n]|\Z|the (?:check|test)\b|because\b|since\b|overall\b|here\b)")
_STANDS_ALONE_BEFORE = re.compile(r"(?:\A|[.!?;,:\n→=>(–—]|->|- )\s{0,3}\Z")
_ENDS = re.compile(r"\s{0,3}(?:[.!,;:)\n]|\Z)")
_STANDS_ALONE_AFTER = re.compile(r"\s{0,3}(?:[.!)\n]|\Z)")
_SENTENCE_BREAK = re.compile(r"[.!?;,…]|(?<!:)\n")
_NOUN = r"(?:tag|verdict|answer|grade|rating|decision|judge?ment|label)"
_REVISION = _expression(
    r"(?:\A|[.!?…\n:;–—(-])\s{0,3}(?:(?:no|but|hmm+|oh|ok|okay|ah|however|yet)\b,? ?)?(?:",
    r"wait(?=\s{0,2}[,.!…:–—-]|\s(?:no|the|a|but|actually|i|it|this|that)\b)|hold on\b|",
    r"on (?:second thoughts?|reflection)\b|scratch that\b|strike that\b|(?:correction|edit|",
    r"update)(?=\s{0,2}[,:.!–—-])|",
    r"apolog\w{1,5}\b|oops\b|my (?:mistake|apologies)\b|never ?mind\b|i take (?:that|this|it) back\b|",
    r"i (?:was|am|stand) (?:wrong|mistaken|corrected)\b|that (?:was|is) wrong\b|i (?:have )?(?:made|see) a mistake\b|",
    rf"disregard\b|ignore (?:that|the above|my|the {_NOUN})\b|",
    r"(?:let me|i (?:must|have to|need to|should|will|would like to)) (?:re-?(?:consider|evaluate|check|think|read|",
    r"assess|examine)|correct|revise|retract|withdraw|change my|think again)\b|",
    r"actually,? no\b|i (?:reconsider|retract|withdraw|change my|revise)\b|moment mal\b|warte\b|",
    r"(?:halt|korrektur)(?=\s{0,2}[,.!:–—-])|ich korrigiere\b)",
    rf"|\b(?:above|previous|first|initial) {_NOUN} (?:is|was) (?:wrong|incorrect|mistaken)\b",
    rf"|\b{_NOUN} (?:above|before|i gave) (?:is|was) (?:wrong|incorrect|mistaken)\b|\b{_NOUN} is the other\b",
)


def taken_back_later(rest: str, vocabulary: Vocabulary, verdict: str) -> str | None:
    """Return why the text after a tag revises it in words; None if it does not."""
    text = rest.replace("’", "'")
    if _REVISION.search(text):
        return REVISED
    for other in vocabulary.spoken(text, verdict, own=False):
        if vocabulary.is_ordinary(other[1]) and not _ENDS.match(text, other.end()):
            continue
        if _is_said(text, other, shouted=vocabulary.shouts(other[1])):
            return REVISED
    for own in vocabulary.spoken(text, verdict, own=True):
        if _NEGATES.search(_clause_before(text, own.start())):
            return NEGATED
    return None


def _is_said(text: str, word: re.Match[str], *, shouted: bool) -> bool:
    """Whether the text says this word as its result; "It is not a FAIL" and "It cannot PASS" do not.

    In small letters the word needs a cue, because a summary may fail to say something. A `shouted` one needs an excuse:
    FAIL is said unless it is denied, supposed, or attributed to the text that is judged.
    """
    before = text[max(0, word.start() - 5) : word.start()]
    after = text[word.end() : word.end() + _CLAUSE]
    clause = _clause_before(text, word.start())
    if _STANDS_ALONE_BEFORE.search(before) and _STANDS_ALONE_AFTER.match(after):
        return True
    if _ATTRIBUTED.search(clause) or _NOT_GIVEN.search(clause):
        return False
    if (concludes := _CONCLUDES.search(clause)) and not _NEGATION.search(concludes[1]):
        return True
    if _OF_THE_TEXT.search(clause) and _ALTOGETHER.match(after):
        return True
    denied = _NEGATION.search(clause) is not None
    if (_FOLLOWS.search(clause) and not _OF_NOTHING.match(after)) or (_IS_RIGHT.match(after) and not denied):
        return True
    return shouted and not (denied or _HYPOTHETICAL.search(clause) or _REQUIREMENT.match(after))


def _clause_before(text: str, end: int) -> str:
    return _SENTENCE_BREAK.split(text[max(0, end - _CLAUSE) : end])[-1]


# The line before a final line

_LEADS_IN = _expression(
    r"\b(?:not|never|nor|or|if|unless|than|instead of|anything but|far from|short of|nicht|oder)(?: an?|",
    r" the)?\W{0,20}\Z",
)
_QUOTES = _expression(
    r"(?:\b(?:says|said|reads|states|stated|writes|wrote|demands|instructs|quotes?|orders|requests|claims|wants|",
    r"for example|e\.g|such as|examples?|options?|choices|possible (?:verdicts?|answers?)|template|format)|",
    r"\b(?:asks|tells|wants|instructs|orders|told|asked)\b[^.!?\n]{0,60}\bto (?:say|answer|reply|write|output|respond|",
    r"return)(?: with)?)\W{0,20}\Z",
)
_ASKS = _expression(r"\W{0,5}(?:is|are|was|does|do|did|should|would|could|can|must)\b")
_RUNS_ON = _expression(
    r"\b(?:an?|the|this|that|(?<=\w )no|any|to|be|is|was|are|were|of|for|with|as|and|but|would|should|could|can|may|",
    r"might|",
    r"must|will|deserves?|give|giving|award|grant|receive|get|earn|warrants?|justify|justifies|merits?|call|called|",
    r"say|it|",
    r"neither|into|becomes?|ein|eine|einen|kein|keinen|ist|als)\W{0,20}\Z",
)
_DOUBTFUL = _expression(
    rf"\b(?:{_NOT}|no|nothing|nobody|none|without|could|might|would(?! (?:say|call|give|rate|be my))|if|",
    r"unless|whether|opposite|almost|fails?|lacks?|refuses?|wrong|impossible|too|than|instead|wäre|würde)\b",
)


def taken_back_before(before: str) -> str | None:
    """Return why the text before a final line takes the line back; None if it does not."""
    tail = before[-_BEGINNING:].replace("’", "'").rstrip()
    if _LEADS_IN.search(tail[-_CLAUSE:]):
        return "the line before the verdict negates it or makes it conditional"
    if _QUOTES.search(tail[-_CLAUSE:]):
        return "the line before the verdict quotes it"
    sentence = re.split(r"[.!?…]", tail)[-1]
    if _RUNS_ON.search(sentence[-_CLAUSE:]) and (_DOUBTFUL.search(sentence) or _ASKS.match(sentence)):
        return "the line before the verdict is part of its sentence and negates it"
    return None
