"""The manifest of a copy, and the changes that it detects."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from swaig_wsgi import __version__
from swaig_wsgi.cli._copies import check_copy, make_copy
from swaig_wsgi.cli._manifest import NAME as MANIFEST
from swaig_wsgi.cli._manifest import VendoringError


def test_the_manifest_has_the_format_of_sha256sum(whole_copy):
    first, *lines = (whole_copy / MANIFEST).read_text().splitlines()
    assert first == f"# swaig-wsgi {__version__}: core stores middleware"
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    files = {
        path.relative_to(whole_copy).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in whole_copy.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    assert sums == files


def test_each_change_is_named(copy):
    with (copy / "core" / "auth.py").open("a") as file:
        file.write("\n")
    (copy / "core" / "cors.py").unlink()
    (copy / "core" / "backdoor.py").touch()
    (copy / "LICENSE").write_text("mine now")
    assert check_copy(copy) == [
        "added: core/backdoor.py",
        "changed: LICENSE",
        "changed: core/auth.py",
        "missing: core/cors.py",
    ]


def test_modules_beside_bytecode_are_changes(copy):
    cache = copy / "core" / "__pycache__"
    cache.mkdir()
    (cache / "auth.so").touch()
    (copy / "core" / "auth.pyc").touch()
    assert check_copy(copy) == ["added: core/__pycache__/auth.so", "added: core/auth.pyc"]


def test_a_link_is_a_change_whatever_its_target(copy, tmp_path):
    shutil.copytree(copy, tmp_path / "other")
    (copy / "core" / "auth.py").unlink()
    (copy / "core" / "auth.py").symlink_to(tmp_path / "other" / "core" / "auth.py")
    (copy / "extra").symlink_to(tmp_path / "other" / "core")
    assert check_copy(copy) == ["added: extra", "changed: core/auth.py"]


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
def test_an_invalid_manifest_is_rejected(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(VendoringError, match=MANIFEST):
        check_copy(copy)
    with pytest.raises(VendoringError, match="--force"):
        make_copy(copy)


def test_checking_needs_a_copy(tmp_path):
    with pytest.raises(VendoringError, match="is missing"):
        check_copy(tmp_path)
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(VendoringError, match="cannot be read"):
        check_copy(tmp_path)
    (tmp_path / MANIFEST).rmdir()
    (tmp_path / MANIFEST).write_bytes(b"\xff")
    with pytest.raises(VendoringError, match="cannot be read"):
        check_copy(tmp_path)
