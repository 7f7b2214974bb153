"""The bootstrap on GitHub, two steps: the form's answers become a commit, and it is pushed.

./bootstrap --on-github                 makes the commit, without a token
python3 tools/bootstrap_on_github.py    pushes it; standard library only
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
"""Where the first step leaves its commit for the second."""
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
        tell("No project was made", str(error), "Run it again with other answers.")
        return 1
    bootstrap.git(bootstrap.ROOT, "update-ref", MADE, made.commit)
    chosen = "\n".join(f"{key}: {made.answers[key]}" for key in ("project_name", *ASKED))
    notes = [f"{path} stays as it is here; copier update settles it." for path in made.kept]
    tell(f"A project, made from ml-template {made.version}", chosen, *notes)
    return 0


ASKED = ("task", "gpu", "base_model", "strategy", "license")


def form_answers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the form says, and the owner as the author."""
    answers = {"author_name": environment.get("GITHUB_REPOSITORY_OWNER", "")}
    for key in ("project_name", *ASKED):
        answers[key] = environment.get(f"ANSWER_{key.upper()}", "")
    return {key: text for key, text in answers.items() if text.strip() not in ("", RECOMMENDED)}


def identity(environment: Mapping[str, str]) -> dict[str, str]:
    """Return git's variables: who pressed the button is the author, GitHub's bot commits."""
    found = {f"GIT_{role}_{key}": BOT[key] for role in ("AUTHOR", "COMMITTER") for key in BOT}
    actor, number = environment.get("GITHUB_ACTOR"), environment.get("GITHUB_ACTOR_ID")
    if actor and number:
        found["GIT_AUTHOR_NAME"] = actor
        found["GIT_AUTHOR_EMAIL"] = f"{number}+{actor}@users.noreply.github.com"
    return found


def push() -> int:
    """Push the commit; where that is not allowed, say what does the same elsewhere."""
    repository, branch = os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_REF_NAME"]
    server = os.environ["GITHUB_SERVER_URL"]
    clone = f"git clone {server}/{repository}\ncd {repository.rpartition('/')[2]}"
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
            f"{clone}\nmake setup doctor smoke",
            "GitHub starts no checks for this commit; your next push does, or Actions, ci, Run "
            "workflow. copier update --trust brings later versions and takes other answers.",
        )
        return 0
    tell("It could not be pushed", done.stdout + done.stderr)
    tell(
        "What does the same on your computer",
        f"{clone}\n{local_command(os.environ)}\ngit push",
        "The token of this workflow may not push here: a rule protects the branch, the owner "
        "does not let workflows write (Settings, Actions, General), or someone pushed meanwhile.",
    )
    return 1


def local_command(environment: Mapping[str, str]) -> str:
    """Return `./bootstrap` with the form's answers, which the second step is given too."""
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
