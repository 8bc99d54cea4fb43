from __future__ import annotations

import sys

import pytest

from swaig_wsgi.loading import LoadingError, load_application

SOURCE = """
def application(environ, start_response):
    raise NotImplementedError

other = application
number = 5

def make(*args, **options):
    made = lambda environ, start_response: (args, options)
    return made

def nothing():
    return None
"""


@pytest.fixture(autouse=True)
def _site(tmp_path, monkeypatch):
    (tmp_path / "loadable_site.py").write_text(SOURCE)
    package = tmp_path / "loadable_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "wsgi.py").write_text(SOURCE)
    (tmp_path / "loadable_broken.py").write_text("import loadable_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("loadable_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("loadable_site:other", "application"),
        ("loadable_site", "application"),
        ("loadable_site:", "application"),
        ("loadable_package.wsgi:application", "application"),
        ("loadable_site:make()", "<lambda>"),
    ],
)
def test_the_notations_of_gunicorn_are_accepted(text, name):
    assert load_application(text).__name__ == name


def test_a_factory_is_called_with_literal_arguments():
    app = load_application("loadable_site:make('a', 1, debug=True, hosts=['b'])")
    assert app({}, None) == (("a", 1), {"debug": True, "hosts": ["b"]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "MODULE:APP"),
        (":app", "MODULE:APP"),
        ("loadable-site:app", "MODULE:APP"),
        ("..loadable_site:app", "MODULE:APP"),
        ("loadable_nowhere:app", "no module 'loadable_nowhere'"),
        ("loadable_package.nowhere:app", r"no module 'loadable_package\.nowhere'"),
        ("loadable_site:nowhere", "has no 'nowhere'"),
        ("loadable_site:number", "not callable"),
        ("loadable_site:nothing()", "not callable"),
        ("loadable_site:other.attribute", "neither a name nor a call"),
        ("loadable_site:make(other)", "neither a name nor a call"),
        ("loadable_site:make(**{})", "neither a name nor a call"),
        ("loadable_site:make()()", "neither a name nor a call"),
        ("loadable_site:__import__('os').getcwd()", "neither a name nor a call"),
        ("loadable_site:1 +", "neither a name nor a call"),
    ],
)
def test_invalid_names_of_applications_are_rejected(text, message):
    with pytest.raises(LoadingError, match=message):
        load_application(text)


def test_a_missing_import_of_the_application_propagates():
    with pytest.raises(ModuleNotFoundError, match="loadable_missing"):
        load_application("loadable_broken:app")


@pytest.mark.parametrize("error", [AttributeError, ValueError, ZeroDivisionError])
def test_an_exception_at_import_propagates(tmp_path, error):
    (tmp_path / "loadable_failing.py").write_text(f"raise {error.__name__}('at import')\n")
    with pytest.raises(error, match="at import"):
        load_application("loadable_failing:app")
