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

import psycopg2
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


def check_picture(path, engines):
    """The SVG is well-formed, and names the engines and what its axes are."""
    picture = xml.etree.ElementTree.fromstring(path.read_text())
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for engine in engines:
        assert texts.count(engine) == 1
    assert any("recall@10" in text for text in texts) and any("searches per second" in text for text in texts)


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
    check_picture(svg_path, ["tekup"])


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


# ---- Other engines ----


def left_out(document):
    """The engines that this program was compiled without."""
    return {note.split()[0] for note in document["summary"]["notes"] if "was compiled without it" in note}


def figures(document, engine):
    return {figure["figure"]: figure for figure in document["summary"]["figures"] if figure["engine"] == engine}


@pytest.mark.parametrize("peer", ["hnswlib", "faiss"])
def test_a_library_beside_it(bare, peer):
    json_path, svg_path = bare.daemon.base / "out.json", bare.daemon.base / "out.svg"
    status, out, err = bare("--synthetic", "1500,8", "--dim", "96", *QUICK, "--peers", peer, "--only",
                            "build,search,threads", "--threads", "2", "--json", json_path, "--svg", svg_path)
    assert status == 0, err
    document = json.loads(json_path.read_text())
    if peer in left_out(document):
        pytest.skip(f"{peer} is not installed, so this build of tekup-bench is without it")
    check_document(document, ["tekup", peer])
    check_picture(svg_path, ["tekup", peer])
    assert {point["threads"] for point in document["points"]} == {1, 2}


@pytest.fixture
def pgvector(pgvector_database, request):
    """A database with pgvector, with what a run that was killed has left and what is not ours."""
    url = pgvector_database(request.node.name)
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA tekup_bench_1; CREATE TABLE tekup_bench_1.item (id int);"
                       "CREATE SCHEMA tekup_bench_of_mine")
    yield url, connection
    connection.close()


def schemas(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tekup%'")
        return {name for (name,) in cursor.fetchall()}


def test_pgvector_beside_it(bare, pgvector):
    url, connection = pgvector
    json_path, svg_path = bare.daemon.base / "out.json", bare.daemon.base / "out.svg"
    status, out, err = bare("--synthetic", "1500,8", "--dim", "96", "--peers", "hnswlib,pgvector", "--pgvector-dsn", url,
                            "--only", "build,search,threads", "--threads", "2", "--ef", "10,40,160", "--repeats", "1",
                            "--build-repeats", "2", "--json", json_path, "--svg", svg_path)
    assert status == 0, err
    document = json.loads(json_path.read_text())
    engines = ["tekup", "hnswlib", "pgvector"]
    engines = [engine for engine in engines if engine not in left_out(document)]
    check_document(document, engines)
    check_picture(svg_path, engines)
    points = [point for point in document["points"] if point["engine"] == "pgvector" and point["threads"] == 1]
    assert [point["ef"] for point in points] == [10, 40, 160]
    recalls = [point["recall_at_10"] for point in points]
    assert recalls == sorted(recalls) and recalls[0] > 0.8 and recalls[-1] > 0.99
    assert any(point["threads"] == 2 for point in document["points"] if point["engine"] == "pgvector")
    build, = (build for build in document["builds"] if build["engine"] == "pgvector")
    assert build["build_threads"] == 2
    assert 2 * 4 * 96 < build["bytes_per_vector"] < 20 * 4 * 96  # in the table and in the index
    mine = figures(document, "pgvector")
    assert {"qps_at_recall_0.95", "highest_recall", "thread_scaling"} <= set(mine)
    assert mine["bytes_per_vector"]["value"] == build["bytes_per_vector"]
    assert mine["build_seconds"]["value"] == build["build_seconds"]
    assert re.search(r"^pgvector ", out, re.MULTILINE)
    assert schemas(connection) == {"tekup_bench_of_mine"}


def wait_for_schema(connection, process):
    def made():
        assert process.poll() is None, process.stderr.read()
        return schemas(connection) - {"tekup_bench_1", "tekup_bench_of_mine"}

    wait_for(made, "pgvector's turn")


LONG = ["--synthetic", "1000,8", "--dim", "64", "--peers", "pgvector", "--only", "build,search", "--ef", "10,20,40",
        "--repeats", "99", "--build-repeats", "1"]
SHORT = ["--synthetic", "200,8", "--dim", "16", "--peers", "pgvector", "--only", "build", "--build-repeats", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_an_interrupted_run_leaves_is_dropped_by_the_next(bare, pgvector, number):
    url, connection = pgvector
    process = bare.start(*LONG, "--pgvector-dsn", url)
    wait_for_schema(connection, process)
    with_one_at_work = bare(*SHORT, "--pgvector-dsn", url)
    assert with_one_at_work[0] == 0, with_one_at_work
    assert len(schemas(connection)) == 2, "the one at work keeps its own"
    process.send_signal(number)
    status, out, err = bare.end(process)
    assert status == (-9 if number == signal.SIGKILL else 1), err
    assert bare(*SHORT, "--pgvector-dsn", url)[0] == 0
    assert schemas(connection) == {"tekup_bench_of_mine"}


def test_a_connection_that_is_cut(bare, pgvector):
    url, connection = pgvector
    process = bare.start(*LONG, "--pgvector-dsn", url)
    wait_for_schema(connection, process)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                       " WHERE datname = current_database() AND pid != pg_backend_pid()")
    status, out, err = bare.end(process)
    assert (status, out) == (1, "") and "tekup bench: pgvector: " in err


def test_a_server_without_pgvector(bare, server):
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
        if cursor.fetchone()[0]:
            pytest.skip("the installed PostgreSQL has pgvector")
    connection.close()
    status, out, err = bare(*SHORT, "--pgvector-dsn", server.url())
    assert (status, out) == (1, "") and "tekup bench: pgvector: " in err and '"vector" is not available' in err
    status, out, err = bare(*SHORT, "--pgvector-dsn", "host=/nowhere dbname=x")
    assert (status, out) == (1, "") and "tekup bench: pgvector: connecting" in err and "/nowhere" in err
