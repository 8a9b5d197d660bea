import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createResource,
  deleteResource,
  findResource,
  listResources,
  updateResource,
} from '../../src/postgres/resources.pg.ts';
import { resourceMetadata } from '../../src/protocol/resource.ts';
import { openStore, race, type Store } from './store.ts';

const api = (name: string, ...scopes: string[]) =>
  resourceMetadata.parse({
    resource: `https://${name}.example`,
    name,
    scopes: Object.fromEntries(scopes.map((scope) => [scope, `Do ${scope}`])),
  });

describe('resources', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(() => store.close());

  it('are kept as they were registered, once', async () => {
    expect(await createResource(store.sql, api('a', 'a.read'), store.now)).toBe('created');
    expect(await createResource(store.sql, api('a', 'other'), store.now)).toBe('taken');
    expect(await findResource(store.sql, 'https://a.example')).toEqual(api('a', 'a.read'));
    expect(await findResource(store.sql, 'https://a.example/')).toBeUndefined();
  });

  it('share no scope name, and one that is refused leaves nothing behind', async () => {
    expect(await createResource(store.sql, api('b', 'b.read', 'a.read'), store.now)).toBe('scope_taken');
    expect(await findResource(store.sql, 'https://b.example')).toBeUndefined();
    // b.read was free before and still is.
    expect(await createResource(store.sql, api('c', 'b.read'), store.now)).toBe('created');
    expect(await updateResource(store.sql, api('c', 'c.read', 'a.read'), store.now)).toBe('scope_taken');
    expect(await findResource(store.sql, 'https://c.example')).toEqual(api('c', 'b.read'));
  });

  it('of twenty that want one scope name at once one gets it', async () => {
    const outcomes = await race(20, (index) => createResource(store.sql, api(`racer${index}`, 'wanted'), store.now));
    expect(outcomes).toEqual({ created: 1, scope_taken: 19 });
    expect((await listResources(store.sql)).filter(({ scopes }) => 'wanted' in scopes)).toHaveLength(1);
  });

  it('two that want each other’s scope names at once never wait in a circle', async () => {
    const outcomes = await race(40, (index) =>
      createResource(store.sql, index % 2 ? api(`x${index}`, 'p', 'q') : api(`x${index}`, 'q', 'p'), store.now),
    );
    expect(outcomes).toEqual({ created: 1, scope_taken: 39 });
  });

  it('give a scope name back when they drop it or go', async () => {
    await createResource(store.sql, api('d', 'd.read', 'd.write'), store.now);
    expect(await updateResource(store.sql, api('d', 'd.read'), store.now)).toBe('updated');
    expect(await createResource(store.sql, api('e', 'd.write'), store.now)).toBe('created');
    expect(await deleteResource(store.sql, 'https://d.example')).toBe('deleted');
    expect(await deleteResource(store.sql, 'https://d.example')).toBe('unknown');
    expect(await updateResource(store.sql, api('d', 'd.read'), store.now)).toBe('unknown');
    expect(await createResource(store.sql, api('f', 'd.read'), store.now)).toBe('created');
  });
});
