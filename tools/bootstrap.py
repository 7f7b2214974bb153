"""`./bootstrap`: a copy of this repository becomes a project, in one commit.

The project is rendered from a released version of the template, never from the copy itself, so that
`copier update` works in it. All happens in a second work tree: the copy changes at the very end, or
not at all.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "gh:org/ml-template"
ANSWERS_FILE = ".copier-answers.yml"
ORGANISATION = "organisation.yml"
WORKFLOWS = ".github/workflows"


class RefusedError(Exception):
    """Why no project was made, in one sentence."""


@dataclass(frozen=True)
class Made:
    """A commit that holds a project."""

    commit: str
    version: str
    """The template's."""
    answers: dict[str, object]
    kept: list[str]
    """Workflows left as they are in the copy."""
    added: list[str]
    """Workflows that the copy does not have."""
    edited: list[str]
    """Files of the template that were edited in the copy; the commit before has the edits."""


def main() -> int:
    """Make the project here; 0 also where one is already, 130 after Ctrl-C."""
    options = parse()
    if options.on_github:
        import bootstrap_on_github  # which imports this module

        return bootstrap_on_github.make()
    if is_project(ROOT):
        print(f"this is a project already ({ANSWERS_FILE} is there); make update changes it")
        return 0
    answers = dict(pair.split("=", 1) for pair in options.data)
    try:
        made = make_commit(ROOT, options.template, options.version, answers, not options.defaults)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nor may it stop git halfway through this
        git(ROOT, "merge", "--quiet", "--ff-only", "--no-overwrite-ignore", made.commit)
    except RefusedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was changed", file=sys.stderr)
        return 130
    print(f"{ROOT.name} is a project now, made from ml-template {made.version}, in one commit.")
    for name in made.edited:
        print(f"{name} was the template's; what you had written there: git show HEAD~1:{name}")
    print("next: make setup doctor smoke, and git push")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./bootstrap", description="Turn this copy of ml-template into a project of your own."
    )
    parser.add_argument("--defaults", action="store_true", help="ask nothing")
    parser.add_argument(
        "--data", action="append", default=[], metavar="QUESTION=ANSWER", help="such as task=llm"
    )
    parser.add_argument("--version", default="", help="of the template; the newest by default")
    parser.add_argument(
        "--template",
        default=os.environ.get("ML_TEMPLATE_SOURCE") or SOURCE,
        metavar="ADDRESS",
        help="where the template is released (%(default)s)",
    )
    parser.add_argument("--on-github", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for pair in options.data:
        if "=" not in pair:
            parser.error(f"--data {pair}: write QUESTION=ANSWER, such as task=llm")
    return options


def is_project(repository: Path) -> bool:
    """Whether a project was made here before."""
    return (repository / ANSWERS_FILE).exists()


def make_commit(
    repository: Path,
    source: str,
    version: str,
    answers: Mapping[str, str],
    ask: bool,
    keep_workflows: bool = False,
) -> Made:
    """Commit a project on top of HEAD, on no branch and in no work tree.

    `keep_workflows` leaves workflows that the copy already has as they are, for a token that may
    not change them; they are those of a version between two releases, and an update settles it.

    Raises `RefusedError`; then nothing was changed.
    """
    check_source(source)
    if version and not re.fullmatch(r"v?\d[\w.+!-]*", version):
        raise RefusedError(f"{version!r} is no version; write one such as 0.1.0")
    ours = files_of_the_copy(repository)
    if source == SOURCE and ORGANISATION in ours.split("\0"):
        raise RefusedError(
            f"this copy has an {ORGANISATION}, which a project from {SOURCE} would not follow; "
            "name the fork that it was copied from: --template ADDRESS, or the variable "
            "ML_TEMPLATE_SOURCE"
        )
    with work_tree(repository) as tree:
        git(tree, "rm", "--quiet", "--pathspec-from-file=-", "--pathspec-file-nul", input=ours)
        stored = render(tree, source, version, answers, ask)
        git(tree, "add", "--all", "--force")  # also what git ignores on this machine
        added = workflows(tree, "A")
        kept = restore_workflows(tree) if keep_workflows else []
        made_from = str(stored["_commit"])
        message = f"made from ml-template {made_from}"
        git(tree, "commit", "--quiet", "--no-verify", "--message", message)
        commit = git(tree, "rev-parse", "HEAD").strip()
    theirs = [name for name in edited(repository) if name not in kept]
    return Made(commit, made_from, stored, kept, added, theirs)


def check_source(source: str) -> None:
    """Refuse an address which `copier update` could not use later, or which holds a secret."""
    # A name before the @ is no secret for ssh alone, which asks for one.
    ssh = re.match(r"(git\+)?ssh://[^/:@]+@", source)
    if urlsplit(source).password or (re.search(r"://([^/]*|[^/]*:.*)@", source) and not ssh):
        raise RefusedError(
            "the template's address holds a name or token, which the project would store; "
            "leave it out, and let git's credential helper supply it"
        )
    if not re.match(r"(gh:|gl:|[\w+.-]+://|git@|/)", source):
        raise RefusedError(
            f"{source!r} is no address of a template; write one such as {SOURCE} or a full path, "
            "from which updates can come later"
        )


def files_of_the_copy(repository: Path) -> str:
    """Return the files that the template brought, each ended by NUL; what you added stays.

    "Use this template" makes one commit of all files, the first of the new repository.
    """
    top = git(repository, "rev-parse", "--show-toplevel", check=False).strip()
    if not top or Path(top).resolve() != repository:
        raise RefusedError(
            f"{repository} is no git repository of its own; make an empty folder a project with "
            f"`copier copy --trust {SOURCE} FOLDER`"
        )
    if git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise RefusedError(
            "this clone lacks its first commits; get them with `git fetch --unshallow`"
        )
    roots = git(repository, "rev-list", "--max-parents=0", "HEAD").split()
    files = git(repository, "ls-tree", "-r", "-z", "--name-only", "--full-tree", roots[0])
    if len(roots) > 1 or not {"bootstrap", "copier.yml"} <= set(files.split("\0")):
        raise RefusedError(
            "this is the template with its history, not a copy made with Use this template; "
            f"make a project with `copier copy --trust {SOURCE} FOLDER`"
        )
    if git(repository, "status", "--porcelain"):
        raise RefusedError("there are changes that are not committed; commit or remove them")
    git_knows_who = git(repository, "var", "GIT_AUTHOR_IDENT", check=False)
    if not git_knows_who:
        raise RefusedError(
            "git does not know who you are; tell it: git config --global user.name NAME, "
            "and user.email ADDRESS"
        )
    tracked = set(git(repository, "ls-files", "-z").split("\0"))
    return "\0".join(name for name in files.split("\0") if name and name in tracked)


def edited(repository: Path) -> list[str]:
    """Return the template's files that hold other lines than when the copy was made."""
    root = git(repository, "rev-list", "--max-parents=0", "HEAD").strip()
    options = ["--name-only", "-z", "--no-renames", "--diff-filter=M"]
    return git(repository, "diff", *options, root, "HEAD").split("\0")[:-1]


@contextmanager
def work_tree(repository: Path) -> Iterator[Path]:
    """Check HEAD out in a folder with the repository's name, which names the project."""
    with tempfile.TemporaryDirectory(prefix="bootstrap-") as scratch:
        tree = Path(scratch).resolve() / repository_name(repository)
        try:
            git(repository, "worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
            yield tree
        finally:
            git(repository, "worktree", "remove", "--force", str(tree), check=False)


def repository_name(repository: Path) -> str:
    """Return the name it has where it was cloned from, else its folder's."""
    address = git(repository, "remote", "get-url", "origin", check=False).strip()
    name = re.split(r"[/:\\]", address.rstrip("/"))[-1].removesuffix(".git")
    return name if re.fullmatch(r"\w[\w.-]{0,99}", name) else repository.name


def render(
    tree: Path, source: str, version: str, answers: Mapping[str, str], ask: bool
) -> dict[str, object]:
    """Run Copier in the tree, whose files are yours and stay, and return the stored answers.

    Raises `RefusedError` for a wrong answer, and for a source without that version.
    """
    import copier  # here, because pushing needs none of it
    import yaml
    from copier.errors import CopierAnswersInterrupt, CopierError
    from packaging.version import InvalidVersion, Version
    from plumbum.commands.processes import ProcessExecutionError

    yours = filter(None, git(tree, "ls-files", "-z").split("\0"))
    try:
        copier.run_copy(
            source,
            tree,
            data=dict(answers),
            vcs_ref=version or None,
            defaults=not ask,
            unsafe=True,
            quiet=True,
            skip_if_exists=[f"/{glob.escape(name)}" for name in yours if "{" not in name],
        )
    except CopierAnswersInterrupt:
        raise KeyboardInterrupt from None
    except ProcessExecutionError as error:
        said = str(error.stderr).strip().splitlines()[-1:] or ["git failed"]
        wanted = f"version {version!r}" if version else "the template"
        raise RefusedError(
            f"{wanted} could not be had from {source}: {said[0]}; "
            "it may be elsewhere: --template ADDRESS"
        ) from None
    except (CopierError, ValueError, OSError) as error:
        raise RefusedError(str(error)) from None
    stored = yaml.safe_load((tree / ANSWERS_FILE).read_text("utf-8"))
    assert isinstance(stored, dict)
    try:
        Version(str(stored["_commit"]))
    except InvalidVersion:
        raise RefusedError(
            f"{source} has no release {version}".rstrip() + "; a project can only be updated later "
            "if it was made from a version, such as 0.1.0"
        ) from None
    return stored


def restore_workflows(tree: Path) -> list[str]:
    """Put workflows that the copy has, and the project changes, back to the copy's."""
    kept = workflows(tree, "M")
    if kept:
        git(tree, "checkout", "--quiet", "HEAD", "--", *kept)
    return kept


def workflows(tree: Path, change: str) -> list[str]:
    """Return the workflows that the project adds (A) to those of the copy, or modifies (M)."""
    options = ["--cached", "--name-only", "-z", "--no-renames", f"--diff-filter={change}"]
    return git(tree, "diff", *options, "HEAD", "--", WORKFLOWS).split("\0")[:-1]


def git(folder: Path, *arguments: str, input: str = "", check: bool = True) -> str:
    """Run git there and return what it printed; raises `RefusedError` with git's last words."""
    # hooks of this repository, which may change files, have no part in this
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    done = subprocess.run(
        command, cwd=folder, input=input, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        refuse_for_git(arguments[0], done.stderr)
    return done.stdout if done.returncode == 0 else ""


def refuse_for_git(command: str, said: str) -> NoReturn:
    """Raise with the lines that say why."""
    raise RefusedError(f"git {command} failed: {' '.join(said.split()) or 'no reason given'}")


if __name__ == "__main__":
    sys.exit(main())
