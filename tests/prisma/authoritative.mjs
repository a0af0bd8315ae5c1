// authoritative.mjs: prints the SQL by which Prisma makes an empty database into what a schema file
// says, as `prisma migrate diff --from-empty --to-schema-datamodel FILE --script` does.
//
//   node authoritative.mjs PACKAGE_DIRECTORY SCHEMA.prisma
//
// The engine is WebAssembly made for bundlers, so it is put together by hand. It wants a database
// driver, and asks it once which version it speaks to; a diff needs nothing else of it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, path] = process.argv.slice(2);
const engine = join(modules, '@prisma', 'schema-engine-wasm');
const bindings = await import(pathToFileURL(join(engine, 'schema_engine_bg.js')));
const { instance } = await WebAssembly.instantiate(
  readFileSync(join(engine, 'schema_engine_bg.wasm')),
  { './schema_engine_bg.js': bindings },
);
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

const result = (value) => ({
  ok: true,
  value,
  map: (change) => result(change(value)),
  flatMap: (change) => change(value),
});

const refuse = (name) => () => {
  throw new Error(`the schema engine called ${name}, which a diff from nothing should not need`);
};

const connection = {
  provider: 'postgres',
  adapterName: 'none',
  queryRaw: async ({ sql }) => {
    if (!sql.includes('version()')) refuse(`queryRaw: ${sql}`)();
    const boolean = 5, int32 = 0, text = 7;
    return result({
      columnNames: ['exists', 'version', 'numeric_version'],
      columnTypes: [boolean, text, int32],
      rows: [[true, 'PostgreSQL 15.0', 150000]],
    });
  },
  executeRaw: refuse('executeRaw'),
  executeScript: refuse('executeScript'),
  startTransaction: refuse('startTransaction'),
  dispose: async () => result(undefined),
};

const content = readFileSync(path, 'utf8');
const schema = await bindings.SchemaEngine.new(
  { datamodels: [[path, content]] },
  () => {}, // its log
  {
    provider: 'postgres',
    adapterName: 'none',
    connect: async () => result(connection),
    connectToShadowDb: refuse('connectToShadowDb'),
  },
);
const { stdout } = await schema.diff({
  from: { tag: 'empty' },
  to: { tag: 'schemaDatamodel', files: [{ path, content }] },
  script: true,
  exitCode: null,
  shadowDatabaseUrl: null,
  filters: { externalTables: [], externalEnums: [] },
});
if (!stdout?.includes('CREATE TABLE')) throw new Error('the schema engine gave no SQL');
process.stdout.write(stdout);
