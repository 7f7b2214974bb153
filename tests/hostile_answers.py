"""Answers that nobody means well: for every question of copier.yml, whatever a person could type.

`answer_sets()` are sets for a Questionnaire: some questions get such a value, the others a row of
the covering set, so that all overlays are met. What a value may do if it gets loose is to make a
file named CANARY.
"""

from __future__ import annotations

import datetime
import keyword
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

import combinations
import helpers

CANARY = "CANARY"

# Each would do or break something in one kind of file or program.
FRAGMENTS = (
    *("$(touch CANARY)", "`touch CANARY`", ";touch CANARY;", "| touch CANARY", "&& touch CANARY #"),
    *("$(shell touch CANARY)", "${IFS}touch", "$$(touch CANARY)", "\ntouch CANARY\n", "%COMSPEC%"),
    *("{{ 7 * 7 }}", "{% raw %}", "{#", "{{ ''.__class__.__mro__ }}", "{%- endif %}", "#}"),
    *("{{ _copier_conf.src_path }}", "[[ x ]]", "${{ github.token }}", "${{ 7 * 7 }}", "<%= 7 %>"),
    *("'", '"', "'''", '"""', "\\", "\\\\", "\\n", '\\"', "\\u0041", "\\x41", '"; x = "', "']#"),
    *("# comment", " #", ": ", "- item", "{a: b}", "[x", "]", "&a *a", "!!python/name:os.system"),
    *("|", "---", "...", "...\n---\n", "%TAG", "@at", "? key", "<<: *x", "~", "null", "yes"),
    *("0o17", "1e3", "\n[project]\nname = 'x'", "=", "\nsetup:\n\ttouch CANARY\n"),
    *("\nRUN touch CANARY", "ONBUILD", "\nimport os; os.system('touch CANARY')\n"),
    *('"""\nopen("CANARY", "w")\n"""', "%s%n", "{0}", "<script>touch</script>", "<!-- -->", "-->"),
    *("&lt;&#60;", "]]>", "<img src=x onerror=y>", "](javascript:x)", "[a](b)", "![](x)", "**b**"),
    *("__b__", "~~~", "```", "| a | b |", "1. x", "> q", "../../etc/passwd", "..", "/etc/passwd"),
    *("C:\\Windows", "\\\\host\\share", "~root", "./-rf", "-rf", "a\u202eb", "\u2066x\u2069"),
    *("a\u200bb", "\ufeff", "\u00ad", "e\u0301" * 3, "\u0430\u0440\u0440", "\x00", "\x07"),
    *("\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029", "\r\n", "\t", "\x0b", "\udcff", "\U000e0041"),
    *(
        "\ue000",
        "\uffff",
        "👩‍👩‍👧",
        "日本語",
        "Größe",
        "ﬁ",
        "Ⅷ",
        "\u0131",
        "İ",
        "ß",
        "٣",
        "\U0001d51e",
    ),
    *("\u00a0", "\u3000", "\u2003", "<<<<<<< before", "=======", ">>>>>>> after", "--data", "-"),
    *("x" * 61, "x" * 201, "x " * 5_000, "é" * 255, "a/" * 200, "9" * 400),
)
DEVICES = ("CON", "con", "aux", "NUL", "com1", "LPT9", "prn.txt", "nul.", "com¹")
WORDS = (
    *keyword.kwlist,
    *keyword.softkwlist,
    "__init__",
    "self",
    "test",
    "tests",
    "src",
    "inference",
)
MODELS = (
    *("./base", "../base", "~/base", "/etc/passwd", "org/name", "Qwen/Qwen3-0.6B", "scratch"),
    *("./a b", "./$(touch CANARY)", "org/name;touch CANARY", "https://host.example/org/name"),
    *("file:///etc/passwd", "org/../name", "org//name", "/", "./", "../../../..", "./-rf", "C:/x"),
    *("org/name\n", "ORG/NAME", "\u043erg/name", ".\\base", "org/name@main", "./" + "a" * 299),
)
PATHS = (
    *("", " ", ".", "..", "/", "/dev/zero", "/dev/stdin", "/proc/self/mem", "data"),
    *("data/raw/x.csv", "../../../../etc/passwd", "~/x.csv", "a b.csv", "x.csv; touch CANARY"),
    *("$(touch CANARY).csv", "`touch CANARY`.csv", "{{ 7 * 7 }}.csv", "a'b\"c.jsonl", "x\n.csv"),
    *("x\0.csv", "\udcff.csv", "C:\\data\\x.csv", "-rf.csv", "hub/data", "a#b: c.csv"),
    *("日本語.csv", "a" * 5_000 + ".csv"),
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 8, 10**6, 10**18, 10**400, 1.5, -0.0, 1e308, float("nan"), float("inf"), ""),
    *(" ", "1", " 1 ", "1_0", "0x10", "1e3", "NaN", "-inf", "٣", "1;touch CANARY", "9" * 5_000),
    *("true", True, False, "{{ 7 * 7 }}", "$(touch CANARY)"),
)
# What YAML can hold and no keyboard gives: by --data-file, or by editing the answers file.
WRONG_TYPES: tuple[Any, ...] = (
    *(None, [], {}, [[]], [None], {"a": 1}, {1: {2: [3]}}, ["x", 1], True, 1.5, b"x"),
    *({"value": "x"}, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 1, 1)),
    *(set(), float("nan")),
)
FACTS: tuple[Any, ...] = (
    *("{", "[]", "null", "1", '"x"', "{}", '{"rows": "many"}', '{"rows": -1}', '{"rows": 1e400}'),
    *({"rows": "many"}, {"rows": -5, "mean_tokens": "x"}, {"rows": 10**30}, {"columns": "x"}),
    *({"rows": 5, "classes": None, "max_tokens": []}, {"$(touch CANARY)": "{{ 7 * 7 }}"}),
)
# The answers that stand in files as they were typed, and what a harmless person would type.
PLAIN_TEXTS = {
    "project_name": "Sentinel Title",
    "description": "Sentinel description",
    "author_name": "Sentinel Author",
    "author_email": "sentinel@mail.example",
    "project_slug": "sentinel-slug",
    "package_name": "sentinel_package",
    "base_model": "sentinel-org/sentinel-model",
    "data_file": "data/raw/sentinel.csv",
}
PLAIN_FOLDER = "./sentinel-model"


def plain_texts(stored: Mapping[str, Any]) -> dict[str, str]:
    """Return for each text that was given a harmless one, with which all else stays as it is.

    Files differ between hub and folder, and for models whose size is known: those stay.
    """
    plain = {key: text for key, text in PLAIN_TEXTS.items() if stored[key]}
    model = stored["base_model"]
    if model == "scratch" or re.search(r"(?i)\d[bm]\b", model) or model in known_models():
        del plain["base_model"]
    elif model[0] in "./~" or ":" in model:
        plain["base_model"] = PLAIN_FOLDER
    return plain


@cache
def known_models() -> str:
    """Return the tables of models."""
    tables = (
        "extensions/recommended_models.csv",
        "template/src/{{package_name}}/estimate/tables/models.csv",
    )
    return "".join((helpers.ROOT / table).read_text("utf-8") for table in tables)


@cache
def names_in_use() -> tuple[str, ...]:
    """Modules of Python, packages that a project installs, words of Python, Windows' devices."""
    locked = (helpers.ROOT / "locks/transformers.txt").read_text("utf-8").splitlines()
    packages = [line.split("==")[0] for line in locked if "==" in line and line[0].isalpha()]
    return (*sorted(sys.stdlib_module_names), *packages, *WORDS, *DEVICES)


@cache
def texts() -> st.SearchStrategy[str]:
    """Fragments alone, inside a decent text, several together; and any Unicode at all."""
    fragment = st.sampled_from(FRAGMENTS)
    decent = st.sampled_from(["Ticket router", "a", "Zoë O'Brien", "x1"])
    return st.one_of(
        fragment,
        st.builds("{} {}".format, decent, fragment),
        st.builds("{}{}".format, fragment, decent),
        st.builds("{0} {1} {0}".format, decent, fragment),
        st.lists(fragment, min_size=2, max_size=4).map(" ".join),
        st.text(max_size=70),
        st.text(alphabet=" '\"\\$`{}%#&*!|>[]:,;-=~^<()@\n\t/.a1é", max_size=40),
        st.sampled_from(names_in_use()),
    )


@cache
def names() -> st.SearchStrategy[str]:
    """Names that are in use, in several spellings, and texts."""
    used = st.sampled_from(names_in_use())
    spelt = st.sampled_from([str, str.upper, str.title, lambda name: name.replace("_", "-")])
    return st.one_of(
        st.builds(lambda name, spell: spell(name), used, spelt),
        st.builds("{}{}".format, used, st.sampled_from(["-", "_", ".", " ", "2", "\u200b", ".py"])),
        st.from_regex(r"[a-z][a-z0-9]{0,8}([-_][a-z0-9]{1,5}){0,3}", fullmatch=True),
        texts(),
    )


@cache
def values(key: str) -> st.SearchStrategy[Any]:
    """What may be typed at one question."""
    question = helpers.questions()[key]
    own: dict[str, st.SearchStrategy[Any]] = {
        "project_slug": names(),
        "package_name": names(),
        "base_model": st.one_of(st.sampled_from(MODELS), texts()),
        "data_file": st.one_of(st.sampled_from(PATHS), texts()),
        "data_facts": st.one_of(st.sampled_from(FACTS), texts()),
    }
    usual = own.get(key)
    if usual is None and (question["type"] in ("int", "float")):
        usual = st.one_of(st.sampled_from(NUMBERS), st.integers(), st.floats())
    if usual is None and ("choices" in question or question["type"] == "bool"):
        offered = helpers.offered(key) or combinations.COMPUTED.get(key, [True, False])
        mangled = st.sampled_from(
            [str(value).upper() + end for value in offered for end in ("", " ")]
        )
        usual = st.one_of(st.sampled_from(offered), mangled, texts())
        if question.get("multiselect"):
            usual = st.one_of(
                usual, st.lists(usual, max_size=3), st.sampled_from(["[", "[x]", "{}"])
            )
    # Now and then a type that only a file can hold.
    if usual is None:
        usual = texts()
    return st.one_of(*[usual] * 6, st.sampled_from(WRONG_TYPES))


@st.composite
def answer_sets(draw: st.DrawFn) -> dict[str, Any]:
    """Answers to some questions, hostile, and to the others, harmless."""
    base = draw(st.sampled_from(combinations.covering()))
    keys = list(helpers.questions())
    chosen = draw(st.sets(st.sampled_from(keys), min_size=1, max_size=5))
    chosen |= draw(st.sets(st.sampled_from(sorted(PLAIN_TEXTS)), max_size=4))
    hostile = {key: draw(values(key)) for key in keys if key in chosen}
    return {**helpers.ANSWERS, **base, **hostile}


@st.composite
def edited_answers_files(draw: st.DrawFn) -> dict[str, Any]:
    """What an answers file may hold after somebody edited it: any key missing, wrong or unknown."""
    stored = {**helpers.ANSWERS, **draw(st.sampled_from(combinations.covering()))}
    keys = list(helpers.questions())
    for key in sorted(draw(st.sets(st.sampled_from(keys), max_size=6))):
        stored.pop(key, None)
    for key in sorted(draw(st.sets(st.sampled_from(keys), min_size=1, max_size=6))):
        stored[key] = draw(st.one_of(values(key), st.sampled_from(WRONG_TYPES)))
    unknown = st.sampled_from(
        ["taks", "framework_jax", "_commit", "advice", "found", "x y", "", "1"]
    )
    return {**stored, **draw(st.dictionaries(unknown, texts(), max_size=2))}
