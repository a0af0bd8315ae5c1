"""What a client leaves in its session is its own: it keeps its connection for as long as that lasts,
and nobody else ever sees it."""

import pytest

from daemon import Daemon, wait_for
from test_passthrough_pool import figures
from wire import bind, describe, execute, parse, query, SYNC


@pytest.fixture(scope="module")
def daemon():
    """Three connections, so that what one client leaves in one would soon be seen by another."""
    daemon = Daemon(config="[passthrough]\nconnection_limit = 3\nwait_timeout = 20\n")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.clean_up()


@pytest.fixture(autouse=True)
def everything_given_back(daemon):
    """After each test, and after its clients have gone."""
    yield
    wait_for(lambda: figures(daemon)["leased"] == 0 and pinned(daemon) == 0, "everything to be given back")


def backend(wire):
    return wire.value("SELECT pg_backend_pid()")


def everywhere(wires, sql):
    """What sql gives on each connection that other clients can get."""
    others = [wires() for _ in range(2)]
    found = {}
    for other in others:
        other.ask(query("BEGIN"))
    for other in others:
        found[backend(other)] = other.value(sql)
    for other in others:
        other.ask(query("COMMIT"))
        other.close()
    return found


PINS = {
    "listen": ("LISTEN news", "UNLISTEN *", "SELECT count(*) FROM pg_listening_channels()", "0"),
    "temporary": ("CREATE TEMP TABLE mine (a int)", "DROP TABLE mine",
                  "SELECT count(to_regclass('mine'))", "0"),
    "select into": ("SELECT 1 AS a INTO TEMPORARY mine", "DROP TABLE mine",
                    "SELECT count(to_regclass('mine'))", "0"),
    "select into what the path says": (
        "BEGIN; SET LOCAL search_path = 'pg_temp'; SELECT 1 AS a INTO mine; COMMIT", "DROP TABLE mine",
        "SELECT count(to_regclass('pg_temp.mine'))", "0"),
    "setting": ("SET statement_timeout = '77s'", "RESET statement_timeout",
                "SELECT current_setting('statement_timeout')", "0"),
    "set_config": ("SELECT set_config('statement_timeout', '77s', false)",
                   "SET statement_timeout TO DEFAULT",
                   "SELECT current_setting('statement_timeout')", "0"),
    "update of the view": ("UPDATE pg_settings SET setting = '77000' WHERE name = 'statement_timeout'",
                           "RESET statement_timeout", "SELECT current_setting('statement_timeout')", "0"),
    "custom, called local": ("SET local.tenant = 'seven'", "RESET ALL",
                             "SELECT coalesce(current_setting('local.tenant', true), '')", ""),
    "set_config that is not local": ("SELECT set_config('billy.third', 'seven', false > true)", "DISCARD ALL",
                                     "SELECT coalesce(current_setting('billy.third', true), '')", ""),
    "custom": ("SET billy.tenant = 'seven'", "RESET ALL",
               "SELECT coalesce(current_setting('billy.tenant', true), '')", ""),
    "set_config of one's own": ("SELECT set_config('billy.user', 'seven', false)", "DISCARD ALL",
                                "SELECT coalesce(current_setting('billy.user', true), '')", ""),
    "in a block of code": ("DO $$ BEGIN PERFORM set_config('work_mem', '77MB', false); END $$",
                           "DISCARD ALL", "SELECT current_setting('work_mem')", "4MB"),
    "advisory": ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)",
                 "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
                 "0"),
    "cursor": ("DECLARE mine CURSOR WITH HOLD FOR SELECT generate_series(1, 3)", "CLOSE mine",
               "SELECT count(*) FROM pg_cursors WHERE name = 'mine'", "0"),
    "prepare": ("PREPARE mine AS SELECT 7", "DEALLOCATE mine",
                "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'", "0"),
}


@pytest.mark.parametrize("name", PINS)
def test_pinned_until_it_is_gone(wires, name):
    begin, end, look, nothing = PINS[name]
    first = wires()
    first.rows(begin)
    mine = backend(first)
    assert first.value(look) != nothing
    seen = everywhere(wires, look)
    assert mine not in seen and set(seen.values()) == {nothing}
    assert backend(first) == mine
    assert first.value(look) != nothing
    first.rows(end)
    third = wires()
    # All three connections can be had at once again.
    for wire in (first, third):
        wire.ask(query("BEGIN"))
    assert first.value(look) == third.value(look) == nothing
    assert len(everywhere_one(wires)) == 1
    for wire in (first, third):
        wire.ask(query("COMMIT"))


def everywhere_one(wires):
    wire = wires()
    try:
        return {backend(wire)}
    finally:
        wire.close()


@pytest.mark.parametrize("name", PINS)
def test_discarded_when_the_client_is_gone(wires, name):
    begin, _, look, nothing = PINS[name]
    first = wires()
    first.rows(begin)
    first.close()
    held = [wires() for _ in range(3)]
    for wire in held:
        wire.ask(query("BEGIN"))
    assert len({backend(wire) for wire in held}) == 3
    assert {wire.value(look) for wire in held} == {nothing}


@pytest.mark.parametrize("statement", [
    "SET LOCAL statement_timeout = '77s'",
    "SELECT set_config('billy.tenant', 'seven', true)",
    "SELECT pg_advisory_xact_lock(7)",
    "DECLARE mine CURSOR FOR SELECT 1",
    "CREATE TEMP TABLE mine (a int) ON COMMIT DROP",
])
def test_what_ends_with_the_transaction_pins_nobody(daemon, wires, statement):
    first = wires()
    first.rows("BEGIN")
    first.rows(statement)
    first.rows("COMMIT")
    wait_for(lambda: pinned(daemon) == 0, "nobody to be pinned")


def pinned(daemon):
    return sum(role["pinned"] for role in daemon.client.status()["passthrough"]["roles"])


def test_pins_are_counted(daemon, wires):
    first = wires()
    first.rows("LISTEN news")
    first.rows("SELECT pg_advisory_lock(8)")
    expected = dict.fromkeys(("temporary", "setting", "cursor", "prepare", "statement"), 0)
    expected |= {"listen": 1, "advisory": 1}
    wait_for(lambda: figures(daemon)["pins"] == expected, "both pins to be seen")
    assert figures(daemon)["pinned"] == 1
    first.close()
    wait_for(lambda: pinned(daemon) == 0, "nobody to be pinned")


def test_notifications_come_to_who_listens(wires):
    first, second = wires(), wires()
    first.rows("LISTEN news")
    second.rows("NOTIFY news, 'seven'")
    said = first.read()
    assert said.kind == "A" and said.body[4:] == b"news\0seven\0"


def test_tracked_settings_follow_the_client(daemon, wires):
    first, second = wires(application_name="one", TimeZone="Europe/Berlin"), wires()
    assert first.parameters["TimeZone"] == "Europe/Berlin"
    assert first.parameters["application_name"] == "one"
    first.rows("SET datestyle TO 'German'")
    first.rows("SET application_name TO 'two'")
    for _ in range(5):
        assert second.value("SHOW datestyle") == "ISO, MDY"
        assert second.value("SHOW timezone") == "UTC"
        assert second.value("SHOW application_name") == ""
        assert first.value("SHOW datestyle") == "German, DMY"
        assert first.value("SHOW timezone") == "Europe/Berlin"
        assert first.value("SHOW application_name") == "two"
    assert pinned(daemon) == 0
    first.rows("SET timezone TO 'Asia/Tokyo'")
    first.rows("RESET timezone")
    second.rows("SELECT 1")
    assert first.value("SHOW timezone") == "Europe/Berlin"
    # One that is rolled back leaves the client as it was.
    first.rows("BEGIN")
    first.rows("SET timezone TO 'Asia/Tokyo'")
    first.rows("ROLLBACK")
    second.rows("SELECT 1")
    assert first.value("SHOW timezone") == "Europe/Berlin"


def test_startup_settings_are_the_clients_own(daemon, wires):
    first = wires(options="-c statement_timeout=77s --work-mem=9MB", extra_float_digits="1")
    second = wires()
    for _ in range(3):
        assert first.value("SHOW statement_timeout") == "77s"
        assert first.value("SHOW work_mem") == "9MB"
        assert first.value("SHOW extra_float_digits") == "1"
        assert second.value("SHOW statement_timeout") == "0"
        assert second.value("SHOW work_mem") == "4MB"
    assert pinned(daemon) == 0
    first.rows("SET statement_timeout TO '9s'")
    assert first.value("SHOW statement_timeout") == "9s"
    wait_for(lambda: pinned(daemon) == 1, "a setting of the session to pin")
    assert second.value("SHOW statement_timeout") == "0"


def test_the_unnamed_statement_is_nobody_elses(wires):
    first, second = wires(), wires()
    assert first.kinds(parse("", "SELECT 'first'"), describe("S"), SYNC) == "1tTZ"
    assert second.kinds(parse("", "SELECT 'second'"), SYNC) == "1Z"
    assert second.error(bind("nothing"), execute(), SYNC)["C"] == "26000"
    for wire, value in ((first, "first"), (second, "second"), (first, "first")):
        said = wire.ask(bind(), execute(), SYNC)
        assert [found.row() for found in said if found.kind == "D"] == [(value,)]
    third = wires()
    assert third.error(bind(), execute(), SYNC)["C"] == "26000"
    # A simple query does away with it.
    first.rows("SELECT 1")
    assert first.error(bind(), execute(), SYNC)["C"] == "26000"


def test_an_unnamed_statement_that_is_too_long_waits_for_its_bind(wires):
    first, second = wires(), wires()
    long = "SELECT 'first' /*" + "x" * 200000 + "*/"
    assert first.kinds(parse("", long), SYNC) == "1Z"
    for _ in range(3):
        assert second.kinds(parse("", "SELECT 'second'"), SYNC) == "1Z"
    said = first.ask(bind(), execute(), SYNC)
    assert [found.row() for found in said if found.kind == "D"] == [("first",)]


def test_sequences_tell_no_other_clients_numbers(daemon, wires):
    daemon.sql("CREATE SEQUENCE IF NOT EXISTS billy.numbers")
    daemon.sql("GRANT USAGE, SELECT ON SEQUENCE billy.numbers TO tekup_billy")
    first, second = wires(), wires()
    for _ in range(4):
        first.rows("SELECT nextval('billy.numbers')")
    for _ in range(4):
        assert second.error(query("SELECT lastval()"))["C"] == "55000"
    second.rows("BEGIN")
    number = second.value("SELECT nextval('billy.numbers')")
    assert second.value("SELECT currval('billy.numbers')") == number
    assert second.value("SELECT lastval()") == number
    second.rows("COMMIT")


def test_what_a_trigger_leaves_is_nobody_elses(daemon, wires):
    daemon.sql("""CREATE TABLE billy.watched (a int);
                  GRANT ALL ON billy.watched TO tekup_billy;
                  CREATE FUNCTION billy.leave() RETURNS trigger LANGUAGE plpgsql AS $$
                  BEGIN
                      PERFORM set_config('billy.leak', 'seven', false);
                      PERFORM set_config('work_mem', '7MB', false);
                      RETURN NEW;
                  END $$;
                  CREATE TRIGGER leave BEFORE INSERT ON billy.watched
                  FOR EACH ROW EXECUTE FUNCTION billy.leave()""")
    first, second = wires(), wires()
    first.rows("SELECT 1")
    wait_for(lambda: "hidden_code=yes" in daemon.log() or not second.rows("SELECT 1"), "the function to be seen")
    first.rows("INSERT INTO billy.watched VALUES (1)")
    assert first.value("SHOW work_mem") == "7MB"
    for other in [wires() for _ in range(3)]:
        assert other.value("SELECT coalesce(current_setting('billy.leak', true), '')") == ""
        assert other.value("SHOW work_mem") == "4MB"
    first.close()
    held = [wires() for _ in range(3)]
    for other in held:
        other.rows("BEGIN")
        assert other.value("SELECT coalesce(current_setting('billy.leak', true), '')") == ""
        assert other.value("SHOW work_mem") == "4MB"
    daemon.sql("DROP TABLE billy.watched; DROP FUNCTION billy.leave()")
