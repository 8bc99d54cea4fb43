"""Judge the report of Sphinx's linkcheck: ``python tests/site/linkcheck.py output.json``.

A link is broken if its server says so. Without a network, nothing can be said about a link: it is
counted as not reached.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

#: What requests reports for a response with an error, or for a page without the anchor.
_FROM_SERVER = re.compile(r"\d{3} |Anchor ")


def judge(report: str) -> tuple[list[str], Counter[str]]:
    """Return the broken links, and how many links have each state."""
    broken = []
    counts: Counter[str] = Counter()
    for line in report.splitlines():
        link = json.loads(line)
        status = link["status"]
        if status in ("broken", "timeout"):
            if _FROM_SERVER.match(link["info"]):
                broken.append(f"{link['filename']}:{link['lineno']}: {link['uri']} {link['info']}")
            else:
                status = "not reached"
        counts[status] += 1
    return broken, counts


if __name__ == "__main__":
    found, states = judge(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(*found, dict(states), sep="\n")
    sys.exit(bool(found))
