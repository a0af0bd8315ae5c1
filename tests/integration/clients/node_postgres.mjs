// node_postgres.mjs: node-postgres (pg) and what belongs to it, as services use it without Prisma.
//
//   DATABASE_URL=... node node_postgres.mjs
//
// Every scenario checks what it gets and prints it, so that what two ways to the same server answer can
// be compared. It leaves no rows.
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

const connectionString = process.env.DATABASE_URL;
const show = (what, value) => console.log(`${what}: ${JSON.stringify(value)}`);

const using = async (work, more = {}) => {
  const client = new pg.Client({ connectionString, ...more });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

const refused = async (what, promise) => {
  const error = await promise.then(() => assert.fail(`${what} did not fail`), (reason) => reason);
  const { name, message, code, severity, position, detail, hint, where, schema, table, column, constraint, routine } = error;
  show(what, { name, message, code, severity, position, detail, hint, where, schema, table, column, constraint, routine });
};

const scenarios = {
  async queries() {
    await using(async (client) => {
      const many = await client.query("SELECT 1 AS a; SELECT 'x' AS b, NULL AS c; SELECT");
      show('many in one', many.map(({ command, rowCount, rows }) => ({ command, rowCount, rows })));
      const typed = await client.query('SELECT $1::int AS i, $2::text AS t, $3::jsonb AS j, $4::timestamptz AS at, $5::bytea AS b, $6::text[] AS l',
        [7, 'æøå', { a: [1, null] }, new Date(0), Buffer.from([0, 255]), ['a', null, 'b"c']]);
      show('typed', { fields: typed.fields.map(({ name, dataTypeID, format }) => ({ name, dataTypeID, format })), rows: typed.rows });
      show('as arrays', (await client.query({ text: 'SELECT generate_series(1, 3), 2', rowMode: 'array' })).rows);
      show('binary', (await client.query({ text: 'SELECT $1::int4 AS number', values: [4711], binary: true })).rows);
      await refused('a wrong column', client.query('SELECT nowhere FROM pg_class WHERE relname = $1', ['x']));
      await refused('a wrong value', client.query('SELECT $1::int', ['x']));
      await refused('another schema', client.query('SELECT * FROM crm."CrmDeal"'));
      await refused('a violation', client.query('INSERT INTO billy."BillyCache" VALUES ($1, $2, $3, $4, now(), now())', ['u', 'nobody', 'e', '{}']));
      show('after errors', (await client.query('SELECT 1 AS one')).rows);
      const notices = [];
      client.on('notice', ({ severity, message, detail }) => notices.push({ severity, message, detail }));
      await client.query("DO $$ BEGIN FOR i IN 1..3 LOOP RAISE NOTICE 'number %', i USING DETAIL = 'd'; END LOOP; END $$");
      show('notices', notices);
    });
  },

  // The same names in every session, with other texts.
  async named() {
    await Promise.all(Array.from({ length: 30 }, (_, session) => using(async (client) => {
      for (let round = 0; round < 10; round++) {
        const { rows } = await client.query({ name: 'answer', text: `SELECT $1::int + ${session} AS sum, 'of ${session}' AS who`, values: [round] });
        assert.deepEqual(rows, [{ sum: round + session, who: `of ${session}` }]);
        const other = await client.query({ name: `other ${session % 3}`, text: 'SELECT $1::text AS t', values: [`${session}/${round}`] });
        assert.equal(other.rows[0].t, `${session}/${round}`);
      }
    })));
    await using(async (client) => {
      const failing = { name: 'failing', text: 'SELECT 10 / $1::int AS q' };
      await refused('a named statement fails', client.query({ ...failing, values: [0] }));
      show('and goes on', (await client.query({ ...failing, values: [5] })).rows);
      await refused('a name whose text is wrong', client.query({ name: 'wrong', text: 'SELECT nowhere', values: [] }));
      show('and is used rightly', (await client.query({ name: 'wrong', text: 'SELECT 1 AS one', values: [] })).rows);
      await client.query('BEGIN');
      await refused('a named statement fails in a transaction', client.query({ ...failing, values: [0] }));
      await refused('which is over then', client.query({ ...failing, values: [5] }));
      await client.query('ROLLBACK');
      show('and after it', (await client.query({ ...failing, values: [2] })).rows);
      await client.query('DISCARD ALL');
      await refused('a statement that has been discarded', client.query({ ...failing, values: [2] }));
    });
    // Many statements in one session.
    await using(async (client) => {
      for (let i = 0; i < 1000; i++)
        assert.equal((await client.query({ name: `s${i}`, text: `SELECT ${i} AS i` })).rows[0].i, i);
      assert.equal((await client.query({ name: 's3', text: 'SELECT 3 AS i' })).rows[0].i, 3);
    });
  },

  async cursors() {
    await using(async (client) => {
      await client.query('BEGIN');
      const cursor = client.query(new Cursor('SELECT g, repeat($1, 100) AS t FROM generate_series(1, 2500) g', ['x']));
      let seen = 0;
      for (let rows; (rows = await cursor.read(1000)).length > 0;) {
        assert.equal(rows[0].g, seen + 1);
        seen += rows.length;
      }
      assert.equal(seen, 2500);
      await cursor.close();
      await client.query('COMMIT');

      // Left open half way, and outside a transaction.
      const half = client.query(new Cursor('SELECT generate_series(1, 100000) AS g'));
      assert.equal((await half.read(10)).length, 10);
      assert.equal((await half.read(10)).at(-1).g, 20);
      await half.close();
      show('after a cursor that was closed half way', (await client.query('SELECT 1 AS one')).rows);
      const failing = client.query(new Cursor('SELECT 100 / (500 - g) AS q FROM generate_series(1, 1000) g'));
      assert.equal((await failing.read(400)).length, 400);
      await refused('a cursor that fails half way', failing.read(400));
      show('after it', (await client.query('SELECT 2 AS two')).rows);
    });
  },

  async streams() {
    await using(async (client) => {
      let rows = 0, length = 0;
      for await (const row of client.query(new QueryStream('SELECT g, repeat(md5(g::text), $1) AS t FROM generate_series(1, 20000) g', [30], { batchSize: 500 }))) {
        rows++;
        length += row.t.length;
      }
      show('streamed', { rows, length });
      const broken = client.query(new QueryStream('SELECT generate_series(1, 1000000) AS g', [], { batchSize: 100 }));
      for await (const { g } of broken) if (g === 1234) break;
      show('after a stream that was left', (await client.query('SELECT 1 AS one')).rows);
    });
  },

  async copy() {
    await using(async (client) => {
      await client.query('CREATE TEMP TABLE scratch (i int, t text)');
      const lines = function* () { for (let i = 0; i < 50000; i++) yield `${i}\tnumber ${i} æøå\n`; };
      const into = client.query(copyFrom('COPY scratch FROM STDIN'));
      await pipeline(Readable.from(lines()), into);
      assert.equal(into.rowCount, 50000);
      let bytes = 0;
      await pipeline(client.query(copyTo('COPY scratch TO STDOUT')), new Writable({ write(chunk, _, done) { bytes += chunk.length; done(); } }));
      show('copied', { bytes });
      await refused('a row that is wrong', pipeline(Readable.from(['1\tx\nwrong\ty\n']), client.query(copyFrom('COPY scratch FROM STDIN'))));
      show('after it', (await client.query('SELECT count(*)::int AS n FROM scratch')).rows);
    });
  },

  async notifications() {
    await using((listener) => using(async (notifier) => {
      const heard = [];
      let enough;
      const all = new Promise((resolve) => { enough = resolve; });
      listener.on('notification', ({ channel, payload }) => { heard.push({ channel, payload }); if (heard.length === 5) enough(); });
      await listener.query('LISTEN news');
      await listener.query('LISTEN "Other News"');
      await notifier.query("NOTIFY news, 'one'");
      await notifier.query("SELECT pg_notify('Other News', 'two')");
      await notifier.query("BEGIN; NOTIFY news, 'three'; ROLLBACK");
      await notifier.query("NOTIFY unheard, 'four'");
      await notifier.query("BEGIN; NOTIFY news, 'five'; NOTIFY news, 'six'; COMMIT");
      await listener.query("NOTIFY news, 'to itself'");
      await all;
      show('heard', heard);
      await listener.query('UNLISTEN *');
      await notifier.query("NOTIFY news, 'seven'");
      assert.equal((await listener.query('SELECT 1')).rowCount, 1);
      assert.equal(heard.length, 5);
    }));
  },

  // More sessions than connections to the server, as a pool makes them.
  async pool() {
    const pool = new pg.Pool({ connectionString, max: 30 });
    const transaction = async (i) => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await client.query('INSERT INTO shared."SharedUser" (id, email, "updatedAt") VALUES ($1, $1, now())', [`pool ${i}`]);
        await client.query(i % 3 ? 'COMMIT' : 'ROLLBACK');
      } finally {
        client.release();
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => transaction(i)));
    const { rowCount } = await pool.query("DELETE FROM shared.\"SharedUser\" WHERE id LIKE 'pool %'");
    assert.equal(rowCount, 133);
    await pool.end();
  },

  async timeouts() {
    await using(async (client) => {
      await refused('a statement that takes too long', client.query('SELECT pg_sleep(60)'));
      show('after it', (await client.query("SELECT current_setting('statement_timeout') AS t, current_setting('application_name') AS a")).rows);
    }, { statement_timeout: 250, application_name: 'impatient' });

    const client = new pg.Client({ connectionString });
    await client.connect();
    show('another', (await client.query("SELECT current_setting('statement_timeout') AS t, current_setting('application_name') AS a")).rows);
    await client.query("SET idle_in_transaction_session_timeout = '200ms'");
    const ended = new Promise((resolve) => client.once('error', resolve));
    await client.query('BEGIN');
    const { code, severity, message } = await ended;
    show('a transaction that is left idle', { code, severity, message });
    await client.end().catch(() => {});
  },
};

for (const [name, scenario] of Object.entries(scenarios)) {
  const began = Date.now();
  await scenario();
  console.log(`${name} done`);
  if (process.env.TIMES) console.error(name, Date.now() - began, 'ms');
}
console.log('done');
