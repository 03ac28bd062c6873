"""Runs the benchmarks one after the other, each in a process of its own, and prints one table.

A benchmark is a module of this folder with a `NAME` and a `main(argv)` that takes `--json FILE` and writes its rows
there: objects with name, value, unit, reach (what is to be reached, a text), min, max and runs. One that measures on
data from elsewhere also takes `--data DIR`, says so with `TAKES_DATA = True`, and leaves itself out without it.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"

Row = dict[str, Any]


def benchmarks() -> dict[str, Path]:
    """Return the files of all benchmarks by name; they are read, not imported, so that one can't disturb another."""
    found: dict[str, Path] = {}
    for path in sorted(HERE.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.Assign(targets=[ast.Name(id="NAME")], value=ast.Constant(value=str(name))):
                    found[name] = path
    return found


def takes_data(path: Path) -> bool:
    """Whether a benchmark measures on data from elsewhere."""
    return any(
        isinstance(node, ast.Assign) and any(ast.unparse(target) == "TAKES_DATA" for target in node.targets)
        for node in ast.parse(path.read_text()).body
    )


def measure(path: Path, data: Path | None) -> list[Row]:
    """Run one benchmark, showing what it prints, and return its rows.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    with TemporaryDirectory() as scratch:
        written = Path(scratch) / "rows.json"
        options = ["--data", str(data)] if data is not None and takes_data(path) else []
        command = [sys.executable, str(path), "--json", str(written), *options]
        subprocess.run(command, check=True, stdout=sys.stderr)
        rows: list[Row] = json.loads(written.read_text())
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as a table."""
    head = ("what", "value", "least", "most", "unit", "reach", "runs")
    cells = [
        (
            f"{row['benchmark']}: {row['name']}",
            *(f"{row[column]:,.2f}" for column in ("value", "min", "max")),
            str(row["unit"]),
            str(row["reach"]),
            str(row["runs"]),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    aligned = [
        "  ".join(
            text.rjust(width) if 1 <= column <= 3 else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *cells)
    ]
    return "\n".join((aligned[0], "-" * len(aligned[0]), *aligned[1:]))


def main(argv: list[str]) -> int:
    """Run the benchmarks that are named, or all; return how many failed."""
    known = benchmarks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which, of {', '.join(known)}; none means all")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data from elsewhere, for those that take it")
    arguments = parser.parse_args(argv)
    chosen = arguments.names or list(known)
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}")
    rows: list[Row] = []
    failed: list[str] = []
    for name in chosen:
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            rows += [{"benchmark": name, **row} for row in measure(known[name], arguments.data)]
        except subprocess.CalledProcessError as err:
            failed.append(f"{name} ended with {err.returncode}")
    print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    record = {"at": now.isoformat(), "python": platform.python_version(), "machine": platform.platform(), "rows": rows}
    written = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    written.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {written.relative_to(HERE.parent)}", *failed, sep="\n", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
