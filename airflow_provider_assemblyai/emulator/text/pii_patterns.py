# SPDX-License-Identifier: Apache-2.0
"""A pattern for each kind of personal data.

Numbers and codes are told apart by the words before them ("passport number", "my PIN is"), everything else by short lists
of words. Where a pattern has a group ``found``, only that part is personal data; the rest is how it is recognized.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_DATE = rf"\b(?:{_MONTHS}|{_DAYS})\b(?: \d{{1,2}}(?:st|nd|rd|th)?)?(?:,? \d{{4}})?|\b\d{{1,2}}/\d{{1,2}}/\d{{2,4}}\b"
_DIGITS = "zero|oh|one|two|three|four|five|six|seven|eight|nine"
_COUNT = rf"(?:\d+(?:\.\d+)?|an?|{_DIGITS}|ten|twelve|twenty|thirty)"
#: What may stand between the name of a number and the number.
_IS = r"(?: (?:number|no|code|is|was|of|ends in)\b|[.:#])*:? ?"
#: A code with a digit in it.
_CODE = r"(?P<found>(?=[A-Za-z-]*\d)[A-Za-z0-9]+(?:[ -](?=[A-Za-z-]*\d)[A-Za-z0-9]+)*)"
_NAME = r"[A-Z][\w'&-]+"
#: A few names in a row; without a limit a long row of them would be tried from each of its words to its end.
_NAMES = rf"\b(?:{_NAME} ){{1,4}}"
_STREET = rf"{_NAMES}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Drive|Boulevard|Blvd|Court|Square)\b"
_CITY = (
    "Amsterdam|Berlin|Boston|Chicago|Dublin|Houston|London|Los Angeles|Madrid|Melbourne|Miami|Munich|New York|Paris|"
    "Rome|San Francisco|Seattle|Sydney|Tokyo|Toronto|Vienna|Zurich"
)
_STATE = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|"
    "Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|"
    "Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|"
    "Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|"
    "West Virginia|Wisconsin|Wyoming"
)
_COUNTRY = (
    "Argentina|Australia|Austria|Belgium|Brazil|Canada|China|Denmark|Egypt|England|Finland|France|Germany|India|Ireland|"
    "Israel|Italy|Japan|Mexico|Netherlands|New Zealand|Nigeria|Norway|Poland|Portugal|Russia|Scotland|South Africa|"
    "Spain|Sweden|Switzerland|Turkey|Ukraine|United Kingdom|United States"
)
_ZIP = r"(?i:\b(?:ZIP|postal|post) ?codes?)(?: (?:is|was)|:)* (?P<found>\d{5}(?:-\d{4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d)\b"
_COORDINATE = r"-?\b\d{1,3}\.\d{3,}\u00b0?(?: [NSEW]\b)?, ?-?\d{1,3}\.\d{3,}\u00b0?(?: [NSEW]\b)?"
_FACILITY = rf"{_NAMES}(?:Hospital|Clinic|Medical Center|Infirmary)\b"
_GENDER = r"(?i:\b(?:female|male|transgender|trans|nonbinary|non-binary)\b)"
_SEXUALITY = r"(?i:\b(?:asexual|bisexual|gay|heterosexual|homosexual|lesbian|queer)\b)"
_BODY = "ankle|arm|back|collarbone|elbow|finger|foot|hand|hip|knee|leg|neck|nose|rib|shoulder|thumb|toe|wrist"


def _compiled(patterns: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


def _words(text: str) -> str:
    """A pattern of whole words, whatever their case.

    :param text: words and phrases, with bars in between.
    """
    return rf"(?i:\b(?:{text})\b)"


#: The published policies. Order counts: what an earlier pattern has taken, a later one cannot take again.
POLICIES: Mapping[str, re.Pattern[str]] = _compiled(
    {
        "email_address": r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
        "url": r"(?:https?://|www\.)\S+",
        "ip_address": r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){3,7}\b",
        "filename": r"(?<![\w.-])[\w.-]{1,100}\.(?:csv|docx?|jpe?g|mp[34]|pdf|png|pptx?|txt|wav|xlsx?|zip)\b",
        "credit_card_cvv": rf"(?i:\b(?:CVV|CVC|security code)){_IS}(?P<found>\d{{3,4}})\b",
        "credit_card_expiration": (
            r"(?i:\b(?:expir\w+|valid (?:until|thru)|good thru))(?: (?:date|is|on|in|at)|:)* "
            rf"(?P<found>\d{{1,2}}/\d{{2,4}}|(?:{_MONTHS}),? \d{{4}})\b"
        ),
        "us_social_security_number": r"\b\d{3}[- ]\d{2}[- ]\d{4}\b",
        "drivers_license": rf"(?i:\b(?:driver'?s?'?|driving) licen[cs]e|\bDL){_IS}{_CODE}",
        "passport_number": rf"(?i:\bpassport){_IS}{_CODE}",
        "healthcare_number": (
            r"(?i:\b(?:Medicare|Medicaid|NHS|health (?:card|insurance|plan)|healthcare|medical record)"
            rf"(?: (?:beneficiary|policy|member|ID))*){_IS}{_CODE}"
        ),
        "banking_information": rf"(?i:\b(?:bank account|routing|IBAN|sort code|SWIFT)){_IS}{_CODE}",
        "account_number": rf"(?i:\b(?:account|customer ID|member ID|membership|policy)){_IS}{_CODE}",
        "vehicle_id": (
            rf"(?i:\b(?:VIN|(?:licen[cs]e|number) plate|chassis)){_IS}{_CODE}"
            r"|\b(?=[A-Z]*\d)(?=\d*[A-Z])[A-HJ-NPR-Z\d]{17}\b"
        ),
        "password": (
            r"(?i:\b(?:password|passcode|passphrase|PIN|access (?:code|key)|verification code))"
            r"(?: (?:number|code|is|was)|:)* (?P<found>(?=\S*[\d%$&*_+])\S*[^\s.,;:!?])"
        ),
        "username": (
            r"(?i:\b(?:user ?name|login(?: name)?|screen name|handle))(?: (?:is|was)|:)+ (?P<found>\S*[^\s.,;:!?])"
            r"|(?<!\S)@\w+"
        ),
        "credit_card_number": r"\b(?:\d[ -]?){12,18}\d\b",
        "money_amount": (
            r"[$\u20ac\u00a3]\s?\d[\d,]*(?:\.\d+)?|\b\d[\d,.]* (?:dollars|euros|pounds|cents|pesos|yen|francs)\b"
        ),
        "phone_number": r"(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -])?\d{3}-\d{4}\b",
        "statistics": r"\b\d+(?:\.\d+)?(?:%| percent\b)",
        "person_age": (
            r"\b\d{1,3}[ -]years?[ -]old\b|(?i:\b(?:aged|at the age of|turn(?:s|ed|ing)?)) (?P<found>\d{1,3})\b(?![:.%]\d)"
        ),
        "time": r"\b\d{1,2}(?::\d{2})?\s?(?:[ap]\.?m\.?|o'clock)(?!\w)|\b(?:[01]?\d|2[0-3]):[0-5]\d\b",
        "date_of_birth": rf"(?i:\b(?:born(?: on| in)?|date of birth|birthday|DOB))(?: (?:is|was|on)|:)* (?P<found>{_DATE})",
        "date_interval": (
            rf"(?i:\b(?:from|between)) (?P<found>(?:{_DATE}|\d{{4}}) (?:to|until|till|and|through) (?:{_DATE}|\d{{4}}))"
        ),
        "date": _DATE,
        "duration": rf"(?i:\b{_COUNT} (?:second|minute|hour|day|week|month|year)s?\b)",
        "organization": (
            rf"{_FACILITY}|{_NAMES}(?:Airlines|Bank|Company|Corp|Corporation|GmbH|Inc|LLC|Ltd|University)\b"
            rf"|\bUniversity of {_NAME}|\b(?:Amazon|BBC|CNN|Google|IBM|McDonald'?s|Microsoft|NASA|Toyota|Walmart)\b"
        ),
        "location": (
            rf"(?:\b\d{{1,5}} )?{_STREET}|\b(?:{_CITY}|{_COUNTRY}|{_STATE})\b|{_COORDINATE}|\b(?:Lake|Mount|Mt) {_NAME}"
            rf"|{_ZIP}"
        ),
        "number_sequence": rf"\b\d[\d-]*\d\b|(?i:\b(?:{_DIGITS})(?:[ ,-]+(?:{_DIGITS})){{2,}}\b)",
        "person_name": (
            r"(?:(?<=[Mm]y name is )|(?<=[Mm]y name's )|(?<=\b[Tt]his is )|(?<=\bMr )|(?<=\bMr\. )|(?<=\bMrs )"
            r"|(?<=\bMrs\. )|(?<=\bMs\. )|(?<=\bDr\. ))[A-Z][a-z]+(?: [A-Z][a-z]+)?"
        ),
        "blood_type": (
            r"(?i:\bblood (?:type|group))(?: (?:is|was)|:)* (?P<found>(?:AB|A|B|O)(?: (?:positive|negative)\b|[+-])?)(?!\w)"
            r"|\b(?:AB|A|B|O)[+-](?![\w-])|\b(?:AB|O) (?:positive|negative)\b"
        ),
        "drug": _words(
            "acetaminophen|advil|amoxicillin|aspirin|codeine|ibuprofen|insulin|metformin|morphine|panadol|paracetamol|"
            "penicillin|tylenol|vitamin [A-K]\\d*|xanax"
        ),
        "event": _words(
            "Black Friday|Christmas|Diwali|Easter|Hanukkah|New Year's Eve|Olympics|Ramadan|Super Bowl|Thanksgiving|World "
            "Cup|Yom Kippur"
        ),
        "gender_sexuality": rf"{_GENDER}|{_SEXUALITY}",
        "injury": _words(
            rf"(?:bruised|broke|broken|dislocated|fractured|sprained|twisted)(?: (?:an?|the|my|your|his|her|their))?"
            rf"(?: (?:left|right))? (?:{_BODY})s?|concussion|whiplash"
        ),
        "language": _words(
            "Arabic|Cantonese|Dutch|English|French|German|Greek|Hindi|Italian|Japanese|Korean|Mandarin|Polish|Portuguese|"
            "Russian|Spanish|Swahili|Swedish|Turkish|Ukrainian"
        ),
        "marital_status": _words(
            "divorced|divorcee|engaged to be married|married|unmarried|widow|widowed|widower"
        ),
        "medical_condition": _words(
            "allergy|anxiety disorder|arrhythmia|arthritis|asthma|cancer|chronic fatigue syndrome|dementia|depression|"
            "diabetes|epilepsy|flu|hypertension|influenza|migraine|pneumonia|stroke"
        ),
        "medical_process": _words(
            "(?:(?:back|eye|heart|hip|knee) )?surgery|biopsy|blood test|chemotherapy|CT scan|dialysis|MRI|physiotherapy|"
            "ultrasound|vaccination|x-ray"
        ),
        "nationality": _words(
            "African|American|Asian|Australian|British|Canadian|Caucasian|Chinese|Danish|Egyptian|Hispanic|Indian|Irish|"
            "Latino|Mexican|Nigerian|Norwegian|Scottish|Swiss|Dutch|French|German|Greek|Italian|Japanese|Korean|Polish|"
            "Portuguese|Russian|Spanish|Swedish|Turkish|Ukrainian"
        ),
        "occupation": _words(
            "(?:accountant|actor|architect|carpenter|CPA|dentist|doctor|electrician|engineer|firefighter|journalist|lawyer|"
            "mechanic|nurse|plumber|police officer|professor|software developer|surgeon|teacher)s?"
        ),
        "physical_attribute": _words(
            "(?:blue|brown|green|grey|gray|hazel) eyes|(?:black|blond|blonde|brown|grey|gray|red) hair|left-handed|"
            "right-handed|bald|\\d feet(?: \\d{1,2}(?: inches)?)? tall|a scar"
        ),
        "political_affiliation": _words(
            "communists?|conservatives?|Democrats?|liberals?|libertarians?|Republicans?|socialists?|Tory|Tories"
        ),
        "religion": _words(
            "atheists?|Buddhis[mt]s?|Catholics?|Christians?|Christianity|Hindus?|Hinduism|Islam|Jewish|Judaism|Mormons?|"
            "Muslims?|Protestants?|Sikhs?"
        ),
        "zodiac_sign": (
            r"\b(?:Aries|Taurus|Gemini|Leo|Virgo|Libra|Scorpio|Sagittarius|Capricorn|Aquarius|Pisces)\b"
            r"|(?i:\bsign is) (?P<found>Cancer)\b"
        ),
    }
)

#: Policies that newer clients know. They take parts of what the others take, so they are looked for only by name.
NEWER_POLICIES: Mapping[str, re.Pattern[str]] = _compiled(
    {
        "corporate_action": _words("acquisition|buyback|dividend|merger|spin-?off|stock split"),
        "day": rf"\b(?:{_DAYS})\b",
        "financial_metric": _words("EBITDA|gross margin|net income|operating profit|return on equity"),
        "gender": _GENDER,
        "location_address": rf"\b\d{{1,5}} {_STREET}(?:, (?:{_CITY}))?",
        "location_address_street": rf"(?:\b\d{{1,5}} )?{_STREET}",
        "location_city": rf"\b(?:{_CITY})\b",
        "location_coordinate": _COORDINATE,
        "location_country": rf"\b(?:{_COUNTRY})\b",
        "location_state": rf"\b(?:{_STATE})\b",
        "location_zip": _ZIP,
        "medical_code": r"\b[A-TV-Z]\d{2}(?:\.\d{1,3})?\b",
        "month": rf"\b(?:{_MONTHS})\b",
        "organization_id": rf"(?i:\b(?:EIN|VAT|tax ID|company registration)){_IS}{_CODE}",
        "organization_medical_facility": _FACILITY,
        "sexuality": _SEXUALITY,
        "year": r"\b(?:19|20)\d{2}\b",
    }
)
