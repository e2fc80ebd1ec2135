"""Units of measure in the singular, grouped by what they measure."""

from __future__ import annotations

CLOCK = frozenset({"a.m", "p.m", "am", "pm"})
DURATIONS = frozenset("second minute hour day weekday week month year".split())
WEIGHTS = frozenset("gram kilogram ton pound ounce g kg lb".split())
LENGTHS = frozenset("inch inches foot feet yard mile millimeter centimeter meter kilometer".split())
VOLUMES = frozenset("liter litre gallon".split())
MONEY = frozenset("dollar cent euro pound".split())
SHARES = frozenset({"percent"})
TEMPERATURES = frozenset({"degree"})
PERSONS = frozenset({"people", "person"})
UNITS = CLOCK | DURATIONS | WEIGHTS | LENGTHS | VOLUMES | MONEY | SHARES | TEMPERATURES | PERSONS
