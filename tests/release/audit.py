"""Run bandit, and look for known vulnerabilities of pinned packages: ``audit.py REQUIREMENTS...``

Each finding of bandit that is wrong has its id and the reason in its line, after ``nosec``.

pip-audit ends with success if its service knows none of the packages, as behind an index that
mirrors files only. So the packages that were compared are counted. If there are none, or the
service cannot be reached, this prints NOT RUN. ``requirements/audit-ignore.txt`` may list
vulnerabilities to ignore, one id a line, each with its reason after ``#``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

IGNORED = Path("requirements/audit-ignore.txt")
#: What is in the message or the traceback if the service cannot be reached.
_NETWORK = re.compile(r"requests\.exceptions|connect|timed out|resolve", re.IGNORECASE)


def scan() -> int:
    """Print what bandit finds; return whether there are any."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "swaig_wsgi"]
    # In a statement of several lines, it warns of each line without a finding.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr)
    return done.returncode


def ignored() -> list[str]:
    lines = IGNORED.read_text(encoding="utf-8").splitlines() if IGNORED.exists() else []
    ids = [line.split()[0] for line in lines if line.strip()]
    return [option for each in ids for option in ("--ignore-vuln", each)]


def audit(requirements: str) -> int:
    """Print what was found; return how many vulnerabilities there are."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "pip_audit", "--requirement", requirements]
        command += ["--require-hashes", "--disable-pip", "--progress-spinner", "off"]
        command += ["--timeout", "15", "--format", "json", "--output", file.name, *ignored()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return judge(requirements, file.read(), done.stderr)


def judge(requirements: str, report: bytes, errors: str) -> int:
    """Print what is in the `report` of pip-audit; return how many vulnerabilities there are.

    Raises:
        SystemExit: there is no report, for another reason than the network.
    """
    if not report:
        reason = (errors.strip() or "no output").splitlines()[-1][:200]
        if _NETWORK.search(errors) is None:
            raise SystemExit(f"pip-audit failed: {reason}")
        print(f"NOT RUN: the audit of {requirements}: {reason}")
        return 0
    packages = json.loads(report)["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        print(f"NOT RUN: the audit of {requirements}: the service knows none of {len(packages)}")
        return 0
    found = [(package, each) for package in known for each in package["vulns"]]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "no release"
        print(f"{package['name']} {package['version']}: {each['id']}, fixed in {fixed}")
    print(f"{requirements}: {len(known)} of {len(packages)} audited, {len(found)} vulnerable")
    return len(found)


if __name__ == "__main__":
    sys.exit(min(scan() + sum([audit(name) for name in sys.argv[1:]]), 1))
