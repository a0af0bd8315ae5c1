"""The dashboard for Grafana and the alerts for Prometheus ask for figures that there are, by labels
that these have."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from prometheus import Metrics

yaml = pytest.importorskip("yaml", reason="python3-yaml is not here")

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
DASHBOARD = TOOLS / "grafana" / "tekupdb.json"
RULES = TOOLS / "prometheus" / "tekupdb.rules.yml"
TARGET_LABELS = {"job", "instance", "le"}  # what Prometheus adds, and what histograms have


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_queries():
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"], annotation["titleFormat"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            yield variable["name"], inner[1], "{{%s}}" % inner[2]


def rules():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def queries():
    yield from dashboard_queries()
    for rule in rules():
        said = " ".join(rule["annotations"].values())
        yield rule["alert"], rule["expr"], re.sub(r"\{\{ *\$labels\.(\w+) *\}\}", r"{{\1}}", said)


@pytest.fixture(scope="module")
def served(daemon, client):
    """Of every figure the labels that it has."""
    client.put_document("r", "p", "A text to have figures of.")
    client.search(query="a text")
    assert client.post("/v1/index/snapshot", None).status == 200
    return Metrics(client).labels()


@pytest.mark.parametrize("title, expr, legend", list(queries()), ids=lambda value: None)
def test_every_query_names_figures_and_labels_that_are_served(served, title, expr, legend):
    names = re.findall(r"\b(?:tekupdb|process)_\w+", expr)
    if expr != 'up{job="tekupdb"} == 0':
        assert names, f"{title} asks for nothing of tekupdb's"
    labels = set(TARGET_LABELS)
    for name in names:
        assert name in served, f"{title}: there is no {name}"
        labels |= served[name]
        for matchers in re.findall(re.escape(name) + r"\{([^}]*)\}", expr):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= served[name] | TARGET_LABELS, f"{title}: {asked} of {name}"
    for grouping in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expr):
        asked = {label.strip() for label in grouping.split(",")}
        assert asked <= labels, f"{title}: {asked - labels} is no label"
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert shown <= labels, f"{title}: {shown - labels} is no label"


@pytest.mark.parametrize("name", ["tekupdb_search_seconds", "tekupdb_embedding_seconds", "tekupdb_sync_seconds",
                                  "tekupdb_pool_wait_seconds", "tekupdb_model_change_done"])
def test_the_dashboard_shows_what_matters(name):
    assert any(name in expr for _, expr, _ in dashboard_queries())


def test_matchers_match_something(daemon, client):
    """A label's value that no figure has would let an alert sleep for ever."""
    metrics = Metrics(client)
    values = {}
    for name, labels in metrics.samples:
        for label, value in labels:
            values.setdefault((name, label), set()).add(value)
    for title, expr, _ in queries():
        for name, matchers in re.findall(r"((?:tekupdb)_\w+)\{([^}]*)\}", expr):
            for label, operator, wanted in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', matchers):
                if label in TARGET_LABELS:
                    continue
                for value in wanted.split("|") if operator == "=~" else [wanted]:
                    assert value in values[name, label], f"{title}: no {name} has {label}={value}"


def test_the_dashboard_is_whole():
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and dashboard["uid"] == "tekupdb"
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in panels():
        assert panel["description"].endswith(".") and panel["datasource"]["uid"] == "${datasource}"


def test_alerts_say_what_is_wrong_and_what_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert re.fullmatch("Tekupdb[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_promtool_takes_the_rules_and_the_queries(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here (Debian's package prometheus)")
    recorded = [{"record": f"query:{number}", "expr": expr.replace("$__rate_interval", "5m").replace("$instance", ".*")}
                for number, (_, expr, _) in enumerate(dashboard_queries())]
    queries = tmp_path / "queries.yml"
    queries.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    for file in (RULES, queries):
        said = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
        assert said.returncode == 0 and "SUCCESS" in said.stdout, said
