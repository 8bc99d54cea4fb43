"""The contents of the wheel and the sdist, and imports without other packages."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import swaig_wsgi
from swaig_wsgi.core._patterns import lazy_pattern

# Renamed in Python 3.11.
sre_parse: Any = getattr(re, "_parser", None) or import_module("sre_parse")
ROOT = Path(__file__).resolve().parents[1]
#: Options that exclude site-packages, the environment and the current directory.
BARE = ("-S", "-E", "-I", "-W", "error")
IMPORT_ALL = """
import sys
from importlib import import_module
from pathlib import Path

root = Path(sys.argv[1])
sys.path.insert(0, str(root))
needing = ("agent", "examples", "django", "gunicorn", "_metrics", "pytest_plugin")
for path in sorted((root / "swaig_wsgi").rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] != "__main__" and parts[1] not in needing:
        import_module(".".join(part for part in parts if part != "__init__"))
optional = {"werkzeug", "redis", "flask", "django", "gunicorn"}
optional |= {"opentelemetry", "prometheus_client"}
third = sorted(optional & set(sys.modules))
print("third:", third, "modules:", sum(name.startswith("swaig_wsgi") for name in sys.modules))
"""


def python(*arguments, executable=sys.executable, cwd=None):
    result = subprocess.run(
        [str(executable), *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def run_bare(code):
    return python(*BARE, "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{code}", ROOT)


# -- imports


def repeated_branches(tree: Any) -> Iterator[Any]:
    """Yield the alternatives that a parsed pattern repeats without a bound."""
    for code, argument in tree:
        parts = argument if isinstance(argument, (tuple, list)) else (argument,)
        if str(code) in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] == sre_parse.MAXREPEAT:
            yield from (part for part in flat(argument[2]) if str(part[0]) == "BRANCH")
        for part in parts:
            for inner in part if isinstance(part, list) else (part,):
                if isinstance(inner, sre_parse.SubPattern):
                    yield from repeated_branches(inner)


def flat(tree: Any) -> Iterator[Any]:
    for code, argument in tree:
        if str(code) == "SUBPATTERN":
            yield from flat(argument[-1])
        else:
            yield code, argument


PATTERNS = (re.Pattern, type(lazy_pattern("")))


def test_attack_no_pattern_repeats_alternatives_without_a_bound():
    """Python needs more than 100 bytes for each repetition of a group."""
    checked = 0
    for module in walk_packages(swaig_wsgi.__path__, "swaig_wsgi."):
        if not module.name.endswith(("__main__", "examples.basic")):
            for name, value in vars(import_module(module.name)).items():
                if type(value) in PATTERNS:  # isinstance() asks Django's lazy settings
                    parsed = sre_parse.parse(value.pattern, value.flags & re.VERBOSE)
                    assert not [*repeated_branches(parsed)], (module.name, name)
                    checked += 1
    assert checked > 50
    assert [*repeated_branches(sre_parse.parse(r"x(?:(a|bc)*|y)"))]


def test_the_package_can_be_imported_without_other_packages():
    out = run_bare("import swaig_wsgi; print(*swaig_wsgi.__all__)")
    assert out.split() == swaig_wsgi.__all__
    assert set(swaig_wsgi.__all__) <= set(dir(swaig_wsgi))


@pytest.mark.parametrize(
    "name", sorted(set(swaig_wsgi.__all__) - {"AgentApp", "AgentServer", "__version__"})
)
def test_names_other_than_the_applications_need_no_other_package(name):
    out = run_bare(f"from swaig_wsgi import {name}; print({name}.__module__)")
    assert out.startswith("swaig_wsgi.")


@pytest.mark.parametrize("name", ["AgentApp", "AgentServer"])
def test_the_error_without_werkzeug_names_the_extra(name):
    out = run_bare(f"""
try:
    from swaig_wsgi import {name}
except ImportError as error:
    print(error)
""")
    assert name in out
    assert "pip install 'swaig-wsgi[app]'" in out


def test_the_error_without_redis_names_the_extra():
    out = run_bare("""
from swaig_wsgi.stores import RedisStore, open_store
for make in (RedisStore, open_store):
    try:
        make("redis://127.0.0.1/0")
    except ImportError as error:
        print(error)
""")
    assert out.count("pip install 'swaig-wsgi[redis]'") == 2


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        swaig_wsgi.nonsense  # noqa: B018


@pytest.mark.parametrize("flags", [BARE, ()])
def test_only_agents_import_other_packages(flags):
    out = python(*flags, "-c", IMPORT_ALL, ROOT)
    assert out.startswith("third: [] modules: ")
    assert int(out.split()[-1]) > 50


# -- wheel and sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the wheel and the sdist, built from a copy, because a build writes to its source."""
    directory = tmp_path_factory.mktemp("build")
    unwanted = (".*", "*.egg-info", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, directory / "source", ignore=shutil.ignore_patterns(*unwanted))
    python("-m", "build", "--no-isolation", "--outdir", directory, directory / "source")
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def wheel_names(built):
    with zipfile.ZipFile(built[0]) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(built, wheel_names):
    (name,) = (name for name in wheel_names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(built[0]) as archive:
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_contains_the_package_and_nothing_else(wheel_names):
    for name in (
        "examples/basic.py",
        "py.typed",
        "core/auth.py",
        "agent/app.py",
        "cli/__init__.py",
    ):
        assert f"swaig_wsgi/{name}" in wheel_names
    assert {name.partition("/")[0] for name in wheel_names} == {
        "swaig_wsgi",
        f"swaig_wsgi-{swaig_wsgi.__version__}.dist-info",
    }
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "swaig_wsgi").rglob("*.py")}
    assert modules <= set(wheel_names)
    assert not any("__pycache__" in name for name in wheel_names)


def test_only_extras_have_requirements(metadata):
    required = metadata.get_all("Requires-Dist")
    assert [line for line in required if "extra ==" not in line] == []
    extras = {"app", "serve", "redis", "metrics", "tracing", "test", "docs", "dev"}
    assert set(metadata.get_all("Provides-Extra")) == extras


def test_each_extra_requires_its_packages(metadata):
    required = {}
    for line in metadata.get_all("Requires-Dist"):
        requirement, _, marker = line.partition(";")
        extra = marker.partition("extra ==")[2].strip(" \"'")
        required.setdefault(extra, []).append(requirement.strip())
    assert [line.partition(">=")[0] for line in required["app"]] == ["werkzeug"]
    assert [line.partition(">=")[0] for line in required["redis"]] == ["redis"]
    assert [line.partition(">=")[0] for line in required["metrics"]] == ["prometheus-client"]
    assert sorted(required["serve"]) == ["gunicorn>=27", required["app"][0]]


def test_the_metadata_has_version_license_and_urls(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("swaig-wsgi", swaig_wsgi.__version__)
    assert (metadata["License-Expression"] or metadata["License"]) == "MIT"
    assert (metadata["License-File"], metadata["Requires-Python"]) == ("LICENSE", ">=3.10")
    urls = [url.partition(", ")[2] for url in metadata.get_all("Project-URL")]
    assert urls[0] == "https://pypi.org/project/swaig-wsgi/"
    assert all(url.startswith("https://") for url in urls)
    description = metadata.get_payload()
    assert description.startswith("# swaig-wsgi")
    assert f"]({urls[1]}tokens.html)" in description
    assert f"]({urls[1]}_images/request-path.svg)" in description
    assert "](docs/" not in description


def test_the_sdist_contains_tests_docs_and_examples(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in (
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "setup.cfg",
        "tox.ini",
        "tests/conftest.py",
        "tests/certs/cert.pem",
        "tests/vendored/pytest.ini",
        "swaig_wsgi/py.typed",
    ):
        assert path in names
    for directory in ("docs", "examples", "tests", "swaig_wsgi"):
        for path in (ROOT / directory).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".md", ".pem") and "__pycache__" not in name:
                assert name in names
    assert not any(name.endswith(".pyc") for name in names)


def test_the_wheel_can_be_used_without_other_packages(built, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    executable = tmp_path / "venv" / "bin" / "python"
    # Without an index, nothing else can be installed.
    install = ("install", "--quiet", "--no-index", "--disable-pip-version-check", built[0])
    python("-m", "pip", "--python", executable, *install)
    code = "import swaig_wsgi as s; print(s.__file__, s.harden.__name__, s.Settings().rate_limit)"
    out = python("-I", "-W", "error", "-c", code, executable=executable, cwd=tmp_path)
    assert str(tmp_path / "venv") in out
    assert out.split()[1:] == ["harden", "None"]
    command = os.fspath(tmp_path / "venv" / "bin" / "swaig-wsgi")
    subprocess.run([command, "vendor", "copied"], check=True, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (tmp_path / "copied" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    served = subprocess.run(
        [command, "serve", "a:b"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert served.returncode == 2
    assert "pip install 'swaig-wsgi[app]'" in served.stderr


def test_type_checkers_find_an_editable_installation(built, tmp_path):
    editable = (
        "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    )
    python("-c", editable, tmp_path, cwd=built[0].parent / "source")
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    executable = tmp_path / "venv" / "bin" / "python"
    install = ("install", "--quiet", "--no-index", "--disable-pip-version-check", wheel)
    python("-m", "pip", "--python", executable, *install)
    (tmp_path / "program.py").write_text(
        "from swaig_wsgi.core.auth import Credentials\nreveal_type(Credentials.user)\n"
    )
    # mypy ends with 1 for a package that it does not find.
    options = ("--python-executable", executable, "--cache-dir", tmp_path / "cache")
    out = python("-m", "mypy", *options, "program.py", cwd=tmp_path)
    assert 'Revealed type is "str"' in out


def test_what_few_programs_need_is_imported_when_it_is_used(run_python: Any) -> None:
    run_python(
        """
import sys
from swaig_wsgi import harden
from swaig_wsgi.stores import MemoryStore
slow = {"asyncio", "concurrent.futures", "sqlite3", "tempfile"}
assert slow.isdisjoint(sys.modules), slow.intersection(sys.modules)
from swaig_wsgi.concurrency import CALLBACK_ERRORS, resolve
from swaig_wsgi.stores import SQLiteStore
assert "asyncio" in sys.modules and "sqlite3" in sys.modules
"""
    )


def test_an_unknown_name_of_a_lazy_package_is_an_attribute_error() -> None:
    for package in ("swaig_wsgi.stores", "swaig_wsgi.concurrency"):
        with pytest.raises(AttributeError, match="Unknown"):
            getattr(import_module(package), "Unknown")  # noqa: B009
