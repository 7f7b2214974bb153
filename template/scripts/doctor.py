"""Check this machine: driver, GPU, PyTorch's build, memory, disk, Python.

python scripts/doctor.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from machine import checks, steps
from machine.checks import Finding

ROOT = Path(__file__).resolve().parent.parent
SIGNS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  ", "skipped": "skipped"}


def main() -> int:
    """Print the findings; record the step; return 1 if one of them is an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        findings = checks.examine(ROOT)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        seconds = time.monotonic() - started
        steps.record(ROOT, "doctor", "failed", seconds, "interrupted", "run `make doctor` again")
        return 1
    errors = [finding for finding in findings if finding.status == "error"]
    if arguments.json:
        report = {"ok": not errors, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(line, findings)))
    message, remedy = summary(findings)
    status = "failed" if errors else "ok"
    steps.record(ROOT, "doctor", status, time.monotonic() - started, message, remedy)
    return 1 if errors else 0


def line(finding: Finding) -> str:
    """Return a finding as one line, and its remedy as a second."""
    text = f"{SIGNS[finding.status]} {finding.name}: {finding.message}"
    return f"{text}\n        → {finding.remedy}" if finding.remedy else text


def summary(findings: list[Finding]) -> tuple[str, str]:
    """Return the worst finding's message and remedy, with the counts."""
    bad = [f for status in ("error", "warning") for f in findings if f.status == status]
    if not bad:
        return f"{len(findings)} checks, nothing to mend", ""
    errors = sum(finding.status == "error" for finding in bad)
    return f"errors: {errors}, warnings: {len(bad) - errors}; {bad[0].message}", bad[0].remedy


if __name__ == "__main__":
    sys.exit(main())
