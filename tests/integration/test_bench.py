"""tekup bench: the program that measures, run by the command line on files, made vectors and the
running vault's own. Builds without benchmarks leave this file out; what the command line does by
itself is in test_cli.py."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import xml.etree.ElementTree

import pytest

from daemon import BUILD, PATIENCE, SANITIZER_REPORT, TEKUP, Daemon, descendants, wait_for
from vectors import DIMENSIONS, octets, random_vector

PROGRAM = BUILD / "bench" / "tekup-bench"
QUICK = ["--peers", "none", "--only", "build,search", "--ef", "10,40", "--repeats", "1", "--build-repeats", "1"]
VECTORS = 130  # in the vault of these tests


class Bench:
    """Runs tekup bench against a daemon, or without one, with a TMPDIR of its own."""

    def __init__(self, daemon, temporary):
        self.daemon = daemon
        self.temporary = temporary
        self.environment = {**daemon.environment, "TMPDIR": str(temporary)}

    def start(self, *arguments, program=TEKUP):
        return subprocess.Popen([str(program), "bench", *map(str, arguments)], env=self.environment,
                                cwd=self.daemon.base, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def end(self, process):
        """(exit status, stdout, stderr), nothing being left behind."""
        out, err = process.communicate(timeout=4 * PATIENCE)
        assert not SANITIZER_REPORT.search(err), err
        assert not list(self.temporary.iterdir())
        return process.returncode, out, err

    def __call__(self, *arguments, **keywords):
        return self.end(self.start(*arguments, **keywords))


@pytest.fixture
def bare(tmp_path):
    """Without a daemon."""
    daemon = Daemon()
    yield Bench(daemon, tmp_path)
    daemon.clean_up()


@pytest.fixture
def bench(daemon, vault, tmp_path):
    return Bench(daemon, tmp_path)


@pytest.fixture(scope="module")
def vault(daemon, client):
    for number in range(VECTORS):
        client.put_document("vectors", f"{number}", f"text {number}", embedding=random_vector(f"bench/{number}"))


def queries_file(directory, count=5):
    path = directory / "queries.f32"
    path.write_bytes(b"".join(octets(random_vector(f"bench/query/{number}")) for number in range(count)))
    return path


def check_document(document, engines, k=10):
    """The form of the JSON, as every program that reads it relies on."""
    assert {point["engine"] for point in document["points"]} == set(engines)
    assert sorted(build["engine"] for build in document["builds"]) == sorted(engines)
    for point in document["points"]:
        assert set(point) == {"engine", "ef", f"recall_at_{k}", "qps", "p50_us", "p95_us", "p99_us", "threads"}
        assert isinstance(point["ef"], int) and point["ef"] > 0
        assert isinstance(point["threads"], int) and point["threads"] > 0
        assert 0 <= point[f"recall_at_{k}"] <= 1
        assert point["qps"] > 0
        assert 0 < point["p50_us"] <= point["p95_us"] <= point["p99_us"]
    for build in document["builds"]:
        assert set(build) == {"engine", "build_seconds", "build_threads", "bytes_per_vector", "vectors"}
        assert build["build_seconds"] > 0 and build["build_threads"] > 0
        assert build["bytes_per_vector"] is None or build["bytes_per_vector"] > 0
        assert build["vectors"] == document["vectors"]
    for engine in engines:
        efs = [point["ef"] for point in document["points"] if point["engine"] == engine and point["threads"] == 1]
        assert efs == sorted(set(efs)) and efs


# ---- The program and its options ----


def test_it_is_the_program_itself(bare):
    status, out, err = bare("--version")
    assert (status, err) == (0, "") and re.fullmatch(r"tekup-bench \d+\.\d+\.\d+\n", out)
    status, out, err = bare("--frobnicate")
    assert (status, out) == (2, "") and err.startswith("tekup bench: ") and "--frobnicate" in err
    assert "Try tekup bench --help." in err
    status, out, err = bare("--base", bare.temporary / "missing.f32")
    assert (status, out) == (1, "") and "missing.f32" in err and "No such file" in err
    status, out, err = bare()
    assert status == 2 and "--base is missing" in err


def test_help_and_completion_know_every_option(bare):
    own = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    options = set(re.findall(r"^  (--[a-z-]+)", own, re.MULTILINE)) - {"--help"}
    assert len(options) > 15
    status, out, err = bare("--help")
    assert (status, err) == (0, "")
    assert options <= set(re.findall(r"--[a-z-]+", out))
    completion = (TEKUP.parents[4] / "tools" / "tekup" / "tekup.bash-completion").read_text()
    function = completion[completion.index("_tekup_bench()"):completion.index("\n_tekup()")]
    assert options | {"--vault"} <= set(re.findall(r"--[a-z-]+", function))


def test_installed_elsewhere(bare, tmp_path_factory):
    """The two programs find each other wherever they were moved to together."""
    prefix = tmp_path_factory.mktemp("prefix")
    (prefix / "bin").mkdir()
    (prefix / "libexec" / "tekupdb").mkdir(parents=True)
    shutil.copy(TEKUP, prefix / "bin" / "tekup")
    shutil.copy(PROGRAM, prefix / "libexec" / "tekupdb" / "tekup-bench")
    assert bare("--version", program=prefix / "bin" / "tekup")[0] == 0
    (prefix / "libexec" / "tekupdb" / "tekup-bench").chmod(0o644)
    if os.geteuid() == 0 or not os.access(prefix / "libexec" / "tekupdb" / "tekup-bench", os.X_OK):
        status, out, err = bare("--version", program=prefix / "bin" / "tekup")
        assert status == 1 and "cannot run" in err and "Permission denied" in err


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGKILL, -9)])
def test_signals_reach_the_program(bench, number, status):
    """Also with the vault's vectors in a temporary file, of which nothing is left."""
    process = bench.start("--vault", *QUICK, "--repeats", "99", "--ef", ",".join(map(str, range(10, 70))))
    wait_for(lambda: len(descendants(process.pid)) > 1, "the program to have an engine at work")
    assert open(f"/proc/{process.pid}/comm").read() == "tekup-bench\n"
    assert not list(bench.temporary.iterdir())
    process.send_signal(number)
    ended, out, err = bench.end(process)
    assert ended == status, err
    assert number == signal.SIGKILL or "interrupted" in err


# ---- Data ----


def test_made_vectors(bare):
    json_path, svg_path = bare.daemon.base / "out.json", bare.daemon.base / "out.svg"
    status, out, err = bare("--synthetic", "600,6", "--dim", "64", *QUICK, "--threads", "2", "--json", json_path,
                            "--svg", svg_path)
    assert status == 0, err
    document = json.loads(json_path.read_text())
    check_document(document, ["tekup"])
    assert document["vectors"] == 600 and document["dim"] == 64
    assert "600 vectors" in out
    picture = xml.etree.ElementTree.fromstring(svg_path.read_text())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert not {"tekup", "recall@10"} - {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}


def test_queries_are_held_out_of_a_file(bare):
    base = bare.daemon.base / "base.fvecs"
    base.write_bytes(b"".join(struct.pack("<i8f", 8, *random_vector(f"held/{number}")[:8]) for number in range(200)))
    status, out, err = bare("--base", base, *QUICK, "--json", "-")
    assert status == 0, err
    document = json.loads(out)
    assert (document["dataset"], document["vectors"], document["queries"]) == ("base.fvecs", 180, 20)
    assert any("held out" in note for note in document["summary"]["notes"])
    base.write_bytes(base.read_bytes()[:11 * 36])
    status, out, err = bare("--base", base, *QUICK)
    assert status == 1 and "base.fvecs has 11 vectors: too few" in err


def test_the_vault(bench):
    status, out, err = bench("--vault", *QUICK, "--json", "-")
    assert status == 0, err
    document = json.loads(out)
    check_document(document, ["tekup"])
    held = VECTORS // 10
    assert (document["vectors"], document["queries"], document["dim"]) == (VECTORS - held, held, DIMENSIONS)
    assert document["dataset"] == "vault, hash-1536-v1"


def test_the_vault_with_queries_and_a_name(bench):
    status, out, err = bench(*QUICK, "--queries", queries_file(bench.daemon.base), "--vault", "--name", "ours",
                             "--json", "-")
    assert status == 0, err
    document = json.loads(out)
    assert (document["dataset"], document["vectors"], document["queries"]) == ("ours", VECTORS, 5)


def test_a_vault_that_is_too_small(make_daemon, tmp_path):
    daemon = make_daemon().start()
    bench = Bench(daemon, tmp_path)
    status, out, err = bench("--vault", *QUICK)
    assert (status, out) == (1, "") and "tekup: the vault has no vectors" in err and "tekup sources add" in err
    for number in range(10):
        daemon.client.put_document("vectors", f"{number}", "text", embedding=random_vector(f"bench/{number}"))
    status, out, err = bench("--vault", *QUICK)
    assert (status, out) == (1, "") and "vault, hash-1536-v1 has 10 vectors: too few" in err and "10 neighbours" in err
    assert bench("--vault", *QUICK, "--k", "5")[0] == 0
    assert bench("--vault", *QUICK, "--queries", queries_file(daemon.base))[0] == 0
