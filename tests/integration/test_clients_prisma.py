"""Prisma Client 7 with @prisma/adapter-pg: five services, each as its own role on its own models, find
the same behind the daemon's socket as behind PostgreSQL's."""

from daemon import PATIENCE
from doors import SERVICES, assert_same


def run_services(doors, node, directory, host):
    """All of them at the same time."""
    running = {
        service: node.start(directory, "prisma.mjs", service,
                            environment=doors.environment(host, f"tekup_{service}"))
        for service in SERVICES
    }
    said = {}
    try:
        for service, process in running.items():
            out, errors = process.communicate(timeout=2 * PATIENCE)
            assert process.returncode == 0 and not errors, f"{service} by {host}:\n{out}\n{errors}"
            assert out.endswith("\ndone\n")
            said[service] = out
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
    return said


def test_services_find_what_they_find_without_the_daemon(doors, node, tmp_path):
    direct, through = (run_services(doors, node, tmp_path / "prisma", host) for host in doors.both())
    for service in SERVICES:
        assert_same(through[service], direct[service], service)
