"""How a sentence asserts something: denials, agreement, limits, and words that carry no assertion of their own."""

from __future__ import annotations

import re

NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|without|cannot|closed|unavailable)\b|n['\u2019]t\b"
    r"|\bout of (?:stock|service|order|print)\b|\bsold out\b",
    re.IGNORECASE,
)
# Words of agreement or refusal that open a sentence.
OPENER = re.compile(
    r"^\W*(yes|yeah|yep|no|nope|sure|certainly|absolutely|of course|unfortunately)\b[\s,.!:;]*", re.IGNORECASE
)
NEGATIVE_OPENERS = frozenset({"no", "nope", "unfortunately"})
# Words that must not be dropped from a fact: "orders over $75" are not "orders of $75".
LIMITS = frozenset(
    "other others only except unless until most least over under before after above below without up".split()
)
# Verbs that merely link a subject and a number: "costs $5" may become "is $5".
MEASURE_VERBS = "costs weighs takes lasts carries charge"
# Words that may be used to phrase a fact as a sentence, because they add nothing to it.
GLUE_WORDS = "customer caller offer provide available receive know include located within last take dollar cent percent"
