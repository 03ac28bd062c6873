"""Print how each run of pytest ended, and the sum of all as the last line."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

KINDS = ("passed", "failed", "skipped", "errors")


def counts_of(report: Path) -> Counter[str]:
    """Return how many tests of a run ended how."""
    counts = Counter[str]()
    for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - pytest has just written it
        number = {kind: int(suite.get(kind, 0)) for kind in ("tests", "failures", "skipped", "errors")}
        counts["failed"] += number["failures"]
        counts["skipped"] += number["skipped"]
        counts["errors"] += number["errors"]
        counts["passed"] += number["tests"] - number["failures"] - number["skipped"] - number["errors"]
    return counts


def sentence(counts: Counter[str]) -> str:
    """Return counts as pytest's closing line has them; how many failed is always said."""
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind] or kind in {"passed", "failed"})


def main(nox: Path) -> int:
    """Add up what is in nox's folder; a session that failed without a failed test counts as an error."""
    total = Counter[str]()
    with_failures = set[str]()
    for report in sorted((nox / "results").glob("*.xml")):
        counts = counts_of(report)
        total += counts
        if counts["failed"] or counts["errors"]:
            with_failures.add(report.stem)
        print(f"{report.stem:32} {sentence(counts)}")
    try:
        sessions = json.loads((nox / "report.json").read_text())["sessions"]
    except FileNotFoundError:
        print("nox did not get to its end")
        total["errors"] += 1
        sessions = []
    for session in sessions:
        if session["result"] != "success":
            print(f"{session['name']:32} {session['result']}")
        name = session["name"]  # each of its reports is called after it, with or without a word of its own behind that
        told = any(stem == name or stem.startswith(f"{name}-") for stem in with_failures)
        if session["result"] in {"failed", "aborted"} and not told:
            total["errors"] += 1
    print(sentence(total))
    return 1 if total["failed"] or total["errors"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
