"""vault.py: a vault full of vectors in a PostgreSQL with pgvector, for what is measured against that.

The programs that use it run themselves in tests/with-pgvector, whose server it prepares.
"""

import contextlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import time

import psycopg2

TOP = pathlib.Path(__file__).resolve().parents[1]
os.environ.setdefault("TEKUP_BUILD", str(TOP / "build" / "release"))
sys.path.insert(0, str(TOP / "tests" / "integration"))

from daemon import Daemon, wait_for  # noqa: E402

DIMENSIONS = 1536
DATA = TOP / ".." / "shared" / "data"


# ---- Data ----

NUMBER = [str(byte if byte < 128 else byte - 256) for byte in range(256)]


def read_vectors(path, most):
    data = pathlib.Path(path).read_bytes()
    count = min(len(data) // DIMENSIONS, most)
    return [data[i * DIMENSIONS:(i + 1) * DIMENSIONS] for i in range(count)]


def text_of(vector):
    return "[" + ",".join(map(NUMBER.__getitem__, vector)) + "]"


def fill(connection, vectors):
    with connection.cursor() as cursor:
        rows = "".join(f"d{i}\tbench\tr{i % 10}\tpath/{i}\t{'passage ' * 110}{i}\t2026-01-01\n"
                       for i in range(len(vectors)))
        cursor.copy_expert('COPY vault."VaultDocument" (id, source, repository, path, content, "updatedAt") FROM STDIN',
                           io.StringIO(rows))
        for begin in range(0, len(vectors), 5000):
            rows = "".join(f"d{i}\t{text_of(vectors[i])}\n" for i in range(begin, min(begin + 5000, len(vectors))))
            cursor.copy_expert('COPY vault."VaultEmbedding" ("documentId", embedding) FROM STDIN', io.StringIO(rows))
    connection.commit()


# ---- The server ----


def as_server(*command):
    subprocess.run(["/usr/sbin/chroot", "--userspec=postgres", os.environ["TEKUP_TEST_ROOT"], *command], check=True, cwd="/",
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}, stdout=subprocess.DEVNULL)


def prepare_server(host):
    """Room for everything in its own memory."""
    connection = psycopg2.connect(host=host, user="postgres", dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name, value in (("shared_buffers", "2GB"), ("maintenance_work_mem", "1GB"), ("max_wal_size", "4GB"),
                            ("max_parallel_maintenance_workers", "1"), ("synchronous_commit", "off"),
                            ("max_connections", "300")):
            cursor.execute(f"ALTER SYSTEM SET {name} TO '{value}'")
        cursor.execute("CREATE DATABASE bench")
    connection.close()
    as_server("/usr/lib/postgresql/17/bin/pg_ctl", "restart", "-D", os.environ["TEKUP_TEST_INSIDE"] + "/d", "-s", "-w",
              "-l", os.environ["TEKUP_TEST_INSIDE"] + "/log")


@contextlib.contextmanager
def filled(vectors, config=""):
    """A daemon whose vault has these vectors, one a document, with an HNSW index of pgvector's beside; and
    the connection string of its server."""
    host = os.environ["TEKUP_TEST_SERVER"]
    prepare_server(host)
    daemon = Daemon(config=config, database_url=f"postgresql://postgres@/bench?host={host}")
    inside = pathlib.Path(os.environ["TEKUP_TEST_ROOT"] + str(daemon.run))
    try:
        # The server, in its own root directory, has to find the socket under the name that it has out here.
        inside.mkdir(parents=True)
        daemon.run.symlink_to(inside)
        daemon.start()
        daemon.stop()
        connection = daemon.connect()
        fill(connection, vectors)
        daemon.start()
        wait_for(lambda: daemon.client.status()["index"]["vectors"] == len(vectors), "the index", timeout=600)
        began = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute('CREATE INDEX ON vault."VaultEmbedding" USING hnsw (embedding vector_cosine_ops)'
                           " WITH (m = 16, ef_construction = 200)")
            connection.commit()
            connection.autocommit = True
            cursor.execute("VACUUM ANALYZE")
        print(f"{len(vectors):,} documents; pgvector's index took {time.monotonic() - began:.0f} s", flush=True)
        yield daemon, host
    finally:
        daemon.clean_up()
        shutil.rmtree(inside.parent, ignore_errors=True)
