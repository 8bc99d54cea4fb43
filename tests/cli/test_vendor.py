"""Copies for other projects: made, checked, and exercised on every Python that is installed."""

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
from swaig_wsgi.cli import _copies
from swaig_wsgi.cli._copies import check_copy, make_copy
from swaig_wsgi.cli._manifest import NAME as MANIFEST
from swaig_wsgi.cli._manifest import VendoringError, read_manifest

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "vendored"
#: Nothing but the standard library: no site-packages, no environment, no directory of the script.
BARE = ("-S", "-E", "-I")


def pythons() -> dict[str, str]:
    """Return the installed interpreters from 3.9 to 3.13, the running one among them."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in ("3.9", "3.10", "3.11", "3.12", "3.13"):
        candidates = [str(path) for path in versions.glob(f"{version}.*/bin/python{version}")]
        candidates += filter(None, [shutil.which(f"python{version}")])
        for candidate in candidates:
            command = [candidate, *BARE, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.stdout.strip() == version:
                found.setdefault(version, candidate)
    return found


PYTHONS = pythons()


def run(python, *arguments):
    result = subprocess.run(
        [python, *BARE, "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# -- copies in use


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("mode", ["", "--fips"])
def test_a_copy_works_with_the_standard_library_alone(whole_copy, version, mode):
    out = run(PYTHONS[version], HERE / "check.py", whole_copy, *filter(None, [mode]))
    assert f"Python {version}." in out
    assert "core, stores, middleware, auth, body_size" in out


def test_a_copy_of_the_core_works_alone(copy):
    assert "core, auth, body_size" in run(sys.executable, HERE / "check.py", copy)


def test_the_guard_of_these_tests_catches_an_absolute_import(copy):
    (copy / "core" / "auth.py").write_text("import swaig_wsgi\n")
    with pytest.raises(AssertionError, match=r"vendored\.core\.auth imports swaig_wsgi"):
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
    make_copy(tmp_path / "site" / "_vendor" / "vendored", middleware=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from site_._vendor.vendored import Settings, harden, __version__; "
        "print(harden(print, Settings()).__class__.__module__, __version__)"
    )
    (tmp_path / "site").rename(tmp_path / "site_")
    out = run(sys.executable, "-c", code, tmp_path)
    module, version = out.split()
    assert module.startswith("site_._vendor.vendored.middleware.")
    assert version == __version__


# -- what is copied


@pytest.mark.parametrize(
    ("options", "parts", "present", "absent"),
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
def test_the_requested_parts_are_copied(tmp_path, options, parts, present, absent):
    dest = tmp_path / "vendored"
    manifest = make_copy(dest, **options)
    assert (manifest.version, manifest.parts) == (__version__, parts)
    for name in (*present, "LICENSE", "_version.py", "py.typed", MANIFEST):
        assert (dest / name).is_file(), name
    for name in absent:
        assert not (dest / name).exists(), name
    assert check_copy(dest) == []


def test_a_copy_holds_the_license_and_the_version(copy):
    assert (copy / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert __version__ in (copy / "__init__.py").read_text()


def test_without_metadata_the_license_is_that_of_the_checkout(monkeypatch, tmp_path):
    def nothing(name):
        raise _copies.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_copies.metadata, "distribution", nothing)
    make_copy(tmp_path / "vendored")
    assert (tmp_path / "vendored" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    monkeypatch.setattr(_copies, "_PACKAGE", tmp_path / "elsewhere" / "swaig_wsgi")
    with pytest.raises(VendoringError, match="license is not installed"):
        make_copy(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_copies_are_reproducible(copy, tmp_path):
    make_copy(tmp_path / "again")
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (copy / MANIFEST).read_bytes()


# -- where


@pytest.mark.parametrize("name", ["not-a-name", "1door", "class", "döor", "a.b", "a name"])
def test_a_name_that_cannot_be_imported_is_rejected(tmp_path, name):
    with pytest.raises(VendoringError, match="must be an identifier"):
        make_copy(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_not_copied_into_or_over_itself():
    for dest in (ROOT / "swaig_wsgi", ROOT / "swaig_wsgi" / "core", ROOT / "swaig_wsgi" / "new"):
        with pytest.raises(VendoringError, match="would be copied"):
            make_copy(dest, force=True)
    assert (ROOT / "swaig_wsgi" / "core" / "auth.py").is_file()


def test_a_link_or_a_file_is_not_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(VendoringError, match="not a directory"):
            make_copy(tmp_path / name, force=True)
    assert (tmp_path / "link").is_symlink()


def test_an_empty_directory_is_used(tmp_path):
    (tmp_path / "vendored").mkdir()
    make_copy(tmp_path / "vendored")
    assert check_copy(tmp_path / "vendored") == []


def test_other_files_are_kept(tmp_path):
    dest = tmp_path / "vendored"
    dest.mkdir()
    (dest / "mine.py").write_text("precious")
    with pytest.raises(VendoringError, match=r"no copy of swaig-wsgi.*--force"):
        make_copy(dest)
    assert (dest / "mine.py").read_text() == "precious"
    make_copy(dest, force=True)
    assert not (dest / "mine.py").exists()
    assert check_copy(dest) == []


def test_local_changes_are_kept(copy):
    (copy / "core" / "auth.py").write_text("patched")
    with pytest.raises(VendoringError, match=r"changed since(.|\n)*changed: core/auth\.py"):
        make_copy(copy)
    assert (copy / "core" / "auth.py").read_text() == "patched"
    make_copy(copy, force=True)
    assert check_copy(copy) == []


def test_an_update_keeps_the_parts(tmp_path):
    dest = tmp_path / "vendored"
    make_copy(dest, middleware=True)
    make_copy(dest)
    assert read_manifest(dest).parts == ("core", "stores", "middleware")


def test_no_temporary_files_remain(copy):
    make_copy(copy, stores=True)
    assert [path.name for path in copy.parent.iterdir()] == ["vendored"]


def test_a_first_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def failing(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        make_copy(tmp_path / "vendored")
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
        make_copy(copy, stores=True)
    assert [path.name for path in copy.parent.iterdir()] == ["vendored"]
    assert (copy / MANIFEST).read_bytes() == before
    assert check_copy(copy) == []


# -- checks


def test_a_forged_manifest_does_not_hide_a_change(copy):
    path = copy / "core" / "auth.py"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text("backdoor")
    manifest = copy / MANIFEST
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(old, new))
    assert check_copy(copy) == [
        f"outdated: core/auth.py is not that of the installed {__version__}"
    ]


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
    monkeypatch.setattr(_copies, "__version__", installed)
    expected = [f"outdated: version {copied}, and {installed} is installed"]
    assert check_copy(copy) == (expected if outdated else [])
