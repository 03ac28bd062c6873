"""Asks every replica of the workload `web` for its manifest, and says who answered."""

from __future__ import annotations

import os
import sys
from urllib.request import urlopen


def main() -> int:
    """Ask all endpoints that the environment names; 1 if there are none."""
    endpoints = os.environ.get("ORCHESTRION_ENDPOINTS_WEB_HTTP", "").replace(",", " ").split()
    for endpoint in endpoints:
        with urlopen(f"http://{endpoint}/web.yaml", timeout=10) as answer:
            print(f"{endpoint} answered {answer.status} with {len(answer.read())} bytes")
    return 0 if endpoints else 1


if __name__ == "__main__":
    sys.exit(main())
