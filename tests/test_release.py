"""Requirements, versions and builds of a release."""

from __future__ import annotations

import configparser
import importlib.util
import io
import json
import re
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import swaig_wsgi

ROOT = Path(__file__).resolve().parents[1]
LOCKED = ("dev", "docs", "release")
PINNED = re.compile(
    r"([a-z0-9.-]+)==([^ ]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)"
)


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "release" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configured() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    stripped = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line]


def pinned(name: str) -> dict[str, list[Version]]:
    """Return the releases of each package in a file that ``tox -e lock`` wrote."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#.*\n", "", text)
    found: dict[str, list[Version]] = {}
    for match in PINNED.finditer(text):
        found.setdefault(match[1], []).append(Version(match[2]))
    assert PINNED.sub("", text).split() == []
    return found


def test_every_requirement_is_pinned_with_hashes() -> None:
    extras = configured()["options.extras_require"]
    wanted = {
        "dev": lines(extras["dev"]) + lines(extras["test"]),
        "docs": lines(extras["docs"]) + lines(extras["serve"]) + lines(extras["redis"]),
        "release": lines((ROOT / "requirements" / "release.in").read_text(encoding="utf-8")),
    }
    for name in LOCKED:
        releases = pinned(name)
        assert len(releases) > 30
        for requirement in map(Requirement, wanted[name]):
            if requirement.name != "swaig-wsgi":
                versions = releases.get(canonicalize_name(requirement.name), [])
                assert versions, f"{requirement}: run tox -e lock"
                assert all(map(requirement.specifier.contains, versions)), requirement


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## ([0-9.]+) — (unreleased|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == swaig_wsgi.__version__


def test_the_changelog_lists_the_settings_and_names_that_are_kept() -> None:
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    section = newest.partition("### Settings and names\n")[2]
    modules = {
        match[1]: set(re.findall(r"`(\w+)`", match[2]))
        for match in re.finditer(r"^- `([\w.]+)`: (.*(?:\n  .*)*)", section, re.MULTILINE)
    }
    kept: dict[str, set[str]] = {}
    contract = (ROOT / "tests" / "contract.txt").read_text(encoding="utf-8")
    for module, name in re.findall(r"(?m)^(?!#)(\S+)$|^    (\w+)", contract):
        if module:
            names = kept.setdefault(module, set())
        else:
            names.add(name)
    assert modules == kept
    source = (ROOT / "swaig_wsgi" / "config.py").read_text(encoding="utf-8")
    settings = set(re.findall(r'"((?:SWML|SIGNALWIRE)_[A-Z_]+|PORT)"', source))
    assert len(settings) > 30
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", section.partition("\n- ")[0])) == settings


def test_read_the_docs_builds_the_site_as_tox_does() -> None:
    config = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert (ROOT / config["sphinx"]["configuration"]).exists()
    assert config["sphinx"]["fail_on_warning"]
    requirements, package = config["python"]["install"]
    assert package == {"method": "pip", "path": ".", "extra_requirements": ["docs"]}
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    assert tox["testenv:docs"]["deps"] == f"-r {requirements['requirements']}"
    assert tox["testenv:docs"]["extras"] == "docs"


def test_the_versions_of_python_are_those_that_are_tested() -> None:
    settings = configured()
    classified = re.findall(r"Python :: 3\.(\d+)$", settings["metadata"]["classifiers"], re.M)
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    core = re.search(r"^\[testenv:core\{39,([\d,]+?)(,\d+t)?\}\]$", tox, re.MULTILINE)
    assert core is not None
    assert [f"3{minor}" for minor in classified] == core[1].split(",")
    assert settings["options"]["python_requires"] == f">=3.{classified[0]}"
    assert re.findall(r"\bpy3(\d+)", tox.partition("\n\n")[0]) == classified


def test_the_time_frames_are_stated() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    table = page.partition("\n## Time frames\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 3
    assert all(re.search(r"\b\d+ (working )?days\b|each release", row) for row in rows)


def sdist(times: tuple[float, ...], owner: str, order: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        names = ("p-1", "p-1/a.py", "p-1/run")
        for name, time in [*zip(names, times, strict=True)][::order]:
            member = tarfile.TarInfo(name)
            member.mtime, member.uname, member.uid = time, owner, len(owner)
            member.mode = 0o700 if name != "p-1/a.py" else 0o600
            member.type = tarfile.DIRTYPE if name == "p-1" else tarfile.REGTYPE
            member.size = 0 if name == "p-1" else len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return packed.getvalue()


def test_an_sdist_depends_on_its_files_alone() -> None:
    pack_again = script("build").pack_again
    first = pack_again(sdist((1.5, 2.5, 3.25), "root", 1), 1_700_000_000)
    assert first == pack_again(sdist((7.0, 8.125, 9.0), "another", -1), 1_700_000_000)
    assert first != pack_again(sdist((1.5, 2.5, 3.25), "root", 1), 1_700_000_001)
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        modes = {member.name: member.mode for member in archive.getmembers()}
        assert modes == {"p-1": 0o755, "p-1/a.py": 0o644, "p-1/run": 0o755}
        file = archive.extractfile("p-1/a.py")
        assert file is not None
        assert file.read() == b"p-1/a.py"


def report(*packages: dict[str, Any]) -> bytes:
    return json.dumps({"dependencies": packages, "fixes": []}).encode()


@pytest.mark.parametrize(
    ("given", "errors", "count", "printed"),
    [
        (report({"name": "a", "skip_reason": "not found"}), "", 0, "NOT RUN: .* knows none of 1"),
        (b"", "x\nrequests.exceptions.ConnectionError: no route", 0, "NOT RUN: .*: no route"),
        (report({"name": "a", "version": "1", "vulns": []}), "", 0, "r.txt: 1 of 1 audited, 0"),
        (
            report(
                {"name": "b", "skip_reason": "not found"},
                {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
            ),
            "",
            1,
            "a 1: PYSEC-1, fixed in 2\nr.txt: 1 of 2 audited, 1 vulnerable",
        ),
    ],
)
def test_an_audit_that_audits_nothing_is_not_run(
    given: bytes, errors: str, count: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("audit").judge("r.txt", given, errors) == count
    assert re.search(printed, capsys.readouterr().out)


def test_an_audit_that_fails_for_another_reason_is_an_error() -> None:
    with pytest.raises(SystemExit, match="pip-audit failed: ERROR: a hash is missing"):
        script("audit").judge("r.txt", b"", "ERROR: a hash is missing\n")
