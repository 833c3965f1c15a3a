"""Records the answers of python-dateutil and croniter, both installed by pip, for `recorded.rs`."""

import calendar
import json
import random
from datetime import datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

from croniter import croniter
from dateutil.rrule import rrulestr

FOLDER = Path(__file__).parent
CHANCE = random.Random(5545)
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
END = datetime(2199, 12, 31, 23, 59)
DATES = 12

# By hand: the RFC's own examples and the corners of the calendar.
RULES = [
    ("FREQ=DAILY;COUNT=10", "1997-09-02"),
    ("FREQ=DAILY;UNTIL=19971224", "1997-12-15"),
    ("FREQ=DAILY;INTERVAL=2", "1997-09-02"),
    ("FREQ=YEARLY;UNTIL=20000131T140000;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "1998-01-25"),
    ("FREQ=DAILY;UNTIL=20000131T140000;BYMONTH=1", "1999-01-25"),
    ("FREQ=WEEKLY;COUNT=10", "1997-09-02"),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", "1997-09-02"),
    ("FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", "1997-09-02"),
    ("FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000;WKST=SU;BYDAY=MO,WE,FR", "1997-09-01"),
    ("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "1997-09-05"),
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "1997-09-07"),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "1997-09-22"),
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28"),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", "1997-09-02"),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "1997-09-30"),
    ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "1997-09-10"),
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "1997-09-02"),
    ("FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "1997-06-10"),
    ("FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "1997-03-10"),
    ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19"),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13"),
    ("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "1997-06-05"),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1997-09-02"),
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997-09-13"),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05"),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-05"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-05"),
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "2007-01-15"),
    ("FREQ=MONTHLY", "2027-01-31"),
    ("FREQ=MONTHLY;INTERVAL=5", "2027-01-31"),
    ("FREQ=YEARLY", "2028-02-29"),
    ("FREQ=YEARLY;INTERVAL=3", "2028-02-29"),
    ("FREQ=YEARLY", "2092-02-29"),
    ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", "2027-01-01"),
    ("FREQ=DAILY;INTERVAL=7;BYMONTHDAY=29;BYMONTH=2", "2027-01-01"),
    ("FREQ=DAILY;BYMONTHDAY=-1", "2096-01-01"),
    ("FREQ=YEARLY;BYDAY=53MO", "2024-01-01"),
    ("FREQ=YEARLY;BYDAY=-53TH", "2024-01-01"),
    ("FREQ=YEARLY;BYDAY=1MO,-1FR", "2027-03-01"),
    ("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2027-03-01"),
    ("FREQ=YEARLY;BYMONTH=1,12;BYSETPOS=-1", "2027-03-31"),
    ("FREQ=WEEKLY;BYDAY=MO,FR;BYSETPOS=-1", "2027-03-01"),
    ("FREQ=WEEKLY;BYDAY=SA,SU,MO;BYSETPOS=1;WKST=SA;INTERVAL=3", "2026-12-26"),
    ("FREQ=WEEKLY;BYMONTH=2;BYDAY=MO,WE", "2027-01-01"),
    ("FREQ=MONTHLY;BYDAY=5WE", "2027-01-01"),
    ("FREQ=MONTHLY;BYDAY=-5WE;INTERVAL=2", "2027-01-01"),
    ("FREQ=MONTHLY;BYMONTHDAY=-31", "2027-01-01"),
    ("FREQ=YEARLY;BYMONTHDAY=31", "2027-01-01"),
]


def some(items, most):
    return sorted(CHANCE.sample(items, CHANCE.randint(1, most)))


def listed(name, items):
    return f"{name}=" + ",".join(map(str, items))


def made_up():
    """A rule inside the subset on which dateutil and the RFC agree: no weekday beside an ordinal one, and BYSETPOS of
    a weekly rule only from the first day of a week."""
    freq = CHANCE.choice(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
    start = datetime(1970, 1, 1) + timedelta(days=CHANCE.randrange(130 * 365))
    if CHANCE.random() < 0.2:
        start = start.replace(day=calendar.monthrange(start.year, start.month)[1])
    parts = [f"FREQ={freq}"]
    if CHANCE.random() < 0.5:
        parts.append(f"INTERVAL={CHANCE.choice([2, 3, 4, 5, 6, 7, 10, 12, 13, 26, 90])}")
    by = []
    if CHANCE.random() < 0.35:
        by.append(listed("BYMONTH", some(range(1, 13), 4)))
    if freq != "WEEKLY" and CHANCE.random() < 0.45:
        by.append(listed("BYMONTHDAY", some([*range(1, 32), *range(-31, 0)], 6)))
    if CHANCE.random() < 0.55:
        days = some(range(7), 4)
        if freq in ("MONTHLY", "YEARLY") and CHANCE.random() < 0.5:
            most = 53 if freq == "YEARLY" and not any("BYMONTH=" in part for part in by) else 5
            numbered = [f"{CHANCE.choice([1, -1]) * CHANCE.randint(1, most)}{DAYS[day]}" for day in days]
            by.append(listed("BYDAY", numbered))
        else:
            by.append(listed("BYDAY", [DAYS[day] for day in days]))
    week_start = CHANCE.choice([0, 0, 5, 6, 2])
    if by and freq != "DAILY" and CHANCE.random() < 0.35:
        by.append(listed("BYSETPOS", some([1, 2, 3, 5, -1, -2, -4], 2)))
        if freq == "WEEKLY":
            start -= timedelta(days=(start.weekday() - week_start) % 7)
            start = max(start, datetime(1970, 1, 1) + timedelta(days=(week_start - 3) % 7))
    parts += by
    if week_start:
        parts.append(f"WKST={DAYS[week_start]}")
    end = CHANCE.random()
    if end < 0.25:
        parts.append(f"COUNT={CHANCE.randint(1, 9)}")
    elif end < 0.4:
        until = start + timedelta(days=CHANCE.randrange(2000), hours=CHANCE.randrange(24))
        parts.append(f"UNTIL={until:%Y%m%dT%H%M%S}")
    CHANCE.shuffle(parts)
    return ";".join(parts), f"{start:%Y-%m-%d}"


def dates(rule, start, time):
    hour, minute = time
    first = datetime.fromisoformat(start).replace(hour=hour, minute=minute)
    if "UNTIL=" in rule and "T" not in rule.split("UNTIL=")[1].split(";")[0]:
        rule = rule.replace("UNTIL=19971224", "UNTIL=19971224T235959")
    found = takewhile(lambda date: date <= END, iter(rrulestr(rule, dtstart=first)))
    return [f"{date:%Y-%m-%d}" for date in islice(found, DATES)]


def record_rules():
    cases = []
    rules = iter(RULES)
    while len(cases) < 300:
        rule, start = next(rules, None) or made_up()
        time = (CHANCE.randrange(24), CHANCE.choice([0, 15, 30, 59]))
        cases.append({"rule": rule, "start": start, "time": "%02d:%02d" % time, "dates": dates(rule, start, time)})
    return cases


def cron_field(least, most, names=()):
    chance = CHANCE.random()
    if chance < 0.35:
        return "*"
    if chance < 0.45:
        return f"*/{CHANCE.choice([2, 3, 5])}"
    if chance < 0.65:
        low, high = sorted(CHANCE.sample(range(least, most + 1), 2))
        return f"{low}-{high}" + CHANCE.choice(["", "/2", "/3"])
    numbers = some(range(least, most + 1), 3)
    return ",".join(names[number - least] if names and CHANCE.random() < 0.5 else str(number) for number in numbers)


def record_crons():
    months = [calendar.month_abbr[month].lower() for month in range(1, 13)]
    weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    expressions = ["0 9 * * mon", "0 9 13 * fri", "0 9 */2 * fri", "30 2 29 2 *", "*/15 8-17 * * 1-5", "0 0 1,15 * 7"]
    while len(expressions) < 120:
        minute, hour = CHANCE.choice(["0", "30", "*/15", "*/20", "5,35"]), cron_field(0, 23)
        day, month, weekday = cron_field(1, 31), cron_field(1, 12, months), cron_field(0, 6, weekdays)
        expressions.append(f"{minute} {hour} {day} {month} {weekday}")
    cases = []
    for expression in expressions:
        start = datetime(1970, 1, 1) + timedelta(days=CHANCE.randrange(130 * 365))
        # From a minute before, as croniter gives what comes after; with Vixie's rule for fields that begin with `*`.
        walk = croniter(expression, start - timedelta(minutes=1), implement_cron_bug=True)
        times = [f"{walk.get_next(datetime):%Y-%m-%dT%H:%M}" for _ in range(DATES)]
        cases.append({"cron": expression, "start": f"{start:%Y-%m-%d}", "times": times})
    return cases


def write(name, cases):
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n")


write("rrule_cases.json", record_rules())
write("cron_cases.json", record_crons())
