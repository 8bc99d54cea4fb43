"""The files in examples/monitoring: valid, and about metrics, labels and values that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.metrics import names_and_labels
from support.waiting import PATIENCE

from swaig_wsgi.agent.metrics import AGENT_ENDPOINTS

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "monitoring"
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
PROMTOOL = shutil.which("promtool")
#: Those that Prometheus adds.
TARGET = {"instance", "job"}
OUTCOMES = {"ran", "failed", "refused", "invalid_arguments", "repeated", "limited", "unknown"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((EXAMPLE / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def of_page(member: str) -> list[dict[str, Any]]:
    """Return what a block of docs/metrics.md has under its only name."""
    blocks = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
    (found,) = (each[member] for each in blocks if member in each)
    return list(found)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLE / "dashboard.json").read_text())
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (rule["expr"] for group in of_page("groups") for rule in group["rules"])
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for test in yaml.safe_load((EXAMPLE / "alerts_test.yml").read_text())["tests"]:
        yield from (each["series"] for each in test["input_series"])


def values() -> dict[str, set[str]]:
    from swaig_wsgi._metrics import REFUSALS, REPORTS

    return {
        "agent": {"bank"},
        "endpoint": {*AGENT_ENDPOINTS.values(), "routing", "other"},
        "event": {*REFUSALS},
        "job": {"swaig"},
        "kind": {*REPORTS["fallback_credential"]},
        "instance": {"a"},
        "outcome": OUTCOMES,
        "reason": set().union(*REFUSALS.values()),
        "status": {"200", "401", "500", "503"},
        "tool": {"pay"},
    }


@pytest.mark.parametrize("expression", [*expressions()])
def test_each_expression_is_about_what_is_counted(expression: str) -> None:
    known = {**names_and_labels(), "up": ()}
    possible = values()
    used = re.findall(r"\b(swaig_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert used
    labels = TARGET.union(*(known[name] for name, _ in used))
    for name, matchers in used:
        for label, operator, pattern in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', matchers):
            assert label in {*known[name], *TARGET}, (name, label)
            if not pattern.startswith("$"):
                alternatives = pattern.split("|") if "~" in operator else [pattern]
                for each in alternatives:
                    assert any(re.fullmatch(each, value) for value in possible[label]), each
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(grouped.split(", ")) <= labels | {"le"}
    assert expression.count("(") == expression.count(")")


def test_each_alert_has_a_summary_of_labels_that_it_has() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 8
    for rule in rules():
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        grouped = set(re.findall(r"\w+", "".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
        text = "".join(rule["annotations"].values())
        assert rule["annotations"].keys() == {"summary", "description"}
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= grouped | TARGET
    tested = (EXAMPLE / "alerts_test.yml").read_text()
    assert set(re.findall(r"Swaig\w+", tested)) == set(names)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(
        target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]
    )
    assert {name for name in names_and_labels() if name not in shown} == {
        "swaig_request_seconds_count",
        "swaig_request_seconds_sum",
    }
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    defined = {each["name"] for each in dashboard()["templating"]["list"]}
    text = (EXAMPLE / "dashboard.json").read_text()
    assert set(re.findall(r"\$\{?(\w+)", text)) <= defined | {"__rate_interval", "__all"}


def test_prometheus_can_scrape_with_this_configuration(gunicorn: Any, tmp_path: Path) -> None:
    config = yaml.safe_load((EXAMPLE / "prometheus.yml").read_text())
    assert [EXAMPLE / name for name in config["rule_files"]] == [EXAMPLE / "alerts.yml"]
    (job,) = config["scrape_configs"]
    assert of_page("scrape_configs") == [job]
    assert (job["job_name"], job["scheme"]) == ("swaig", "https")
    assert job["basic_auth"].keys() == {"username", "password_file"}
    command = re.search(r"^SWML_METRICS.*$", (EXAMPLE / "README.md").read_text(), re.M)
    assert command is not None
    variables, _, options = command[0].partition(" gunicorn ")
    env = dict(each.split("=") for each in variables.split())
    (tmp_path / "app.py").write_text("from swaig_wsgi import AgentApp\napp = AgentApp('bank')\n")
    *given, app = options.split()
    user = job["basic_auth"]["username"]
    server = gunicorn(
        app,
        *given,
        "-w2",
        cwd=str(tmp_path),
        SWML_BASIC_AUTH_USER=user,
        **env,
        TMPDIR=str(tmp_path),
    )
    # What Prometheus sends.
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    for path, status in ((job["metrics_path"], 200), ("/nowhere", 404)):
        response = server.request("GET", path, auth=(user, "p@ss:w/ö"), headers={"Accept": accept})
        assert response.status == status
    assert server.request("GET", job["metrics_path"], auth=(user, "other")).status == 401


if PROMTOOL is not None:

    def test_promtool_accepts_the_files(tmp_path: Path) -> None:
        for path in EXAMPLE.iterdir():
            shutil.copy(path, tmp_path)
        config = (EXAMPLE / "prometheus.yml").read_text()
        password = tmp_path / "agent-password"
        password.write_text("a-password")
        config = config.replace("/etc/prometheus/agent-password", str(password))
        (tmp_path / "prometheus.yml").write_text(config)
        for arguments in (
            ["check", "config", "prometheus.yml"],
            ["check", "rules", "alerts.yml"],
            ["test", "rules", "alerts_test.yml"],
        ):
            done = subprocess.run(
                [str(PROMTOOL), *arguments],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            assert done.returncode == 0, done.stdout + done.stderr
