#!/bin/sh
# Say in an issue that a scheduled check failed: sh tools/report_failure.sh TITLE FILE
# One issue a title: where it is open already, FILE becomes a comment.
# Needs GitHub's gh with GH_TOKEN (issues: write) and GH_REPO.
set -eu
title=$1 body=$2

# compared here, since GitHub's search takes parts of a title for the whole
open=$(gh issue list --state open --limit 200 --json number,title \
    --jq '.[] | "\(.number) \(.title)"' | while read -r number name; do
    if [ "$name" = "$title" ]; then echo "$number"; fi
done | head -n 1)

if [ -n "$open" ]; then
    gh issue comment "$open" --body-file "$body"
else
    gh issue create --title "$title" --body-file "$body"
fi
