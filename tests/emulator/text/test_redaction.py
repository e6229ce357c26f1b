# SPDX-License-Identifier: Apache-2.0
"""Every policy finds what it is for, wherever the text of the transcript stands."""

from __future__ import annotations

import re

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.text.pii_patterns import NEWER_POLICIES, POLICIES
from tests.support.emulator_api import Api

#: By policy: a sentence, in which the personal data is in brackets.
PUBLISHED = {
    "account_number": "My member ID is [HZ-5235-001], I think.",
    "banking_information": "The routing number is [021000021], please.",
    "blood_type": "My blood type is [AB positive], they say.",
    "credit_card_cvv": "The security code is [080], on the back.",
    "credit_card_expiration": "The card expires in [12/27], so soon.",
    "credit_card_number": "It is [4111 1111 1111 1111], from the bank.",
    "date": "We met on [December 18], in the rain.",
    "date_interval": "He was away from [March 1 to March 7], on leave.",
    "date_of_birth": "She was born on [March 7, 1961], at home.",
    "drivers_license": "Her driver's license number is [356933-540], here.",
    "drug": "Take some [Acetaminophen], twice.",
    "duration": "It took [three weeks], in the end.",
    "email_address": "Write to [jo@example.com], any time.",
    "event": "We will be there at [Easter], all of us.",
    "filename": "Look at [report.pdf], on the second page.",
    "gender_sexuality": "She is [bisexual], and says so.",
    "healthcare_number": "His Medicare number is [5584-486-674], yes.",
    "injury": "I [broke my arm], at the weekend.",
    "ip_address": "The server is [192.168.0.1], at home.",
    "language": "We speak [Spanish], at work.",
    "location": "It is at [145 Windsor Street], next door.",
    "marital_status": "They are [divorced], by now.",
    "medical_condition": "He has [diabetes], like his father.",
    "medical_process": "They made a [CT scan], at once.",
    "money_amount": "It costs [15 pesos], or more.",
    "nationality": "Her mother is [Canadian], of course.",
    "number_sequence": "The order is [48213], as I said.",
    "occupation": "He is a [professor], of physics.",
    "organization": "I work at [Northwest General Hospital], at night.",
    "passport_number": "The passport number is [PA4568332], in full.",
    "password": "My password is [temp1234], do not tell.",
    "person_age": "He is [75 years old], already.",
    "person_name": "My name is [Martha Jennings], hello.",
    "phone_number": "Call me at [555-201-0142], after five.",
    "physical_attribute": "A man with [blue eyes], she said.",
    "political_affiliation": "He votes for the [Republicans], always.",
    "religion": "They are [Hindus], both of them.",
    "statistics": "It grew by [12 percent], since then.",
    "time": "We close at [6 o'clock], today.",
    "url": "Go to [www.example.com/help], and look.",
    "us_social_security_number": "It is [078-05-1120], on the form.",
    "username": "My user name is [jo_77], there.",
    "vehicle_id": "The license plate is [BIF7547], on the car.",
    "zodiac_sign": "She is a [Sagittarius], she claims.",
}
NEWER = {
    "corporate_action": "After the [merger], all was new.",
    "day": "He called on [Tuesday], at noon.",
    "financial_metric": "The [net income] rose, again.",
    "gender": "The patient is [female], and tired.",
    "location_address": "We live at [145 Windsor Street], upstairs.",
    "location_address_street": "It is in [Harbour Street], on the left.",
    "location_city": "She flew to [Vienna], alone.",
    "location_coordinate": "We are at [48.2082, 16.3738], by the river.",
    "location_country": "He comes from [Norway], I believe.",
    "location_state": "They moved to [Ohio], last year.",
    "location_zip": "The ZIP code is [90210], in the west.",
    "medical_code": "The file says [E11.9], and no more.",
    "month": "We begin in [August], with luck.",
    "organization_id": "The VAT number is [ATU12345678], on the bill.",
    "organization_medical_facility": "I work at [Northwest General Hospital], at night.",
    "sexuality": "He is [gay], and happy.",
    "year": "It was [1998], or so.",
}
EVERY = {**PUBLISHED, **NEWER}


def test_every_policy_has_an_example() -> None:
    assert len(PUBLISHED) == 44
    assert PUBLISHED.keys() == POLICIES.keys()
    assert NEWER.keys() == NEWER_POLICIES.keys()


@pytest.mark.parametrize("policy", EVERY)
def test_a_policy_finds_its_kind_in_text_words_and_utterances(
    api: Api, emulator: Emulator, policy: str
) -> None:
    plain = EVERY[policy].replace("[", "").replace("]", "")
    before, hidden, after = re.split(r"[\[\]]", EVERY[policy])
    emulator.set_transcript(f"Good morning. {plain}")
    expected = {"hash": re.sub(r"[^ ,]", "#", hidden), "entity_name": f"[{policy.upper()}]"}
    for substitution, shown in expected.items():
        done = api.transcribe(
            redact_pii=True,
            redact_pii_policies=[policy],
            redact_pii_sub=substitution,
            redact_pii_return_unredacted=True,
            speaker_labels=True,
            speakers_expected=2,
        )
        assert done["text"] == f"Good morning. {before}{shown}{after}"
        assert " ".join(word["text"] for word in done["words"]) == done["text"]
        assert [turn["text"] for turn in done["utterances"]] == ["Good morning.", f"{before}{shown}{after}"]
        assert " ".join(word["text"] for word in done["utterances"][1]["words"]) == f"{before}{shown}{after}"
        assert done["unredacted_text"] == f"Good morning. {plain}"


@pytest.mark.parametrize("policy", PUBLISHED)
def test_without_policies_everything_that_is_published_is_hidden(
    api: Api, emulator: Emulator, policy: str
) -> None:
    before, hidden, after = re.split(r"[\[\]]", PUBLISHED[policy])
    emulator.set_transcript(f"{before}{hidden}{after}")
    assert hidden not in api.transcribe(redact_pii=True)["text"]


@pytest.mark.parametrize(
    "text",
    ["Good Morning " * 20_000, "number is " * 20_000, "a-1." * 5_000, "account a1-" * 5_000, "@" * 50_000],
)
def test_a_long_text_is_searched_in_one_pass(text: str) -> None:
    # A pattern that begins anew at each word would take minutes here, and the test would not end.
    for pattern in (*POLICIES.values(), *NEWER_POLICIES.values()):
        assert sum(1 for _ in pattern.finditer(text)) <= len(text)


def test_ordinary_words_are_left_alone(api: Api, emulator: Emulator) -> None:
    text = (
        "That sounds fair, and I am happy to come by. A good deal of it is done, and the account is open. My password "
        "is safe. I policy the list, then turn left at the back of the plant, and we all go on. Shall I ask you in?"
    )
    emulator.set_transcript(text)
    assert api.transcribe(redact_pii=True)["text"] == text
