"""The fixtures for pytest, as the guide's page on testing enables and uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from snippets import programs

PAGE = Path(__file__).parent.parent / "docs" / "testing.md"
OPTIONS = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error")


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *OPTIONS, *options]
    environ = {**os.environ, "PYTHONPATH": str(PAGE.parent.parent)}
    return subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, check=False
    )


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    enabling, example = [each.code for each in programs(PAGE) if "pytest" in each.code]
    assert enabling.count("\n") == 1
    (tmp_path / "conftest.py").write_text(enabling)
    (tmp_path / "test_clock.py").write_text(example)
    done = run_pytest(tmp_path)
    assert (done.returncode, "4 passed" in done.stdout) == (0, True), done.stdout


def test_a_missing_agent_and_one_that_is_elsewhere_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "test_missing.py").write_text(
        "pytest_plugins = ['swaig_wsgi.pytest_plugin']\ndef test_it(agent_client): pass\n"
    )
    done = run_pytest(tmp_path)
    assert "define a fixture `agent` that returns your AgentApp or its URL" in done.stdout
    (tmp_path / "test_missing.py").write_text(
        "import pytest\n"
        "from swaig_wsgi import AgentApp, Settings\n"
        "pytest_plugins = ['swaig_wsgi.pytest_plugin']\n"
        "@pytest.fixture\n"
        "def agent(): return AgentApp('a', settings=Settings(proxy_url_base='https://a.example'))\n"
        "def test_it(live_agent_client): pass\n"
    )
    done = run_pytest(tmp_path)
    assert "live_agent_client needs an agent without SWML_PROXY_URL_BASE" in done.stdout
    (tmp_path / "test_missing.py").write_text(
        "import pytest\n"
        "pytest_plugins = ['swaig_wsgi.pytest_plugin']\n"
        "@pytest.fixture\n"
        "def agent(): return 'https://a.example/'\n"
        "def test_it(live_agent_client): pass\n"
    )
    done = run_pytest(tmp_path)
    assert "live_agent_client needs an AgentApp as `agent`, not a str" in done.stdout


def test_a_live_agent_with_hosts_of_its_own_and_a_signing_key_is_called(tmp_path: Path) -> None:
    (tmp_path / "test_hosts.py").write_text(
        "import pytest\n"
        "from swaig_wsgi import AgentApp, Settings\n"
        "pytest_plugins = ['swaig_wsgi.pytest_plugin']\n"
        "@pytest.fixture(params=['agent.example.com', '*.example.com', '127.0.0.1'])\n"
        "def agent(request):\n"
        "    settings = Settings(allowed_hosts=(request.param,), signing_key='PSK_0123456789')\n"
        "    app = AgentApp('a', settings=settings)\n"
        "    app.tool(secure=True)(ping)\n"
        "    return app\n"
        "def ping() -> str:\n"
        "    'Ping.'\n"
        "    return 'pong'\n"
        "def test_it(live_agent_client, agent_client):\n"
        "    for client in (live_agent_client, agent_client):\n"
        "        assert client.call_tool('ping') == {'response': 'pong'}\n"
    )
    done = run_pytest(tmp_path)
    assert "3 passed" in done.stdout, done.stdout


def test_pytest_is_imported_only_by_the_plugin() -> None:
    code = "import sys, swaig_wsgi.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_client_of_a_url_needs_only_the_standard_library() -> None:
    code = (
        "import sys\n"
        "sys.modules['werkzeug'] = None\n"
        "from swaig_wsgi.testing import AgentClient\n"
        "AgentClient('https://agent.example.com/')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
