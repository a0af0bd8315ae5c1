"""Named statements of the extended protocol outlive leases, and behave as PostgreSQL's."""

import pytest

from daemon import Daemon, wait_for
from test_passthrough_pool import terminate
from wire import bind, close, describe, execute, parse, query, FLUSH, SYNC


@pytest.fixture(scope="module")
def daemon():
    daemon = Daemon(config="[passthrough]\nconnection_limit = 2\n")
    try:
        daemon.start()
        daemon.sql("CREATE TABLE billy.things (a int)")
        daemon.sql("GRANT ALL ON billy.things TO tekup_billy")
        yield daemon
    finally:
        daemon.clean_up()


def run(wire, name, *values):
    """The rows of a named statement."""
    said = wire.ask(bind(name, values), execute(), SYNC)
    for found in said:
        assert found.kind != "E", found.fields()
    return [found.row() for found in said if found.kind == "D"]


def other_backend(wire, *others):
    """Holds all connections but one with others, so that wire gets another one than before."""
    before = wire.value("SELECT pg_backend_pid()")
    for other in others:
        other.rows("BEGIN")
        if other.value("SELECT pg_backend_pid()") == before:
            return other
        other.rows("COMMIT")
    raise AssertionError("nobody got that connection")


def test_a_name_works_on_every_connection(wires):
    first, second = wires(), wires()
    assert first.kinds(parse("mine", "SELECT $1::int + 1"), SYNC) == "1Z"
    seen = set()
    for number in range(10):
        holder = wires()
        holder.rows("BEGIN")
        seen.add(first.value("SELECT pg_backend_pid()"))
        assert run(first, "mine", str(number).encode()) == [(str(number + 1),)]
        holder.close()
        second.rows("SELECT 1")
    assert run(first, "mine", b"41") == [("42",)]


def test_two_clients_with_one_name(wires):
    first, second, third = wires(), wires(), wires()
    first.ask(parse("mine", "SELECT 'first'"), SYNC)
    second.ask(parse("mine", "SELECT 'second'"), SYNC)
    third.ask(parse("other", "SELECT 'first'"), SYNC)
    for _ in range(3):
        assert run(first, "mine") == [("first",)]
        assert run(second, "mine") == [("second",)]
        assert run(third, "other") == [("first",)]
    assert third.error(bind("mine"), execute(), SYNC)["C"] == "26000"


def test_the_errors_are_postgresqls(wires):
    first = wires()
    first.ask(parse("mine", "SELECT $1::int"), SYNC)
    taken = first.error(parse("mine", "SELECT 2"), SYNC)
    assert (taken["C"], taken["M"]) == ("42P05", 'prepared statement "mine" already exists')
    missing = first.error(bind("none"), execute(), SYNC)
    assert (missing["C"], missing["M"]) == ("26000", 'prepared statement "none" does not exist')
    few = first.error(bind("mine"), execute(), SYNC)
    assert few["C"] == "08P01" and '"mine" requires 1' in few["M"]
    stolen = first.error(bind("tekupdb_1"), execute(), SYNC)
    assert stolen["C"] == "26000"
    assert first.kinds(close("S", "none"), SYNC) == "3Z"
    assert first.kinds(close("S", "mine"), SYNC) == "3Z"
    assert first.error(bind("mine", [b"1"]), execute(), SYNC)["C"] == "26000"
    assert first.kinds(parse("mine", "SELECT 3"), SYNC) == "1Z"
    assert run(first, "mine") == [("3",)]


def test_a_parse_that_fails_is_not_remembered(wires):
    first = wires()
    assert first.error(parse("mine", "SELEKT 1"), SYNC)["C"] == "42601"
    assert first.error(bind("mine"), execute(), SYNC)["C"] == "26000"
    assert first.kinds(parse("mine", "SELECT 1"), SYNC) == "1Z"
    # Behind an error in the same pipeline nothing is done.
    said = first.kinds(parse("bad", "SELEKT 1"), parse("later", "SELECT 7"), SYNC)
    assert said == "EZ"
    assert first.error(bind("later"), execute(), SYNC)["C"] == "26000"
    said = first.kinds(parse("bad", "SELEKT 1"), close("S", "mine"), SYNC)
    assert said == "EZ"
    assert run(first, "mine") == [("1",)]


def test_a_failed_transaction_refuses_to_prepare(wires):
    first = wires()
    first.ask(parse("known", "SELECT 1"), SYNC)
    first.rows("BEGIN")
    first.ask(query("SELEKT"))
    assert first.error(parse("more", "SELECT 1"), SYNC)["C"] == "25P02"
    assert first.error(parse("new", "SELECT 2"), SYNC)["C"] == "25P02"
    first.rows("ROLLBACK")
    assert first.error(bind("more"), execute(), SYNC)["C"] == "26000"


def test_pipelines_keep_their_order(wires):
    first, second = wires(), wires()
    first.ask(parse("known", "SELECT 'known'"), SYNC)
    second.rows("BEGIN")
    said = second.ask(
        parse("a", "SELECT 'known'"), describe("S", "a"), bind("a"), execute(),
        parse("b", "SELECT 'b'"), bind("b"), describe("P"), execute(), close("S", "a"), SYNC,
        bind("b"), execute(), SYNC, query("COMMIT"))
    kinds = "".join(found.kind for found in said)
    assert kinds == "1tT2DC12TDC3Z"
    assert [found.kind for found in second.until_ready()] == list("2DCZ")
    assert [found.kind for found in second.until_ready()] == list("CZ")
    assert run(second, "b") == [("b",)]


def test_flush_and_rows_a_few_at_a_time(wires):
    first = wires()
    first.ask(parse("many", "SELECT generate_series(1, 5)"), SYNC)
    first.send(bind("many", portal="p"), execute("p", 2), FLUSH)
    assert [first.read().kind for _ in range(4)] == list("2DDs")
    assert first.kinds(execute("p", 0), SYNC) == "DDDCZ"


def test_sql_sees_the_clients_statements_and_no_others(daemon, wires):
    first, second = wires(), wires()
    second.ask(parse("theirs", "SELECT 'theirs'"), SYNC)
    first.ask(parse("mine", "SELECT 'mine'"), SYNC)
    assert first.rows("SELECT name FROM pg_prepared_statements") == [("mine",)]
    assert first.rows("EXECUTE mine") == [("mine",)]
    assert run(first, "mine") == [("mine",)]
    first.ask(parse("more", "SELECT 'more'"), SYNC)
    assert first.rows("EXECUTE more") == [("more",)]
    assert run(second, "theirs") == [("theirs",)]
    first.rows("DEALLOCATE mine")
    assert first.error(bind("mine"), execute(), SYNC)["C"] == "26000"
    assert run(first, "more") == [("more",)]
    first.rows("DEALLOCATE ALL")
    assert first.error(bind("more"), execute(), SYNC)["C"] == "26000"
    wait_for(lambda: not any(role["pinned"] for role in
                             daemon.client.status()["passthrough"]["roles"]), "no more pins")
    assert first.kinds(parse("mine", "SELECT 'new'"), SYNC) == "1Z"
    assert run(first, "mine") == [("new",)]


def test_discard_all_forgets_them(wires):
    first = wires()
    first.ask(parse("mine", "SELECT 1"), SYNC)
    first.rows("DISCARD ALL")
    assert first.error(bind("mine"), execute(), SYNC)["C"] == "26000"
    assert first.kinds(parse("mine", "SELECT 2"), SYNC) == "1Z"
    assert run(first, "mine") == [("2",)]


def test_a_result_that_changes_is_told_as_directly(daemon, wires):
    first = wires()
    first.ask(parse("all", "SELECT * FROM billy.things"), SYNC)
    run(first, "all")
    daemon.sql("ALTER TABLE billy.things ADD COLUMN b int")
    assert first.error(bind("all"), execute(), SYNC)["M"] == "cached plan must not change result type"
    first.ask(close("S", "all"), SYNC)
    assert first.kinds(parse("all", "SELECT * FROM billy.things"), describe("S", "all"), SYNC) == "1tTZ"
    assert run(first, "all") == []


def test_more_statements_than_a_connection_keeps(wires):
    first = wires()
    for number in range(700):
        assert first.kinds(parse(f"s{number}", f"SELECT {number}"), SYNC) == "1Z"
    for number in list(range(0, 700, 7)) + [0, 1, 2]:
        assert run(first, f"s{number}") == [(str(number),)]


def test_names_that_are_too_long(daemon, wires):
    first, second = wires(), wires()
    long = "n" * 100
    first.ask(parse(long, "SELECT 1"), SYNC)
    assert run(first, long) == [("1",)]
    assert run(first, "n" * 63) == [("1",)], "PostgreSQL compares 63 bytes of a name"
    assert second.error(parse("n" * (1 << 20), "SELECT 1"), SYNC)["C"] == "54000"
    third = wires()
    assert third.error(bind("n" * (1 << 20)), execute(), SYNC)["C"] == "54000"
    assert run(first, long) == [("1",)]


def test_a_dead_connection_takes_no_statements_with_it(daemon, wires):
    first = wires()
    first.ask(parse("mine", "SELECT 'mine'"), SYNC)
    assert run(first, "mine") == [("mine",)]
    terminate(daemon, "usename = 'tekup_billy'")
    assert run(first, "mine") == [("mine",)]
