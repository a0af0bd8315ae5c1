// prisma.mjs: what a service does with Prisma, on the models of its own schema and of shared.
//
//   DATABASE_URL=... node prisma.mjs SERVICE        vault, billy, renos, crm or flow
//
// Beside it are node_modules and generated/, the client that Prisma made of storage/tekup.prisma.
// Every scenario checks what it gets, and prints it with ids and times left out, so that what two
// ways to the same server answer can be compared. It leaves no rows, and disturbs none of another
// service's, which may do the same at the same time.
import assert from 'node:assert/strict';
import { PrismaPg } from '@prisma/adapter-pg';
import { Prisma, PrismaClient } from './generated/client.mjs';

const service = process.argv[2];
const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 8 }),
  transactionOptions: { maxWait: 60000, timeout: 60000 },
});

// ---- What is printed ----

const ids = new Map();
const plain = (value) => {
  if (value instanceof Date) return '<time>';
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'string' && /^c[a-z0-9]{24}$/.test(value)) {
    if (!ids.has(value)) ids.set(value, `<id ${ids.size + 1}>`);
    return ids.get(value);
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
};
const show = (what, value) => console.log(`${what}: ${JSON.stringify(plain(value))}`);

const fails = async (what, code, promise) => {
  const error = await promise.then(() => assert.fail(`${what} did not fail`), (reason) => reason);
  assert.equal(error.code, code, `${what}: ${error.stack}`);
  const message = error.message.split('\n').at(-1).replace(/\d+ ms/g, '<time>');
  show(`${what} is refused`, { code, meta: error.meta?.modelName, message });
};

// ---- What every service can do with any model that has a name ----

// model: of this name; unique: the fields that tell two of its rows apart; make: a row's fields;
// text: a field to change; where: all rows of this service.
const rows = async (model, make, text, where = {}) => {
  const table = prisma[model];
  const created = await table.create({ data: make(0) });
  show(`${model} created`, created);
  assert.deepEqual(await table.findUnique({ where: { id: created.id } }), created);

  const { count } = await table.createMany({ data: [1, 2, 3, 4, 5].map(make) });
  assert.equal(count, 5);
  const returned = await table.createManyAndReturn({ data: [6, 7].map(make) });
  assert.equal(returned.length, 2);

  const updated = await table.update({ where: { id: created.id }, data: { [text]: 'æøå 漢字 \u{1F9F9}\n"quoted"' } });
  show(`${model} updated`, updated);
  const all = await table.findMany({ orderBy: { id: 'asc' }, where: { id: { in: [created.id, ...returned.map((row) => row.id)] } } });
  assert.equal(all.length, 3);

  const upsert = (id, value) => table.upsert({ where: { id }, create: { ...make(8), id }, update: { [text]: value } });
  const first = await upsert(`upserted-${service}-${model}`, 'unused');
  const second = await upsert(`upserted-${service}-${model}`, 'changed');
  assert.equal(first.id, second.id);
  assert.equal(second[text], 'changed');

  await fails(`${model} twice`, 'P2002', table.create({ data: { ...make(9), id: created.id } }));
  await fails(`updating no ${model}`, 'P2025', table.update({ where: { id: 'none' }, data: { [text]: 'x' } }));
  assert.equal((await table.updateMany({ where, data: { [text]: 'all' } })).count, await table.count({ where }));
  show(`${model} removed`, await table.deleteMany({ where }));
};

// ---- Transactions, on shared, which all services write ----

const user = (name) => ({ email: `${name}@${service}.example`, name });

const transactions = async () => {
  const mine = { email: { endsWith: `@${service}.example` } };
  const names = async () => (await prisma.sharedUser.findMany({ where: mine, orderBy: { email: 'asc' } })).map((row) => row.name);

  await prisma.$transaction([
    prisma.sharedUser.create({ data: user('batch-1') }),
    prisma.sharedUser.create({ data: user('batch-2') }),
  ]);
  await fails('a batch with a row twice', 'P2002', prisma.$transaction([
    prisma.sharedUser.create({ data: user('batch-3') }),
    prisma.sharedUser.create({ data: user('batch-3') }),
  ]));

  const inside = await prisma.$transaction(async (tx) => {
    await tx.sharedUser.create({ data: user('committed') });
    await tx.sharedAuditLog.create({ data: { service, action: 'create', success: true, metadata: { nested: [1, { two: null }] } } });
    // What the transaction has done is seen by it and by nobody else.
    assert.equal(await prisma.sharedUser.count({ where: { email: user('committed').email } }), 0);
    return tx.sharedUser.count({ where: mine });
  });
  assert.equal(inside, 3);

  await assert.rejects(prisma.$transaction(async (tx) => {
    await tx.sharedUser.create({ data: user('rolled-back') });
    throw new Error('changed my mind');
  }), /changed my mind/);

  await fails('a transaction that takes too long', 'P2028', prisma.$transaction(async (tx) => {
    await tx.sharedUser.create({ data: user('too-late') });
    await new Promise((resolve) => setTimeout(resolve, 400));
    await tx.sharedUser.create({ data: user('much-too-late') });
  }, { timeout: 200 }));

  await fails('a failed statement within a transaction', 'P2010', prisma.$transaction(async (tx) => {
    await tx.sharedUser.create({ data: user('with-an-error') });
    await tx.$queryRaw`SELECT 1 / 0`;
  }));

  // What a transaction has read is changed by another before it changes it itself.
  const where = { email: user('batch-1').email };
  await fails('a change of what has changed since', 'P2034', prisma.$transaction(async (tx) => {
    await tx.sharedUser.findUnique({ where });
    await prisma.sharedUser.update({ where, data: { role: 'first' } });
    await tx.sharedUser.update({ where, data: { role: 'second' } });
  }, { isolationLevel: Prisma.TransactionIsolationLevel.RepeatableRead }));
  assert.equal((await prisma.sharedUser.findUnique({ where })).role, 'first');

  show('what is there after all transactions', await names());
  assert.deepEqual(await names(), ['batch-1', 'batch-2', 'committed']);

  // More at a time than there are connections to the server.
  const many = await Promise.all(Array.from({ length: 40 }, (_, i) => prisma.$transaction(async (tx) => {
    const row = await tx.sharedUser.create({ data: user(`many-${i}`) });
    return (await tx.sharedUser.update({ where: { id: row.id }, data: { role: `role ${i}` } })).role;
  })));
  assert.deepEqual(many, Array.from({ length: 40 }, (_, i) => `role ${i}`));

  assert.equal((await prisma.sharedUser.deleteMany({ where: mine })).count, 43);
  assert.equal((await prisma.sharedAuditLog.deleteMany({ where: { service } })).count, 1);
};

// ---- SQL ----

const raw = async () => {
  const [row] = await prisma.$queryRaw`
    SELECT ${1}::int AS i, ${12345678901234n}::bigint AS big, ${1.5}::float8 AS f, ${'tekst'} AS t, ${true}::bool AS b,
           ${new Date('2026-01-02T03:04:05.678Z')}::timestamp(3) AS at, ${{ a: [1, null, 'x'] }}::jsonb AS j,
           ${['a', 'b,"c']}::text[] AS list, ${Buffer.from([0, 1, 255])}::bytea AS bytes, ${null}::text AS nothing,
           current_user::text AS me, '12.50'::numeric AS n`;
  assert.equal(row.at.toISOString(), '2026-01-02T03:04:05.678Z');
  assert.equal(row.me, `tekup_${service}`);
  assert.equal(row.big, 12345678901234n);
  assert.deepEqual(row.list, ['a', 'b,"c']);
  assert.deepEqual(Buffer.from(row.bytes), Buffer.from([0, 1, 255]));
  show('values', row);

  const wanted = ['x', 'y'];
  show('joined', await prisma.$queryRaw(Prisma.sql`SELECT v FROM unnest(ARRAY['x', 'y', 'z']) v WHERE v IN (${Prisma.join(wanted)})`));
  show('unsafe', await prisma.$queryRawUnsafe('SELECT g FROM generate_series(1, $1::int) g', 3));
  assert.equal((await prisma.$queryRaw`SELECT repeat('0123456789', g) AS wide FROM generate_series(1, 5000) g`).at(-1).wide.length, 50000);
  assert.equal(await prisma.$executeRaw`UPDATE shared."SharedUser" SET name = 'x' WHERE id = 'none'`, 0);
  await fails('wrong SQL', 'P2010', prisma.$queryRaw`SELEKT 1`);
  await fails('a value that does not fit', 'P2010', prisma.$queryRawUnsafe("SELECT 'x'::int"));

  // The same statement from many at once, and each gets its own answer.
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => prisma.$queryRaw`SELECT ${i}::int AS i, ${`text ${i}`} AS t`));
  answers.forEach(([answer], i) => assert.deepEqual(answer, { i, t: `text ${i}` }));

  for (const [schema, other] of Object.entries(elsewhere))
    if (schema !== service) await fails(`a look into ${schema}`, 'P2010', prisma.$queryRawUnsafe(`SELECT * FROM ${schema}."${other}"`));
};

const elsewhere = { vault: 'VaultDocument', billy: 'BillyCache', renos: 'RenosLead', crm: 'CrmContact', flow: 'FlowVariable' };

// ---- The services ----

const at = (hour) => new Date(Date.UTC(2026, 5, 1, hour));

const services = {
  async vault() {
    const document = (i) => ({ source: 'github', repository: 'prisma/clients', path: `docs/${i}.md`, content: `text ${i}\n`.repeat(50), metadata: { i, tags: ['a'] } });
    await rows('vaultDocument', document, 'sha');
    await rows('vaultSyncStatus', (i) => ({ source: 'notion', repository: `page ${i}`, status: 'pending' }), 'errorMessage');

    const { id } = await prisma.vaultDocument.create({ data: document(100) });
    const numbers = Array.from({ length: 1536 }, (_, i) => Math.fround(Math.sin(i)));
    const type = (await prisma.$queryRaw`SELECT format_type(atttypid, NULL) AS t FROM pg_attribute
      WHERE attrelid = 'vault."VaultEmbedding"'::regclass AND attname = 'embedding'`)[0].t;
    const cast = type === 'real[]' ? 'real[]' : 'real[]::vector';
    for (let i = 0; i < 3; i++)
      assert.equal(await prisma.$executeRawUnsafe(`INSERT INTO vault."VaultEmbedding" ("documentId", embedding) VALUES ($1, $2::${cast})`, id, numbers), 1);
    const back = await prisma.$queryRaw`SELECT embedding::real[] AS e FROM vault."VaultEmbedding" WHERE "documentId" = ${id}`;
    assert.equal(back.length, 3);
    assert.ok(back[0].e.every((number, i) => Math.fround(number) === numbers[i]));
    const read = await prisma.vaultDocument.findUnique({
      where: { source_repository_path: { source: 'github', repository: 'prisma/clients', path: 'docs/100.md' } },
      include: { embeddings: true, _count: { select: { embeddings: true } } },
    });
    assert.equal(read._count.embeddings, 3);
    assert.deepEqual(await prisma.vaultDocument.findMany({ where: { metadata: { path: ['i'], equals: 100 } }, select: { path: true } }), [{ path: 'docs/100.md' }]);
    await prisma.vaultDocument.delete({ where: { id } });
    assert.equal(await prisma.vaultEmbedding.count({ where: { documentId: id } }), 0);
  },

  async billy() {
    const organization = (i) => ({ name: `Organization ${i}`, billyApiKey: 'encrypted', billyOrgId: `org-${i}`, settings: { currency: 'DKK', list: [1, 2.5, null] } });
    await rows('billyOrganization', organization, 'name');
    const made = await prisma.billyOrganization.create({
      data: {
        ...organization(100),
        users: { create: [{ email: 'a@example.com', role: 'admin' }, { email: 'b@example.com', metadata: { k: 'v' } }] },
        cache: { createMany: { data: [1, 2, 3].map((i) => ({ cacheKey: `invoice:${i}`, data: { i }, expiresAt: at(i) })) } },
        auditLogs: { create: { toolName: 'listInvoices', action: 'read', success: true, durationMs: 12, requestData: { page: 1 } } },
        usageMetrics: { create: { toolName: 'listInvoices', date: at(0), hour: 13, callCount: 7, cacheHitRate: 0.25 } },
        rateLimits: { create: { endpoint: '/v2/invoices', windowStart: at(1), requestCount: 3 } },
      },
      include: { users: { orderBy: { email: 'asc' } }, cache: { orderBy: { cacheKey: 'asc' } }, auditLogs: true, usageMetrics: true, rateLimits: true },
    });
    show('an organization with everything', made);
    assert.equal(made.usageMetrics[0].date.toISOString(), '2026-06-01T00:00:00.000Z');
    const key = { organizationId: made.id, cacheKey: 'invoice:2' };
    const cached = (data) => prisma.billyCache.upsert({ where: { organizationId_cacheKey: key }, create: { ...key, data, expiresAt: at(9) }, update: { data, expiresAt: at(9) } });
    assert.deepEqual((await cached({ newer: true })).data, { newer: true });
    await prisma.billyOrganization.update({
      where: { billyOrgId: 'org-100' },
      data: { users: { update: { where: { organizationId_email: { organizationId: made.id, email: 'a@example.com' } }, data: { lastLoginAt: at(2) } } }, cache: { deleteMany: { expiresAt: { lt: at(2) } } } },
    });
    await prisma.billyRateLimit.updateMany({ where: { organizationId: made.id }, data: { requestCount: { increment: 4 } } });
    assert.equal((await prisma.billyRateLimit.findFirst({ where: { organizationId: made.id } })).requestCount, 7);
    show('by action', await prisma.billyAuditLog.groupBy({ by: ['action', 'success'], _count: true, _sum: { durationMs: true } }));
    await fails('a cache of nobody', 'P2003', prisma.billyCache.create({ data: { organizationId: 'none', cacheKey: 'x', data: {}, expiresAt: at(1) } }));
    await prisma.billyOrganization.delete({ where: { id: made.id } });
    for (const model of ['billyUser', 'billyCache', 'billyAuditLog', 'billyUsageMetrics', 'billyRateLimit'])
      assert.equal(await prisma[model].count(), 0, model);
  },

  async renos() {
    await rows('renosLead', (i) => ({ source: 'website_form', name: `Lead ${i}`, score: i / 4, scoreMetadata: { why: ['near'] } }), 'companyName');
    await rows('renosInvoice', (i) => ({ invoiceNumber: `2026-${i}`, customerName: 'Jensen', dueDate: at(5), subtotal: 100.1, vatAmount: 25.025, total: 125.125 }), 'notes');
    const customer = await prisma.renosCustomer.create({
      data: {
        name: 'Sørensen & Søn', email: 'soren@example.com', tags: ['fast', 'kontant, "ja"'],
        leads: { create: { source: 'phone', quotes: { create: { hourlyRate: 349, estimatedHours: 3.5, subtotal: 1221.5, total: 1526.875 } }, emailResponses: { create: { recipientEmail: 'soren@example.com', subject: 'Tilbud', body: 'Hej' } } } },
        bookings: { create: { scheduledAt: at(8), estimatedDuration: 180, breaks: { create: [{ startTime: at(9), reason: 'frokost' }] }, invoices: { create: { invoiceNumber: 'I-1', customerName: 'Sørensen', dueDate: at(20), subtotal: 10, vatAmount: 2.5, total: 12.5, lineItems: { create: [{ description: 'Rengøring', unitPrice: 10, amount: 10 }, { description: 'Kørsel', unitPrice: 0, amount: 0, sortOrder: 1 }] } } } } },
      },
      include: { leads: { include: { quotes: true, emailResponses: true } }, bookings: { include: { breaks: true, invoices: { include: { lineItems: { orderBy: { sortOrder: 'asc' } } } } } } },
    });
    show('a customer with everything', customer);
    assert.equal(customer.bookings[0].invoices[0].lineItems.length, 2);
    show('found through relations', await prisma.renosLead.findMany({ where: { quotes: { some: { total: { gt: 1500 } } }, customer: { is: { tags: { has: 'fast' } } } }, select: { source: true, customer: { select: { name: true } } } }));
    await fails('a booking of nobody', 'P2003', prisma.renosBooking.create({ data: { customerId: 'none', scheduledAt: at(1), estimatedDuration: 1 } }));
    await prisma.renosInvoice.delete({ where: { invoiceNumber: 'I-1' } });
    await prisma.renosLead.delete({ where: { id: customer.leads[0].id } });
    await prisma.renosBooking.delete({ where: { id: customer.bookings[0].id } });
    for (const model of ['renosInvoiceLineItem', 'renosQuote', 'renosEmailResponse', 'renosBreak'])
      assert.equal(await prisma[model].count(), 0, model);
    await prisma.renosCustomer.delete({ where: { email: 'soren@example.com' } });
  },

  async crm() {
    await rows('crmCompany', (i) => ({ name: `Company ${i}`, revenue: 1e6 * i, tags: ['a'], customFields: { i } }), 'notes');
    await rows('crmTask', (i) => ({ title: `Task ${i}`, assignedTo: 'me', dueDate: at(i) }), 'description');
    const company = await prisma.crmCompany.create({
      data: { name: 'Rendetalje', contacts: { create: [{ firstName: 'Åse', lastName: 'Holm', email: 'aase@example.com', tasks: { create: { title: 'Ring', assignedTo: 'me' } } }, { firstName: 'Bo', lastName: 'Lund' }] } },
      include: { contacts: { orderBy: { firstName: 'asc' }, include: { tasks: true } } },
    });
    show('a company with contacts', company);
    const contact = company.contacts.find((one) => one.email);
    const deal = await prisma.crmDeal.create({
      data: { title: 'Kontrakt', value: 99999.99, owner: 'me', contact: { connect: { id: contact.id } }, company: { connect: { id: company.id } }, products: { create: [{ productName: 'Uge', unitPrice: 500, total: 500 }, { productName: 'Måned', unitPrice: 1800, total: 1800 }] }, activities: { create: { type: 'call', owner: 'me', contactId: contact.id } } },
      include: { products: { orderBy: { productName: 'asc' } }, activities: true, contact: true },
    });
    show('a deal', deal);
    show('figures', await prisma.crmDealProduct.aggregate({ _sum: { total: true }, _avg: { unitPrice: true }, _max: { productName: true } }));
    const moved = await prisma.crmDeal.update({ where: { id: deal.id }, data: { stage: 'proposal', tags: { push: 'varm' }, contact: { disconnect: true } } });
    assert.deepEqual([moved.tags, moved.contactId], [['varm'], null]);
    await prisma.crmActivity.deleteMany({});
    await prisma.crmDeal.delete({ where: { id: deal.id } });
    assert.equal(await prisma.crmDealProduct.count(), 0);
    await prisma.crmTask.deleteMany({});
    await prisma.crmContact.deleteMany({});
    await prisma.crmCompany.delete({ where: { id: company.id } });
  },

  async flow() {
    const workflow = (i) => ({ name: `Workflow ${i}`, trigger: { type: 'cron' }, nodes: [{ id: 'n1' }, { id: 'n2' }], edges: [], owner: 'me' });
    await rows('flowWorkflow', workflow, 'description');
    const made = await prisma.flowWorkflow.create({
      data: {
        ...workflow(100),
        executions: { create: { input: { a: 1 }, steps: { create: [{ stepId: 's1', stepName: 'Hent', stepType: 'action' }] }, logs: { createMany: { data: Array.from({ length: 200 }, (_, i) => ({ level: 'info', message: `linje ${i}`, data: { i } })) } } } },
        schedules: { create: { name: 'nat', cronExpression: '0 3 * * *' } },
        webhooks: { create: { name: 'ind', url: '/hooks/1' } },
        variables: { create: [{ key: 'a', value: '1' }, { key: 'b', value: '2', isSecret: true }] },
      },
      include: { executions: { include: { steps: true, _count: { select: { logs: true } } } }, schedules: true, webhooks: true, variables: { orderBy: { key: 'asc' } } },
    });
    show('a workflow with everything', made);
    const [execution] = made.executions;
    assert.equal(execution._count.logs, 200);
    const pages = [];
    for (let cursor; ;) {
      const page = await prisma.flowExecutionLog.findMany({ where: { executionId: execution.id }, orderBy: { id: 'asc' }, take: 70, ...(cursor ? { cursor: { id: cursor }, skip: 1 } : {}) });
      if (page.length === 0) break;
      pages.push(page.length);
      cursor = page.at(-1).id;
    }
    assert.deepEqual(pages, [70, 70, 60]);
    await fails('a variable twice', 'P2002', prisma.flowVariable.create({ data: { workflowId: made.id, key: 'a', value: '3' } }));
    await prisma.flowWorkflow.delete({ where: { id: made.id } });
    for (const model of ['flowExecution', 'flowExecutionStep', 'flowExecutionLog', 'flowSchedule', 'flowWebhook', 'flowVariable'])
      assert.equal(await prisma[model].count(), 0, model);
  },
};

try {
  await rows('sharedUser', (i) => ({ email: `${i}@${service}.rows.example`, name: `User ${i}`, metadata: { i } }), 'role',
    { email: { endsWith: `@${service}.rows.example` } });
  await transactions();
  await raw();
  await services[service]();
} finally {
  await prisma.$disconnect();
}
console.log('done');
