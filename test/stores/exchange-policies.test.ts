import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteClient } from '../../src/postgres/clients.pg.ts';
import {
  createExchangePolicy,
  deleteExchangePolicy,
  findExchangePolicy,
  listExchangePolicies,
  policiesNaming,
  updateExchangePolicy,
} from '../../src/postgres/exchange-policies.pg.ts';
import { createResource, deleteResource, findResource } from '../../src/postgres/resources.pg.ts';
import {
  createTrustDomain,
  deleteTrustDomain,
  findTrustDomain,
  listTrustDomains,
  updateTrustDomain,
} from '../../src/postgres/trust-domains.pg.ts';
import { exchangePolicyMetadata } from '../../src/protocol/exchange-policy.ts';
import { resourceMetadata } from '../../src/protocol/resource.ts';
import { trustDomainMetadata } from '../../src/protocol/trust-domain.ts';
import { aClient, openStore, race, type Store } from './store.ts';

const policy = (name: string, client: string, changes: Record<string, unknown> = {}) =>
  exchangePolicyMetadata.parse({
    name,
    client,
    source: `https://from-${name}.example`,
    target: `https://to-${name}.example`,
    scopes: { read: ['read'] },
    ...changes,
  });
const domain = (name: string, changes: Record<string, unknown> = {}) =>
  trustDomainMetadata.parse({ issuer: `https://${name}.example`, name, ...changes });

let store: Store;
beforeAll(async () => {
  store = await openStore();
  await aClient(store, 'asking');
});
afterAll(() => store.close());

async function version(): Promise<number> {
  const [row] = await store.rows(sql<{ version: string }>`SELECT version FROM catalogue`);
  return Number(row?.version);
}

describe('exchange policies', () => {
  it('are kept as they were made, once, and listed by name', async () => {
    for (const name of ['b', 'a'])
      expect(await createExchangePolicy(store.sql, policy(name, 'asking'), store.now)).toBe('created');
    expect(await createExchangePolicy(store.sql, policy('a', 'asking', { source: 'x' }), store.now)).toBe('taken');
    expect(await findExchangePolicy(store.sql, 'a')).toEqual(policy('a', 'asking'));
    expect(await findExchangePolicy(store.sql, 'c')).toBeUndefined();
    expect(await listExchangePolicies(store.sql)).toEqual([policy('a', 'asking'), policy('b', 'asking')]);
  });

  it('are one answer for one question: of twenty for the same way one is kept', async () => {
    const way = { source: 'https://way.example', target: 'https://there.example' };
    const outcomes = await race(20, (index) =>
      createExchangePolicy(store.sql, policy(`way${index}`, 'asking', way), store.now),
    );
    expect(outcomes).toEqual({ created: 1, pair_taken: 19 });
    await aClient(store, 'another');
    expect(await createExchangePolicy(store.sql, policy('of-another', 'another', way), store.now)).toBe('created');
  });

  it('change what they give, and neither whom they are for nor their way', async () => {
    const changed = policy('a', 'asking', { lifetime: 60 });
    expect(await updateExchangePolicy(store.sql, changed, store.now)).toBe('updated');
    expect(await findExchangePolicy(store.sql, 'a')).toEqual(changed);
    for (const other of [{ client: 'another' }, { source: 'https://x.example' }, { target: 'https://x.example' }])
      expect(await updateExchangePolicy(store.sql, { ...changed, ...other }, store.now)).toBe('unknown');
    expect(await findExchangePolicy(store.sql, 'a')).toEqual(changed);
  });

  it('go with their client, and a client that is gone gets none', async () => {
    await aClient(store, 'brief');
    await createExchangePolicy(store.sql, policy('brief', 'brief'), store.now);
    await deleteClient(store.sql, 'brief', store.now);
    expect(await findExchangePolicy(store.sql, 'brief')).toBeUndefined();
    for (const client of ['brief', 'nobody'])
      expect(await createExchangePolicy(store.sql, policy('late', client), store.now)).toBe('no_client');
  });

  it('that are made while their client is deleted do not outlive it', async () => {
    const ids = Array.from({ length: 10 }, (_, index) => `racing${index}`);
    for (const id of ids) await aClient(store, id);
    await Promise.all(
      ids.flatMap((id) => [
        createExchangePolicy(store.sql, policy(id, id), store.now),
        deleteClient(store.sql, id, store.now),
      ]),
    );
    expect((await listExchangePolicies(store.sql)).filter(({ client }) => ids.includes(client))).toEqual([]);
  });

  it('hold what they lead from and to', async () => {
    const [source, target] = ['https://held.example', 'https://held-domain.example'];
    const resource = resourceMetadata.parse({ resource: source, name: 'Held', scopes: { 'held.read': 'Read' } });
    await createResource(store.sql, resource, store.now);
    await createTrustDomain(store.sql, domain('held-domain'), store.now);
    await createExchangePolicy(store.sql, policy('holding', 'asking', { source, target }), store.now);
    expect(await policiesNaming(store.sql, source)).toEqual(['holding']);
    expect(await policiesNaming(store.sql, target)).toEqual(['holding']);
    expect(await deleteResource(store.sql, source)).toBe('unknown');
    expect(await deleteTrustDomain(store.sql, target)).toBe('unknown');
    expect(await findResource(store.sql, source)).toEqual(resource);
    await deleteExchangePolicy(store.sql, 'holding');
    expect(await deleteResource(store.sql, source)).toBe('deleted');
    expect(await deleteTrustDomain(store.sql, target)).toBe('deleted');
  });

  it.each<[string, () => Promise<unknown>]>([
    ['a new one', () => createExchangePolicy(store.sql, policy('version', 'asking'), store.now)],
    ['a change', () => updateExchangePolicy(store.sql, policy('version', 'asking', { lifetime: 20 }), store.now)],
    ['deletion', () => deleteExchangePolicy(store.sql, 'version')],
    ['a new domain', () => createTrustDomain(store.sql, domain('version'), store.now)],
    ['a change of a domain', () => updateTrustDomain(store.sql, domain('version', { name: 'V' }), store.now)],
    ['deletion of a domain', () => deleteTrustDomain(store.sql, 'https://version.example')],
  ])('tell every process by the catalogue’s version: %s', async (_what, change) => {
    const before = await version();
    await change();
    expect(await version()).toBeGreaterThan(before);
  });
});

describe('trust domains', () => {
  it('are kept as they were registered, changed, and deleted', async () => {
    for (const name of ['y', 'x']) expect(await createTrustDomain(store.sql, domain(name), store.now)).toBe('created');
    expect(await createTrustDomain(store.sql, domain('x', { name: 'Other' }), store.now)).toBe('taken');
    expect(await listTrustDomains(store.sql)).toEqual([domain('x'), domain('y')]);

    const changed = domain('x', { jwks_uri: 'https://x.example/jwks' });
    expect(await updateTrustDomain(store.sql, changed, store.now)).toBe('updated');
    expect(await findTrustDomain(store.sql, 'https://x.example')).toEqual(changed);
    expect(await updateTrustDomain(store.sql, domain('z'), store.now)).toBe('unknown');
    expect(await deleteTrustDomain(store.sql, 'https://x.example')).toBe('deleted');
    expect(await deleteTrustDomain(store.sql, 'https://x.example')).toBe('unknown');
    expect(await findTrustDomain(store.sql, 'https://x.example')).toBeUndefined();
  });
});
