"""Counts words: mappers each count a share of the text, and a reducer adds up what they found.

    word_count.py map INDEX COUNT FOLDER      counts share INDEX of COUNT, and writes it to FOLDER
    word_count.py reduce FOLDER               adds up all shares in FOLDER, and prints the commonest words

The text is the source of Python's own library, which is wherever Python is.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

WORD = re.compile(r"[a-z]{4,}")
SHOWN = 10


def texts() -> list[Path]:
    """Return the files of the text, the same ones in the same order for every mapper."""
    return sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))


def count(index: int, shares: int, folder: Path) -> None:
    """Count the words of a share. The result appears as a whole, so that running twice does no harm."""
    mine = texts()[index::shares]
    words = Counter[str]()
    for path in mine:
        words.update(WORD.findall(path.read_text(encoding="utf-8", errors="replace").lower()))
    partial = folder / f"{index}.partial"
    partial.write_text(json.dumps(words))
    partial.replace(folder / f"{index}.json")
    print(f"share {index} of {shares}: {words.total()} words in {len(mine)} files")


def add_up(folder: Path) -> None:
    """Print the commonest words of all shares."""
    shares = sorted(folder.glob("*.json"))
    words = Counter[str]()
    for share in shares:
        words.update(json.loads(share.read_text()))
    print(f"{words.total()} words, {len(words)} different ones, from {len(shares)} shares; the commonest:")
    for word, times in sorted(words.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
        print(f"{times:8} {word}")


def main(arguments: list[str]) -> int:
    """Do what the arguments say."""
    match arguments:
        case ["map", index, shares, folder]:
            count(int(index), int(shares), Path(folder))
        case ["reduce", folder]:
            add_up(Path(folder))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
