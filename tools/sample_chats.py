"""Chats for the LLM sample: small chores whose right answer follows from the prompt."""

import calendar
import datetime as dt
import json
import random
from collections.abc import Callable

Message = dict[str, str]
# A chore returns the turns of a conversation: (question, answer) pairs, one or more.
Turns = list[tuple[str, str]]

NAMES = (
    "Amara", "Bruno", "Chen", "Dalia", "Emil", "Farah", "Greta", "Hiro", "Ines", "Jonas",
    "Kofi", "Lena", "Mateo", "Nadia", "Oskar", "Priya", "Quinn", "Rosa", "Samir", "Tuva",
)  # fmt: skip
CITIES = (
    "Bergen", "Cork", "Denver", "Ghent", "Graz", "Leeds", "Lyon", "Malmo", "Nairobi", "Osaka",
    "Porto", "Quito", "Turin", "Utrecht",
)  # fmt: skip
JOBS = (
    "baker", "carpenter", "chemist", "electrician", "librarian", "nurse", "pilot", "teacher",
    "translator", "welder",
)  # fmt: skip
THINGS = (
    "apples", "books", "candles", "chairs", "envelopes", "lamps", "mugs", "pencils", "plates",
    "screws", "stamps", "tiles",
)  # fmt: skip
WORDS = (
    "amber", "basket", "copper", "dune", "ember", "forest", "garnet", "harbor", "island", "juniper",
    "kettle", "lantern", "meadow", "needle", "orchid", "pebble", "quartz", "river", "saddle",
    "timber", "umbrella", "valley", "willow", "yarn", "zephyr",
)  # fmt: skip
UNITS = (
    ("kilometers", "meters", 1000), ("meters", "centimeters", 100), ("kilograms", "grams", 1000),
    ("liters", "milliliters", 1000), ("hours", "minutes", 60), ("minutes", "seconds", 60),
    ("days", "hours", 24), ("weeks", "days", 7), ("feet", "inches", 12),
    ("tons", "kilograms", 1000), ("centimeters", "millimeters", 10),
)  # fmt: skip
MONTHS = tuple(calendar.month_name)[1:]


def make_chats(seed: int, rows: int, eval_rows: int) -> tuple[list[dict[str, list[Message]]], ...]:
    """Return (train, eval): rows of `messages`; no first question occurs twice in the whole set."""
    rng = random.Random(seed)
    seen: set[str] = set()
    splits = []
    for count in (rows, eval_rows):
        chats: list[dict[str, list[Message]]] = []
        while len(chats) < count:
            chore = CHORES[len(chats) % len(CHORES)]
            system, turns = _with_system(rng, chore(rng))
            if turns[0][0].lower() in seen:
                continue
            seen.add(turns[0][0].lower())
            chats.append({"messages": _messages(system, turns)})
        rng.shuffle(chats)
        splits.append(chats)
    return tuple(splits)


def _messages(system: str, turns: Turns) -> list[Message]:
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def _with_system(rng: random.Random, turns: Turns) -> tuple[str, Turns]:
    """Give a third of the chats a system message, one in three of which changes the answers."""
    if rng.random() > 0.33:
        return "", turns
    match rng.randrange(6):
        case 0:
            return "End every answer with the word DONE.", [(q, f"{a}\nDONE") for q, a in turns]
        case 1:
            return "Begin every answer with 'Answer:'.", [(q, f"Answer: {a}") for q, a in turns]
        case 2:
            return "You are a careful office assistant.", turns
        case 3:
            return "You are a patient teaching assistant.", turns
        case 4:
            return "You help people with numbers, dates and lists.", turns
        case _:
            return "Answer in the format the user asks for.", turns


def _unit_conversion(rng: random.Random) -> Turns:
    big, small, factor = rng.choice(UNITS)
    value = rng.randint(2, 60)
    ask = rng.choice(
        ("How many {s} are {v} {b}?", "Convert {v} {b} to {s}.", "{v} {b} in {s}, please.")
    )
    turns = [(ask.format(v=value, b=big, s=small), f"{value} {big} are {value * factor} {small}.")]
    if rng.random() < 0.3:
        more = value + rng.randint(1, 9)
        turns.append((f"And {more} {big}?", f"{more} {big} are {more * factor} {small}."))
    return turns


def _next_date(rng: random.Random) -> Turns:
    day = dt.date(2020, 1, 1) + dt.timedelta(days=rng.randrange(2500))
    shift = rng.choice((1, 1, 2, 3, 7, 10, 14, 30))
    unit = "day" if shift == 1 else "days"
    later, earlier = day + dt.timedelta(days=shift), day - dt.timedelta(days=shift)
    if rng.random() < 0.6:
        return [(f"What date is {shift} {unit} after {day}?", f"{later}")]
    return [
        (f"Which date is {shift} {unit} before {day}?", f"{earlier}"),
        ("And as many days after it?", f"{later}"),
    ]


def _date_format(rng: random.Random) -> Turns:
    day = dt.date(1950, 1, 1) + dt.timedelta(days=rng.randrange(28000))
    spoken = f"{day.day} {MONTHS[day.month - 1]} {day.year}"
    if rng.random() < 0.5:
        return [(f"Write {spoken} as YYYY-MM-DD.", f"{day}")]
    return [(f"Write {day} in words.", spoken)]


def _word_problem(rng: random.Random) -> Turns:
    name, friend = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    a, b = rng.randint(12, 90), rng.randint(2, 11)
    match rng.randrange(4):
        case 0:
            text = f"{name} has {a} {thing} and gives {b} to {friend}. How many {thing} are left?"
            return [(text, f"{a} - {b} = {a - b}. {name} has {a - b} {thing} left.")]
        case 1:
            text = f"{name} buys {b} boxes with {a} {thing} each. How many {thing} is that?"
            return [(text, f"{b} x {a} = {a * b}. That is {a * b} {thing}.")]
        case 2:
            text = f"{name} has {a} {thing}, {friend} has {b} more. How many has {friend}?"
            return [(text, f"{a} + {b} = {a + b}. {friend} has {a + b} {thing}.")]
        case _:
            text = f"{name} shares {a * b} {thing} among {b} people. How many does each get?"
            return [(text, f"{a * b} / {b} = {a}. Each gets {a} {thing}.")]


def _extraction(rng: random.Random) -> Turns:
    name, city, job, age = (
        rng.choice(NAMES),
        rng.choice(CITIES),
        rng.choice(JOBS),
        rng.randint(19, 70),
    )
    sentence = rng.choice(
        (
            "{n}, {a}, is a {j} in {c}.",
            "My colleague {n} from {c} turned {a} and works as a {j}.",
            "In {c} I met {n}, a {a}-year-old {j}.",
            "The {j} is called {n}, lives in {c} and is {a}.",
        )
    ).format(n=name, c=city, j=job, a=age)
    facts = {"name": name, "age": age, "job": job, "city": city}
    keys = sorted(rng.sample(sorted(facts), rng.choice((2, 3, 4))))
    wanted = ", ".join(keys[:-1]) + f" and {keys[-1]}"
    picked = json.dumps({key: facts[key] for key in keys})
    turns = [(f"Extract {wanted} as JSON: {sentence}", picked)]
    rest = sorted(set(facts) - set(keys))
    if rest and rng.random() < 0.4:
        turns.append((f"Only the {rest[0]}, as JSON.", json.dumps({rest[0]: facts[rest[0]]})))
    return turns


def _sorting(rng: random.Random) -> Turns:
    words = rng.sample(WORDS, rng.randint(3, 7))
    turns = [(f"Sort these words from A to Z: {', '.join(words)}", ", ".join(sorted(words)))]
    if rng.random() < 0.35:
        turns.append(("Now from Z to A.", ", ".join(sorted(words, reverse=True))))
    return turns


def _bullets(rng: random.Random) -> Turns:
    words = rng.sample(WORDS, rng.randint(3, 8))
    bullets = "\n".join(f"- {word}" for word in words)
    numbered = "\n".join(f"{i}. {word}" for i, word in enumerate(words, start=1))
    if rng.random() < 0.4:
        return [(f"Make a numbered list of {', '.join(words)}.", numbered)]
    turns = [(f"Make a bullet list of {', '.join(words)}.", bullets)]
    if rng.random() < 0.35:
        turns.append(("Number it instead.", numbered))
    return turns


def _table_to_json(rng: random.Random) -> Turns:
    names = rng.sample(NAMES, rng.randint(2, 4))
    column, values = rng.choice((("city", CITIES), ("job", JOBS)))
    rows = [{"name": name, column: rng.choice(values)} for name in names]
    table = "\n".join([f"name,{column}", *(f"{row['name']},{row[column]}" for row in rows)])
    return [(f"Turn this CSV into JSON lines:\n{table}", "\n".join(json.dumps(r) for r in rows))]


def _redaction(rng: random.Random) -> Turns:
    name, city = rng.choice(NAMES), rng.choice(CITIES)
    mail = f"{name.lower()}{rng.randint(1, 99)}@example.{rng.choice(('com', 'org', 'net'))}"
    phone = f"555-{rng.randint(1000, 9999)}"
    sentence = rng.choice(
        (
            "Write to {m} or call {p} before {n} leaves {c}.",
            "{n} in {c} can be reached at {p} and {m}.",
            "Call {p} and ask for {n}; the office in {c} also reads {m}.",
        )
    )
    return [
        (
            f"Replace the e-mail address and the phone number: "
            f"{sentence.format(n=name, c=city, m=mail, p=phone)}",
            sentence.format(n=name, c=city, m="[EMAIL]", p="[PHONE]"),
        )
    ]


def _meeting(rng: random.Random) -> Turns:
    who, city = rng.sample(NAMES, rng.randint(2, 3)), rng.choice(CITIES)
    hour, length = rng.randint(8, 17), rng.choice((15, 30, 45, 60, 90))
    start = dt.datetime(2025, 1, 1, hour, rng.choice((0, 15, 30)))
    people = ", ".join(who[:-1]) + f" and {who[-1]}"
    question = (
        f"{people} meet in {city} at {start:%H:%M} for {length} minutes. Give place, start and end."
    )
    end = start + dt.timedelta(minutes=length)
    turns = [(question, f"Place: {city}\nStart: {start:%H:%M}\nEnd: {end:%H:%M}")]
    if rng.random() < 0.3:
        turns.append(("Who takes part?", "\n".join(f"- {name}" for name in who)))
    return turns


def _prices(rng: random.Random) -> Turns:
    first, second = rng.sample(THINGS, 2)
    n, m, p, q = (rng.randint(2, 9) for _ in range(4))
    total = n * p + m * q
    question = f"{n} {first} at ${p} each and {m} {second} at ${q} each: what is the total?"
    turns = [(question, f"{first}: ${n * p}\n{second}: ${m * q}\ntotal: ${total}")]
    if rng.random() < 0.3:
        paid = total + rng.randint(1, 40)
        turns.append(
            (f"I pay with ${paid}. How much comes back?", f"${paid} - ${total} = ${paid - total}")
        )
    return turns


CHORES: tuple[Callable[[random.Random], Turns], ...] = (
    _unit_conversion, _next_date, _date_format, _word_problem, _extraction, _sorting,
    _bullets, _table_to_json, _redaction, _meeting, _prices,
)  # fmt: skip
