"""Rows that an organisation adds to the estimate's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import helpers
from extensions import context, tables
from extensions.organisation import Organisation
from extensions.settings import SettingsError

pytestmark = pytest.mark.unit

FOLDER = helpers.ROOT / "template" / "src" / "{{package_name}}" / "estimate" / "tables"
ENCODER = "distilbert/distilbert-base-uncased"
PRICE = {"provider": "acme", "instance": "node", "gpu": "H100", "gpu_count": "8"} | {
    "usd_per_hour": "8.0",
    "as_of": "2026-11-02",
}


def house(**rows: list[dict[str, str]]) -> Organisation:
    return Organisation(name="Acme", rows=rows)


def estimate(settings: Organisation) -> Any:
    loaded: Any = context.load(context.ESTIMATE, package=True)
    tables.extend(loaded, settings)
    return loaded


@pytest.mark.parametrize("name", tables.KEYS)
def test_each_table_is_rendered_and_without_settings_it_is_the_same_text(name: str) -> None:
    assert (FOLDER / f"{name}.csv.jinja").read_text("utf-8") == f'{{{{ table("{name}") -}}}}\n'
    path = FOLDER / f"{name}.csv"
    assert tables.text(path, Organisation()).encode() == path.read_bytes()
    assert {path.name for path in FOLDER.glob("*.csv")} == {f"{key}.csv" for key in tables.KEYS}


def test_rows_are_added_and_replaced_and_nothing_else_changes() -> None:
    text = tables.text(FOLDER / "gpus.csv", house(gpus=[
        {"name": "H100-half", "like": "H100", "memory_gib": "39.1", "nvidia_smi_names": "a half"},
        {"name": "T4", "like": "T4", "memory_gib": "14.0"},
    ]))  # fmt: skip
    ours = (FOLDER / "gpus.csv").read_text("utf-8").splitlines()
    theirs = text.splitlines()
    assert [line for line in ours if line not in theirs] == [ours[1]]
    assert theirs[1].startswith("T4,14.0,,65,") and theirs[1].endswith('"Acme, like T4"')
    assert theirs[len(ours) :] == [theirs[-1]] and theirs[-1].startswith("H100-half,39.1,")


def test_the_questions_know_the_rows() -> None:
    found = estimate(
        house(
            gpus=[{"name": "H100-half", "like": "H100", "memory_gib": "39.1"}],
            prices=[PRICE],
            models=[{"hub_id": "acme/encoder", "like": ENCODER}],
        )
    )
    assert found.gpus()["H100-half"].memory_gib == 39.1
    assert found.quotes("H100", 8)[0].provider == "acme"
    assert found.find_model("acme/encoder") == found.find_model(ENCODER)
    plain: Any = context.load(context.ESTIMATE, package=True)
    assert "H100-half" not in plain.gpus()


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        ("gpus", {"memory_gib": "1"}, "gpus, row 1: name is missing"),
        ("gpus", {"nam": "x"}, "'nam' is no column; did you mean name?"),
        ("gpus", {"name": "x"}, "memory_gib is ''; write a number above 0"),
        ("gpus", {"name": "x", "like": "H100", "memory_gib": "big"}, "memory_gib is 'big'"),
        ("gpus", {"name": "x", "like": "H100", "compute_capability": "9"}, 'such as "9.0"'),
        ("gpus", {"name": "x", "like": "H101"}, "like: 'H101' is no row; did you mean H100"),
        ("prices", {"provider": "acme"}, "prices, row 1: instance is missing"),
        ("prices", {**PRICE, "like": "x"}, "'like' is no column"),
        ("prices", {**PRICE, "as_of": "yesterday"}, "as_of is 'yesterday'; write the day as"),
        ("prices", {**PRICE, "gpu_count": "0"}, "gpu_count is '0'"),
        ("prices", {**PRICE, "gpu": "h100"}, "gpu is 'h100'; the table calls it H100"),
        ("models", {"hub_id": "acme/x"}, "models, row 1: acme/x: "),
        ("models", {"hub_id": "acme/x", "like": ENCODER, "layers": "7"}, "its other columns make"),
    ],
)
def test_a_mistake_in_a_row_is_one_sentence(table: str, row: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        estimate(house(**{table: [row]}))
    said = str(caught.value)
    assert said.startswith(f"organisation.yml: {table}, row 1") and says in said, said
    assert "\n" not in said


def test_models_are_recommended_beside_ours_or_instead() -> None:
    settings = Organisation(
        name="Acme",
        rows={"models": [{"hub_id": "acme/encoder", "like": ENCODER}]},
        recommended={"text_classification": ["acme/encoder", "ours"], "llm": ["Qwen/Qwen3-4B"]},
    )
    ours = {"text_classification": [ENCODER], "llm": ["Qwen/Qwen3-0.6B"], "multimodal": ["x/y"]}
    assert tables.recommended(ours, settings, estimate(settings)) == {
        "text_classification": ["acme/encoder", ENCODER],
        "llm": ["Qwen/Qwen3-4B"],
        "multimodal": ["x/y"],
    }
    wrong = Organisation(name="Acme", recommended={"llm": [ENCODER]})
    with pytest.raises(SettingsError, match=r"recommended\.llm: .* is a encoder model, not for"):
        tables.recommended(ours, wrong, estimate(wrong))


def test_a_clone_has_only_its_own_rows(tmp_path: Path) -> None:
    """What one organisation says must not reach the next generation in the same process."""
    first = tables.text(FOLDER / "prices.csv", house(prices=[PRICE]))
    assert first.count("acme,node,H100") == 1
    assert "acme,node" not in (FOLDER / "prices.csv").read_text("utf-8")
    assert estimate(Organisation()).quotes("H100", 8)[0].provider != "acme"
