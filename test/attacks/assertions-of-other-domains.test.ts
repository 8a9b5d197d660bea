/**
 * The attacker has assertions that are not quite right: addressed to others, of others, of another kind, stolen, old, signed with what he
 * could find, or just odd. He knows the partner's public key, and may be a registered client or a trusted domain himself.
 *
 * What stops him: one way of reading (src/protocol/foreign-jwt.ts) with lists of what is good; a mark for each `jti`; policies.
 */
import { createHmac, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createExchangePolicy } from '../../src/postgres/exchange-policies.pg.ts';
import { createTrustDomain } from '../../src/postgres/trust-domains.pg.ts';
import { exchangePolicyMetadata } from '../../src/protocol/exchange-policy.ts';
import { JWT_BEARER, TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { trustDomainMetadata } from '../../src/protocol/trust-domain.ts';
import { auditOf, caughtUp, query } from '../support/attack-aftermath.ts';
import { post } from '../support/browser.ts';
import { clientKey, rawJws } from '../support/client-key.ts';
import { type DocumentServer, startDocumentServer } from '../support/document-server.ts';
import type { TestServer } from '../support/server.ts';
import {
  exchangePolicy,
  grantClaims,
  grantOf,
  now as nowOf,
  PARTNER,
  present,
  RIVAL,
  startTrustWorld,
  stepsOf,
  type TrustWorld,
  trustDomain,
} from '../support/trust-world.ts';
import { getCode, introspect, redeem, STORAGE } from '../support/world.ts';

const REFUSED = [400, 'invalid_grant'];
const outcome = ({ status, json }: { status: number; json: Record<string, unknown> }) => [status, json.error];

let world: TrustWorld;
let node: TestServer;
let documents: DocumentServer;
beforeAll(async () => {
  documents = await startDocumentServer();
  world = await startTrustWorld({ env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
  node = await world.secondNode();
});
afterAll(async () => {
  await node.close();
  await world.close();
  await documents.close();
});

const now = () => nowOf(world);
const rows = async () => (await query<{ count: string }>(world, 'SELECT count(*) FROM exchanges'))[0]?.count;

describe('an assertion', () => {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byOwnKey = (header: Record<string, unknown>) => {
    const input = rawJws(header, grantClaims(world)).slice(0, -1);
    const signature = sign('sha256', Buffer.from(input), { key: own.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  };
  const hmac = (secret: string) => {
    const input = rawJws({ alg: 'HS256', kid: 'partner-key' }, grantClaims(world)).slice(0, -1);
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const pem = () => createPublicKey({ key: world.partner.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const actor = (depth: number): object => ({ sub: `hop-${depth}`, ...(depth > 1 && { act: actor(depth - 1) }) });
  const originAt = (iss: string) => ({
    iss,
    client_id: 'web',
    sub: world.alice,
    jti: randomUUID(),
    iat: now(),
    grant_type: 'authorization_code',
  });
  const but = (changes: Record<string, unknown>, header: Record<string, unknown> = {}) =>
    grantOf(world, changes, header);

  const assertions: [string, () => string | Promise<string>][] = [
    // Whom it is for
    ['addressed to another server', () => but({ aud: 'https://other.example' })],
    ['addressed to us and another server', () => but({ aud: [world.issuer, 'https://other.example'] })],
    ['addressed to us twice', () => but({ aud: [world.issuer, world.issuer] })],
    ['addressed to the token endpoint', () => but({ aud: `${world.issuer}/token` })],
    ['addressed to the issuer with a slash', () => but({ aud: `${world.issuer}/` })],
    ['addressed to the client that brings it', () => but({ aud: 'courier' })],
    ['addressed to an API of ours', () => but({ aud: STORAGE })],
    ['addressed to nobody', () => but({ aud: undefined })],
    ['addressed to an empty list', () => but({ aud: [] })],
    ['addressed to an object', () => but({ aud: { 0: world.issuer } })],
    // When
    ['without exp', () => but({ exp: undefined })],
    ['that is over', () => but({ exp: now() - 1 })],
    ['that is good for a year', () => but({ exp: now() + 31_536_000 })],
    ['that is good for ever', () => but({ exp: 1e300 })],
    ['that is good for longer by a clock that is ahead', () => but({ iat: now() + 25, exp: now() + 620 })],
    ['whose exp is text', () => but({ exp: `${now() + 60}` })],
    ['of the future by iat', () => but({ iat: now() + 120, exp: now() + 180 })],
    ['of the future by nbf', () => but({ nbf: now() + 120, exp: now() + 180 })],
    ['made long ago', () => but({ iat: now() - 3600 })],
    // Who
    ['of an unknown domain', () => but({ iss: 'https://nobody.example' })],
    ['of the domain with a slash', () => but({ iss: `${PARTNER}/` })],
    ['of the domain in capitals', () => but({ iss: PARTNER.toUpperCase() })],
    ['of ourselves', () => but({ iss: world.issuer })],
    ['of a client of ours', () => but({ iss: 'courier', sub: 'courier' })],
    ['of nobody', () => but({ iss: undefined })],
    ['of a list', () => but({ iss: [PARTNER] })],
    ['of a prototype', () => but({ iss: '__proto__' })],
    ['about nobody', () => but({ sub: undefined })],
    ['about an empty name', () => but({ sub: '' })],
    ['about a number', () => but({ sub: 7 })],
    ['about a name with NUL', () => but({ sub: 'carol\u0000' })],
    ['about a name that turns its direction', () => but({ sub: 'carol\u202egnirts' })],
    ['about half a character', () => but({ sub: 'carol\ud800' })],
    ['about a name that is too long', () => but({ sub: 'c'.repeat(256) })],
    ['about a name that is too long with the domain’s', () => but({ sub: 'c'.repeat(250) })],
    // Once
    ['without jti', () => but({ jti: undefined })],
    ['with an empty jti', () => but({ jti: '' })],
    ['with a jti that is a number', () => but({ jti: 7 })],
    ['with a jti of kilobytes', () => but({ jti: 'j'.repeat(5000) })],
    ['with a jti with NUL', () => but({ jti: 'a\u0000' })],
    // Signed by
    ['with another trusted domain’s key', () => world.rival.sign(grantClaims(world))],
    [
      'with another trusted domain’s key under the right kid',
      () => world.rival.sign(grantClaims(world), { kid: 'partner-key' }),
    ],
    ['with a key of nobody', () => byOwnKey({ alg: 'ES256' })],
    ['with an embedded key', () => byOwnKey({ alg: 'ES256', jwk: own.publicKey.export({ format: 'jwk' }) })],
    ['with its own key, embedded', () => but({}, { jwk: world.partner.jwk })],
    ['with the address of a key', () => but({}, { jku: 'https://evil.example/jwks' })],
    ['with the address of a certificate', () => but({}, { x5u: 'https://evil.example/cert' })],
    ['with critical extensions', () => but({}, { crit: ['exp'], exp: 1 })],
    ['with an unknown kid', () => but({}, { kid: 'another' })],
    ['unsigned', () => rawJws({ alg: 'none' }, grantClaims(world))],
    ['unsigned in another case', () => rawJws({ alg: 'nOnE' }, grantClaims(world))],
    ['stripped of its signature', async () => `${(await but({})).split('.').slice(0, 2).join('.')}.`],
    ['with HS256 and the public key as JSON', () => hmac(JSON.stringify(world.partner.jwk))],
    ['with HS256 and the public key as PEM', () => hmac(String(pem()))],
    ['with HS256 and no key', () => hmac('')],
    // Of what kind
    ...[
      'at+jwt',
      'logout+jwt',
      'dpop+jwt',
      'oauth-authz-req+jwt',
      'token-introspection+jwt',
      'client-authentication+jwt',
      'secevent+jwt',
      'txntoken+jwt',
      'application/at+jwt',
      'AT+JWT',
      'something+new',
    ].map((typ): [string, () => Promise<string>] => [`of the type ${typ}`, () => but({}, { typ })]),
    ['of a type that is no text', () => but({}, { typ: ['authorization-grant+jwt'] })],
    ['for another client (ID-JAG)', () => but({ client_id: 'web' }, { typ: 'oauth-id-jag+jwt' })],
    ['for no client (ID-JAG)', () => but({}, { typ: 'oauth-id-jag+jwt' })],
    // What it says
    ['that lets somebody else act', () => but({ may_act: { sub: 'mailer' } })],
    ['that lets somebody of our name act there', () => but({ may_act: { sub: 'courier' } })],
    ['that lets nobody act', () => but({ may_act: {} })],
    ['bound to a key that is not shown', () => but({ cnf: { jkt: 'x'.repeat(43) } })],
    ['bound to a certificate that is not shown', () => but({ cnf: { 'x5t#S256': 'x'.repeat(43) } })],
    ['bound in a way we cannot ask for', () => but({ cnf: { kid: 'partner-key' } })],
    ['bound to nothing', () => but({ cnf: {} })],
    ['whose act is text', () => but({ act: 'courier' })],
    ['whose act is nobody', () => but({ act: { client_id: 'courier' } })],
    ['whose act has NUL within', () => but({ act: { sub: 'a', act: { sub: 'b\u0000' } } })],
    ['that went through too many hands', () => but({ act: actor(6) })],
    ['that went through a thousand hands', () => but({ act: actor(300) })],
    ['whose scope is a list', () => but({ scope: ['files.read'] })],
    ['whose scope has quotes', () => but({ scope: 'files.read "' })],
    ['with a thousand scopes', () => but({ scope: Array.from({ length: 1000 }, (_, index) => `s${index}`).join(' ') })],
    ['of a sign-in that is still to come', () => but({ auth_time: now() + 3600 })],
    ['of a sign-in at no time', () => but({ auth_time: 'yesterday' })],
    ['whose acr has line ends', () => but({ auth_time: now(), acr: 'a\nb' })],
    ['whose amr is text', () => but({ auth_time: now(), amr: 'pwd' })],
    ['for a resource that is a number', () => but({ resource: 7 })],
    // Whom it speaks for
    ['of a call that began here', () => but({ origin: originAt(world.issuer) })],
    ['that a client of ours had in hand', () => but({ act: { sub: 'photos-api', iss: world.issuer } })],
    [
      'that a client of ours had in hand long ago',
      () => but({ act: { sub: 'a', act: { sub: 'b', act: { sub: 'photos-api', iss: world.issuer } } } }),
    ],
    // Its form
    ['that is huge', () => but({ padding: 'x'.repeat(8192) })],
    ['that is plain JSON', () => JSON.stringify(grantClaims(world))],
    ['that is nothing', () => '..'],
    ['of one word', () => 'assertion'],
    ['whose claims are a list', () => world.partner.sign(JSON.stringify([grantClaims(world)]))],
    ['whose claims are null', () => world.partner.sign('null')],
    ['whose claims are not UTF-8', () => world.partner.sign(Buffer.from([0x7b, 0xff, 0x7d]))],
  ];

  it('as it should be is taken: the refusals below are for what is wrong', async () => {
    expect(outcome(await present(world, await but({})))).toEqual([200, undefined]);
    expect(outcome(await present(world, await but({ aud: [world.issuer], iat: undefined })))).toEqual([200, undefined]);
    for (const typ of [undefined, 'JWT', 'authorization-grant+jwt', 'application/authorization-grant+jwt'])
      expect(outcome(await present(world, await but({}, { typ })))).toEqual([200, undefined]);
    const claims = { client_id: 'courier', may_act: { sub: 'courier', iss: world.issuer }, act: actor(5) };
    expect(outcome(await present(world, await but(claims, { typ: 'oauth-id-jag+jwt' })))).toEqual([200, undefined]);
  });

  it.each(assertions)('%s is refused, in the same words, and leaves no token', async (_what, make) => {
    const standing = `SELECT count(*) FROM exchanges WHERE refused IS NULL`;
    const before = [await query(world, standing), await query(world, 'SELECT count(*) FROM replay_marks')];
    const { status, json } = await present(world, await make());
    expect([status, json]).toEqual([400, { error: 'invalid_grant', error_description: 'The assertion is not good.' }]);
    expect([await query(world, standing), await query(world, 'SELECT count(*) FROM replay_marks')]).toEqual(before);
  });

  it('refused is one event in the audit trail', async () => {
    const attack = () => but({ aud: 'x' }).then((jwt) => present(world, jwt));
    const trail = await auditOf(world, 'invalid_grant', attack, [world.issuer, node.running.address]);
    expect(trail).toContainEqual(expect.objectContaining({ event: 'invalid_grant', client_id: 'courier', times: 1 }));
  });

  it('whose word nobody stands for is no step of a call: what it says of one is worth nothing', async () => {
    const txn = randomUUID();
    await present(world, await world.rival.sign(grantClaims(world, { txn })));
    await present(world, await but({ txn, aud: 'https://other.example' }));
    expect(await stepsOf(world, txn)).toEqual([]);
    // But that of the right domain, for the wrong client, is.
    await present(world, await but({ txn, may_act: { sub: 'mailer' } }));
    expect((await stepsOf(world, txn)).map(({ refused }) => refused)).toEqual(['may_act']);
  });

  it('is not there, or is there with something it cannot give', async () => {
    expect(outcome(await present(world, ''))).toEqual([400, 'invalid_request']);
    const details = JSON.stringify([{ type: 'payment' }]);
    expect(outcome(await present(world, await but({}), { authorization_details: details }))).toEqual([
      400,
      'invalid_authorization_details',
    ]);
  });

  it('that no policy takes from its domain gives nothing, though the domain is trusted', async () => {
    const assertion = await world.rival.sign(grantClaims(world, { iss: RIVAL }), { typ: 'authorization-grant+jwt' });
    expect(outcome(await present(world, assertion))).toEqual([400, 'invalid_target']);
    expect(outcome(await present(world, assertion, { resource: '' }))).toEqual([400, 'invalid_target']);
  });

  it('can say anything of itself and be nobody of ours', async () => {
    const subjects = [world.alice, 'courier', `${RIVAL}|dave`, 'a|b', '../admin', 'ålice'];
    for (const sub of subjects) {
      const { json } = await present(world, await but({ sub }));
      const told = await introspect(world, String(json.access_token), world.storageApi);
      expect([told.sub, told.username]).toEqual([`${PARTNER}|${sub}`, undefined]);
      const userinfo = { authorization: `Bearer ${json.access_token}` };
      expect((await fetch(`${world.issuer}/userinfo`, { headers: userinfo })).status).not.toBe(200);
    }
  });

  it('cannot put its claims of a call above what we know', async () => {
    const { json } = await present(
      world,
      await but({
        txn: 'x\u0000y',
        act: { sub: 'web', exp: 1, aud: 'x', scope: 'all' },
        origin: { client_id: 'web' },
        client_id: 'web',
      }),
    );
    const told = await introspect(world, String(json.access_token), world.storageApi);
    expect(told).toMatchObject({ client_id: 'courier', txn: expect.not.stringContaining('x') });
    expect(told.act).toEqual({ sub: 'courier', act: { sub: 'web', iss: PARTNER } });
    expect(told.origin).toMatchObject({ iss: PARTNER, client_id: 'web' });
  });
});

describe('what an assertion leaves in the record', () => {
  it('is nothing that the request could make up, and one row for all of it', async () => {
    const txn = randomUUID();
    const assertion = await grantOf(world, { txn });
    const targets = ['\u009b2J\u202eevil', ...Array.from({ length: 5 }, (_, at) => `https://x.example/${at}`), ''];
    for (const resource of targets) {
      const scope = Array.from({ length: 99 }, (_, at) => `s${at}${'z'.repeat(30)}`).join(' ');
      const answer = await present(world, assertion, { resource, scope: `storage.read ${scope}` });
      expect(outcome(answer)).toEqual([400, 'invalid_target']);
    }
    expect((await stepsOf(world, txn)).map(({ target, scope, times }) => [target, scope, times])).toEqual([
      ['unknown', ['storage.read', 'unknown'], targets.length],
    ]);
    expect(outcome(await present(world, assertion))).toEqual([200, undefined]);
  });

  it('of another domain does not hide it: a jti is its issuer’s', async () => {
    const jti = randomUUID();
    const nowhere = { resource: 'https://nowhere.example' };
    const [decoy, real] = [randomUUID(), randomUUID()];
    await present(world, await grantOf(world, { jti, txn: decoy, sub: 'mallory' }), nowhere);
    await present(world, await world.rival.sign(grantClaims(world, { iss: RIVAL, jti, txn: real })), nowhere);
    // The same call and first token, as the decoy says: whose word it is differs.
    const origin = { iss: RIVAL, client_id: 'x', jti, iat: now(), grant_type: 'y' };
    await present(world, await grantOf(world, { jti, txn: real, origin }), nowhere);
    expect((await stepsOf(world, decoy)).map(({ subject }) => subject)).toEqual([`${PARTNER}|mallory`]);
    expect((await stepsOf(world, real)).map(({ subject, times }) => [subject, times]).sort()).toEqual([
      [`${PARTNER}|carol`, 1],
      [`${RIVAL}|carol`, 1],
    ]);
  });
});

describe('who acts, in the name of another domain,', () => {
  it('stands within the domain that says so, under impersonation too', async () => {
    const ghost = await world.client({ client_id: 'ghost', grant_types: [JWT_BEARER] });
    const scopes = { '*': ['storage.read'] };
    const policy = { client: 'ghost', source: PARTNER, target: STORAGE, scopes, mode: 'impersonation' };
    await exchangePolicy(world, { ...policy, name: 'ghost-storage' });
    const actOf = async (as: typeof ghost, iss?: string) => {
      const assertion = await grantOf(world, { act: { sub: 'mailer', ...(iss && { iss }) } });
      const { json } = await present(world, assertion, {}, { as });
      return (await introspect(world, String(json.access_token), world.storageApi)).act;
    };
    const within = { sub: PARTNER, iss: PARTNER, act: { sub: 'mailer', iss: RIVAL } };
    expect(await actOf(ghost, RIVAL)).toEqual(within);
    expect(await actOf(world.courier, RIVAL)).toEqual({ sub: 'courier', act: within });
    for (const iss of [undefined, PARTNER]) expect(await actOf(ghost, iss)).toEqual({ sub: 'mailer', iss: PARTNER });
  });
});

describe('a grant', () => {
  it('is no token to be exchanged, spent or not, and its replay is told in the log', async () => {
    const both = await world.client({ client_id: 'both', grant_types: [JWT_BEARER, TOKEN_EXCHANGE] });
    const scopes = { '*': ['storage.read'] };
    await exchangePolicy(world, { name: 'both', client: 'both', source: PARTNER, target: STORAGE, scopes });
    const subject_token_type = 'urn:ietf:params:oauth:token-type:jwt';
    const exchanged = async (subject_token: string) => {
      const form = { grant_type: TOKEN_EXCHANGE, subject_token, subject_token_type, resource: STORAGE };
      return outcome(await post(`${world.issuer}/token`, form, { basic: both }));
    };
    const reasonOf = () =>
      (JSON.parse(world.log.findLast((line) => line.includes('"/token"')) ?? '{}') as { reason?: string }).reason;
    for (const typ of ['authorization-grant+jwt', 'oauth-id-jag+jwt', 'Application/OAuth-ID-JAG+JWT']) {
      const grant = await grantOf(world, { client_id: 'both' }, { typ });
      expect(await exchanged(grant)).toEqual([400, 'invalid_request']);
      expect(reasonOf()).toBe('subject_token: it is an authorization grant');
      expect(outcome(await present(world, grant, {}, { as: both }))).toEqual([200, undefined]);
      expect(await exchanged(grant)).toEqual([400, 'invalid_request']);
      expect(outcome(await present(world, grant, {}, { as: both }))).toEqual(REFUSED);
      expect(reasonOf()).toBe('assertion: it was used');
    }
    // A JWT that is no grant by its name is what it was.
    expect(await exchanged(await grantOf(world, {}, { typ: 'JWT' }))).toEqual([200, undefined]);
  });
});

describe('a token of ours, brought as an assertion', () => {
  it.each(['access_token', 'refresh_token', 'id_token'])('%s is refused', async (kind) => {
    const flow = await getCode(world, { scope: 'openid photos.read' });
    const { json } = await redeem(world, flow);
    expect(outcome(await present(world, String(json[kind])))).toEqual(REFUSED);
  });
});

describe('an assertion used again', () => {
  it('is refused at every node, with another time and another signature too', async () => {
    const jti = randomUUID();
    const assertion = await grantOf(world, { jti });
    expect(outcome(await present(world, assertion))).toEqual([200, undefined]);
    for (const at of [world.issuer, node.running.address]) {
      expect(outcome(await present(world, assertion, {}, { at }))).toEqual(REFUSED);
      expect(outcome(await present(world, await grantOf(world, { jti, exp: now() + 500 }), {}, { at }))).toEqual(
        REFUSED,
      );
    }
  });

  it('of twenty at once on two nodes gives one token', async () => {
    const txn = randomUUID();
    const assertion = await grantOf(world, { txn });
    const nodes = [world.issuer, node.running.address];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => present(world, assertion, {}, { at: nodes[index % 2] ?? '' })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ json }) => json.error === 'invalid_grant')).toHaveLength(19);
    expect(await stepsOf(world, txn)).toHaveLength(1);
  });

  it('is each domain’s own affair: one jti of two domains is two', async () => {
    await exchangePolicy(world, {
      name: 'rival-storage',
      client: 'courier',
      source: RIVAL,
      target: STORAGE,
      scopes: { '*': ['storage.read'] },
    });
    const jti = randomUUID();
    expect(outcome(await present(world, await grantOf(world, { jti })))).toEqual([200, undefined]);
    const other = await world.rival.sign(grantClaims(world, { jti, iss: RIVAL }));
    await expect.poll(async () => outcome(await present(world, other)), { timeout: 5000 }).toEqual([200, undefined]);
  });
});

describe('whoever brings it', () => {
  it('authenticates: it is worth nothing to whom it was stolen by', async () => {
    const assertion = await grantOf(world);
    const form = { grant_type: JWT_BEARER, assertion, resource: STORAGE };
    const token = `${world.issuer}/token`;
    const wrong = { basic: { id: 'courier', secret: 'wrong' } };
    expect(outcome(await post(token, form))).toEqual([401, 'invalid_client']);
    expect(outcome(await post(token, { ...form, client_id: 'courier' }))).toEqual([401, 'invalid_client']);
    expect(outcome(await post(token, form, wrong))).toEqual([401, 'invalid_client']);
    // RFC 7521 §4.2 is another thing: an assertion about a client is not one about a person.
    const asClient = {
      client_assertion: assertion,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    };
    expect(outcome(await post(token, { ...form, ...asClient }))).toEqual([401, 'invalid_client']);
    expect(outcome(await post(token, { ...form, client_id: world.spa.id }))).toEqual([400, 'unauthorized_client']);
    expect(outcome(await present(world, assertion))).toEqual([200, undefined]);
  });

  it('is not disabled: then its tokens are over too', async () => {
    const client = await world.client({ client_id: 'leaver', grant_types: [JWT_BEARER] });
    const scopes = { '*': ['storage.read'] };
    await exchangePolicy(world, { name: 'leaver', client: 'leaver', source: PARTNER, target: STORAGE, scopes });
    const { json } = await present(world, await grantOf(world), {}, { as: client });
    const isActive = async () => (await introspect(world, String(json.access_token), world.storageApi)).active;
    expect(await isActive()).toBe(true);
    await query(world, "UPDATE clients SET disabled_at = now() WHERE id = 'leaver'");
    await query(world, 'UPDATE catalogue SET version = version + 1');
    await caughtUp();
    expect(await isActive()).toBe(false);
    expect(outcome(await present(world, await grantOf(world), {}, { as: client }))).toEqual([401, 'invalid_client']);
  });
});

describe('a domain', () => {
  const ISSUER = 'https://passing.example';
  const grants = async (
    key: Awaited<ReturnType<typeof clientKey>>,
    header: Record<string, unknown> = {},
    iss = ISSUER,
  ) => outcome(await present(world, await key.sign(grantClaims(world, { iss }), header)));
  const policyFor = (name: string, source: string) =>
    exchangePolicy(world, { name, client: 'courier', source, target: STORAGE, scopes: { '*': ['storage.read'] } });

  it('that is removed is a stranger', async () => {
    const key = await clientKey('ES256', 'passing');
    await trustDomain(world, { issuer: ISSUER, name: 'Passing', jwks: { keys: [key.jwk] } });
    await policyFor('passing', ISSUER);
    await caughtUp();
    expect(await grants(key)).toEqual([200, undefined]);
    await query(world, "DELETE FROM exchange_policies WHERE name = 'passing'");
    await query(world, 'DELETE FROM trust_domains WHERE issuer = $1', [ISSUER]);
    await query(world, 'UPDATE catalogue SET version = version + 1');
    await caughtUp();
    expect(await grants(key)).toEqual(REFUSED);
  });

  it('is never ourselves, though it be written in the database', async () => {
    const { sql } = world.running.database;
    const domain = { issuer: world.issuer, name: 'Us', jwks: { keys: [world.partner.jwk] } };
    await createTrustDomain(sql, trustDomainMetadata.parse(domain), world.clock.now());
    const ours = { name: 'ours', client: 'courier', source: world.issuer, target: STORAGE };
    const policy = exchangePolicyMetadata.parse({ ...ours, scopes: { '*': ['storage.read'] } });
    await createExchangePolicy(sql, policy, world.clock.now());
    await caughtUp();
    expect(await grants(world.partner, {}, world.issuer)).toEqual(REFUSED);
  });

  it('is held to the algorithms and types it is registered with', async () => {
    const [es, ps] = [await clientKey('ES256', 'es'), await clientKey('PS256', 'ps')];
    const issuer = 'https://picky.example';
    const registered = { signing_algs: ['PS256'], jwt_types: ['Application/Grant+JWT'] };
    await trustDomain(world, { issuer, name: 'Picky', jwks: { keys: [es.jwk, ps.jwk] }, ...registered });
    await policyFor('picky', issuer);
    await caughtUp();
    const typ = 'grant+jwt';
    expect(await grants(ps, { typ }, issuer)).toEqual([200, undefined]);
    expect(await grants(es, { typ }, issuer)).toEqual(REFUSED);
    for (const other of [undefined, 'JWT', 'authorization-grant+jwt'])
      expect(await grants(ps, { typ: other }, issuer)).toEqual(REFUSED);
  });

  it('without keys is one we make grants for, and take none from', async () => {
    const issuer = 'https://silent.example';
    await trustDomain(world, { issuer, name: 'Silent' });
    await policyFor('silent', issuer);
    await caughtUp();
    expect(await grants(world.partner, {}, issuer)).toEqual(REFUSED);
  });

  it('that publishes its keys changes them as it likes, and forged key ids do not make us ask again and again', async () => {
    const issuer = 'https://rotating.example';
    const [first, second] = [await clientKey('ES256', 'first'), await clientKey('ES256', 'second')];
    documents.serve({ keys: [first.jwk] });
    await trustDomain(world, { issuer, name: 'Rotating', jwks_uri: `${documents.origin}/jwks` });
    await policyFor('rotating', issuer);
    await caughtUp();
    expect(await grants(first, {}, issuer)).toEqual([200, undefined]);
    const before = documents.asked.length;
    for (let time = 0; time < 5; time += 1)
      expect(await grants(first, { kid: `forged-${time}` }, issuer)).toEqual(REFUSED);
    expect(documents.asked.length - before).toBeLessThanOrEqual(1);
    documents.serve({ keys: [second.jwk] });
    world.clock.advance(61);
    expect(await grants(second, {}, issuer)).toEqual([200, undefined]);
    expect(await grants(first, {}, issuer)).toEqual(REFUSED);
  });

  it('whose keys cannot be had is not held against its assertion: the client may come again', async () => {
    const issuer = 'https://down.example';
    const key = await clientKey('ES256', 'down');
    documents.serve((response: { writeHead(status: number): { end(): void } }) => response.writeHead(500).end());
    await trustDomain(world, { issuer, name: 'Down', jwks_uri: `${documents.origin}/down` });
    await policyFor('down', issuer);
    await caughtUp();
    expect(await grants(key, {}, issuer)).toEqual([503, 'temporarily_unavailable']);
  });
});

describe('changed in any way', () => {
  const RUNS = { numRuns: 40 };
  const tryOut = async (assertion: string) => outcome(await present(world, assertion));

  it('no bit can be flipped', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const parts = (await grantOf(world)).split('.').map((part) => Buffer.from(part, 'base64url'));
        const whole = Buffer.concat(parts);
        whole.writeUInt8(whole.readUInt8(at % whole.length) ^ (1 << bit), at % whole.length);
        let start = 0;
        const flipped = parts.map(({ length }) => {
          start += length;
          return whole.subarray(start - length, start).toString('base64url');
        });
        expect(await tryOut(flipped.join('.'))).toEqual(REFUSED);
      }),
      RUNS,
    );
  });

  it('no character can be another one, and none can come or go', async () => {
    const character = fc.constantFrom(...'ABCxyz019-_=.+/ \n');
    await fc.assert(
      fc.asyncProperty(fc.nat(), character, fc.integer({ min: 0, max: 1 }), async (at, other, gone) => {
        const good = await grantOf(world);
        const changed = good.slice(0, at % good.length) + other + good.slice((at % good.length) + gone);
        fc.pre(changed !== good);
        expect(await tryOut(changed)).toEqual(REFUSED);
      }),
      RUNS,
    );
  });

  it('no claim that counts can have another value, though the domain’s own key signs it', async () => {
    const claim = fc.constantFrom('iss', 'aud', 'exp', 'may_act', 'cnf');
    await fc.assert(
      fc.asyncProperty(claim, fc.jsonValue({ maxDepth: 2 }), async (name, value) => {
        expect(await tryOut(await grantOf(world, { [name]: value }))).toEqual(REFUSED);
      }),
      RUNS,
    );
  });

  it('no claim breaks anything, whatever it holds', async () => {
    const claim = fc.constantFrom(
      'sub',
      'jti',
      'act',
      'origin',
      'txn',
      'scope',
      'client_id',
      'auth_time',
      'acr',
      'amr',
      'resource',
      'iat',
      '__proto__',
    );
    const before = Number(await rows());
    await fc.assert(
      fc.asyncProperty(claim, fc.jsonValue({ maxDepth: 3 }), async (name, value) => {
        const claims = JSON.stringify({ ...grantClaims(world, { auth_time: now() }), [name]: value });
        const [status] = await tryOut(await world.partner.sign(claims));
        expect([200, 400]).toContain(status);
      }),
      RUNS,
    );
    expect(Number(await rows())).toBeGreaterThan(before);
  });
});
