/** What may be made an exchange policy or a trust domain: everything it names exists, and each refusal names the field. */
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addExchangePolicy, changeExchangePolicy, notesOnPolicy } from '../../src/operator/exchange-policies.ts';
import { OperatorError } from '../../src/operator/input.ts';
import { registerResource, removeResource } from '../../src/operator/resources.ts';
import { addTrustDomain, changeTrustDomain, removeTrustDomain } from '../../src/operator/trust-domains.ts';
import { createClient } from '../../src/postgres/clients.pg.ts';
import { deleteExchangePolicy, findExchangePolicy } from '../../src/postgres/exchange-policies.pg.ts';
import { findTrustDomain } from '../../src/postgres/trust-domains.pg.ts';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { fapi2Security, oauth21 } from '../../src/protocol/profile.ts';
import { openStore, type Store } from '../stores/store.ts';

const ISSUER = 'https://gate.example';
const PHOTOS = 'https://photos.example';
const STORAGE = 'https://storage.example';
const PARTNER = 'https://partner.example';
const RULES = { profile: oauth21, issuer: ISSUER, allowLoopbackFetch: false };
const FAPI = { ...RULES, profile: fapi2Security };
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const jwk = () => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  alg: 'ES256',
});

let store: Store;
beforeAll(async () => {
  store = await openStore();
  const client = (id: string, metadata: Record<string, unknown>) =>
    createClient(store.sql, { id, metadata, origins: new Set(), secret: undefined }, store.now);
  await client('photos-api', { grant_types: [TOKEN_EXCHANGE] });
  await client('public', { grant_types: [TOKEN_EXCHANGE], token_endpoint_auth_method: 'none' });
  await client('web', { redirect_uris: ['https://web.example/callback'] });
  await client('federated', { grant_types: [JWT_BEARER] });
  await client('keyed', { grant_types: [TOKEN_EXCHANGE], token_endpoint_auth_method: 'private_key_jwt' });
  for (const [resource, name] of [
    [PHOTOS, 'photos'],
    [STORAGE, 'storage'],
  ])
    await registerResource(
      store.sql,
      { resource, name, scopes: { [`${name}.read`]: 'Read', [`${name}.write`]: 'Write' } },
      RULES,
      store.now,
    );
  await addTrustDomain(store.sql, { issuer: PARTNER, name: 'Partner' }, RULES, store.now);
});
afterAll(() => store.close());

const WAY = { client: 'photos-api', source: PHOTOS, target: STORAGE, scopes: { 'photos.read': ['storage.read'] } };
const add = (input: Record<string, unknown>, rules = RULES) =>
  addExchangePolicy(store.sql, { name: 'one', ...WAY, ...input }, rules, store.now);

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => new Error('it was taken'),
    (refused: unknown) => refused,
  );
  expect(error).toBeInstanceOf(OperatorError);
  return (error as OperatorError).message;
}

describe('an exchange policy', () => {
  it.each<[string, Record<string, unknown>]>([
    ['from an API to an API', {}],
    ['from our ID tokens', { source: ISSUER, scopes: { '*': ['storage.read'] } }],
    ['from ID tokens by what they stand for', { source: ISSUER, scopes: { openid: ['storage.read'] } }],
    ['from another domain, whatever it says', { source: PARTNER, scopes: { '*': ['storage.read'] } }],
    ['from another domain by its own scopes', { source: PARTNER, scopes: { 'their.scope': ['storage.read'] } }],
    ['to another domain, with its own scopes', { target: PARTNER, scopes: { 'photos.read': ['their.scope'] } }],
    [
      'for a client that only redeems grants',
      { client: 'federated', source: PARTNER, scopes: { '*': ['storage.read'] } },
    ],
  ])('is taken %s', async (_what, input) => {
    expect(await add(input)).toMatchObject({ ...WAY, ...input, mode: 'delegation', max_depth: 5, lifetime: 300 });
    await deleteExchangePolicy(store.sql, 'one');
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['a name with other characters', { name: 'One' }, /^name: /],
    ['a field that is not known', { audience: PHOTOS }, /audience/],
    ['a client that is not there', { client: 'nobody' }, /^client: there is no such client/],
    ['a public client', { client: 'public' }, /^client: is public/],
    ['a client without the grant', { client: 'web' }, /^client: .*grant-type:token-exchange$/],
    ['a client that only redeems grants, from an API', { client: 'federated' }, /^client: .*token-exchange$/],
    [
      'a source that is nothing',
      { source: 'https://nothing.example' },
      /^source: .*not our issuer \(https:\/\/gate\.example; set GATEHOUSE_ISSUER or PORT\)$/,
    ],
    ['a target that is nothing', { target: 'https://nothing.example' }, /^target: /],
    ['our issuer as the target', { target: ISSUER }, /^target: is our own issuer/],
    ['any scope of an API', { scopes: { '*': ['storage.read'] } }, /^scopes\.\*: /],
    [
      'a scope that the source has not',
      { scopes: { 'storage.read': ['storage.read'] } },
      /^scopes\.storage\.read: .*source/,
    ],
    [
      'a scope that the target has not',
      { scopes: { 'photos.read': ['photos.read'] } },
      /^scopes\.photos\.read: photos\.read .*target/,
    ],
    [
      'a scope of ID tokens that they have not',
      { source: ISSUER, scopes: { email: ['storage.read'] } },
      /^scopes\.email: /,
    ],
    ['no scopes', { scopes: {} }, /^scopes: must not be empty/],
    ['a longer life than five minutes', { lifetime: 301 }, /^lifetime: must be at most 300$/],
    ['more than five steps', { max_depth: 6 }, /^max_depth: /],
  ])('is refused with %s', async (_what, input, reason) => {
    expect(await refusal(add(input))).toMatch(reason);
    expect(await findExchangePolicy(store.sql, 'one')).toBeUndefined();
  });

  it('is refused under FAPI for a client that could not authenticate there', async () => {
    expect(await refusal(add({}, FAPI))).toMatch(
      /^client: cannot authenticate: client_secret_basic .* fapi2-security$/,
    );
    await add({ name: 'keyed', client: 'keyed' }, FAPI);
    await deleteExchangePolicy(store.sql, 'keyed');
  });

  it('is noted where its client cannot exchange what it says, or only some of it', async () => {
    const notes = (input: Record<string, unknown>) =>
      notesOnPolicy(
        store.sql,
        { ...WAY, name: 'one', mode: 'delegation', max_depth: 5, lifetime: 300, ...input },
        ISSUER,
      );
    expect(await notes({})).toEqual([expect.stringMatching(/^photos-api is not among .* none of its tokens can be/)]);
    const resource = 'https://named.example';
    const named = { resource, name: 'Named', scopes: { 'named.read': 'Read' }, introspection_clients: ['photos-api'] };
    await registerResource(store.sql, { ...named, may_act: { sub: 'keyed' } }, RULES, store.now);
    expect(await notes({ source: resource })).toEqual([expect.stringMatching(/^may_act of .* names keyed: /)]);
    expect(await notes({ source: resource, client: 'keyed' })).toEqual([expect.stringMatching(/^keyed is not among/)]);
    expect(await notes({ source: ISSUER })).toEqual([]);
    await removeResource(store.sql, resource);
  });

  it('is one for one way, and its name is given once', async () => {
    await add({});
    expect(await refusal(add({}))).toMatch(/^name: is taken/);
    expect(await refusal(add({ name: 'two' }))).toMatch(/^target: another policy/);
    await deleteExchangePolicy(store.sql, 'one');
  });

  it('changes what it gives, and is checked again; its way stays', async () => {
    const before = await add({ lifetime: 60, mode: 'impersonation' });
    const change = (changes: object) => changeExchangePolicy(store.sql, before, changes, RULES, store.now);
    expect(await change({ scopes: { 'photos.write': ['storage.write'] }, lifetime: null })).toEqual({
      ...before,
      scopes: { 'photos.write': ['storage.write'] },
      lifetime: 300,
    });
    expect(await refusal(change({ scopes: { 'photos.read': ['other'] } }))).toMatch(/^scopes\.photos\.read: other/);
    for (const field of ['name', 'client', 'source', 'target'])
      expect(await refusal(change({ [field]: 'other' }))).toMatch(new RegExp(`^${field}: cannot be changed`));
    await deleteExchangePolicy(store.sql, 'one');
    expect(await refusal(change({ lifetime: 30 }))).toMatch(/deleted meanwhile/);
  });
});

describe('a trust domain', () => {
  const DOMAIN = { issuer: 'https://other.example', name: 'Other' };
  const register = (input: Record<string, unknown>, rules = RULES) =>
    addTrustDomain(store.sql, { ...DOMAIN, ...input }, rules, store.now);

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['plain http', { issuer: 'http://other.example' }, /^issuer: /],
    ['a query', { issuer: 'https://other.example/?x' }, /^issuer: /],
    ['our own issuer', { issuer: ISSUER }, /^issuer: is our own/],
    ['the name of an API', { issuer: PHOTOS }, /^issuer: is registered as a resource/],
    ['a name that is taken', { issuer: PARTNER }, /^issuer: is registered already/],
    ['no keys in its set', { jwks: { keys: [] } }, /^jwks: holds no key/],
    ['a private key', { jwks: { keys: [{ ...jwk(), d: 'secret' }] } }, /^jwks\.keys\.0: holds a private/],
    ['a symmetric key', { jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }, /^jwks\.keys\.0: holds a private/],
    ['two keys of one name', { jwks: { keys: [1, 2].map(() => ({ ...jwk(), kid: 'k' })) } }, /^jwks: .*one kid/],
    ['keys here and there', { jwks: { keys: [jwk()] }, jwks_uri: 'https://other.example/jwks' }, /^jwks: .*exclude/],
    ...['http://other.example/jwks', 'https://other.example:8443/jwks', 'http://localhost:4000/jwks'].map(
      (uri): [string, Record<string, unknown>, RegExp] => [
        `keys at ${uri}`,
        { jwks_uri: uri },
        /^jwks_uri: must be https on port 443 .* give jwks instead$/,
      ],
    ),
    [
      'several faults, and hears of all',
      { issuer: undefined, name: '', jwks: 1, jwt_types: [''] },
      /^issuer: is required; name: must not be empty; jwks: must be a JSON object; jwt_types\.0: must not be empty$/,
    ],
    ['an algorithm that is none', { signing_algs: ['none'] }, /^signing_algs/],
  ])('is refused with %s', async (_what, input, reason) => {
    expect(await refusal(register(input))).toMatch(reason);
    expect(await findTrustDomain(store.sql, DOMAIN.issuer)).toBeUndefined();
  });

  it('may sign with what the profile takes, and no more can be said', async () => {
    expect(await refusal(register({ signing_algs: ['ES256', 'RS256'] }, FAPI))).toMatch(/^signing_algs: /);
    expect(await register({ jwks: { keys: [jwk()] } }, FAPI)).toMatchObject({
      signing_algs: ['ES256', 'PS256', 'EdDSA'],
    });
    const before = await findTrustDomain(store.sql, DOMAIN.issuer);
    if (!before) throw new Error('it was not registered');
    const change = (changes: object) => changeTrustDomain(store.sql, before, changes, FAPI, store.now);
    expect(await change({ jwks: null, jwks_uri: 'https://other.example/jwks' })).not.toHaveProperty('jwks');
    expect(await refusal(change({ issuer: 'https://third.example' }))).toMatch(/^issuer: cannot be changed/);
    expect(await removeTrustDomain(store.sql, DOMAIN.issuer)).toBe('deleted');
    expect(await removeTrustDomain(store.sql, DOMAIN.issuer)).toBe('unknown');
  });
});

it('what a policy names stays while it does, and no API takes the name of a domain', async () => {
  await add({ target: PARTNER, scopes: { 'photos.read': ['x'] } });
  expect(await refusal(removeResource(store.sql, PHOTOS))).toMatch(/named by exchange policies \(one\)/);
  expect(await refusal(removeTrustDomain(store.sql, PARTNER))).toMatch(/named by exchange policies \(one\)/);
  const twin = { resource: PARTNER, name: 'Twin', scopes: { 'twin.read': 'Read' } };
  expect(await refusal(registerResource(store.sql, twin, RULES, store.now))).toMatch(/^resource: is a trust domain/);
  // Policies mean our ID tokens by that name.
  const us = { resource: ISSUER, name: 'Us', scopes: { 'us.read': 'Read' } };
  expect(await refusal(registerResource(store.sql, us, RULES, store.now))).toMatch(/^resource: is the issuer/);
  await deleteExchangePolicy(store.sql, 'one');
  expect(await removeTrustDomain(store.sql, PARTNER)).toBe('deleted');
  expect(await removeResource(store.sql, PHOTOS)).toBe('deleted');
});
