# SPDX-License-Identifier: Apache-2.0
"""Content safety by words: each label of the service knows a few of them.

The more words of a label a sentence holds, the higher are confidence and severity, so that a test can choose on which
side of a threshold it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.text.formatting import PROFANITIES, bare
from airflow_provider_assemblyai.emulator.text.results import Span, sentences

_WORDS = {
    "accidents": "accident crash crashed collision derailed",
    "alcohol": "alcohol beer vodka whisky wine",
    "crime_violence": "assault burglary murder robbery stabbed",
    "disasters": "avalanche earthquake flood hurricane wildfire",
    "drugs": "cocaine heroin methamphetamine opium",
    "financials": "dividend earnings ebitda revenue",
    "gambling": "betting casino lottery poker roulette",
    "hate_speech": "bigot racist racists",
    "health_issues": "asthma cancer diabetes epilepsy pneumonia",
    "manga": "anime manga",
    "marijuana": "cannabis marijuana weed",
    "negative_news": "bankruptcy layoffs recall scandal",
    "nsfw": "naked nude topless",
    "pornography": "porn pornography",
    "profanity": " ".join(PROFANITIES),
    "sensitive_social_issues": "abortion immigration protest segregation",
    "terrorism": "hostages terrorism terrorist terrorists",
    "tobacco": "cigarette cigarettes tobacco vaping",
    "weapons": "ammunition gun pistol rifle weapon",
}
_LABELS = {word: label for label, words in _WORDS.items() for word in words.split()}
_WITHOUT_SEVERITY = ("financials", "manga", "negative_news", "nsfw", "sensitive_social_issues")


def content_safety_labels(words: Sequence[Word], threshold: float) -> dict[str, Any]:
    """The results of content safety, and their summaries.

    :param words: of the transcript.
    :param threshold: the confidence from which a label is shown, 0 to 1.
    """
    found = list(_labelled_sentences(words, threshold))
    labels = [label for result in found for label in result["labels"]]
    by_name = {name: [label for label in labels if label["label"] == name] for name in _WORDS}
    return {
        "results": found,
        "summary": {
            name: max(label["confidence"] for label in known) for name, known in by_name.items() if known
        },
        "severity_score_summary": {
            name: _severities([label["severity"] for label in known])
            for name, known in by_name.items()
            if known and name not in _WITHOUT_SEVERITY
        },
    }


def _labelled_sentences(words: Sequence[Word], threshold: float) -> Iterator[dict[str, Any]]:
    for number, sentence in enumerate(sentences(words)):
        labels = [label for label in _labels(sentence) if label["confidence"] >= threshold]
        if labels:
            yield {
                "text": sentence.text,
                "labels": labels,
                "sentences_idx_start": number,
                "sentences_idx_end": number,
                "timestamp": {"start": sentence.start, "end": sentence.end},
            }


def _labels(sentence: Span) -> Iterator[dict[str, Any]]:
    counted = Counter(
        _LABELS[word] for word in (bare(word.text) for word in sentence.words) if word in _LABELS
    )
    for label, count in counted.items():
        yield {
            "label": label,
            # 0.65 for one word, 0.8 for two, 0.95 for three.
            "confidence": round(min(0.95, 0.5 + 0.15 * count), 2),
            "severity": None if label in _WITHOUT_SEVERITY else round(min(0.9, 0.3 * count), 1),
        }


def _severities(severities: Sequence[float]) -> dict[str, float]:
    """How the severities are spread over low, medium and high."""
    count = len(severities)
    low = sum(severity < 1 / 3 for severity in severities)
    high = sum(severity > 2 / 3 for severity in severities)
    shares = {"low": low, "medium": count - low - high, "high": high}
    return {name: round(share / count, 4) for name, share in shares.items()}
