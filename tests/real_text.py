"""Real text to learn from, wherever Python is: what the standard library says of itself."""

from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

SUBJECTS = {
    "network": "http.client http.server urllib.request urllib.parse socket socketserver smtplib "
    "ftplib imaplib poplib ssl ipaddress email.message email.utils http.cookiejar xmlrpc.client",
    "numbers": "math cmath decimal fractions statistics random numbers operator colorsys calendar",
    "concurrency": "threading asyncio.tasks asyncio.events asyncio.locks asyncio.queues queue "
    "asyncio.streams concurrent.futures multiprocessing.pool multiprocessing.managers subprocess "
    "multiprocessing.context sched signal contextvars",
    "files": "os os.path pathlib shutil tempfile zipfile tarfile gzip bz2 lzma glob fnmatch "
    "filecmp fileinput io mmap",
    "language": "ast tokenize inspect dis importlib.abc importlib.util types typing traceback "
    "abc functools copy pickle symtable codeop pdb bdb",
}

Text = tuple[str, str]
"""A docstring and its subject."""


def docstrings() -> Iterator[Text]:
    """First paragraphs of the modules' functions, classes and methods, each once."""
    seen: set[str] = set()
    for subject, names in SUBJECTS.items():
        for name in names.split():
            module = importlib.import_module(name)
            for _, value in inspect.getmembers(module, callable):
                if getattr(value, "__module__", "") != name:
                    continue  # borrowed from another module
                inner = vars(value).values() if inspect.isclass(value) else ()
                for each in (value, *filter(inspect.isfunction, inner)):
                    said = each.__doc__ if isinstance(each.__doc__, str) else ""
                    text = " ".join(said.strip().split("\n\n")[0].split())
                    if len(text) >= 40 and text not in seen:
                        seen.add(text)
                        yield text, subject


def split(texts: Sequence[Text], training: int) -> tuple[list[Text], list[Text]]:
    """Take `training` of them at random, always the same; the rest is to test on."""
    mixed = sorted(texts, key=lambda text: hashlib.sha256(text[0].encode()).digest())
    return mixed[:training], mixed[training:]


def write(texts: Sequence[Text], path: Path) -> Path:
    """Write a CSV with the columns `text` and `label`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(texts)
    return path


def majority_accuracy(train: Sequence[Text], test: Sequence[Text]) -> float:
    """Accuracy of always answering with the commonest class."""
    common = Counter(label for _, label in train).most_common(1)[0][0]
    return sum(label == common for _, label in test) / len(test)


def words_accuracy(train: Sequence[Text], test: Sequence[Text]) -> float:
    """Accuracy of a bag of words: naive Bayes with add-one smoothing."""
    counts = {label: Counter[str]() for label in SUBJECTS}
    prior = Counter(label for _, label in train)
    for text, label in train:
        counts[label].update(_words(text))
    known = len(set().union(*counts.values()))
    totals = {label: sum(counts[label].values()) + known for label in counts}

    def score(text: str, label: str) -> float:
        words = (math.log((counts[label][word] + 1) / totals[label]) for word in _words(text))
        return math.log(prior[label] + 1) + sum(words)

    right = (max(counts, key=lambda each: score(text, each)) == label for text, label in test)
    return sum(right) / len(test)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
