"""What the model will see of the data, printed on the terminal; nothing is written.

Every row is read and checked. Where training would refuse the data, the rest is shown for a
sample of the rows that can be used, and the refusal comes last, as training would put it.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from .config import Config, DataConfig
from .data import Example, example_key, load, read_examples, to_record
from .errors import ConfigError, DataError
from .processor import get_processor
from .rows import LISTED_ROWS, BadRows, data_files, local_path, places
from .seen import show
from .splitting import content_key
from .terminal import bars, facts, heading, plain

SAMPLE_ROWS = 1_000  # of those that can be used, where others cannot
MAX_CLASSES = 30  # in the table; the rest is counted


@dataclass
class Tally:
    """One pass over a location: some 50 bytes a row in memory, and a sample."""

    location: str
    bad: BadRows = field(default_factory=BadRows)
    broken: DataError | None = None
    """Why reading ended before the end of the data."""
    rows: list[int | str] = field(default_factory=list)
    keys: array[int] = field(default_factory=lambda: array("Q"))
    """64 bits of the hash of what makes a row the same as another."""
    classes: array[int] = field(default_factory=lambda: array("q"))
    names: dict[str, int] = field(default_factory=dict)
    sample: list[tuple[int, int, Example]] = field(default_factory=list)

    def take(self, examples: Iterable[Example]) -> None:
        """Read all."""
        try:
            for example in examples:
                key = content_key(example_key(example))
                # tasks without classes have no label: all rows count as of one
                label = getattr(example, "label", "")
                self.classes.append(self.names.setdefault(label, len(self.names)))
                self.keys.append(key)
                self.rows.append(example.row)
                entry = (-key, -len(self.rows), example)  # the smallest hashes, as if drawn
                if len(self.sample) < SAMPLE_ROWS:
                    heapq.heappush(self.sample, entry)
                else:
                    heapq.heappushpop(self.sample, entry)
        except DataError as error:
            self.broken = error

    def named(self, indices: Sequence[int] | np.ndarray) -> str:
        """The first of these rows."""
        more = len(indices) - LISTED_ROWS
        first = ", ".join(f"{self.rows[i]}" for i in indices[:LISTED_ROWS])
        return first + (f" and {more:,} more" if more > 0 else "")


def inspect(config: Config, location: str | None = None, console: Console | None = None) -> None:
    """Print what training would see of `location`, or of `data.train` and `data.eval`.

    Raises DataError or ConfigError, after printing, where training would refuse it.
    """
    console = console or Console(highlight=False)
    if location:
        config = _with_data(config, train=location, eval=None)
    tallies = [_tally(console, config.data.train, config.data, "train")]
    if config.data.eval:
        tallies.append(_tally(console, config.data.eval, config.data, "validation"))
    for tally in tallies:
        _show_rows(console, tally)
    if len(tallies) == 2:
        _show_leaks(console, *tallies)
    if any(tally.names.keys() - {""} for tally in tallies):
        _show_classes(console, tallies)

    refusals = [e for t in tallies for e in (t.broken, t.bad.error() if t.bad.count else None) if e]
    refusal: DataError | ConfigError | None = refusals[0] if refusals else None
    if not refusal:
        try:
            with _busy(console, "reading it as training does"):
                processor = get_processor(config)
                data = load(config, processor)
        except (DataError, ConfigError) as error:
            refusal = error
    if refusal:
        _show_sample(console, config, tallies[0])
        console.print()
        raise refusal
    console.print()
    console.print(plain(data.summary()), soft_wrap=True)
    unreadable = show(console, data, config, processor)
    if unreadable:  # training would stop at the first of them, in the middle of a run
        first, *others = unreadable
        more = f"; of other files {len(others):,} cannot be decoded either" if others else ""
        raise DataError(f"{first}{more}; mend the files or drop their rows")
    console.print("\ntraining accepts this data", style="bold green")


def _tally(console: Console, location: str, data: DataConfig, split: str) -> Tally:
    tally = Tally(location)
    with _busy(console, f"reading {location}"):
        tally.take(read_examples(location, data, split, tally.bad))
    return tally


@contextmanager
def _busy(console: Console, words: str) -> Iterator[None]:
    """A sign on a terminal that work goes on."""
    if console.is_terminal:
        with console.status(plain(words)):
            yield
    else:
        yield


def _with_data(config: Config, **changed: Any) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update=changed)})


def _show_rows(console: Console, tally: Tally) -> None:
    """How many rows there are, which cannot be used, and which repeat others."""
    bad = tally.bad
    heading(console, tally.location)
    numbered = ""
    if any(isinstance(row, int) for row in tally.rows[:1]):  # media are known by their files
        numbered = f", numbered {_numbering(tally.location)}"
    facts(console, {"rows": f"{len(tally.rows) + bad.count:,}{numbered}"})
    if tally.broken:
        console.print("reading ended early: see the last line", style="bold red")
    if bad.count:
        console.print(f"{bad.count:,} rows cannot be used", style="bold red")
        for kind, count in bad.kinds.most_common(LISTED_ROWS):
            console.print(plain(f"  {count:>9,} × {kind}"), soft_wrap=True)
        listed = bad.listed[:LISTED_ROWS]
        # where all have the same fault, such as a column of another name, once is enough
        said = [places([w for w, _ in listed])] if len(bad.kinds) == 1 else [s for _, s in listed]
        for sentence in said:
            console.print(plain(f"  {sentence}"), soft_wrap=True)
        if bad.count > LISTED_ROWS:
            console.print(f"  and {bad.count - LISTED_ROWS:,} more")
    _show_repeats(console, tally)


def _numbering(location: str) -> str:
    """What the number of a row counts, which begins with 1."""
    path = local_path(location)
    suffixes = {file.suffix.lower() for file in data_files(path)} if path else {".parquet"}
    if suffixes == {".parquet"}:
        return "by row from 1"
    header = ", the header's" if suffixes & {".csv", ".tsv"} else ""
    return f"by line of the file from 1{header}"


def _show_repeats(console: Console, tally: Tally) -> None:
    keys, classes = np.asarray(tally.keys), np.asarray(tally.classes)
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    firsts = first[group]
    repeats = np.flatnonzero(firsts != np.arange(len(keys)))
    if not len(repeats):
        facts(console, {"repeated rows": "none"})
        return
    share = len(repeats) / len(keys)
    facts(
        console,
        {"repeated rows": f"{len(repeats):,} ({share:.1%}): rows {tally.named(repeats)}"},
    )
    differ = repeats[classes[repeats] != classes[firsts[repeats]]]
    if len(differ):
        words = f"{len(differ):,}: rows {tally.named(differ)}"
        facts(console, {"of these in another class": words}, style="yellow")


def _show_leaks(console: Console, train: Tally, held_out: Tally) -> None:
    leaked = np.flatnonzero(np.isin(np.asarray(held_out.keys), np.asarray(train.keys)))
    heading(console, "Evaluation rows that are also training rows")
    if not len(leaked):
        console.print("none")
        return
    share = len(leaked) / len(held_out.keys)
    console.print(
        plain(f"{len(leaked):,} ({share:.1%}): rows {held_out.named(leaked)}"),
        style="yellow",
        soft_wrap=True,
    )


def _show_classes(console: Console, tallies: Sequence[Tally]) -> None:
    counts = []
    for tally in tallies:
        numbers = np.bincount(np.asarray(tally.classes), minlength=len(tally.names))
        counts.append({name: int(numbers[i]) for name, i in tally.names.items()})
    names = sorted({name for each in counts for name in each}, key=lambda n: -counts[0].get(n, 0))
    heading(console, f"{len(names):,} classes")
    shown = names if len(names) <= MAX_CLASSES else [*names[: MAX_CLASSES - 5], *names[-5:]]
    columns = ["training", "evaluation"][: len(tallies)]
    bars(console, "class", columns, [(n, [each.get(n, 0) for each in counts]) for n in shown])
    if len(shown) < len(names):
        console.print(f"the largest {MAX_CLASSES - 5} and the smallest 5 of {len(names):,}")
    for name in shown:
        if len(counts) == 2 and not counts[0].get(name):
            console.print(plain(f"{name} never occurs in training"), style="bold red")


def _show_sample(console: Console, config: Config, tally: Tally) -> None:
    """What can be shown of data that training refuses."""
    if not tally.sample:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for _, _, example in sorted(tally.sample, key=lambda entry: -entry[1]):
                record = to_record(example, config.data)
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        files: dict[str, Any] = {"train": str(path), "eval": str(path)}
        if hasattr(config.data, "cache_dir"):  # text's tokens: no run will read these
            files["cache_dir"] = Path(folder) / "cache"
        sample = _with_data(config, **files)
        try:
            processor = get_processor(sample)
            data = load(sample, processor)
        except (DataError, ConfigError):
            return  # what is wrong is told last
        console.print()
        text = f"A sample of {len(tally.sample):,} rows that can be used ({tally.location}):"
        console.print(plain(text), style="bold", soft_wrap=True)
        show(console, data, sample, processor)
