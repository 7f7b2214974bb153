#!/bin/sh
# Make one pull request of a patch to the locks, or renew the one that is open:
# sh tools/propose_locks.sh PATCH
# Needs GitHub's gh with GH_TOKEN (contents and pull-requests: write) and GH_REPO.
set -eu
patch=$1 branch=locks/newest base=$(git rev-parse --abbrev-ref HEAD)
title="Take the newest releases within our ranges"

# A patch that touches more than pins is not what this was started for.
others=$(git apply --numstat "$patch" | cut -f 3 |
    grep -vE '^(locks/[a-z_]+\.txt|requirements-dev\.txt|docs/example\.sha256)$' || true)
if [ -n "$others" ]; then
    echo "error: the patch changes more than pins: $others" >&2
    exit 1
fi

git switch --quiet --create "$branch"
git apply --index "$patch"
git -c user.name="github-actions[bot]" \
    -c user.email="41898282+github-actions[bot]@users.noreply.github.com" \
    commit --quiet --message "$title"
gh auth setup-git
git push --quiet --force origin "$branch"

if [ -z "$(gh pr list --head "$branch" --state open --json number --jq '.[].number')" ]; then
    gh pr create --base "$base" --head "$branch" --title "$title" --body "\
The unit and render tests pass with these pins. The rest has not run: pushes with the token of a
workflow start no other workflow. Close and open this pull request to start it, and read the changes
of packages that compute (torch, transformers, peft, onnxruntime) before you merge."
fi
