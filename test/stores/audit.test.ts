import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Audit, type AuditEvent } from '../../src/postgres/audit.pg.ts';
import { countOf, openStore, type Store } from './store.ts';

describe('the audit trail', () => {
  let store: Store;
  let audit: Audit;
  beforeEach(async () => {
    store = await openStore({ poolMax: 2 });
    audit = new Audit(store.sql, { now: () => store.now, random: randomBytes });
  });
  afterEach(() => store.close());

  const refusal: AuditEvent = { event: 'invalid_client', clientId: 'web', source: '192.0.2.1', refusal: true };

  it('keeps what was done, each time', async () => {
    const event: AuditEvent = {
      event: 'token_issued',
      requestId: 'r1',
      clientId: 'web',
      userId: randomUUID(),
      grantId: randomUUID(),
      source: '192.0.2.1',
      detail: { route: '/token', grantType: 'refresh_token' },
      refusal: false,
    };
    audit.record(event);
    audit.record(event);
    await audit.flush();
    const rows = await store.rows(sql`
      SELECT at, event, request_id, client_id, user_id, grant_id, source, times, detail FROM audit`);
    const row = {
      at: store.now,
      event: 'token_issued',
      request_id: 'r1',
      client_id: 'web',
      user_id: event.userId,
      grant_id: event.grantId,
      source: '192.0.2.1',
      times: 1,
      detail: event.detail,
    };
    expect(rows).toEqual([row, row]);
  });

  it('counts equal refusals of a minute in one row', async () => {
    for (let times = 0; times < 1000; times += 1) audit.record(refusal);
    audit.record({ ...refusal, source: '192.0.2.2' });
    audit.record({ ...refusal, event: 'invalid_grant' });
    await audit.flush();
    expect(
      (await store.rows(sql<{ times: number }>`SELECT times FROM audit`)).map(({ times }) => times).sort(),
    ).toEqual([1, 1, 1000]);
  });

  it('counts on in the same row, over batches and nodes', async () => {
    const other = new Audit(store.sql, { now: () => store.now, random: randomBytes });
    for (const node of [audit, other, audit]) {
      node.record(refusal);
      await node.flush();
    }
    expect(await store.rows(sql`SELECT event, times FROM audit`)).toEqual([{ event: 'invalid_client', times: 3 }]);
  });

  it('leaves out ids that are none', async () => {
    audit.record({ event: 'x', userId: '', grantId: "'; DROP TABLE audit", refusal: false });
    await audit.flush();
    expect(await store.rows(sql`SELECT user_id, grant_id FROM audit`)).toEqual([{ user_id: null, grant_id: null }]);
  });

  it.each([
    ['half a character', 'a'.repeat(199) + '🗝'.slice(0, 1)],
    ['the other half', '🗝'.slice(1)],
    ['NUL', 'a\0b'],
    ['quotes and braces', `"}]','{\\`],
  ])('is not silenced by %s in what a caller sent', async (_what, clientId) => {
    audit.record({ ...refusal, clientId });
    audit.record({ ...refusal, event: 'after' });
    await audit.flush();
    expect(await countOf(store, 'audit')).toBe(2);
  });

  it('keeps a backslash a backslash, whatever follows it', async () => {
    const clientIds = ['\\u0000', '\\\\u0000', '\\\\\\ud800', 'a\\\0', '\\🗝'];
    for (const clientId of clientIds) audit.record({ ...refusal, clientId });
    await audit.flush();
    const stored = await store.rows<{ client_id: string }>(sql`SELECT client_id FROM audit`);
    const expected = clientIds.map((clientId) => clientId.replace('\0', '\uFFFD'));
    expect(stored.map(({ client_id }) => client_id).sort()).toEqual(expected.sort());
  });

  it('writes a thousand without being told to', async () => {
    for (let index = 0; index < 1000; index += 1) audit.record({ event: `e${index}`, refusal: false });
    await expect.poll(() => countOf(store, 'audit')).toBe(1000);
  });

  it('keeps events while the database does not take them, and writes them later, once', async () => {
    await store.rows(sql`ALTER TABLE audit RENAME TO audit_away`);
    audit.record(refusal);
    await audit.flush();
    audit.record(refusal);
    audit.record({ ...refusal, event: 'later', refusal: false });
    await audit.flush();
    await store.rows(sql`ALTER TABLE audit_away RENAME TO audit`);
    await audit.flush();
    await audit.flush();
    expect(await store.rows(sql`SELECT event, times FROM audit ORDER BY event`)).toEqual([
      { event: 'invalid_client', times: 2 },
      { event: 'later', times: 1 },
    ]);
  });

  it('is bounded: what does not fit is dropped and counted, the rest is written', async () => {
    for (let index = 0; index < 10_010; index += 1) audit.record({ event: `e${index}`, refusal: false });
    expect(audit.dropped).toBe(10);
    await audit.flush();
    expect(await countOf(store, 'audit')).toBe(10_000);
    audit.record({ event: 'again', refusal: false });
    await audit.flush();
    expect(await countOf(store, 'audit')).toBe(10_001);
  });
});
