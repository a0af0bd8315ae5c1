"""The dashboard for Grafana and the alerts for Prometheus ask for figures that there are, by labels
that these have."""

import json
import pathlib
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import psycopg2
import pytest

from client import free_port
from daemon import Daemon, wait_for
from prometheus import Metrics

yaml = pytest.importorskip("yaml", reason="python3-yaml is not here")

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
DASHBOARD = TOOLS / "grafana" / "tekupdb.json"
RULES = TOOLS / "prometheus" / "tekupdb.rules.yml"
GUIDE = TOOLS / "guides" / "operating.md"
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
        assert f"`{rule['alert']}`" in GUIDE.read_text(), f"the guide does not explain {rule['alert']}"


@pytest.fixture
def promtool():
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here (Debian's package prometheus)")

    def run(*arguments):
        said = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
        assert said.returncode == 0 and "SUCCESS" in said.stdout, said

    return run


def test_promtool_takes_the_rules_and_the_queries(promtool, tmp_path):
    recorded = [{"record": f"query:{number}", "expr": expr.replace("$__rate_interval", "5m").replace("$instance", ".*")}
                for number, (_, expr, _) in enumerate(dashboard_queries())]
    queries = tmp_path / "queries.yml"
    queries.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    for file in (RULES, queries):
        promtool("check", "rules", file)


@pytest.fixture
def recorded(tmp_path):
    """A Prometheus that has watched a daemon at work for a while; asks it a query."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not here (Debian's package)")
    ours, its = free_port(), free_port()
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
              "scrape_configs": [{"job_name": "tekupdb", "static_configs": [{"targets": [f"127.0.0.1:{ours}"]}]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    tree = tmp_path / "tree"
    tree.mkdir()

    def ask(what, **parameters):
        url = f"http://127.0.0.1:{its}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]

    def work():
        daemon.client.put_document("r", "p", "A text to have figures of.")
        for mode in ("vector", "text", "hybrid"):
            daemon.client.search(query="a text", mode=mode)
        (tree / "a.md").write_text(f"Text {daemon.client.search(query='a text')}")
        daemon.sync("tree")
        psycopg2.connect(host=str(daemon.run), user="tekup_vault", dbname="tekup_db").close()
        try:
            up = ask("query", query="count_over_time(up[1m])")["result"]
        except urllib.error.URLError:  # it is starting
            return False
        return up and int(up[0]["value"][1]) > 10

    daemon = Daemon(f"[http]\nlisten = 127.0.0.1:{ours}\nopen_loopback = on\n")
    process = None
    try:
        daemon.start()
        daemon.add_source("tree", tree)
        assert daemon.client.post("/v1/index/snapshot", None).status == 200
        process = subprocess.Popen(["prometheus", f"--config.file={tmp_path}/prometheus.yml",
                                    f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{its}"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(work, "Prometheus to have some figures")
        yield ask
    finally:
        if process:
            process.kill()
            process.wait()
        daemon.clean_up()


def test_every_panel_shows_something(recorded):
    for title, expr, _ in dashboard_queries():
        shown = recorded("query", query=expr.replace("$__rate_interval", "5m").replace("$instance", ".*"))["result"]
        if "tekupdb_model_change_embeddings" in expr or expr.startswith("changes("):
            continue  # of what does not happen here
        values = [row["value"][1] for row in shown]
        assert values and set(values) != {"NaN"}, f"{title}: {expr}"
    (group,) = recorded("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []


# Of an alert: the series of two hours, a value a minute, in Prometheus's notation, and whether it then fires.
STORIES = [
    ("TekupdbDown", {'up{job="tekupdb"}': "0x120"}, True),
    ("TekupdbDown", {'up{job="tekupdb"}': "1x119 0"}, False),
    ("TekupdbRestarts", {'process_start_time_seconds{job="tekupdb"}': "1x100 5 9 13 13x17"}, True),
    ("TekupdbRestarts", {'process_start_time_seconds{job="tekupdb"}': "1x100 5 5x19"}, False),
    ("TekupdbNotReady", {"tekupdb_ready": "1x110 0x9"}, True),
    ("TekupdbNoLeader", {'tekupdb_leader{job="t",instance="a"}': "0x120", 'tekupdb_leader{job="t",instance="b"}': "0x120"}, True),
    ("TekupdbNoLeader", {'tekupdb_leader{job="t",instance="a"}': "0x120", 'tekupdb_leader{job="t",instance="b"}': "1x120"}, False),
    ("TekupdbSearchesSlow", {'tekupdb_search_seconds_bucket{mode="vector",le="0.5"}': "0+50x120",
                             'tekupdb_search_seconds_bucket{mode="vector",le="1"}': "0+100x120",
                             'tekupdb_search_seconds_bucket{mode="vector",le="+Inf"}': "0+100x120"}, True),
    ("TekupdbSearchesSlow", {'tekupdb_search_seconds_bucket{mode="vector",le="0.5"}': "0+100x120",
                             'tekupdb_search_seconds_bucket{mode="vector",le="1"}': "0+100x120",
                             'tekupdb_search_seconds_bucket{mode="vector",le="+Inf"}': "0+100x120"}, False),
    ("TekupdbSearchesFail", {'tekupdb_search_seconds_count{mode="vector"}': "0+100x120",
                             'tekupdb_searches_failed_total{code="unavailable"}': "0+5x120"}, True),
    ("TekupdbSearchesFail", {'tekupdb_search_seconds_count{mode="vector"}': "0+100x120",
                             'tekupdb_searches_failed_total{code="invalid"}': "0+50x120",
                             'tekupdb_searches_failed_total{code="unavailable"}': "0x120"}, False),
    ("TekupdbDefect", {'tekupdb_http_responses_total{status="500"}': "0x115 1x4"}, True),
    ("TekupdbIndexBehind", {'tekupdb_follower_state{state="catchingUp"}': "1x120"}, True),
    ("TekupdbEmbeddingsFail", {'tekupdb_embedding_failures_total{provider="openai",kind="query"}': "0+3x120",
                               'tekupdb_embedding_seconds_count{provider="openai",kind="query"}': "0+10x120"}, True),
    ("TekupdbModelChangeStuck", {"tekupdb_model_change_wanted": "1x120", "tekupdb_model_change_failing": "0x120",
                                 "tekupdb_model_change_done": "7x120"}, True),
    ("TekupdbModelChangeStuck", {"tekupdb_model_change_wanted": "1x120", "tekupdb_model_change_failing": "0x120",
                                 "tekupdb_model_change_done": "7+9x120"}, False),
    ("TekupdbSyncsFail", {'tekupdb_syncs_ended_total{source="github",result="error"}': "0x60 1x59",
                          'tekupdb_syncs_ended_total{source="github",result="success"}': "4x120"}, True),
    ("TekupdbSyncsFail", {'tekupdb_syncs_ended_total{source="github",result="error"}': "0x60 1x59",
                          'tekupdb_syncs_ended_total{source="github",result="success"}': "4x100 5x19"}, False),
    ("TekupdbServicesTurnedAway", {'tekupdb_passthrough_wait_timeouts_total{role="tekup_billy"}': "0x118 2x1"}, True),
    ("TekupdbServicesNearTheLimit", {"tekupdb_passthrough_client_connections": "95x120",
                                     "tekupdb_passthrough_client_limit": "100x120"}, True),
]


def story(alert, series, fires):
    # How often it fires, whatever its labels are.
    count = {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)', "eval_time": "120m",
             "exp_samples": [{"labels": "{}", "value": int(fires)}]}
    return {"interval": "1m", "promql_expr_test": [count],
            "input_series": [{"series": name, "values": values} for name, values in series.items()]}


def test_alerts_wake_somebody_when_they_should(promtool, tmp_path):
    tests = tmp_path / "tests.yml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m",
                                     "tests": [story(*told) for told in STORIES]}))
    promtool("test", "rules", tests)
