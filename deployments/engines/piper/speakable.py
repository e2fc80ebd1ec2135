"""Converts written text to words that a voice can say: prices, order numbers, addresses, ranges and markup.

espeak reads plain numbers, percentages and ordinals well; what it gets wrong is rewritten here, token by token, so that
every spoken piece still belongs to one token of the written text and word times can point back into it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpokenToken:
    """What to say for one whitespace-separated token of the text, which ends at offset `end_char`."""

    spoken: str
    end_char: int


_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_PLURALS = {"penny": "pence"}
_SCALES = frozenset({"thousand", "million", "billion"})
_ABBREVIATIONS = {
    "dr.": "doctor", "mr.": "mister", "mrs.": "missus", "ms.": "miz", "e.g.": "for example", "i.e.": "that is",
    "etc.": "et cetera", "vs.": "versus", "no.": "number", "approx.": "approximately", "inc.": "incorporated",
    "&": "and", "+": "plus", "=": "equals", "–": ",", "—": ",", "-": ",", "24/7": "twenty four seven",
}  # fmt: skip

_EDGES = re.compile(r"^([\"'(\[{“‘*_#>`]*)(.*?)([\"')\]}”’*_`]*[.,;:!?]*[\"')\]}”’*_`]*)$", re.DOTALL)
_MONEY = re.compile(r"([$€£])(\d[\d,]*)(?:\.(\d{2}))?")
_CODE = re.compile(r"([A-Za-z]{1,5})-?(\d{3,})|([A-Z]{1,5})-(\d+)|([A-Z]{2,5}(?:-[A-Z0-9]+)+)")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"(?:https?://)?(?:www\.)?([\w-]+(?:\.[\w-]+)+)((?:/[\w./%-]*)?)", re.IGNORECASE)
_HAS_URL_MARK = re.compile(r"^(https?://|www\.)|\.(com|org|net|io|example|dev|co)(/|$)", re.IGNORECASE)
_PHONE = re.compile(r"\+?\d{1,3}(?:[-.]\d{3,4}){1,3}")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{2}))?(am|pm|a\.m\.?|p\.m\.?)", re.IGNORECASE)
_RANGE = re.compile(r"([$€£]?\d[\w.:,]*)[-–]([$€£]?\d[\w.:,]*%?)")
_NUMBER_SIGN = re.compile(r"#(\d+)")
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_MONTHS = "January February March April May June July August September October November December".split()
# Emoji and pictographs, which espeak would read out by name, and control characters.
_SILENT = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200b-\u200f\u2060\ufeff\x00-\x08\x0b-\x1f\x7f|~^\\\\<>{}\\[\\]*_`]"
)


def spoken_tokens(text: str) -> list[SpokenToken]:
    """Return what to say for each token of `text`, leaving out tokens with nothing to say."""
    found = [(match[0], match.end()) for match in re.finditer(r"\S+", text)]
    tokens: list[SpokenToken] = []
    for index, (written, end_char) in enumerate(found):
        following = found[index + 1][0].lower().strip(".,;:!?") if index + 1 < len(found) else ""
        spoken = _speak(written, has_scale_after=following in _SCALES)
        if index and written.lower().strip(".,;:!?") in _SCALES and (unit := _unit_of(found[index - 1][0])):
            spoken = f"{spoken.rstrip('.,;:!?')} {unit}s{_marks(spoken)}"
        if any(character.isalnum() for character in spoken):
            tokens.append(SpokenToken(spoken, end_char))
        elif tokens and spoken.strip() == ",":
            last = tokens[-1]
            tokens[-1] = SpokenToken(last.spoken.rstrip(",") + ",", last.end_char)
    return tokens


def _unit_of(token: str) -> str:
    money = _MONEY.match(token.lstrip("(\"'"))
    return _CURRENCIES[money[1]][0] if money else ""


def _marks(spoken: str) -> str:
    return spoken[len(spoken.rstrip(".,;:!?")) :]


def _speak(token: str, *, has_scale_after: bool) -> str:
    if (known := _ABBREVIATIONS.get(token.lower().strip("()\"'"))) is not None:
        return known
    if clock := _CLOCK.fullmatch(token.rstrip(",;:!?")):
        return _clock(clock) + _marks(token).lstrip(".")
    edges = _EDGES.match(token)
    if edges is None:
        return _SILENT.sub(" ", token)
    before, core, after = edges.groups()
    if before.endswith("#") and core.isdigit():
        core = f"#{core}"
    return _SILENT.sub(" ", _speak_core(core, has_scale_after) + "".join(c for c in after if c in ".,;:!?"))


def _speak_core(core: str, has_scale_after: bool) -> str:
    if money := _MONEY.fullmatch(core):
        return money[2] + (f".{money[3]}" if money[3] else "") if has_scale_after else _money(money)
    if date := _ISO_DATE.fullmatch(core):
        return _date(date)
    if _EMAIL.fullmatch(core):
        return core.replace("@", " at ").replace(".", " dot ").replace("-", " dash ").replace("_", " underscore ")
    if (url := _URL.fullmatch(core)) and _HAS_URL_MARK.search(core):
        return url[1].replace(".", " dot ") + url[2].rstrip("/").replace("/", " slash ").replace(".", " dot ")
    if _PHONE.fullmatch(core):
        return ", ".join(" ".join(part) for part in re.split(r"[-.]", core.lstrip("+")))
    if span := _RANGE.fullmatch(core):
        return f"{_speak_part(span[1])} to {_speak_part(span[2])}"
    if code := _CODE.fullmatch(core):
        return _code(core) if code[1] is None or code[1].isupper() else core
    if sign := _NUMBER_SIGN.fullmatch(core):
        return f"number {sign[1]}"
    return re.sub(r"(?<=[A-Za-z])/(?=[A-Za-z])", " ", core)


def _speak_part(part: str) -> str:
    if clock := _CLOCK.fullmatch(part):
        return _clock(clock)
    money = _MONEY.fullmatch(part)
    return _money(money) if money else part


def _money(match: re.Match[str]) -> str:
    unit, small = _CURRENCIES[match[1]]
    whole, cents = int(match[2].replace(",", "")), int(match[3] or 0)
    parts = [f"{whole} {unit}{'' if whole == 1 else 's'}"] if whole or not cents else []
    if cents:
        parts.append(f"{cents} {small if cents == 1 else _PLURALS.get(small, small + 's')}")
    return " and ".join(parts)


def _clock(match: re.Match[str]) -> str:
    minutes = match[2] or "00"
    spoken = "" if minutes == "00" else f" oh {minutes[1]}" if minutes[0] == "0" else f" {minutes}"
    return f"{match[1]}{spoken} {match[3][0].upper()} M"


def _date(match: re.Match[str]) -> str:
    month, day = int(match[2]), int(match[3])
    return f"{_MONTHS[month - 1]} {day} {match[1]}" if 1 <= month <= 12 else match[0]


def _code(code: str) -> str:
    """Spell letters and digits one by one, as people read order numbers aloud, with a pause between groups."""
    groups = re.findall(r"[A-Za-z]+|\d+", code)
    return ", ".join(" ".join(group.upper()) for group in groups)
