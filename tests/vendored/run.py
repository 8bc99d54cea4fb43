"""Run the tests of the parts that can be vendored on a copy under another name.

    python3.9 -S -E -I tests/vendored/run.py --tools DIRECTORY [--fips] [PYTEST ARGUMENTS]

DIRECTORY holds pytest and hypothesis for this Python. Nothing else that is installed can be
imported, and the copy can import nothing but the standard library. Where the tests import
``swaig_wsgi``, they get the copy.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import subprocess
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAME = "_vendored_copy"
SUITE = (
    "tests/core",
    "tests/concurrency",
    "tests/stores",
    "tests/wsgi",
    "tests/middleware",
    "tests/test_config.py",
    "tests/test_sessions.py",
    "tests/test_session_metadata.py",
    "tests/test_processes.py",
)
PARTS = frozenset(
    {"core", "concurrency", "config", "stores", "processes", "sessions", "wsgi", "middleware"}
)
#: Tests with these fixtures need servers, or start Python on the original.
ELSEWHERE = frozenset(
    {"gunicorn", "own_valkey", "run_python", "serve_command", "start_python", "valkey"}
)
#: Parameters of the fixture `kit` that need servers.
ELSEWHERE_KITS = frozenset({"redis", "sentinel", "cluster"})


class Alias:
    """Finds the modules of the copy under the name that the tests use."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] != "swaig_wsgi":
            return None
        real = NAME + fullname[len("swaig_wsgi") :]
        module = sys.modules.get(real) or importlib.import_module(real)
        return ModuleSpec(fullname, Same(module), is_package=hasattr(module, "__path__"))


class Same:
    """Loads a module that is loaded already, and leaves it as it is."""

    def __init__(self, module):
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec):
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec


class Selection:
    """Deselect the tests that cannot run here."""

    def __init__(self, fips, is_standard):
        self.fips = fips
        self.is_standard = is_standard
        self.left_out = set()

    def pytest_ignore_collect(self, collection_path, config):
        if self.fips and collection_path.name == "test_signatures.py":
            return True  # It computes SHA-1 itself; check.py covers signatures without SHA-1.
        if collection_path.suffix != ".py" or not self.needs_others(collection_path):
            return None
        if collection_path.parent != ROOT / "tests":
            self.left_out.add(collection_path.name)
        return True

    def pytest_terminal_summary(self, terminalreporter):
        if self.left_out:
            names = ", ".join(sorted(self.left_out))
            terminalreporter.line(f"left out, because of their imports: {names}")

    def needs_others(self, path):
        """Return whether a test module has top-level imports that are not available."""
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in names:
                top, _, module = name.partition(".")
                if top == "swaig_wsgi":
                    if module and module.partition(".")[0] not in PARTS:
                        return True
                elif top == "support":
                    if self.needs_others(ROOT / "tests" / "support" / f"{module}.py"):
                        return True
                elif top not in ("pytest", "hypothesis") and not self.is_standard(top):
                    return True
        return False

    def pytest_collection_modifyitems(self, config, items):
        kept = [item for item in items if not self.is_elsewhere(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept

    def is_elsewhere(self, item):
        if item.get_closest_marker("installed"):
            return True
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return bool(ELSEWHERE & set(item.fixturenames)) or parameters.get("kit") in ELSEWHERE_KITS


def make_copy(directory):
    """Make the copy in another process, so that the original is never loaded in this one."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from swaig_wsgi.cli._copies import make_copy; "
        "make_copy(sys.argv[2], stores=True, middleware=True)"
    )
    command = [sys.executable, "-S", "-E", "-I", "-c", code, str(ROOT), str(directory / NAME)]
    subprocess.run(command, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", required=True)
    parser.add_argument("--fips", action="store_true")
    arguments, rest = parser.parse_known_args()
    flags = sys.flags
    if not (flags.no_site and flags.ignore_environment and flags.isolated):
        parser.error("start Python with -S -E -I")
    sys.path.insert(0, str(HERE))
    import guard

    sys.path.remove(str(HERE))
    os.chdir(ROOT)
    # This process must not write into the checkout.
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_copy(directory)
        if arguments.fips:
            guard.refuse_weak_digests()
        guard.hold_to_standard_library(NAME)
        sys.path.insert(0, str(directory))
        modules = sorted((directory / NAME).rglob("*.py"))
        for path in modules:
            parts = path.relative_to(directory).with_suffix("").parts
            importlib.import_module(".".join(part for part in parts if part != "__init__"))
        sys.meta_path.insert(0, Alias())
        sys.path.append(os.path.abspath(arguments.tools))
        import pytest

        paths = [argument for argument in rest if not argument.startswith("-")] or SUITE
        options = [argument for argument in rest if argument.startswith("-")]
        print(f"Python {sys.version.split()[0]}, {len(modules)} modules copied", flush=True)
        return pytest.main(
            [
                f"--config-file={HERE / 'pytest.ini'}",
                f"--rootdir={ROOT}",
                f"--confcutdir={ROOT / 'tests'}",
                f"--basetemp={directory / 'pytest'}",
                "-p",
                "no:cacheprovider",
                *options,
                *paths,
            ],
            plugins=[Selection(arguments.fips, guard.is_standard)],
        )


if __name__ == "__main__":
    sys.exit(main())
