"""How a sentence asserts something: denials, agreement, limits, and words that assert nothing by themselves."""

from __future__ import annotations

import re

NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|without|cannot|closed|unavailable)\b|n['\u2019]t\b"
    r"|\bout of (?:stock|service|order|print)\b|\bsold out\b",
    re.IGNORECASE,
)
# Agreement or refusal in front of a sentence.
OPENER = re.compile(
    r"^\W*(yes|yeah|yep|no|nope|sure|certainly|absolutely|of course|unfortunately)\b[\s,.!:;]*", re.IGNORECASE
)
NEGATIVE_OPENERS = frozenset({"no", "nope", "unfortunately"})
# Words that a fact may not lose: "orders over $75" is not "orders of $75".
LIMITS = frozenset(
    "other others only except unless until most least over under before after above below without up".split()
)
# Verbs that only link a subject and a number: "costs $5" may become "is $5".
MEASURE_VERBS = "costs weighs takes lasts carries charge"
# Words with which a fact may be put into a sentence, and that add nothing to it.
GLUE_WORDS = "customer caller offer provide available receive know include located within last take dollar cent percent"
