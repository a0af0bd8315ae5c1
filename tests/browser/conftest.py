"""conftest.py: a daemon with a few documents, its console, and a browser to look at it.

The daemon, the client and what is looked at after each test are those of the integration tests."""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
INTEGRATION = HERE.parent / "integration"

spec = importlib.util.spec_from_file_location("integration_conftest", INTEGRATION / "conftest.py")
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
daemon, client = shared.daemon, shared.client
no_sanitizer_report, pytest_runtest_makereport = shared.no_sanitizer_report, shared.pytest_runtest_makereport

from corpus import document  # noqa: E402
from daemon import PATIENCE, TEKUP, wait_for  # noqa: E402
from scratch import directory  # noqa: E402

GITHUB = "https://github.com/acme/handbook/blob/main/"

# Markup in everything that a document has, each piece of which would ask for /gone or raise an alert.
HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_TEXT = (
    "# Zebrafish <script>alert('script')</script>\n\n"
    f"{HOSTILE} zebrafish <svg onload=alert(2)> <iframe src=javascript:alert(3)></iframe>\n"
    "<link rel=stylesheet href=//outside.invalid/a.css><style>*{display:none!important}</style>\n"
    "<img src=http://outside.invalid/pixel.png> <a href=\"javascript:alert(4)\" onclick=alert(5)>here</a>\n"
    "<form action=http://outside.invalid/><button autofocus onfocus=alert(6)>go</button></form>\n"
    "&lt;b&gt; </pre></main></body></html> <meta http-equiv=refresh content='0;url=http://outside.invalid/'>\n"
    "\" onmouseover=\"alert(7)\" x=\" ' onmouseover='alert(8)' {{7*7}} ${alert(9)} \u202egnp.exe\u202c\n"
)


@pytest.fixture(scope="session")
def browser():
    """The browser's program and the packages that drive it."""
    found = subprocess.run([HERE / "install"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=1000)
    if found.returncode == 77:
        pytest.skip(found.stderr.strip().splitlines()[-1])
    assert found.returncode == 0, found.stderr
    return found.stdout.split("\n")[:2]


@pytest.fixture(scope="module")
def handbook(daemon, client, tmp_path_factory):
    """A directory that is synced, documents with addresses on the web, and hostile ones."""
    root = tmp_path_factory.mktemp("handbook")
    for number in range(12):
        (root / f"note-{number:02}.md").write_text(document(f"note {number}", 3))
    leave = "\n\n".join([document("before", 2), "# Leave\n\nWhoever wants a day off asks the team lead a week before, "
                         "and names who stands in for the time of the vacation.", document("after", 2)])
    (root / "people").mkdir()
    (root / "people" / "leave.md").write_text(leave)
    (root / "bell.md").write_text("# Bell\n\nThe bell is turned off in the settings of the terminal.\n")
    daemon.tekup("sources", "add", "local", "handbook", "--path", root)
    daemon.tekup("sync", "local", "handbook")

    def put(source, repository, path, content, **metadata):
        answer = client.put("/v1/documents", {"source": source, "repository": repository, "path": path,
                                              "content": content, "metadata": metadata})
        assert answer.status == 201, answer

    put("github", "acme/handbook", "docs/expenses.md", "# Expenses\n\nExpenses of a journey are handed in with receipts, "
        "at the latest a month after the vacation.\n", url=GITHUB + "docs/expenses.md")
    put("github", "acme/handbook", "docs/travel.md", "# Travel\n\nA journey by train is booked by the office.\n",
        url=GITHUB + "docs/travel.md")
    put("notion", "wiki", "Travel copy", "# Travel\n\nA journey by train is booked by the office.\n",
        url="javascript:alert('url')")
    put("evil", HOSTILE, f"a/{HOSTILE}\"'><script>alert(0)</script>.md", HOSTILE_TEXT,
        url="javascript:alert('url')", title="<b onclick=alert(1)>", nested={"<i>": "<script>alert(1)</script>"})
    return root


@pytest.fixture
def console(daemon, handbook):
    """A console that is opened as a person does it; gives its address."""
    process = subprocess.Popen([str(TEKUP), "console", "--no-open"], env=daemon.environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        address = next(line.strip() for line in process.stdout if "http://" in line)
        yield address
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def look(browser, console, tmp_path):
    """Runs a scenario, a Node program of this folder, and fails with what it says.

    Chromium makes a UNIX socket in TMPDIR, with a name of 45 bytes, so the path of that must be a short one."""
    scratch = directory("tkb")

    def run(scenario, **given):
        program, packages = browser
        environment = {**os.environ, "TEKUP_BROWSER": program, "TEKUP_PACKAGES": packages, "TMPDIR": str(scratch),
                       "TEKUP_FAILURES": str(tmp_path)}
        result = subprocess.run(["node", HERE / f"{scenario}.mjs", json.dumps({"address": console, **given})], text=True,
                                stdin=subprocess.DEVNULL, capture_output=True, timeout=4 * PATIENCE, env=environment)
        print(result.stdout)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    yield run
    shutil.rmtree(scratch, ignore_errors=True)
