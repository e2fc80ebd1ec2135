"""Names of months, days and time zones."""

from __future__ import annotations

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Time zones as they appear after a time of day: "9 a.m. Eastern", "9 a.m. GMT".
TIME_ZONES = frozenset(
    """eastern central mountain pacific atlantic alaska hawaii newfoundland greenwich british european indian japan
    utc gmt bst cet cest est edt cst cdt mst mdt pst pdt ist jst aest aedt""".split()
)
