"""Normalises the spelling of compared texts, so that only what was heard counts.

Recognisers write "$249", "FH-1042" and "2 p.m." where others write "two hundred and forty nine dollars", "f h ten forty
two" and "two p m". Here both become lower-case words with numbers as single digits. One wrong digit in an order number
is thus one error out of four, as it is when digits are spoken one by one.
"""

from __future__ import annotations

import re

from deployments.engines.nemo.spoken_text import SpokenText

_ORDINALS = {
    "first": "one", "second": "two", "third": "three", "fourth": "four", "fifth": "five", "sixth": "six",
    "seventh": "seven", "eighth": "eight", "ninth": "nine", "tenth": "ten", "eleventh": "eleven",
    "twelfth": "twelve", "thirteenth": "thirteen", "fourteenth": "fourteen", "fifteenth": "fifteen",
    "sixteenth": "sixteen", "seventeenth": "seventeen", "eighteenth": "eighteen", "nineteenth": "nineteen",
    "twentieth": "twenty", "thirtieth": "thirty",
}  # fmt: skip
# Alternative spellings of a word, and words that signs stand for, which are left out on both sides.
_SAME = {
    "ok": "okay", "e-mail": "email", "colors": "colours", "color": "colour", "gray": "grey", "centre": "center",
    "liters": "litres", "liter": "litre", "mom": "mum", "favorite": "favourite", "neighbor": "neighbour",
    "harbor": "harbour", "labor": "labour", "gonna": "going to", "cancelled": "canceled", "uh": "", "um": "", "er": "",
    "hmm": "", "dollars": "", "dollar": "", "cents": "", "cent": "", "percent": "", "dash": "", "and": "", "oclock": "",
}  # fmt: skip
_SIGNED = re.compile(r"[$£€%#]")
_ORDINAL_DIGITS = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_FULL_HOUR = re.compile(r"\b(\d{1,2}):00\b")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[,.:-](?=\d)")
_NOT_WORD = re.compile(r"[^a-z0-9' ]+")
_LETTER_RUN = re.compile(r"\b(?:[a-z] )+[a-z]\b(?!')")


def scored_words(text: str) -> list[str]:
    """Return the words of a text in the form used for comparison."""
    text = text.lower().replace("’", "'").replace("o'clock", "oclock")
    text = re.sub(r"\b([a-z])\.(?=[a-z ]|$)", r"\1 ", text)
    text = _BETWEEN_DIGITS.sub("", _ORDINAL_DIGITS.sub(r"\1", _FULL_HOUR.sub(r"\1", _SIGNED.sub("", text))))
    words = _NOT_WORD.sub(" ", text).replace("'s ", " 's ").split()
    words = [_ORDINALS.get(word, word) for word in words]
    written = SpokenText(digits=True).write(words)[0].lower()
    written = re.sub(r"(?<=\d)(?=[a-z])|(?<=[a-z])(?=\d)", " ", written)
    written = _LETTER_RUN.sub(lambda found: found[0].replace(" ", ""), _NOT_WORD.sub(" ", written))
    said = (_SAME.get(word, word) for word in written.split())
    pieces = [piece for word in said for part in word.split() for piece in (part if part.isdigit() else [part])]
    # A final "oh" is a zero if digits precede it.
    return [
        "0" if piece == "oh" and pieces[at - 1 : at] and pieces[at - 1].isdigit() else piece
        for at, piece in enumerate(pieces)
    ]
