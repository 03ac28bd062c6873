"""The examples, run as they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_word_count_prints_the_commonest_words(system: Any, root: Path) -> None:
    done = system.run("up", str(root / "examples" / "word-count.yaml"))
    assert done.returncode == 0, done.stderr
    shares = re.findall(r"^count\.\d \| share (\d) of 4: (\d+) words", done.stdout, re.MULTILINE)
    assert sorted(share for share, _ in shares) == ["0", "1", "2", "3"]
    total = re.search(r"^total\.0 \| (\d+) words, \d+ different ones, from 4 shares", done.stdout, re.MULTILINE)
    assert total is not None
    assert int(total[1]) == sum(int(words) for _, words in shares)
    assert re.search(r"^total\.0 \| +\d+ self$", done.stdout, re.MULTILINE)


def test_the_client_of_web_finds_all_replicas(system: Any, root: Path) -> None:
    manifest = root / "examples" / "web.yaml"
    up = system.up(str(manifest))
    up.wait_for("client: Succeeded")
    answers = [line for line in up.out if line.startswith("client.0 | ")]
    size = manifest.stat().st_size
    assert len(answers) == 3
    assert all(re.fullmatch(rf"client\.0 \| 127\.0\.0\.1:\d+ answered 200 with {size} bytes", one) for one in answers)
    assert len(set(answers)) == 3
    up.send(signal.SIGINT)
    assert up.end() == 130
    assert system.processes() == {}


def test_the_workers_of_a_gang_meet(system: Any, root: Path) -> None:
    done = system.run("up", str(root / "examples" / "gang.yaml"))
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"^workers\.(\d) \| all 3 are here$", done.stdout, re.MULTILINE)) == ["0", "1", "2"]


def test_a_gang_that_the_machine_has_no_room_for_is_refused_with_how_much_of_it_could_be_placed(
    system: Any, tmp_path: Path
) -> None:
    manifest = tmp_path / "wide.yaml"
    share = (os.cpu_count() or 1) * 600
    manifest.write_text(
        "workloads:\n  wide:\n    replicas: 2\n    gang: all\n"
        f"    containers: [{{name: main, command: [sleep, '9'], resources: {{cpu: {share}m}}}}]\n"
    )
    done = system.run("up", str(manifest))
    assert done.returncode != 0
    assert "gang of 2: 1 could be placed, 2 needed" in done.stderr
    assert system.processes() == {}


def test_the_library_in_twenty_lines_prints_what_its_container_writes(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(root / "examples" / "embed.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hello.0.1 hello from a library\n"), done.stderr
