"""Copies for other projects: made, checked, and put to work on every Python that is here."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swaig_wsgi import __version__
from swaig_wsgi.cli import _vendor as vendoring
from swaig_wsgi.cli._vendor import MANIFEST, VendoringError, check, read_manifest, vendor

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "vendored"
#: Nothing but the standard library: no site-packages, no environment, no directory of the script.
BARE = ("-S", "-E", "-I")


def pythons() -> dict[str, str]:
    """Return the interpreters from 3.9 to 3.13 that are here; the running one always is."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in ("3.9", "3.10", "3.11", "3.12", "3.13"):
        candidates = [str(path) for path in versions.glob(f"{version}.*/bin/python{version}")]
        candidates += filter(None, [shutil.which(f"python{version}")])
        for candidate in candidates:
            ask = [candidate, *BARE, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            answer = subprocess.run(ask, capture_output=True, text=True)
            if answer.stdout.strip() == version:
                found.setdefault(version, candidate)
    return found


PYTHONS = pythons()


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory):
    copy = tmp_path_factory.mktemp("project") / "_front_door"
    vendor(copy, middleware=True)
    return copy


@pytest.fixture
def copy(tmp_path):
    dest = tmp_path / "front_door"
    vendor(dest)
    return dest


def run(python, *arguments):
    result = subprocess.run(
        [python, *BARE, "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# -- copies at work


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("mode", ["", "--fips"])
def test_a_copy_decides_with_the_standard_library_alone(whole_copy, version, mode):
    out = run(PYTHONS[version], HERE / "check.py", whole_copy, *filter(None, [mode]))
    assert f"Python {version}." in out
    assert "core, stores, middleware, _validation, auth, body_size" in out


def test_a_copy_of_the_core_stands_alone(copy):
    assert "core, _validation, auth, body_size" in run(sys.executable, HERE / "check.py", copy)


@pytest.mark.slow
def test_the_suite_of_the_core_passes_on_a_copy():
    # On every other Python, and with the suites of the other rooms: tox -e core39 to core313.
    tools = Path(pytest.__file__).parent.parent
    out = run(sys.executable, HERE / "run.py", f"--tools={tools}", "-q", "tests/core")
    assert " passed" in out


def test_the_guard_of_these_tests_catches_what_it_is_for(copy):
    (copy / "core" / "auth.py").write_text("import swaig_wsgi\n")
    with pytest.raises(AssertionError, match=r"front_door\.core\.auth imports swaig_wsgi"):
        run(sys.executable, HERE / "check.py", copy)


def test_only_relative_imports_are_copied(whole_copy):
    modules = list(whole_copy.rglob("*.py"))
    assert len(modules) > 40
    for path in modules:
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            tops = {name.partition(".")[0] for name in names if name != "_typeshed.wsgi"}
            assert tops <= sys.stdlib_module_names, path


def test_a_copy_in_a_package_works(tmp_path):
    vendor(tmp_path / "site" / "_vendor" / "front_door", middleware=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from site_._vendor.front_door import Settings, harden, __version__; "
        "print(harden(print, Settings()).__class__.__module__, __version__)"
    )
    (tmp_path / "site").rename(tmp_path / "site_")
    told = run(sys.executable, "-c", code, tmp_path)
    assert told.split() == ["site_._vendor.front_door.middleware.headers", __version__]


# -- what is copied


@pytest.mark.parametrize(
    ("options", "rooms", "there", "absent"),
    [
        ({}, ("core",), ["core/auth.py"], ["stores", "sessions.py", "middleware", "config.py"]),
        (
            {"stores": True},
            ("core", "stores"),
            ["sessions.py", "stores/sqlite.py"],
            ["middleware", "config.py"],
        ),
        (
            {"middleware": True},
            ("core", "stores", "middleware"),
            ["config.py", "sessions.py", "stores/memory.py", "middleware/harden.py"],
            ["agent", "swaig", "cli.py", "tls.py", "examples"],
        ),
    ],
)
def test_the_rooms_that_are_asked_for_are_copied(tmp_path, options, rooms, there, absent):
    dest = tmp_path / "front_door"
    manifest = vendor(dest, **options)
    assert (manifest.version, manifest.rooms) == (__version__, rooms)
    for name in (*there, "LICENSE", "_version.py", "py.typed", MANIFEST):
        assert (dest / name).is_file(), name
    for name in absent:
        assert not (dest / name).exists(), name
    assert check(dest) == []


def test_the_licence_and_the_version_go_along(copy):
    assert (copy / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert __version__ in (copy / "__init__.py").read_text()


def test_without_metadata_the_licence_is_that_of_the_checkout(monkeypatch, tmp_path):
    def nothing(name):
        raise vendoring.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(vendoring.metadata, "distribution", nothing)
    vendor(tmp_path / "front_door")
    assert (tmp_path / "front_door" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    monkeypatch.setattr(vendoring, "_PACKAGE", tmp_path / "elsewhere" / "swaig_wsgi")
    with pytest.raises(VendoringError, match="licence is not installed"):
        vendor(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_manifest_is_one_for_sha256sum(whole_copy):
    first, *lines = (whole_copy / MANIFEST).read_text().splitlines()
    assert first == f"# swaig-wsgi {__version__}: core stores middleware"
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {
        path.relative_to(whole_copy).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in whole_copy.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    assert sums == files


def test_a_copy_is_made_the_same_each_time(copy, tmp_path):
    vendor(tmp_path / "again")
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (copy / MANIFEST).read_bytes()


# -- where


@pytest.mark.parametrize("name", ["front-door", "1door", "class", "döor", "a.b", "front door"])
def test_what_cannot_be_imported_is_no_name(tmp_path, name):
    with pytest.raises(VendoringError, match="must be an identifier"):
        vendor(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_not_copied_into_or_over_itself():
    for dest in (ROOT / "swaig_wsgi", ROOT / "swaig_wsgi" / "core", ROOT / "swaig_wsgi" / "new"):
        with pytest.raises(VendoringError, match="would be copied"):
            vendor(dest, force=True)
    assert (ROOT / "swaig_wsgi" / "core" / "auth.py").is_file()


def test_a_link_or_a_file_is_not_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(VendoringError, match="not a directory"):
            vendor(tmp_path / name, force=True)
    assert (tmp_path / "link").is_symlink()


def test_an_empty_directory_is_used(tmp_path):
    (tmp_path / "front_door").mkdir()
    vendor(tmp_path / "front_door")
    assert check(tmp_path / "front_door") == []


def test_what_is_not_ours_is_kept(tmp_path):
    dest = tmp_path / "front_door"
    dest.mkdir()
    (dest / "mine.py").write_text("precious")
    with pytest.raises(VendoringError, match=r"no copy of swaig-wsgi.*--force"):
        vendor(dest)
    assert (dest / "mine.py").read_text() == "precious"
    vendor(dest, force=True)
    assert not (dest / "mine.py").exists()
    assert check(dest) == []


def test_local_changes_are_kept(copy):
    (copy / "core" / "auth.py").write_text("patched")
    with pytest.raises(VendoringError, match=r"changed since(.|\n)*changed: core/auth\.py"):
        vendor(copy)
    assert (copy / "core" / "auth.py").read_text() == "patched"
    vendor(copy, force=True)
    assert check(copy) == []


def test_an_update_keeps_the_rooms(tmp_path):
    dest = tmp_path / "front_door"
    vendor(dest, middleware=True)
    vendor(dest)
    assert read_manifest(dest).rooms == ("core", "stores", "middleware")


def test_nothing_is_left_beside_the_copy(copy):
    vendor(copy, stores=True)
    assert [path.name for path in copy.parent.iterdir()] == ["front_door"]


def test_a_first_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def failing(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        vendor(tmp_path / "front_door")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_fails_leaves_the_old_one(copy, monkeypatch):
    before = (copy / MANIFEST).read_bytes()
    rename = Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        vendor(copy, stores=True)
    assert [path.name for path in copy.parent.iterdir()] == ["front_door"]
    assert (copy / MANIFEST).read_bytes() == before
    assert check(copy) == []


# -- checks


def test_each_change_is_named(copy):
    with (copy / "core" / "auth.py").open("a") as file:
        file.write("\n")
    (copy / "core" / "cors.py").unlink()
    (copy / "core" / "backdoor.py").touch()
    (copy / "LICENSE").write_text("mine now")
    assert check(copy) == [
        "added: core/backdoor.py",
        "changed: LICENSE",
        "changed: core/auth.py",
        "missing: core/cors.py",
    ]


def test_byte_code_is_no_change_but_other_files_are(copy):
    cache = copy / "core" / "__pycache__"
    cache.mkdir()
    (cache / "auth.cpython-311.pyc").touch()
    assert check(copy) == []
    (cache / "auth.so").touch()
    (copy / "core" / "auth.pyc").touch()
    assert check(copy) == ["added: core/__pycache__/auth.so", "added: core/auth.pyc"]


def test_a_link_is_a_change_wherever_it_leads(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "other")
    (copy / "core" / "auth.py").unlink()
    (copy / "core" / "auth.py").symlink_to(tmp_path / "other" / "core" / "auth.py")
    (copy / "extra").symlink_to(tmp_path / "other" / "core")
    assert check(copy) == ["added: extra", "changed: core/auth.py"]


def test_a_manifest_that_was_changed_along_does_not_help(copy):
    path = copy / "core" / "auth.py"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text("backdoor")
    manifest = copy / MANIFEST
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(old, new))
    assert check(copy) == [f"outdated: core/auth.py is not that of the installed {__version__}"]


@pytest.mark.parametrize(
    ("copied", "installed", "outdated"),
    [
        ("0.9.0", "0.10.0", True),
        ("1.0.0rc1", "1.0.0", True),
        ("1.0", "1.0.1", True),
        ("0.10.0", "0.9.0", False),
        ("1.0.0", "1.0.0rc1", False),
        ("2", "1.9", False),
    ],
)
def test_an_older_version_is_outdated(copy, monkeypatch, copied, installed, outdated):
    manifest = copy / MANIFEST
    manifest.write_text(
        manifest.read_text().replace(f"swaig-wsgi {__version__}:", f"swaig-wsgi {copied}:")
    )
    monkeypatch.setattr(vendoring, "__version__", installed)
    expected = [f"outdated: version {copied}, and {installed} is installed"]
    assert check(copy) == (expected if outdated else [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "junk",
        "# swaig-wsgi 1.0: cellar\n",
        "# other 1.0: core\n",
        "# swaig-wsgi 1.0: core\njunk\n",
        f"# swaig-wsgi 1.0: core\n{'0' * 64}  ../../etc/passwd\n",
        f"# swaig-wsgi 1.0: core\n{'0' * 64}  /etc/passwd\n",
        f"# swaig-wsgi 1.0: core\n{'0' * 64}  a//b\n",
        f"# swaig-wsgi 1.0: core\n{'0' * 64}  a\n{'1' * 64}  a\n",
        f"# swaig-wsgi 1.0: core\n{'0' * 63}  a\n",
    ],
)
def test_a_manifest_that_is_none_of_ours_is_refused(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(VendoringError, match=MANIFEST):
        check(copy)
    with pytest.raises(VendoringError, match="--force"):
        vendor(copy)


def test_there_has_to_be_a_copy(tmp_path):
    with pytest.raises(VendoringError, match="is missing"):
        check(tmp_path)
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(VendoringError, match="cannot be read"):
        check(tmp_path)
    (tmp_path / MANIFEST).rmdir()
    (tmp_path / MANIFEST).write_bytes(b"\xff")
    with pytest.raises(VendoringError, match="cannot be read"):
        check(tmp_path)
