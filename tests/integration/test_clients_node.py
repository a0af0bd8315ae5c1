"""node-postgres with named statements, cursors, streams, COPY and notifications finds the same behind
the daemon's socket as behind PostgreSQL's."""

from daemon import PATIENCE
from doors import assert_same


def test_node_postgres_finds_what_it_finds_without_the_daemon(doors, node, tmp_path):
    said = []
    for host in doors.both():
        process = node.start(tmp_path / "node", "node_postgres.mjs", environment=doors.environment(host, "tekup_billy"))
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0 and not errors, f"by {host}:\n{out}\n{errors}"
        assert out.endswith("\ndone\n")
        said.append(out)
    assert_same(said[1], said[0], "node-postgres")
