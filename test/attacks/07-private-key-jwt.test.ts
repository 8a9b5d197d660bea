/**
 * Negative test 7. The attacker has an assertion that was used, was made for another server, was made by another client, or one
 * they made themselves with whatever keys they have, the public ones of the client among them. Stopped by: the algorithm is on a
 * list before a key is looked for, the key is one that the client registered, the assertion names the client and this server and
 * nobody else, is good for minutes, and once, on all nodes together (RFC 7523 §3, RFC 7523bis §4, FAPI 2.0 SP §5.3.2.1-8).
 */
import { constants, createHmac, createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, query, tally } from '../support/attack-aftermath.ts';
import { clientKey, rawJws } from '../support/client-key.ts';
import { type DocumentServer, startDocumentServer } from '../support/document-server.ts';
import {
  assertionClaims,
  assertionOf,
  type FapiClient,
  type FapiWorld,
  pushAs,
  type Sending,
  seconds,
  sendAs,
  startFapiWorld,
} from '../support/fapi-world.ts';
import type { TestServer } from '../support/server.ts';

/** Signed with RS256's key as the algorithm says, for keys that no library would use. */
function rsaSigned(alg: 'RS256' | 'PS256', key: ReturnType<typeof generateKeyPairSync>['privateKey'], claims: object) {
  const input = rawJws({ alg, kid: 'rsa' }, claims).slice(0, -1);
  const padding = alg === 'PS256' ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  return `${input}.${sign('sha256', Buffer.from(input), { key, padding, ...(alg === 'PS256' && { saltLength: 32 }) }).toString('base64url')}`;
}

describe('a client assertion under FAPI', () => {
  let world: FapiWorld;
  let node: TestServer;
  let documents: DocumentServer;
  let mark = 0;
  beforeAll(async () => {
    world = await startFapiWorld('fapi2-security', { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
    node = await world.secondNode();
    documents = await startDocumentServer();
  });
  afterAll(async () => {
    await documents.close();
    await node.close();
    await world.close();
  });

  const push = async (assertion: string, sending: Sending = {}) => {
    const { status, json } = await pushAs(world, world.app, {}, { ...sending, assertion });
    return [status, json.error];
  };
  const REFUSED = [401, 'invalid_client'];
  const signed = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    assertionOf(world, world.app, changes, header);
  const claims = (changes: Record<string, unknown> = {}) => assertionClaims(world, world.app, changes);
  const hmac = (secret: string) => {
    const input = rawJws({ alg: 'HS256', kid: 'app-key' }, claims()).slice(0, -1);
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const pem = () => createPublicKey({ key: world.app.key.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byOwnKey = (header: object) => {
    const input = rawJws(header, claims()).slice(0, -1);
    const made = sign('sha256', Buffer.from(input), { key: own.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${made.toString('base64url')}`;
  };
  const now = () => seconds(world);

  it('that is good is taken: the others are refused for what is wrong with them', async () => {
    for (const assertion of [
      await signed(),
      await signed({}, { typ: 'JWT' }),
      await signed({}, { typ: 'client-authentication+jwt' }),
      await signed({ iat: undefined }),
      await signed({ iat: now() + 8, nbf: now() + 8 }),
    ])
      expect(await push(assertion)).toEqual([201, undefined]);
  });

  const assertions: [string, () => string | Promise<string>][] = [
    ['addressed to the issuer in a list', () => signed({ aud: [world.issuer] })],
    ['addressed to the issuer and others', () => signed({ aud: [world.issuer, 'https://other.example'] })],
    ['addressed to the issuer twice', () => signed({ aud: [world.issuer, world.issuer] })],
    ['addressed to the token endpoint', () => signed({ aud: `${world.issuer}/token` })],
    ['addressed to the PAR endpoint', () => signed({ aud: `${world.issuer}/par` })],
    ['addressed to the token endpoint of another server', () => signed({ aud: 'https://other.example/token' })],
    ['addressed to another server', () => signed({ aud: 'https://other.example' })],
    ['addressed to the issuer with a slash', () => signed({ aud: `${world.issuer}/` })],
    ['addressed to nobody', () => signed({ aud: undefined })],
    ['addressed to an empty list', () => signed({ aud: [] })],
    ['without exp', () => signed({ exp: undefined })],
    ['that is over', () => signed({ exp: now() - 1 })],
    ['that was over five minutes ago', () => signed({ exp: now() - 300, iat: now() - 400 })],
    ['that is good for a year', () => signed({ exp: now() + 31_536_000 })],
    ['whose exp is text', () => signed({ exp: `${now() + 60}` })],
    ['whose exp is null', () => signed({ exp: null })],
    ['of the future by iat', () => signed({ iat: now() + 61 })],
    ['of the future by nbf', () => signed({ nbf: now() + 61, exp: now() + 120 })],
    ['made long ago', () => signed({ iat: now() - 3600 })],
    ['without jti', () => signed({ jti: undefined })],
    ['with an empty jti', () => signed({ jti: '' })],
    ['with a jti that is a number', () => signed({ jti: 7 })],
    ['of another issuer', () => signed({ iss: 'evil' })],
    ['of the server', () => signed({ iss: world.issuer })],
    ['about somebody else', () => signed({ sub: 'evil' })],
    ['about nobody', () => signed({ sub: undefined })],
    ['by nobody', () => signed({ iss: undefined })],
    ['about a person', () => signed({ iss: world.alice, sub: world.alice })],
    ['about a client whose name no database can hold', () => signed({ iss: '\0', sub: '\0' })],
    ['about an unknown client', () => signed({ iss: 'nobody', sub: 'nobody' })],
    ['with the key of another client', () => world.evil.key.sign(claims())],
    ['with the key of another client under its kid', () => world.evil.key.sign(claims(), { kid: 'app-key' })],
    ['with a key of nobody', () => byOwnKey({ alg: 'ES256' })],
    ['unsigned', () => rawJws({ alg: 'none' }, claims())],
    ['unsigned in another case', () => rawJws({ alg: 'None' }, claims())],
    ['without algorithm', () => rawJws({ kid: 'app-key' }, claims())],
    ['stripped of its signature', async () => `${(await signed()).split('.').slice(0, 2).join('.')}.`],
    ['of two parts', async () => (await signed()).split('.').slice(0, 2).join('.')],
    ['with HS256 and the public key as JSON', () => hmac(JSON.stringify(world.app.key.jwk))],
    ['with HS256 and the public key as PEM', () => hmac(String(pem()))],
    ['with HS256 and no key', () => hmac('')],
    [
      'with an embedded key',
      () => byOwnKey({ alg: 'ES256', kid: 'app-key', jwk: own.publicKey.export({ format: 'jwk' }) }),
    ],
    ['with its own key, embedded', () => signed({}, { jwk: world.app.key.jwk })],
    ['with the address of a key', () => signed({}, { jku: 'https://evil.example/jwks' })],
    ['with the address of a certificate', () => signed({}, { x5u: 'https://evil.example/cert' })],
    ['with critical extensions', () => signed({}, { crit: ['exp'], exp: 1 })],
    ['with an unknown kid', () => signed({}, { kid: 'another' })],
    ['with a kid that is a path', () => signed({}, { kid: '../../../dev/null' })],
    ['with the type of a proof', () => signed({}, { typ: 'dpop+jwt' })],
    ['with the type of a request object', () => signed({}, { typ: 'oauth-authz-req+jwt' })],
    ['with the type of an access token', () => signed({}, { typ: 'at+jwt' })],
    ['that is too long', () => signed({ padding: 'x'.repeat(8192) })],
    ['that is plain JSON', () => JSON.stringify(claims())],
    ['that is nothing', () => '..'],
    ['whose claims are a list', () => world.app.key.sign(JSON.stringify([claims()]))],
    ['whose claims are not UTF-8', () => world.app.key.sign(Buffer.from([0x7b, 0xff, 0x7d]))],
  ];
  it.each(assertions)('%s is refused, and leaves nothing', async (_what, make) => {
    const before = [await tally(world), await query(world, 'SELECT count(*) FROM pushed_requests')];
    expect(await push(await make())).toEqual(REFUSED);
    expect([await tally(world), await query(world, 'SELECT count(*) FROM pushed_requests')]).toEqual(before);
  });

  it('refused is one event in the audit trail', async () => {
    const nodes = [world.issuer, node.running.address];
    const trail = await auditOf(world, 'invalid_client', () => signed({ aud: 'x' }).then(push), nodes);
    expect(trail).toContainEqual(expect.objectContaining({ event: 'invalid_client', client_id: 'app', times: 1 }));
  });

  it.each<['RS256' | 'PS256', number]>([
    ['RS256', 2048],
    ['PS256', 1024],
    ['PS256', 2040],
  ])('with %s and a key of %d bits is refused, wherever the key comes from', async (alg, modulusLength) => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'rsa' };
    mark += 1;
    const id = `rsa-${mark}`;
    if (modulusLength < 2048)
      await expect(world.fapiClient(id, { jwks: { keys: [jwk] } })).rejects.toThrow(/less than 2048/);
    documents.serve({ keys: [jwk] });
    const jwks_uri = `${documents.origin}/${id}`;
    await world.fapiClient(id, { jwks: undefined, jwks_uri });
    const client = { id, key: world.app.key };
    const assertion = rsaSigned(alg, privateKey, assertionClaims(world, client));
    const { status, json } = await sendAs(world, client, '/par', {}, { assertion });
    expect([status, json.error]).toEqual(REFUSED);
  });

  it('with an RSA key that is long enough and PS256 is taken: the refusals above are for size and algorithm', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    documents.serve({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'rsa' }] });
    await world.fapiClient('rsa-good', { jwks: undefined, jwks_uri: `${documents.origin}/rsa-good` });
    const client = { id: 'rsa-good', key: world.app.key };
    const assertion = rsaSigned('PS256', privateKey, assertionClaims(world, client));
    expect((await sendAs(world, client, '/token_info', { token: 'x' }, { assertion })).status).toBe(200);
  });

  it('with another algorithm than the registered one is refused', async () => {
    const [es, ps] = [await clientKey('ES256', 'es'), await clientKey('PS256', 'ps')];
    const jwks = { keys: [es.jwk, ps.jwk] };
    const client = await world.fapiClient('picky', { jwks, token_endpoint_auth_signing_alg: 'PS256' }, ps);
    const by = async (key: FapiClient['key']) => (await pushAs(world, { ...client, key })).status;
    expect([await by(es), await by(ps)]).toEqual([401, 201]);
  });

  describe('used again', () => {
    const revoke = async (assertion: string, at?: string) =>
      (await sendAs(world, world.app, '/revoke', { token: 'x' }, { assertion, ...(at !== undefined && { at }) }))
        .status;

    it('is refused at every endpoint of every node', async () => {
      const assertion = await signed();
      expect(await push(assertion, { at: node.running.address })).toEqual([201, undefined]);
      for (const at of [world.issuer, node.running.address]) {
        expect(await push(assertion, { at })).toEqual(REFUSED);
        expect(await revoke(assertion, at)).toBe(401);
        for (const [path, fields] of [
          ['/token_info', { token: 'x' }],
          ['/token', { grant_type: 'client_credentials' }],
        ] as const)
          expect((await sendAs(world, world.app, path, fields, { assertion, at })).status).toBe(
            path === '/token' ? 400 : 401,
          );
      }
    });

    it('is refused after a restart', async () => {
      const assertion = await signed();
      const other = await world.secondNode();
      expect(await push(assertion, { at: other.running.address })).toEqual([201, undefined]);
      await other.close();
      const again = await world.secondNode();
      try {
        expect(await push(assertion, { at: again.running.address })).toEqual(REFUSED);
      } finally {
        await again.close();
      }
    });

    it('is refused as long as it is good, with another signature and another time too', async () => {
      const jti = randomUUID();
      expect(await push(await signed({ jti }))).toEqual([201, undefined]);
      for (const exp of [now() + 30, now() + 60, now() + 500])
        expect(await push(await signed({ jti, exp }))).toEqual(REFUSED);
      world.clock.advance(50);
      expect(await push(await signed({ jti, exp: now() + 10 }))).toEqual(REFUSED);
    });

    it('of twenty at once on two nodes one is taken', async () => {
      const assertion = await signed();
      const nodes = [world.issuer, node.running.address];
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, index) => push(assertion, { at: nodes[index % 2] ?? '' })),
      );
      expect(answers.filter(([status]) => status === 201)).toHaveLength(1);
      expect(answers.filter(([status]) => status === 401)).toHaveLength(19);
    });

    it('is another client’s own affair: one jti of two clients is two', async () => {
      const jti = randomUUID();
      expect(await push(await signed({ jti }))).toEqual([201, undefined]);
      const assertion = await assertionOf(world, world.evil, { jti });
      expect((await pushAs(world, world.evil, {}, { assertion })).status).toBe(201);
    });
  });

  it('that is half of itself, or beside another client’s name, is refused', async () => {
    for (const fields of [
      { client_assertion: undefined },
      { client_assertion_type: undefined },
      { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' },
      { client_id: 'evil' },
    ]) {
      const { status, json } = await pushAs(world, world.app, fields);
      expect([fields, status, json.error]).toEqual([fields, ...REFUSED]);
    }
  });

  describe('changed in any way', () => {
    const RUNS = { numRuns: 40 };

    it('no bit can be flipped', async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
          const parts = (await signed()).split('.').map((part) => Buffer.from(part, 'base64url'));
          const whole = Buffer.concat(parts);
          whole.writeUInt8(whole.readUInt8(at % whole.length) ^ (1 << bit), at % whole.length);
          let start = 0;
          const flipped = parts.map(({ length }) => {
            start += length;
            return whole.subarray(start - length, start).toString('base64url');
          });
          expect(await push(flipped.join('.'))).toEqual(REFUSED);
        }),
        RUNS,
      );
    });

    it('no character can be another one, and none can come or go', async () => {
      const character = fc.constantFrom(...'ABCxyz019-_=.+/ \n');
      await fc.assert(
        fc.asyncProperty(fc.nat(), character, fc.integer({ min: 0, max: 1 }), async (at, other, gone) => {
          const good = await signed();
          const changed = good.slice(0, at % good.length) + other + good.slice((at % good.length) + gone);
          fc.pre(changed !== good);
          expect(await push(changed)).toEqual(REFUSED);
        }),
        RUNS,
      );
    });

    it('no claim that counts can have another value, though the client’s own key signs it', async () => {
      const claim = fc.constantFrom('iss', 'sub', 'aud', 'exp', 'jti');
      await fc.assert(
        fc.asyncProperty(claim, fc.jsonValue({ maxDepth: 2 }), async (name, value) => {
          // Any text is a jti.
          fc.pre(name !== 'jti' || typeof value !== 'string' || value === '');
          expect(await push(await signed({ [name]: value }))).toEqual(REFUSED);
        }),
        RUNS,
      );
    });

    it('no header member that counts can have another value', async () => {
      const member = fc.constantFrom('typ', 'kid', 'jwk', 'jku', 'x5u');
      await fc.assert(
        fc.asyncProperty(member, fc.jsonValue({ maxDepth: 2 }), async (name, value) => {
          const input = rawJws({ alg: 'ES256', kid: 'app-key', [name]: value }, claims()).slice(0, -1);
          const made = new Uint8Array(
            await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, world.app.key.privateKey, Buffer.from(input)),
          );
          expect(await push(`${input}.${Buffer.from(made).toString('base64url')}`)).toEqual(REFUSED);
        }),
        RUNS,
      );
    });

    it('no text is taken for one, and none breaks anything', async () => {
      const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 });
      await fc.assert(
        fc.asyncProperty(text, async (assertion) => {
          const [status] = await push(assertion);
          expect([400, 401]).toContain(status);
        }),
        RUNS,
      );
    });
  });
});

describe('a client assertion outside FAPI', () => {
  let world: FapiWorld;
  beforeAll(async () => {
    world = await startFapiWorld('oauth21');
    await world.fapiClient('lenient', { assertion_audience: 'issuer_or_endpoint' }, world.app.key);
    await world.fapiClient('strict', { profile: 'fapi2-security' }, world.app.key);
  });
  afterAll(() => world.close());

  const statusOf = async (id: string, aud: unknown, path = '/revoke') => {
    const client = { id, key: world.app.key };
    return (await sendAs(world, client, path, { token: 'x' }, { assertion: await assertionOf(world, client, { aud }) }))
      .status;
  };

  it.each<[string, (issuer: string) => unknown, number, number, number]>([
    ['the issuer', (issuer) => issuer, 200, 200, 200],
    ['the issuer in a list of one', (issuer) => [issuer], 200, 200, 401],
    ['the issuer in a list of two', (issuer) => [issuer, 'https://other.example'], 401, 401, 401],
    ['the endpoint that is called', (issuer) => `${issuer}/revoke`, 401, 200, 401],
    ['the token endpoint', (issuer) => `${issuer}/token`, 401, 200, 401],
    ['the endpoint in a list of one', (issuer) => [`${issuer}/token`], 401, 200, 401],
    ['issuer and endpoint', (issuer) => [issuer, `${issuer}/token`], 401, 401, 401],
    ['another endpoint of ours', (issuer) => `${issuer}/par`, 401, 401, 401],
    ['another server’s endpoint', () => 'https://other.example/token', 401, 401, 401],
  ])('addressed to %s', async (_what, aud, plain, lenient, strict) => {
    const { issuer } = world;
    expect([
      await statusOf('app', aud(issuer)),
      await statusOf('lenient', aud(issuer)),
      await statusOf('strict', aud(issuer)),
    ]).toEqual([plain, lenient, strict]);
  });

  it('beside a secret is refused: one way of authenticating at a time', async () => {
    const authorization = `Basic ${Buffer.from('app:x').toString('base64')}`;
    const { status, json } = await sendAs(world, world.app, '/revoke', { token: 'x' }, { headers: { authorization } });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });
});
