"""The bootstrap on GitHub, two jobs: the form's answers become a commit, and it is pushed.

./bootstrap --on-github                 makes the commit, with a token that may only read
python3 tools/bootstrap_on_github.py    pushes it elsewhere; standard library only
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import bootstrap

MADE = "refs/ml-template/made"
BUNDLE = "made.bundle"
"""The file in which the first job hands the second its commit, as that ref."""
RECOMMENDED = "recommended"
BOT = {  # what GitHub itself writes for such commits
    "NAME": "github-actions[bot]",
    "EMAIL": "41898282+github-actions[bot]@users.noreply.github.com",
}


def make() -> int:
    """Make the project's commit, as the form says."""
    answers = form_answers(os.environ)
    version = os.environ.get("ML_TEMPLATE_VERSION", "").strip()
    os.environ.update(identity(os.environ))
    try:
        made = bootstrap.make_commit(
            bootstrap.ROOT,
            os.environ.get("ML_TEMPLATE_SOURCE", "").strip() or bootstrap.SOURCE,
            version,
            answers,
            ask=False,
            keep_workflows=True,
        )
    except bootstrap.RefusedError as error:
        tell("No project was made", str(error), "Set that right, and run it again.")
        return 1
    if made.added:
        tell("No project was made", f"the template brings {', '.join(made.added)}")
        tell_the_same(
            "The token of a workflow may add no workflow. It may leave one as it is: the fork can "
            "have the same file at the same place as here, as docs/organisations.md says."
        )
        return 1
    bootstrap.git(bootstrap.ROOT, "update-ref", MADE, made.commit)
    bootstrap.git(bootstrap.ROOT, "bundle", "create", "--quiet", BUNDLE, f"HEAD..{MADE}")
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a", encoding="utf-8") as outputs:
            outputs.write(f"made={made.commit}\n")
    chosen = "\n".join(f"{key}: {made.answers[key]}" for key in ("project_name", *ASKED))
    notes = [f"{path} stays as it is here; make update settles it." for path in made.kept]
    notes += [
        f"{path} was the template's; what you had written there: git show HEAD~1:{path}"
        for path in made.edited
    ]
    tell(f"A project, made from ml-template {made.version}", chosen, *notes)
    return 0


ASKED = ("task", "gpu", "base_model", "strategy", "license")


def form_answers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the form says; `recommended` leaves a question to its default."""
    keys = ("project_name", *ASKED)
    answers = {key: environment.get(f"ANSWER_{key.upper()}", "") for key in keys}
    return {key: text for key, text in answers.items() if text.strip() not in ("", RECOMMENDED)}


def identity(environment: Mapping[str, str]) -> dict[str, str]:
    """Return git's variables: who pressed the button is the author, GitHub's bot commits.

    `user.name`, the template's default for author_name, is the repository's owner: as an answer it
    would overrule what an organisation decides.
    """
    found = {f"GIT_{role}_{key}": BOT[key] for role in ("AUTHOR", "COMMITTER") for key in BOT}
    actor, number = environment.get("GITHUB_ACTOR"), environment.get("GITHUB_ACTOR_ID")
    if actor and number:
        found["GIT_AUTHOR_NAME"] = actor
        found["GIT_AUTHOR_EMAIL"] = f"{number}+{actor}@users.noreply.github.com"
    if owner := environment.get("GITHUB_REPOSITORY_OWNER"):
        found |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name"}
        found["GIT_CONFIG_VALUE_0"] = owner
    return found


def push() -> int:
    """Push the commit; where that is not allowed, say what does the same elsewhere."""
    branch, server = os.environ["GITHUB_REF_NAME"], os.environ["GITHUB_SERVER_URL"]
    try:
        bundle = str(bootstrap.ROOT / "made" / BUNDLE)
        bootstrap.git(bootstrap.ROOT, "fetch", "--quiet", bundle, f"{MADE}:{MADE}")
    except bootstrap.RefusedError as error:
        tell("It could not be pushed", str(error), "Run the workflow again.")
        return 1
    done = subprocess.run(
        ["git", "push", "--porcelain", "origin", f"{MADE}:refs/heads/{branch}"],
        cwd=bootstrap.ROOT,
        env={**os.environ, **authorization(server, os.environ["GITHUB_TOKEN"])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        tell(
            "It is in this repository now",
            f"{clone_command()}\nmake setup doctor smoke",
            "GitHub starts no checks for this commit; your next push does, or Actions, ci, Run "
            "workflow. make update brings later versions and takes other answers.",
        )
        return 0
    tell("It could not be pushed", done.stdout + done.stderr)
    tell_the_same(
        "The token of this workflow may not push here: a rule protects the branch, the owner "
        "does not let workflows write (Settings, Actions, General), or someone pushed meanwhile."
    )
    return 1


def tell_the_same(why: str) -> None:
    """Say what does the same elsewhere, and why it did not work here."""
    commands = f"{clone_command()}\n{local_command(os.environ)}\ngit push"
    tell("What does the same on your computer", commands, why)


def clone_command() -> str:
    """Return what gets this repository."""
    repository = os.environ["GITHUB_REPOSITORY"]
    address = f"{os.environ['GITHUB_SERVER_URL']}/{repository}"
    return f"git clone {address}\ncd {repository.rpartition('/')[2]}"


def local_command(environment: Mapping[str, str]) -> str:
    """Return `./bootstrap` with the form's answers, which both jobs are given."""
    words = ["./bootstrap", "--defaults"]
    for option, name in (("--template", "SOURCE"), ("--version", "VERSION")):
        if given := environment.get(f"ML_TEMPLATE_{name}", "").strip():
            words += [option, given]
    for key, text in form_answers(environment).items():
        words += ["--data", f"{key}={text}"]
    return shlex.join(words)


def authorization(server: str, token: str) -> dict[str, str]:
    """Return git's settings that send the token: in variables, which other users cannot read."""
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
        "GIT_TERMINAL_PROMPT": "0",
    }


def tell(title: str, text: str, *notes: str) -> None:
    """Print this, and write it on the run's page; `text` stays text, whatever it holds."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    page = [f"### {title}", "", f"{fence}text", text.rstrip(), fence, "", *notes, ""]
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write("\n".join(page))
    # Between these two, a line such as ::warning:: is no command to the runner.
    marker = uuid.uuid4().hex
    print(
        f"::stop-commands::{marker}", f"{title}:", text.rstrip(), *notes, f"::{marker}::", sep="\n"
    )


if __name__ == "__main__":
    sys.exit(push())
