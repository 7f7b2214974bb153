"""Support tickets for the text-classification sample: a small grammar, its noise, and the split."""

# ruff: noqa: E501 (the grammar has a sentence a line)

import random
import re
from collections.abc import Iterator

LABELS = ("account", "billing", "delivery", "feedback", "technical")

# `[a|b]` is a choice and `{name}` a slot. Words such as order, app, invoice, parcel and password
# are spread over several classes on purpose: no single word gives the label away.
SLOTS: dict[str, tuple[str, ...]] = {
    "product": (
        "desk lamp",
        "coffee grinder",
        "wireless keyboard",
        "rain jacket",
        "standing desk",
        "water filter",
        "bike light",
        "label printer",
        "office chair",
        "noise-cancelling headset",
        "air purifier",
        "tablet stand",
        "sewing machine",
        "garden hose",
        "smart thermostat",
        "travel backpack",
    ),
    "gadget": (
        "wireless keyboard",
        "bike light",
        "label printer",
        "noise-cancelling headset",
        "air purifier",
        "smart thermostat",
    ),
    "plan": ("Basic", "Plus", "Family", "Team", "Business", "Student"),
    "device": (
        "Android phone",
        "iPad",
        "work laptop",
        "old MacBook",
        "Windows PC",
        "Chromebook",
        "iPhone",
        "Linux desktop",
    ),
    "browser": ("Firefox", "Chrome", "Safari", "Edge", "Brave"),
    "month": (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    "city": (
        "Leeds",
        "Porto",
        "Gdansk",
        "Lyon",
        "Austin",
        "Graz",
        "Malmo",
        "Turin",
        "Cork",
        "Ghent",
        "Denver",
        "Osaka",
    ),
    "page": (
        "search page",
        "checkout page",
        "order history",
        "invoice page",
        "settings screen",
        "delivery tracker",
        "login screen",
        "product page",
    ),
}

ISSUES: dict[str, tuple[str, ...]] = {
    "billing": (
        "I was charged [twice|two times|three times] for [order {number}|the {product}|my {plan} plan]",
        "the [invoice|receipt] for {month} shows {amount} [instead of|but I agreed to|rather than] {amount2}",
        "my [card|bank account] was debited {amount} [although|even though] [I cancelled the {plan} plan|"
        "order {number} was cancelled|the trial had not ended]",
        "[please send|I still need|can I get] [a corrected invoice|a VAT receipt|an invoice with our tax number]"
        " for [order {number}|the {product}|{month}]",
        "the refund of {amount} for the {product} [has not arrived|is still missing|never reached my bank]",
        "why did the price of the {plan} [plan|subscription] go up to {amount} [in {month}|without notice]",
        "the discount code was [not applied|ignored] [to order {number}|at checkout], so I [paid|was billed] {amount}",
        "[can I pay|is it possible to pay] {amount} [by bank transfer|in two instalments|on purchase order]"
        " [for the {product}|for the {plan} plan]",
        "there is [an unknown|a strange] [fee|charge] of {amount} on my [statement|invoice] from {month}",
        "we [moved|switched] from {plan} to {plan2} in {month} and [are now billed for both|the old amount of"
        " {amount} is still taken]",
    ),
    "delivery": (
        "[order {number}|my parcel|the {product}] [was due on {weekday}|should have come on {weekday}]"
        " and [is still not here|nobody has seen it]",
        "the tracking [page|link] [says|claims] [delivered|handed over] on {weekday} but I [have nothing|found no box]"
        " [at my address in {city}|in {city}]",
        "the courier left [the {product}|my package] [in the rain|with a stranger|at the wrong house] in {city}",
        "[can you send|please redirect] order {number} to [my office in {city}|a pick-up shop in {city}|our new"
        " address in {city}]",
        "the box [arrived|came] [crushed|open|soaked] and the {product} [is broken|is scratched|has a dent]",
        "[only part of|half of] order {number} [arrived|was in the parcel], the {product} is [missing|not in the box]",
        "[how long|how many days] does shipping [a {product}|order {number}] to {city} [take|usually take]",
        "I ordered a {product} [but got|and received] a {product2} [in the parcel|instead|on {weekday}]",
        "the driver [never rang|did not ring], and now my [package|{product}] is [going back|stuck at a depot in {city}]",
        "[can|may] I choose [an evening|a {weekday}] [slot|delivery] for order {number}",
    ),
    "account": (
        "I [cannot|can't] [log in|sign in] [on my {device}|since {weekday}|to see my invoice from {month}],"
        " [my password is refused|it says wrong password]",
        "the [reset|confirmation] e-mail [never comes|does not arrive], so I am locked out [of my {plan} account"
        "|on my {device}]",
        "please [change|correct] the [e-mail address|name|phone number] on [my profile|our {plan} account]"
        " [to my work one|since we moved to {city}]",
        "[how do I|please help me] [delete|close] my account [and all my data|after order {number}|before {month}]",
        "[someone|a stranger] [logged in|signed in] to my [profile|account] from {city} [on {weekday}|last night]",
        "I want to [add|remove] a [colleague|second user|team member] [to|from] our {plan} [workspace|account]",
        "I have two [profiles|accounts] [since {month}|with order {number} in the wrong one]"
        " and would like to [merge|join] them",
        "the two-step code is sent to my old [number|{device}], [how can I|where do I] [update|change] it",
        "my [profile|account] was [blocked|suspended] [after I paid {amount}|on {weekday}] [and I do not know why|"
        "without a word]",
        "who [owns|is the admin of] our {plan} account, [she left the firm in {month}|he moved to {city}],"
        " and [I need|we need] the [rights|role]",
    ),
    "technical": (
        "the app [crashes|freezes|closes] [when|as soon as] I [open the {page}|tap pay|add the {gadget}]"
        " on my {device}",
        "the {page} [stays blank|loads forever|is empty] in {browser} [since {weekday}|on my {device}]",
        "I get error {code} [when I upload a photo|when I download an invoice|on the {page}] [with|in] {browser}",
        "the {gadget} [does not pair|will not connect] with [my {device}|the app] [after the update|since {month}]",
        "after the [last|{month}] update the [push messages|widgets|filters] [no longer work|are gone] on my {device}",
        "the [export|sync] [stops|hangs] at {percent} percent [on the {page}|in {browser}|every {weekday}]",
        "the [pay|save|login] button on the {page} does [nothing|not react] in {browser}",
        "the firmware [update|upgrade] of my {gadget} [fails|ends] with error {code} [every time|again]",
        "your API [returns|answers with] {code} [for every call|since {weekday}] [with our {plan} key|from {city}]",
        "[pictures|prices|dates] on the {page} are [garbled|cut off|shown twice] [in {browser}|on my {device}]",
    ),
    "feedback": (
        "[I love|we really like] the [new {page}|{product}], [it saves us time|much better than before|keep it up]",
        "it would be [great|nice] if the [app|{page}] had [a dark mode|bigger text|a search by price|a wish list]",
        "the [courier|driver] in {city} was [so kind|very friendly], please [thank her|tell him thanks] from us",
        "the [{product}|packaging of the {product}] is [good|fine] but [a bit too large|the colour is duller than shown]",
        "my [idea|suggestion]: [show the delivery date|put the invoice link|list past orders] on the {page}",
        "your [team|colleague] [solved|fixed] my [login|refund|parcel] problem in {minutes} minutes, [great service|"
        "I am impressed]",
        "the [new|{month}] [design|menu] of the {page} is [confusing|harder to read], I [preferred|miss] the old one",
        "[five|three|four] stars for the {product}, [my family uses it daily|a gift that worked|solid and quiet]",
        "please [bring back|keep] the [{product}|{plan} plan], [we were happy with it|it was the best you had]",
        "for {amount} I [expected more from|am very pleased with] the {product}, [just so you know|thought I would"
        " say so]",
    ),
}

# What people write around the matter; some of it mentions another class without asking about it.
OPENERS = (
    "",
    "",
    "",
    "Hello,",
    "Hi there,",
    "Good morning,",
    "Dear team,",
    "Hi, {weekday} again and me again,",
    "Hello, I have been a customer since {year} and",
    "Sorry to bother you, but",
    "Quick one:",
)
ASIDES = (
    "the last parcel came on time, by the way",
    "I paid for it in {month} already",
    "I did log out and in again",
    "the app told me to write to you",
    "my order number is {number}",
    "the invoice itself is fine",
    "my password works, so it is not that",
    "I tried it on my {device} as well",
    "my neighbour in {city} had the same",
    "I am usually happy with your service",
    "this is about the {product} from {month}",
    "I wrote about it on {weekday} and got no answer",
    "delivery was quick, I have to say",
    "nobody answers the phone",
)
CLOSERS = (
    "",
    "",
    "",
    "Thanks.",
    "Thank you for your help!",
    "Please get back to me by {weekday}.",
    "Kind regards from {city}",
    "What should I do?",
    "Can you look into it?",
    "This is the {nth} time.",
    "No hurry.",
    "I would like an answer today.",
)

# A second matter, of another class, that is not what the ticket is about; `@` and `~` are the two.
SETTLED = (
    'Last time I wrote "~"; that is [settled|solved]. [Today|Now] it is this: @',
    '[A colleague|My wife|My neighbour] [told you|wrote] "~", [please ignore that|this is done]. @',
    '@ ([Earlier|In {month}] I said "~", [that is solved|forget it])',
    '@ And no, it is not about "~" any more',
)

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


def make_tickets(seed: int, rows: int, eval_rows: int) -> tuple[list[dict[str, str]], ...]:
    """Return (train, eval): rows of `text` and `label`, the classes in equal shares.

    The two differ in every text and in every central sentence, also when case is ignored.
    """
    rng = random.Random(seed)
    seen_texts: set[str] = set()
    cores_of: list[set[str]] = [set(), set()]
    splits = []
    for split, count in enumerate((rows, eval_rows)):
        tickets = []
        labels = [LABELS[i % len(LABELS)] for i in range(count)]
        rng.shuffle(labels)
        for label in labels:
            for core, text in _drafts(rng, label):
                if text.lower() in seen_texts or core.lower() in cores_of[1 - split]:
                    continue
                seen_texts.add(text.lower())
                cores_of[split].add(core.lower())
                tickets.append({"text": text, "label": label})
                break
        splits.append(tickets)
    return tuple(splits)


def _drafts(rng: random.Random, label: str) -> Iterator[tuple[str, str]]:
    while True:
        core = _expand(rng, rng.choice(ISSUES[label]))
        matter = core
        if rng.random() < 0.3:
            other = rng.choice([each for each in LABELS if each != label])
            frame = _expand(rng, rng.choice(SETTLED))
            second = _expand(rng, rng.choice(ISSUES[other]))
            first = f"{core}." if frame.startswith("@") else core[0].upper() + core[1:]
            matter = frame.replace("@", first).replace("~", second)
        parts = [_expand(rng, rng.choice(OPENERS)), matter]
        for aside in rng.sample(ASIDES, rng.choice((0, 1, 1, 2, 3))):
            parts.insert(rng.choice((1, len(parts))), _expand(rng, aside))
        text = _punctuate(rng, [part for part in parts if part])
        closer = _expand(rng, rng.choice(CLOSERS))
        text = f"{text} {closer}".strip()
        text = _misspell(rng, text)
        if 5 <= len(text.split()) <= 60:
            yield core, text


def _expand(rng: random.Random, template: str) -> str:
    while choice := _CHOICE.search(template):
        picked = rng.choice(choice.group(1).split("|"))
        template = template[: choice.start()] + picked + template[choice.end() :]
    text = _SLOT.sub(lambda slot: _fill(rng, slot.group(1)), template)
    return re.sub(r"\ba (?=[aeio])", "an ", text)


def _fill(rng: random.Random, slot: str) -> str:
    if slot in SLOTS:
        return rng.choice(SLOTS[slot])
    match slot:
        case "product2" | "plan2":
            return rng.choice(SLOTS[slot[:-1]])
        case "number":
            return rng.choice(("#{}", "{}", "no. {}")).format(rng.randint(10_000, 99_999))
        case "amount" | "amount2":
            return rng.choice(("{} EUR", "${}", "{} euros")).format(
                rng.choice(
                    (f"{rng.randint(3, 480)}.{rng.randint(0, 99):02d}", str(rng.randint(3, 480)))
                )
            )
        case "code":
            return rng.choice(("400", "403", "404", "409", "500", "502", "E17", "E42", "0x80"))
        case "percent":
            return str(rng.randint(2, 99))
        case "minutes":
            return str(rng.randint(2, 45))
        case "year":
            return str(rng.randint(2009, 2024))
        case "nth":
            return rng.choice(("second", "third", "fourth"))
    raise ValueError(f"the grammar has no slot {slot!r}")


def _punctuate(rng: random.Random, parts: list[str]) -> str:
    text = parts[0]
    for part in parts[1:]:
        if text[-1] in ",:" or text.endswith((" and", " but")):
            text = f"{text} {part}"
        else:
            mark = rng.choice((". ", ". ", ", ", " - "))
            text += mark + (part[0].upper() + part[1:] if mark == ". " else part)
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!)" else text + rng.choice((".", ".", "!", "", "..."))


def _misspell(rng: random.Random, text: str) -> str:
    """Now and then lower case throughout, and up to three words with a slip of the finger."""
    if rng.random() < 0.15:
        text = text.lower()
    words = text.split(" ")
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2, 3))):
        at = rng.randrange(len(words))
        word = words[at]
        if len(word) < 4 or not word.isalpha():
            continue
        i = rng.randrange(1, len(word) - 1)
        words[at] = rng.choice(
            (
                word[:i] + word[i + 1 :],
                word[:i] + word[i] + word[i:],
                word[:i] + word[i + 1] + word[i] + word[i + 2 :],
            )
        )
    return " ".join(words)
