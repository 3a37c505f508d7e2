"""Personal data in texts is replaced by fiction that reads naturally; jobs, employers and towns stay."""

from __future__ import annotations

import json
import os
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench_pipeline.domain.errors import InputError
from bench_pipeline.domain.tasks.masking.contacts import DEFAULT_REGIONS, digits_of, is_card, is_iban
from bench_pipeline.domain.tasks.masking.dictionaries import is_family, is_given, is_ordinary
from bench_pipeline.domain.tasks.masking.fiction import FICTIONAL_FAMILIES, FICTIONAL_MEN, FICTIONAL_WOMEN
from bench_pipeline.domain.tasks.masking.mask import Masked, mask
from bench_pipeline.domain.tasks.masking.spans import Kind

SHARED_DATA = Path(os.environ.get("BENCH_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
POSTINGS = SHARED_DATA / "usajobs_60.jsonl"


def masked(*texts: str, regions: tuple[str, ...] = DEFAULT_REGIONS) -> Masked:
    """Mask texts of one case each, named A, B, C …"""
    return mask({chr(ord("A") + number): [text] for number, text in enumerate(texts)}, regions)


def text_of(*texts: str) -> str:
    return "\n".join(text for group in masked(*texts).texts.values() for text in group)


# Names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("Send your CV to Dr. Jane Smith by May.", ["Jane", "Smith"], id="title"),
        pytest.param("Fragen beantwortet Herr Prof. Dr. Schneider.", ["Schneider"], id="several titles"),
        pytest.param("Frau Müller-Lüdenscheidt leitet den Bereich.", ["Müller", "Lüdenscheidt"], id="double name"),
        pytest.param("Herr Klaus von der Heide", ["Klaus", "Heide"], id="particles"),
        pytest.param("Ask Mr O'Brien, or Mr O’Neill.", ["O'Brien", "O’Neill"], id="apostrophes"),
        pytest.param("Contact: Xiomara Quispe", ["Xiomara", "Quispe"], id="contact, in no dictionary"),
        pytest.param("Ansprechpartnerin: Sabine Krüger", ["Sabine", "Krüger"], id="Ansprechpartnerin"),
        pytest.param("Line manager - Oluwaseun Adeyemi", ["Oluwaseun", "Adeyemi"], id="line manager"),
        pytest.param("Name: Zhang Wei\nAge: 44", ["Zhang", "Wei"], id="a form"),
        pytest.param("Dear Jane,\nthank you.", ["Jane"], id="greeting"),
        pytest.param("Bonjour Amélie,", ["Amélie"], id="French greeting"),
        pytest.param("Kind regards,\nTom Okonkwo\nRecruiter", ["Tom", "Okonkwo"], id="signature"),
        pytest.param("Mit freundlichen Grüßen\n\nHans-Peter Weber", ["Hans", "Peter", "Weber"], id="German signature"),
        pytest.param("The team of Jerry Rudd is small.", ["Jerry", "Rudd"], id="in a sentence"),
        pytest.param("Maria J. Gonzalez (she/her)", ["Maria", "Gonzalez"], id="initial"),
        pytest.param("JANE SMITH has a licence.", ["JANE", "SMITH"], id="capitals"),
        pytest.param("Smith, Jane: ten years of practice", ["Smith", "Jane"], id="family name first"),
        pytest.param("Mark Thompson and Virginia Jones", ["Mark", "Thompson", "Virginia", "Jones"], id="also words"),
        pytest.param("Karen Hall and Simon Hill apply.", ["Karen", "Hall", "Simon", "Hill"], id="also places"),
        pytest.param("Sarah's team is small.", ["Sarah"], id="possessive"),
        pytest.param("João da Costa e Silva called.", ["João", "Costa"], id="Portuguese particles"),
        pytest.param("Ask Priya about the shifts.", ["Priya"], id="given name alone"),
        pytest.param("Xanthe Vlkova called (xanthe.vlkova@acme.cz).", ["Xanthe", "Vlkova"], id="as in the e-mail"),
    ],
)
def test_the_name_of_a_person_is_replaced(text: str, names: list[str]) -> None:
    result = text_of(text)
    assert [name for name in names if name in result] == []
    assert "[" not in result


@pytest.mark.parametrize(
    "text",
    [
        "Elmsway Park in Derby seeks a gardener; Thornbury & Nash Builders need a Bricklayer in Wellmarsh.",
        "Cairnmoor Hospital, Strathlin, is looking for a Theatre Nurse. Fernhill Instruments is in Guildford.",
        "Contact: Human Resources. Reports to: Senior Sales Manager. Contact: HR Department.",
        "Dear Hiring Manager,\nDear Sir or Madam,\nHi team,\nHello World",
        "Kind regards,\nThe Recruiting Team",
        "Recruiter: Michael Page. Contact: Acme Corp. Kind regards,\nOtto Group",
        "Johnson & Johnson seeks a Baker. John Lewis seeks a Cook. Robert Bosch GmbH seeks a Master Electrician.",
        "St. Mary Hospital, Ralph Johnson Medical Center, Fort Sam Houston, San Diego, Mount Carmel",
        "The job is in Florence, Italy, or in Virginia Beach, Georgia, from May to April. Per Year 36740.",
        "Charlie Norwood VAMC and Edward School",
        "30 Tage Urlaub, Führerschein Klasse B, Eintritt ab Mai",
        "Junior Developer, Senior Grace Period Manager, Chief Marketing Officer, Summer Intern",
        "Victoria and Albert Museum, Nelson Mandela University, Norman Castle, Holly Lodge, Ivy League, Victoria Park",
        "Leonard Cheshire, Grant Thornton, Clifford Chance. Ben & Jerry's, Wendy's, Marks and Spencer.",
        "Robert Koch-Institut, Ernst Klett Verlag, Albert-Schweitzer-Schule, Konrad-Adenauer-Stiftung, Otto Group",
        "Microsoft Word, Power BI, MS Excel, SAP, Adobe Photoshop, Ruby on Rails, Java",
    ],
)
def test_jobs_employers_and_towns_stay(text: str) -> None:
    assert text_of(text) == text
    assert masked(text).replacements == ()


def test_the_spellings_of_one_name_stay_one_person_in_all_texts_of_an_import() -> None:
    result = masked("Ask for Dr. Jane Smith.", "Jane will answer. Ms Smith is away.", "SMITH, JANE. Jane Smith's team")
    (first,), (second,), (third,) = result.texts.values()
    given_name, family = first.removeprefix("Ask for Dr. ").removesuffix(".").split()
    assert second == f"{given_name} will answer. Ms {family} is away."
    assert third == f"{family.upper()}, {given_name.upper()}. {given_name} {family}'s team"


def test_a_known_name_is_found_in_small_letters_and_in_the_path_of_a_url() -> None:
    given_name, family = text_of("Contact: Jane Smith").removeprefix("Contact: ").lower().split()
    result = text_of("Contact: Jane Smith", "ask jane smith", "https://acme.com/team/jane-smith/cv", "a jane, a smith")
    assert result.splitlines()[1:] == [
        f"ask {given_name} {family}",
        f"https://acme.com/team/{given_name}-{family}/cv",
        "a jane, a smith",
    ]


def test_two_persons_stay_two() -> None:
    result = text_of("Contact: Jane Smith", "Contact: Joan Smythe")
    first, second = (line.removeprefix("Contact: ") for line in result.splitlines())
    assert len({*first.split(), *second.split()}) == 4


def test_a_name_keeps_its_gender_where_it_has_one() -> None:
    women, men = text_of("Contact: Sabine Krüger").split()[1], text_of("Contact: Klaus Krüger").split()[1]
    assert (women in FICTIONAL_WOMEN, men in FICTIONAL_MEN) == (True, True)


def test_a_known_family_name_that_is_also_a_trade_does_not_take_the_trade() -> None:
    assert text_of("Contact: Jane Baker", "We seek a Baker.").endswith("We seek a Baker.")


def test_the_fictional_names_are_no_names_of_the_dictionaries_and_no_words() -> None:
    assert [name for name in FICTIONAL_WOMEN + FICTIONAL_MEN if is_given(name) or is_ordinary(name)] == []
    assert [name for name in FICTIONAL_FAMILIES if is_family(name) or is_ordinary(name)] == []
    assert len({name.lower() for name in FICTIONAL_WOMEN + FICTIONAL_MEN + FICTIONAL_FAMILIES}) == 200


def test_more_persons_than_there_are_fictional_names_stay_apart() -> None:
    letters = "abcdefghij"
    names = [f"Contact: Xu{a}{b} Quisp{a}{b}e" for a in letters for b in letters]
    families = [line.split()[-1] for line in text_of(*names).splitlines()]
    assert len(set(families)) == len(names)


# Contacts


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Write to jane.smith@acme.co.uk.", "Write to contact1@example.com."),
        ("mailto:JANE@ACME.COM?subject=x", "mailto:contact1@example.com?subject=x"),
        ("jane (at) acme (dot) com", "contact1@example.com"),
        ("jane [at] acme.de", "contact1@example.com"),
        ("https://jane:s3cret@git.acme.com/x", "https://user@git.acme.com/x"),
        ("linkedin.com/in/jane-smith-12", "linkedin.com/in/reader1"),
        ("https://www.xing.com/profile/Jane_Smith/cv", "https://www.xing.com/profile/reader1/cv"),
        ("Follow @janesmith and @JaneSmith", "Follow @reader1 and @reader1"),
        ("IBAN DE02 1203 0000 0000 2020 51", "IBAN GB63 BUKB 2020 1555 5555 00"),
        ("card 4539 5787 6362 1486", "card 4111111111111111"),
        ("Call 020 7946 1234.", "Call 01632 960000."),
        ("Call +44 (0)20 7123 4567.", "Call +44 1632 960000."),
        ("Call (212) 736-5000 x12.", "Call 201 555-0100."),
        ("Call +1 212 736 5000.", "Call +1 201 555-0100."),
        ("unter 0221-4567890", "unter 030 23125 000"),
        ("+33 1 42 68 53 00", "+33 1 99 00 00 00"),
        ("+81 3 1234 5678", "+44 1632 960000"),
        ("Tel: 555 1234", "Tel: 01632 960000"),
    ],
)
def test_a_contact_is_replaced_by_one_that_is_reserved_for_fiction(text: str, result: str) -> None:
    assert text_of(text) == result


def test_the_fictional_account_and_card_have_right_check_digits() -> None:
    (account, card) = (one.surrogate for one in masked("DE02 1203 0000 0000 2020 51; 4539 5787 6362 1486").replacements)
    assert (is_iban(account), is_card(card)) == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "Announcement AFMC-1666006-EHA-9V-MS, series GS-0457-09, GS-0462/0401-11, SW601XX-11-169559",
        "Salary: $36740 to $109781, €52.000,00, £20.80 an hour, 37.5 hours, 2016-03-31 to 2016-05-31",
        "Open 08:00-16:30, posting 48213, version 1.2.3.4, ISO 9001:2015, 10115 Berlin, Tinker AFB, OK 73145",
        "call 0 / 50 / 300, ratio 0.88 / 1.32 / 0.27, 72.1 / 61.6 / 59.5",
        "5 @ 3 units; 4539 5787 6362 1487; DE02 1203 0000 0000 2020 52",
    ],
)
def test_codes_dates_and_amounts_stay(text: str) -> None:
    assert text_of(text) == text


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("12 High Street, Guildford GU1 3AA", "1 Example Street, Guildford GU1 9ZZ"),
        ("221b Baker St, London", "1 Example Street, London"),
        ("4 Privet Drive, Apt 5b, Derby", "1 Example Street, Derby"),
        ("12 HIGH STREET, GUILDFORD", "1 Example Street, GUILDFORD"),
        ("HAUPTSTRASSE 12, BERLIN", "Musterstraße 1, BERLIN"),
        ("Hauptstraße 12a, 10115 Berlin", "Musterstraße 1, 10115 Berlin"),
        ("Kölner Str. 5, Bonn", "Musterstraße 1, Bonn"),
        ("Am Markt 3, Bremen", "Musterstraße 1, Bremen"),
        ("Keizersgracht 100, Amsterdam", "Voorbeeldstraat 1, Amsterdam"),
        ("12 rue de Rivoli, 75001 Paris", "1 rue de l’Exemple, 75001 Paris"),
        ("Calle Mayor 12, Madrid", "Calle Ejemplo 1, Madrid"),
        ("Via Roma 5, Milano", "Calle Ejemplo 1, Milano"),
        ("P.O. Box 123, Derby", "PO Box 1, Derby"),
    ],
)
def test_the_street_of_an_address_is_replaced_and_its_town_stays(text: str, result: str) -> None:
    assert text_of(text) == result


# What was replaced


def test_each_value_is_listed_with_its_kind_how_often_and_in_which_cases() -> None:
    found = masked("Jane Smith, jane@acme.com, jane@acme.com", "Ms Smith", "none").replacements
    assert [(one.kind, one.original, one.count, one.cases) for one in found] == [
        (Kind.NAME, "Jane Smith", 1, ("A",)),
        (Kind.EMAIL, "jane@acme.com", 2, ("A",)),
        (Kind.NAME, "Smith", 1, ("B",)),
    ]


def test_numbers_without_a_countrys_code_are_tried_in_the_given_regions() -> None:
    number = "02 9374 4000"
    found = {region: masked(f"Office {number}", regions=(region,)).texts["A"][0] for region in ("GB", "au")}
    assert found == {"GB": f"Office {number}", "au": "Office 01632 960000"}


@pytest.mark.parametrize("region", ["XX", "", "Germany", "../DE"])
def test_an_unknown_region_is_refused(region: str) -> None:
    with pytest.raises(InputError, match="unknown region"):
        masked("text", regions=("GB", region))


# Properties

FRAGMENTS = """Contact:|Dear |Dr. |Jane Smith|Smith, Jane|JANE|Kind regards,
|Tel. |020 7946 1234|+49 30 901820|(212) 736-5000|jane@acme.com|12 High Street|Hauptstraße 3|rue de Rivoli |GU1 3AA
4539 5787 6362 1486|DE02 1203 0000 0000 2020 51|@jane|https://a:b@c.de/|Paris|Elowen|Pellcombe|1 Example Street
contact1@example.com|01632 960000|user@| | |, |
|. |-"""
fragments = st.sampled_from(FRAGMENTS.split("|"))
mixed = st.lists(fragments | st.text(max_size=5), max_size=12).map("".join)


@given(st.lists(mixed, min_size=1, max_size=3))
def test_masking_a_masked_text_changes_nothing(texts: list[str]) -> None:
    once = masked(*texts)
    again = mask(once.texts)
    assert again.texts == once.texts
    assert again.replacements == ()


@given(mixed)
def test_equal_texts_are_masked_equally(text: str) -> None:
    first, second = masked(text, text).texts.values()
    assert first == second
    assert masked(text, text) == masked(text, text)


@given(st.emails(), mixed, mixed)
def test_no_email_address_survives(address: str, before: str, after: str) -> None:
    assert address not in text_of(f"{before} {address} {after}")


@given(
    region=st.sampled_from(DEFAULT_REGIONS),
    ending=st.integers(0, 999),
    form=st.sampled_from((phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.NATIONAL)),
    sentence=st.sampled_from(("Tel. {} (Mon to Fri)", "Please phone {}, or write.", "Telefon: {}\nFax", "mobile {}.")),
)
def test_no_phone_number_survives(region: str, ending: int, form: int, sentence: str) -> None:
    example = phonenumbers.example_number(region)
    assert example is not None
    number = phonenumbers.PhoneNumber(example.country_code, example.national_number // 1000 * 1000 + ending)
    is_fictional = region == "US" and ending // 100 == 1  # 555-01xx
    assume(phonenumbers.is_valid_number(number) and not is_fictional)
    written = phonenumbers.format_number(number, form)
    assert digits_of(written) not in digits_of(text_of(sentence.format(written)))


@pytest.mark.skipif(not POSTINGS.is_file(), reason="the folder of real postings is not here")
def test_of_sixty_real_postings_little_else_than_persons_is_replaced() -> None:
    postings = [json.loads(line) for line in POSTINGS.read_text(encoding="utf-8").splitlines()]
    found = mask({posting["posting_id"]: [posting["text"]] for posting in postings}).replacements
    assert len(found) <= 5
