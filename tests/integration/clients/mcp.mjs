// The official clients of the Model Context Protocol find tekupdb's tools, over stdio and over HTTP.
//
//     node mcp.mjs sdk|legacy|auto stdio TEKUP
//     node mcp.mjs sdk|legacy|auto http URL KEY
//
// sdk is the client of the versions that begin with a handshake; legacy and auto are the newer one's
// ways, with the handshake and without. Both check results against the tools' output schemas.
import assert from 'node:assert/strict';
import { Client as NewClient, StreamableHTTPClientTransport as NewHttp } from '@modelcontextprotocol/client';
import { StdioClientTransport as NewStdio } from '@modelcontextprotocol/client/stdio';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as OldStdio } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OldHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [way, door, place, key] = process.argv.slice(2);
const old = way === 'sdk';

const transport = () => {
  if (door === 'stdio') return new (old ? OldStdio : NewStdio)({ command: place, args: ['mcp'], env: process.env, stderr: 'inherit' });
  return new (old ? OldHttp : NewHttp)(new URL(place), { requestInit: { headers: { Authorization: `Bearer ${key}` } } });
};

const problems = [];
const connect = async () => {
  const about = { name: 'tests', version: '1.0.0' };
  const client = old ? new OldClient(about) : new NewClient(about, { versionNegotiation: { mode: way } });
  client.onerror = (problem) => problems.push(problem);
  await client.connect(transport());
  return client;
};

const client = await connect();
try {
  assert.equal(client.getServerVersion().name, 'tekupdb');
  assert.deepEqual(client.getServerCapabilities(), { tools: { listChanged: false } });
  assert.match(client.getInstructions(), /search_knowledge/);
  if (!old) assert.equal(client.getNegotiatedProtocolVersion(), way === 'auto' ? '2026-07-28' : '2025-11-25');
  if (way !== 'auto') await client.ping();

  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name),
    ['search', 'fetch', 'search_knowledge', 'get_sync_status', 'list_repositories', 'get_repository_info']);
  for (const tool of tools) assert.equal(tool.annotations.readOnlyHint, true);

  const call = async (name, args, from = client) => {
    const result = await from.callTool({ name, arguments: args });
    assert.ok(!result.isError, JSON.stringify(result));
    assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
    return result.structuredContent;
  };
  const { results } = await call('search', { query: 'book a day off' });
  assert.equal(results[0].title, 'Days off');
  const document = await call('fetch', { id: results[0].id });
  assert.equal(document.text, '# Days off\n\nWhoever wants a day off asks a week before. Ærø ☃ 😀\n');
  assert.equal(document.url, 'https://example.com/leave');
  const passages = await call('search_knowledge', { query: 'day off', source: 'notes', limit: 3 });
  assert.equal(passages.results[0].path, 'leave.md');
  const { repositories } = await call('list_repositories', {});
  for (const { source, repository } of repositories) {
    const info = await call('get_repository_info', { source, repository });
    assert.equal(info.repository, repository);
  }
  assert.equal((await call('get_sync_status', {})).items[0].status, 'success');

  // What a model does wrong comes back to it, what the program does wrong to the program.
  const refused = await client.callTool({ name: 'search', arguments: { query: '' } });
  assert.ok(refused.isError && refused.content[0].text.includes('query is empty'));
  await assert.rejects(client.callTool({ name: 'frobnicate', arguments: {} }), (problem) => problem.code === -32602);

  // Many at once, each with its own answer; by several clients.
  const others = [client, await connect(), await connect()];
  await Promise.all(Array.from({ length: 90 }, async (_, i) => {
    const from = others[i % 3];
    if (i % 2) assert.equal((await call('fetch', { id: results[0].id }, from)).id, results[0].id);
    else assert.equal((await call('search', { query: `day off ${i}`, limit: 1 }, from)).results.length, 1);
  }));
  // One that is given up disturbs nobody.
  const stop = new AbortController();
  const given = client.callTool({ name: 'search', arguments: { query: 'day off' } }, ...(old ? [undefined] : []), { signal: stop.signal });
  stop.abort();
  await assert.rejects(given);
  await call('search', { query: 'day off' });
  for (const other of others.slice(1)) await other.close();
} finally {
  await client.close();
}
// Over HTTP nobody is remembered, so that with a handshake the answer that was given up may come all the same.
const late = (problem) => door === 'http' && way !== 'auto' && /unknown message ID/.test(problem.message);
assert.deepEqual(problems.filter((problem) => !late(problem)), []);
console.log('done');
