"""Release a version: changelog, table of versions, commit and tag, after every check.

python tools/release.py 0.5.0

The first call without an entry in CHANGELOG.md drafts one from the commits and stops. Nothing is
pushed.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
TABLE = "tests/update/releases.csv"
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## Unreleased\n"
TO_DO = "**What you have to do:**"
DRAFTED = "TODO: say it, or: nothing."
CHECK = f"{shlex.quote(sys.executable)} -m pytest -q tests/update tests/unit/test_repository.py"


class ReleaseError(Exception):
    """Why there is no release yet, in one sentence."""


def main() -> int:
    """Release; return 1 with a sentence where something is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version")
    parser.add_argument("--check", default=CHECK, help="the command that must succeed before")
    options = parser.parse_args()
    try:
        version = new_version(options.version)
        if git("status", "--porcelain"):
            raise ReleaseError("there are changes that are not committed; commit them first")
        text = entry(version)
        print(f"checking that every released version still updates: {options.check}")
        strict = {**os.environ, "CI": "1"}  # what would be skipped here, in a shallow clone, fails
        if subprocess.run(shlex.split(options.check), cwd=ROOT, env=strict, check=False).returncode:
            raise ReleaseError("the checks failed; mend what they found")
        release(version, text)
    except ReleaseError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1
    print(f"{version} is tagged. To publish it: git push origin HEAD {version}")
    return 0


def new_version(given: str) -> Version:
    """Return the version, which is PEP 440, in its short form, and after all others."""
    try:
        version = Version(given)
    except InvalidVersion:
        raise ReleaseError(f"{given!r} is no PEP 440 version; write one such as 0.5.0") from None
    if len(version.release) != 3 or given != ".".join(map(str, version.release)):
        raise ReleaseError(f"{given!r} is no version of three numbers, such as 0.5.0")
    last = max(map(Version, [*released(), *_tags()]))
    if version <= last:
        raise ReleaseError(f"{version} is not after {last}, the last one")
    return version


def entry(version: Version) -> str:
    """Return the changelog with this version's heading. Raises ReleaseError after a draft."""
    path = ROOT / CHANGELOG
    text = path.read_text("utf-8")
    if UNRELEASED not in text:
        last = list(released().values())[-1]
        subjects = git("log", "--reverse", "--no-merges", "--format=- %s.", f"{last}..HEAD")
        before, first, after = text.partition("\n## ")
        draft = f"\n{UNRELEASED}\n{subjects}\n{TO_DO} {DRAFTED}\n"
        path.write_text(before + draft + first + after, "utf-8")
        raise ReleaseError(
            f"{CHANGELOG} had no entry; a draft of the commits since the last version is there: "
            "edit it, commit, and run this again"
        )
    own = text.split(UNRELEASED)[1].split("\n## ")[0]
    if TO_DO not in own or DRAFTED in own:
        raise ReleaseError(
            f"the entry in {CHANGELOG} does not say what users have to do: a line that begins with "
            f"{TO_DO}"
        )
    return text.replace(UNRELEASED, f"## {version} ({datetime.now(UTC):%Y-%m-%d})\n", 1)


def release(version: Version, changelog: str) -> None:
    """Write changelog and table, commit them, and tag that commit.

    The table names the commit before, which has the same template. Where git refuses, nothing of
    this stays.
    """
    commit = git("rev-parse", "HEAD").strip()
    (ROOT / CHANGELOG).write_text(changelog, "utf-8")
    with (ROOT / TABLE).open("a", encoding="utf-8") as table:
        table.write(f"{version},{commit}\n")
    try:
        git("add", "--", CHANGELOG, TABLE)
        git("commit", "--quiet", "--message", f"Release {version}")
        git("tag", "--annotate", "--message", f"Release {version}", str(version))
    except ReleaseError:  # a hook that refuses, or a signature that fails
        git("reset", "--quiet", "--soft", commit)
        git("restore", f"--source={commit}", "--staged", "--worktree", "--", CHANGELOG, TABLE)
        raise


def released() -> dict[str, str]:
    """Return each released version's commit, oldest first."""
    with (ROOT / TABLE).open(encoding="utf-8", newline="") as file:
        return {row["version"]: row["commit"] for row in csv.DictReader(file)}


def _tags() -> list[str]:
    found = []
    for tag in git("tag").split():
        try:
            found.append(str(Version(tag)))
        except InvalidVersion:
            continue
    return found


def git(*arguments: str) -> str:
    """Run git here and return its output. Raises ReleaseError with its last line."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ReleaseError(f"git {arguments[0]}: {said[-1]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
