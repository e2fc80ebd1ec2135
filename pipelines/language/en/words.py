"""Lists of everyday words, used to compare texts and to recognise questions."""

from __future__ import annotations

# Words that say little about the topic of a text.
STOP_WORDS = frozenset(
    """a about actually all also am an and any anyone anything are as at be been being but by can could d did do does
    doing for from get gets give go goes going gonna got guys had has have having hello hey hi how i if in into
    is it its just kindly know let like ll long m many may me mine much must my need no not now of off ok okay
    on one or our out over please possible re say shall she should so some somebody something sure tell than
    thanks that the their them then there these they thing things this those to too um up us use ve very want
    wanna was way we well were what when where which who whom why will with would yes you your check going fast
    quickly soon exactly happen happens okay called call""".split()
)
# Everyday synonyms, and word forms that stemming does not unify. The left word is replaced by the right one, both in
# questions and in texts.
SYNONYMS = {
    "price": "cost", "pay": "cost", "paid": "cost", "charge": "cost", "fee": "cost", "expensive": "cost",
    "weight": "weigh", "heavy": "weigh", "color": "colour", "shop": "store", "cancelled": "cancel",
    "canceled": "cancel", "bought": "buy", "purchase": "buy", "fix": "repair", "mend": "repair", "sent": "ship",
    "shipping": "ship", "shipped": "ship", "delivery": "deliver", "delivered": "deliver", "deliveries": "deliver",
    "litre": "liter", "photograph": "photo", "picture": "photo", "fibre": "fiber", "manufacture": "make",
    "made": "make", "availability": "available",
}  # fmt: skip
# Words with which a question begins.
QUESTION_WORDS = frozenset(
    "how what what's when where where's who who's which why can could do does did is are will would should may".split()
)
