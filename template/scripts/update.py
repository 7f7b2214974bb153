"""Update this project from its template; what stops it before the end leaves all as it was.

python scripts/update.py
python scripts/update.py --data strategy=lora

Arguments go to `copier update`. It works on a copy (a git worktree), which replaces the project's
files at the end. COPIER=copier takes another command than uvx.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from machine import answers
from machine.commands import mask
from machine.steps import STAMP

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = ".copier-answers.yml"
UVX = "uvx --with copier-template-extensions copier"
AGAIN = "commit, and run `make update` again"
AS_IT_WAS = "This project is as it was."
BACK = "git restore --source=HEAD --staged --worktree . && git clean -fd ."
MEMORY, MEMORY_BYTES = "/dev/shm", 2**30  # a folder of Linux, and what must be free there
# Hooks of this repository, which may change files, have no part in this. Copies are whole, and new
# files written, in a sparse checkout too.
CONFIG = (f"core.hooksPath={os.devnull}", "core.quotePath=0", "core.sparseCheckout=0")
GIT = ("git", "--literal-pathspecs", *(part for each in CONFIG for part in ("-c", each)))
# On Windows git may write other line ends into files, and no line would be as in the template.
COUNT = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
COMMITTED_LINE_ENDS = {
    "GIT_CONFIG_COUNT": str(COUNT + 1),
    f"GIT_CONFIG_KEY_{COUNT}": "core.autocrlf",
    f"GIT_CONFIG_VALUE_{COUNT}": "false",
}


class UpdateError(Exception):
    """Why the project cannot be updated, and what to do; `left` says what it is now."""

    def __init__(self, why: str, left: str = AS_IT_WAS) -> None:
        super().__init__(why)
        self.left = left


def main() -> int:
    """Update; return 1 with a sentence where that cannot be."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    try:
        check_repository(ROOT)
        source, version = read_answers(ROOT)
        check_template(source, version)
        changed = update(ROOT, copier_command(), sys.argv[1:])
    except (UpdateError, OSError, KeyboardInterrupt) as error:
        left = getattr(error, "left", AS_IT_WAS)
        print(f"error: {str(error) or 'interrupted'}.\n  {left}", file=sys.stderr)
        return 1
    return finish(ROOT, changed, version)


# ── What must be so before ──


def check_repository(root: Path) -> None:
    """Refuse a project that git does not hold, or with changes that are not committed."""
    if shutil.which("git") is None:
        raise UpdateError("git is not on PATH, and an update needs it: install git")
    try:
        must(root, "rev-parse", "--verify", "HEAD")
    except UpdateError as error:
        if not re.search("not a git repository|Needed a single revision", str(error)):
            raise  # as where the folder is another user's
        raise UpdateError(
            "this project has no commit yet, and an update must be able to tell your changes from "
            'the template\'s: git init && git add -A && git commit -m "from the template"'
        ) from None
    if unmerged := names(root, "diff", "--name-only", "--diff-filter=U"):
        raise UpdateError(
            f"{some(unmerged)} still holds conflicts: edit what stands between <<<<<<< and "
            ">>>>>>>, git add the file, commit"
        )
    changes = must(root, "status", "--porcelain", "--", ".").splitlines()
    if changes:
        what = some([line[3:] for line in changes])
        raise UpdateError(f"there are changes that are not committed ({what}): commit them first")


def read_answers(root: Path) -> tuple[str, str]:
    """Return where the template is and the version that this project is at."""
    path = root / ANSWERS
    if not path.is_file():
        last = git(root, "log", "-1", "--format=%h", "--diff-filter=D", "--", ANSWERS)
        way = (
            f"git checkout {last.strip()}~1 -- {ANSWERS}, {AGAIN}"
            if last
            else "take the one of the folder that was generated, or of a colleague"
        )
        raise UpdateError(f"{ANSWERS}, which says what this project was made from, is gone: {way}")
    try:
        text = path.read_text("utf-8-sig", errors="surrogateescape")
        found = answers.read(text, root)
    except ValueError as line:
        raise UpdateError(
            f"{ANSWERS}, {line}, is no `name: value` as Copier writes it (a mark of a merge, a "
            f"tag, an open quote?): mend it (git log -p -- {ANSWERS} shows what it was), {AGAIN}"
        ) from None
    for key, meaning in (("_src_path", "the template's address"), ("_commit", "its version")):
        if not found.get(key):
            raise UpdateError(f"{ANSWERS} has no {key}: write {meaning} there, {AGAIN}")
    return found["_src_path"], found["_commit"]


def check_template(source: str, version: str) -> None:
    """Refuse a template that has moved or does not hold the version the project came from."""
    there = f"behind _src_path: in {ANSWERS}, {AGAIN}"
    address = re.sub(r"^gh:/?", "https://github.com/", source.removeprefix("git+"))
    address = re.sub(r"^gl:/?", "https://gitlab.com/", address)
    folder = None  # of a repository on this machine
    if not re.match(r"[^/]+:", address):  # as git tells host:path from a path
        path = Path(address).expanduser()
        if not path.is_absolute():
            raise UpdateError(
                f"the template's path {source} is relative to wherever this project was made: "
                f"write its full path or its web address {there}"
            )
        if not path.exists():
            raise UpdateError(f"the template is no longer at {source}: write its address {there}")
        if path.is_dir():  # else a bundle
            folder = path
            if git(folder, "rev-parse", "--git-dir") is None:
                raise UpdateError(
                    f"{source} is no git repository, so it has no versions: write the address of "
                    f"one {there}"
                )
        address = str(path)
    try:
        listed = must(ROOT, "ls-remote", "--tags", "--refs", "--sort=v:refname", "--", address)
    except UpdateError as error:
        raise UpdateError(
            f"the template at {mask(source)} does not answer ({error}): check the network and your "
            f"right to read it, or, if it has moved, write its new address {there}"
        ) from None
    tags = re.findall(r"refs/tags/(\S+)", listed)
    known = version in tags or (
        re.fullmatch(r"[0-9a-f]{7,40}|.+-\d+-g[0-9a-f]+", version)
        and (folder is None or git(folder, "cat-file", "-e", f"{version}^{{commit}}") is not None)
    )
    if not known:
        raise UpdateError(
            f"the template holds no version {version}, which this project was made from (perhaps "
            f"from changes nobody committed): write the nearest of its versions "
            f"({', '.join(tags[-4:]) or 'it has none'}) behind _commit: in {ANSWERS}, {AGAIN}"
        )


def copier_command() -> list[str]:
    """Return the command line of Copier."""
    command = os.environ.get("COPIER", "").strip()
    if not command:
        command = UVX if shutil.which("uvx") else "copier"
        if command == "copier" and shutil.which(command) is None:
            raise UpdateError("neither uvx nor copier is on PATH: pip install uv, or set COPIER")
    try:
        return shlex.split(command, posix=os.name == "posix")
    except ValueError:
        raise UpdateError(f"COPIER={command} has a quote that is not closed: mend it") from None


# ── The update ──


def update(root: Path, copier: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Update a copy, then bring its files here; return the names that changed."""
    top = Path((git(root, "rev-parse", "--show-toplevel") or "").strip())
    inside = (git(root, "rev-parse", "--show-prefix") or "").strip()
    with temporary() as folder, temporary(quickest()) as clones:
        copy = Path(folder) / "project"
        try:
            # With the line ends that are committed, as the template's are.
            add = ("worktree", "add", "--quiet", "--detach")
            must(top, *add, str(copy), "HEAD", **COMMITTED_LINE_ENDS)
            environment = {**os.environ, **COMMITTED_LINE_ENDS, "ML_TEMPLATE_COPY": "1"}
            # Its hooks would install packages into the copy.
            environment |= {"ML_TEMPLATE_HOOKS": "off", "PWD": str(copy / inside)}
            environment["TMPDIR"] = clones
            command = [*copier, "update", "--trust", *arguments]
            try:
                code = subprocess.run(command, cwd=copy / inside, env=environment).returncode
            except OSError as error:
                raise UpdateError(
                    f"{copier[0]} cannot be run ({error.strerror}): let COPIER name what can"
                ) from None
            if code:
                raise UpdateError(f"copier update failed with exit code {code}, as said above")
            if out := names(copy, "ls-files", "--others", "--ignored", "--exclude-standard"):
                print(f"Left out, since git ignores it here: {some(out)}.", file=sys.stderr)
            return bring(copy, top)
        finally:
            with suppress(UpdateError):
                must(top, "worktree", "remove", "--force", str(copy))


def temporary(within: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder, which goes at the end."""
    return tempfile.TemporaryDirectory(prefix="update-", dir=within, ignore_cleanup_errors=True)


def quickest() -> str | None:
    """Return where some 4,000 small files, 30 MiB, are quickest written: memory, if there is any.

    An update clones the template five times and renders it three times.
    """
    with suppress(OSError):
        if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK | os.X_OK):
            return MEMORY if shutil.disk_usage(MEMORY).free > MEMORY_BYTES else None
    return None


def bring(copy: Path, top: Path) -> list[str]:
    """Make the files of `top` those of the copy, uncommitted, conflicts marked for git."""
    unmerged = must(copy, "ls-files", "-z", "--unmerged")
    must(copy, "add", "--all")
    head, tree = must(copy, "rev-parse", "HEAD").strip(), must(copy, "write-tree").strip()
    changed = names(copy, "diff-tree", "-r", "--name-only", head, tree)
    added = names(copy, "diff-tree", "-r", "--name-only", "--diff-filter=A", head, tree)
    if not changed:
        return []
    # What git ignores it would overwrite; also a file, or a link, where a folder has to be.
    above = {str(folder) for name in added for folder in PurePosixPath(name).parents}
    places = [top / name for name in above.difference(changed)]
    here = [str(it.relative_to(top)) for it in places if it.is_symlink() or it.is_file()]
    if added and (here := here + names(top, "ls-files", "--others", "--", *added)):
        raise UpdateError(
            f"the new version needs the place of {some(here)}, which git does not hold: move it "
            "away, and run `make update` again"
        )
    unseen = [line[2:] for line in names(top, "ls-files", "-v") if line[0] != "H"]
    if unseen := sorted(set(changed).intersection(unseen)):
        raise UpdateError(
            f"the new version changes {some(unseen)}, and git is told not to look there: git "
            "update-index --no-assume-unchanged --no-skip-worktree FILE, or, in a sparse checkout, "
            "git sparse-checkout disable; then run `make update` again"
        )
    # With an index of its own: what is staged, and what is not, stays so.
    index = copy.parent / "index"
    shutil.copy2(top / must(top, "rev-parse", "--git-path", "index").rstrip("\n"), index)
    own_index = {"GIT_INDEX_FILE": str(index)}
    with suppress(UpdateError):  # a file that was only touched is no other one
        must(top, "update-index", "-q", "--refresh", **own_index)
    meanwhile = must(top, "diff-files", "-z", "--name-only", "--", *changed, **own_index)
    if meanwhile:
        what = some(meanwhile.split("\0")[:-1])
        raise UpdateError(f"{what} changed here during the update: {AGAIN}")
    # Refuses, before anything is written, whatever else it would have to overwrite.
    must(top, "read-tree", "--dry-run", "-m", "-u", head, tree, **own_index)
    signal.signal(signal.SIGINT, lambda *_: None)  # from here on it goes through to the end
    try:
        must(top, "read-tree", "-m", "-u", head, tree, **own_index)
    except UpdateError as error:
        take_back(top, changed, added, error)
        raise UpdateError(f"the new files could not be written ({error})") from None
    if unmerged:
        lines = unmerged.rstrip("\0").split("\0")
        conflicts = list(dict.fromkeys(line.partition("\t")[2] for line in lines))
        cleared = "".join(f"0 {'0' * len(tree)}\t{name}\0" for name in conflicts)
        try:
            must(top, "update-index", "-z", "--index-info", given=cleared + unmerged)
        except UpdateError as error:
            raise UpdateError(
                f"git could not be told of the conflicts in {some(conflicts)} ({error})",
                "The new files are here: edit what stands between the marks, as README.md says.",
            ) from None
    return changed


def take_back(top: Path, changed: Sequence[str], added: Sequence[str], why: Exception) -> None:
    """Make the files that changed what they were. Raises UpdateError where that fails too."""
    try:
        for name in added:
            with suppress(FileNotFoundError, NotADirectoryError):
                (top / name).unlink()
        before = "\0".join(set(changed).difference(added))
        must(top, "checkout-index", "--force", "-z", "--stdin", given=before)
    except (UpdateError, OSError) as error:
        raise UpdateError(
            f"the new files could not be written ({why}), nor the old ones again ({error})",
            f"Some files are the new ones. Back to your last commit: {BACK}",
        ) from None


def finish(root: Path, changed: Sequence[str], before: str) -> int:
    """Install what the new version pins, and say what comes next."""
    if not changed:
        print(f"This project is at its template's newest version, {before}, with these answers.")
        return 0
    print(f"{len(changed)} {'file' if len(changed) == 1 else 'files'} changed.")
    if git(root, "diff", "--name-only", "--diff-filter=U"):
        print("First resolve the conflicts named above, as README.md says; `git add` each file.")
        return 0
    hooks = os.environ.get("ML_TEMPLATE_HOOKS", "").strip().lower()
    if (root / ".venv" / STAMP).exists() and hooks != "off":  # else `.venv` is not ours
        code = subprocess.run([sys.executable, "scripts/setup_env.py"], cwd=root).returncode
        if code:
            print("The files are updated; only `.venv` is not: run make setup.", file=sys.stderr)
            return code
    print("Now: git add -A && git diff --cached && make setup && make test, then commit.")
    return 0


def git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails."""
    with suppress(UpdateError):
        return must(folder, *arguments)
    return None


def names(folder: Path, command: str, *arguments: str) -> list[str]:
    """Return the names that git lists."""
    return must(folder, command, "-z", *arguments).split("\0")[:-1]


def some(listed: Sequence[str]) -> str:
    """Return up to three names for a sentence."""
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def must(folder: Path, *arguments: str, given: str = "", **variables: str) -> str:
    """Return what git prints. Raises UpdateError with git's reason where it fails."""
    done = subprocess.run(
        [*GIT, *arguments],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", **variables},  # its reasons are read below
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",  # of names in other encodings
        # While Ctrl-C is off here, the terminal must not send it to git either.
        start_new_session=signal.getsignal(signal.SIGINT) is not signal.default_int_handler,
    )
    if done.returncode:
        # The last line says why, but for the words with which git ends if a remote has failed.
        said = done.stderr.partition("fatal: Could not read from remote")[0].strip() or done.stderr
        lines = said.strip().splitlines() or [f"exit code {done.returncode}"]
        reason = " ".join(" ".join(lines).split()) if "dubious ownership" in lines[0] else lines[-1]
        raise UpdateError(f"git {arguments[0]}: {mask(reason.rstrip('.'))}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
