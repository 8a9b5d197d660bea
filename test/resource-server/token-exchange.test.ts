/** Token exchange as an API asks for it (RFC 8693): what is sent, what is taken, what is kept, and what is not. */
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import {
  type AccessToken,
  createTokenExchange,
  createTokenVerifier,
  ExchangeFault,
  type PrivateKey,
  type TokenExchange,
  type TokenExchangeOptions,
} from 'gatehouse/resource-server';
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RESOURCE } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';

const STORAGE = 'https://storage.example';
const TYPE = 'urn:ietf:params:oauth:token-type:access_token';

let issuer: ForeignIssuer;
/** What the token endpoint was sent, in order. */
let asked: { body: URLSearchParams; headers: Record<string, string | string[] | undefined> }[];
/** What it answers, one after the other; the last one from then on. */
let answers: Answer[];
let exchange: TokenExchange;
let subject: AccessToken;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

const good = (changes: Record<string, unknown> = {}): Answer => ({
  status: 200,
  body: { access_token: randomUUID(), issued_token_type: TYPE, token_type: 'Bearer', expires_in: 300, ...changes },
});

beforeEach(async () => {
  issuer = await ForeignIssuer.start();
  issuer.metadata = { token_endpoint: `${issuer.issuer}/token` };
  asked = [];
  answers = [];
  issuer.endpoints.set('/token', async (request, response) => {
    asked.push({ body: new URLSearchParams((await request.toArray()).join('')), headers: request.headers });
    const { status, body, headers } = (answers.length > 1 ? answers.shift() : answers[0]) ?? good();
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  });
  exchange = start();
  subject = await letIn();
});
afterEach(async () => {
  vi.useRealTimers();
  await issuer.close();
});

function start(changes: Partial<TokenExchangeOptions> = {}): TokenExchange {
  return createTokenExchange({ issuer: issuer.issuer, client: issuer.client, timeoutSeconds: 0.5, ...changes });
}

/** A token as the API's own code gets it. */
async function letIn(changes: Record<string, unknown> = {}): Promise<AccessToken> {
  const tokens = createTokenVerifier({ issuer: issuer.issuer, resource: RESOURCE, token: { kind: 'jwt' } });
  const text = await issuer.sign({ ...issuer.claims(RESOURCE), ...changes });
  const request = { method: 'GET', url: '/', authorization: [`Bearer ${text}`], dpop: [], certificate: undefined };
  const verdict = await tokens.verify(request);
  if (!verdict.accepted) throw new Error('the token should be good');
  return verdict.accessToken;
}

async function privateKey(alg: 'ES256' | 'PS256' = 'ES256'): Promise<PrivateKey> {
  return { ...(await exportJWK((await generateKeyPair(alg, { extractable: true })).privateKey)), alg };
}

const refused = (promise: Promise<unknown>): Promise<ExchangeFault> =>
  promise.then(
    () => expect.fail('there should be no token'),
    (error: unknown) => (error instanceof ExchangeFault ? error : expect.fail(String(error))),
  );

describe('what must not happen', () => {
  test('a token that nobody let in is exchanged: a copy, one of claims, one that was refused', async () => {
    const tokens = createTokenVerifier({ issuer: issuer.issuer, resource: STORAGE, token: { kind: 'jwt' } });
    const text = await issuer.sign(issuer.claims(RESOURCE));
    const request = { method: 'GET', url: '/', authorization: [`Bearer ${text}`], dpop: [], certificate: undefined };
    expect((await tokens.verify(request)).accepted).toBe(false);
    for (const stranger of [{ ...subject }, { sub: 'alice' }, text, undefined])
      await expect(exchange(stranger as AccessToken, { resource: STORAGE })).rejects.toThrow(TypeError);
    expect(asked).toEqual([]);
  });

  test('the text of a token is among what the token says', () => {
    expect(JSON.stringify(subject)).not.toContain('eyJ');
    expect(Object.values(subject).join()).not.toContain('eyJ');
  });

  test('a token for one person, API or scope is given for another', async () => {
    const bob = await letIn({ sub: 'bob' });
    const again = await letIn();
    const targets = [
      [subject, { resource: STORAGE }],
      [bob, { resource: STORAGE }],
      [again, { resource: STORAGE }],
      [subject, { resource: 'https://archive.example' }],
      [subject, { resource: STORAGE, scope: ['storage.read'] }],
      [subject, { resource: STORAGE, scope: ['storage.read storage.write'] }],
      [subject, { resource: STORAGE, scope: ['storage.read', 'storage.write'] }],
    ] as const;
    const given = [];
    for (const [token, target] of targets) given.push((await exchange(token, target)).accessToken);
    expect(new Set(given).size).toBe(targets.length);
  });

  test.each([
    ['of another type', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['of no type', { issued_token_type: undefined }],
    ['that is not used as one', { token_type: 'N_A' }],
    ['bound to a key that is not ours', { token_type: 'DPoP' }],
    ['that is none', { access_token: '' }],
  ])('a token %s is taken', async (_what, changes) => {
    answers = [good(changes)];
    expect((await refused(exchange(subject, { resource: STORAGE }))).code).toBe('temporarily_unavailable');
  });

  test('a token that was asked for bound comes unbound', async () => {
    const bound = start({ dpopKey: await privateKey() });
    expect((await refused(bound(subject, { resource: STORAGE }))).code).toBe('temporarily_unavailable');
  });

  test('the secret goes to an address that is not safe, or follows a redirect', async () => {
    const safe = `${issuer.issuer}/token`;
    for (const token_endpoint of ['http://elsewhere.example/token', undefined, `${issuer.issuer}/away`]) {
      issuer.metadata = { token_endpoint };
      issuer.endpoints.set('/away', (_request, response) => response.writeHead(307, { location: safe }).end());
      expect((await refused(start()(subject, { resource: STORAGE }))).code).toBe('temporarily_unavailable');
    }
    expect(asked).toEqual([]);
  });
});

describe('what is sent', () => {
  test('RFC8693-2.1: the token of the caller, its type, the API, the scope, and who asks', async () => {
    await exchange(subject, { resource: STORAGE, scope: ['storage.read', 'storage.write'] });
    const [{ body, headers } = expect.fail()] = asked;
    const { subject_token, ...rest } = Object.fromEntries(body);
    expect(decodeJwt(String(subject_token))).toMatchObject({ sub: 'alice', aud: RESOURCE });
    expect(rest).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: TYPE,
      requested_token_type: TYPE,
      resource: STORAGE,
      scope: 'storage.read storage.write',
    });
    const [, pair = ''] = String(headers.authorization).split(' ');
    expect(Buffer.from(pair, 'base64').toString()).toBe('photos%3Aapi:a+secret%2Fwith%2Bodd%26signs%25');
    expect(headers).not.toHaveProperty('dpop');
  });

  test('with a key of its own: an assertion, new each time', async () => {
    const keyed = start({ client: { clientId: 'photos-api', privateKey: await privateKey() } });
    await keyed(subject, { resource: STORAGE });
    await keyed(subject, { resource: 'https://archive.example' });
    const claims = asked.map(({ body }) => decodeJwt(body.get('client_assertion') ?? ''));
    expect(claims[0]).toMatchObject({ iss: 'photos-api', sub: 'photos-api', aud: issuer.issuer });
    expect(claims[0]?.jti).not.toBe(claims[1]?.jti);
  });

  test('RFC9449-5: a proof of the key that the new token shall be bound to', async () => {
    const key = await privateKey();
    answers = [good({ token_type: 'DPoP' })];
    const token = await start({ dpopKey: key })(subject, { resource: STORAGE });
    const proof = String(asked[0]?.headers.dpop);
    expect(decodeJwt(proof)).toEqual({
      jti: expect.any(String),
      htm: 'POST',
      htu: `${issuer.issuer}/token`,
      iat: expect.any(Number),
    });
    const { d, alg, ...publicJwk } = key;
    expect(decodeProtectedHeader(proof)).toEqual({ alg, typ: 'dpop+jwt', jwk: publicJwk });

    const headers = await token.headers('GET', `${STORAGE}/objects/1?size=2#x`, 'next');
    expect(headers.authorization).toBe(`DPoP ${token.accessToken}`);
    expect(decodeJwt(headers.dpop ?? '')).toMatchObject({
      htm: 'GET',
      htu: `${STORAGE}/objects/1`,
      nonce: 'next',
      ath: expect.stringMatching(/^[\w-]{43}$/),
    });
    const [header, payload, signature = ''] = (headers.dpop ?? '').split('.');
    const jwk = decodeProtectedHeader(headers.dpop ?? '').jwk as JWK;
    expect(await calculateJwkThumbprint(jwk)).toBe(await calculateJwkThumbprint(key));
    const verifying = { key: createPublicKey({ key: { ...jwk }, format: 'jwk' }), dsaEncoding: 'ieee-p1363' } as const;
    expect(verify('sha256', Buffer.from(`${header}.${payload}`), verifying, Buffer.from(signature, 'base64url'))).toBe(
      true,
    );
  });

  test('RFC9449-8: a nonce that the server asks for, once, and the newest one from then on', async () => {
    const bound = start({
      dpopKey: await privateKey(),
      client: { clientId: 'photos-api', privateKey: await privateKey() },
    });
    const nonces = () => asked.map(({ headers }) => decodeJwt(String(headers.dpop)).nonce);
    answers = [
      { status: 400, body: { error: 'use_dpop_nonce' }, headers: { 'dpop-nonce': 'one' } },
      { ...good({ token_type: 'DPoP' }), headers: { 'dpop-nonce': 'two' } },
      good({ token_type: 'DPoP' }),
      { status: 400, body: { error: 'use_dpop_nonce' }, headers: { 'dpop-nonce': 'three' } },
    ];
    await bound(subject, { resource: STORAGE });
    expect(nonces()).toEqual([undefined, 'one']);
    const [first, second] = asked.map(({ body }) => decodeJwt(body.get('client_assertion') ?? '').jti);
    expect(first, 'an assertion is good once').not.toBe(second);
    await bound(subject, { resource: 'https://archive.example' });
    expect(nonces()).toEqual([undefined, 'one', 'two']);
    // It does not go on for ever with a server that is never content.
    const fault = await refused(bound(subject, { resource: 'https://other.example' }));
    expect(fault.code).toBe('use_dpop_nonce');
    expect(asked).toHaveLength(5);
  });
});

describe('what is kept', () => {
  const give = (target = {}) => exchange(subject, { resource: STORAGE, scope: ['storage.read'], ...target });

  test('a token until shortly before its end, and one request serves all who come together', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const together = await Promise.all([give(), give(), give()]);
    expect(new Set(together).size).toBe(1);
    expect(together[0]).toMatchObject({ tokenType: 'Bearer', expiresAt: Math.floor(Date.now() / 1000 + 300) });
    vi.setSystemTime(Date.now() + 280_000);
    expect(await give()).toBe(together[0]);
    expect(asked).toHaveLength(1);
    vi.setSystemTime(Date.now() + 12_000);
    expect(await give()).not.toBe(together[0]);
    expect(asked).toHaveLength(2);
  });

  test.each([
    ['that ends at once', 5],
    ['of unknown end', undefined],
    ['whose end is no number', 'soon'],
  ])('no token %s, but those who come together share it', async (_what, expires_in) => {
    answers = [good({ expires_in })];
    await Promise.all([give(), give()]);
    expect(asked).toHaveLength(1);
    await give();
    expect(asked).toHaveLength(2);
  });

  test('no refusal: the next call asks again', async () => {
    answers = [{ status: 400, body: { error: 'invalid_target', error_description: 'No policy.' } }, good()];
    const both = await Promise.all([refused(give()), refused(give())]);
    expect(both.map(({ code }) => code)).toEqual(['invalid_target', 'invalid_target']);
    expect(both[0]?.message).toBe(`The token for ${STORAGE} was refused: invalid_target: No policy.`);
    expect(asked).toHaveLength(1);
    await give();
  });

  test('no token that the other API has refused; all who come with it get the same new one', async () => {
    const old = await give();
    const [first, ...others] = await Promise.all([
      give({ instead: old }),
      give({ instead: old }),
      give({ instead: old }),
    ]);
    expect(first).not.toBe(old);
    for (const other of others) expect(other).toBe(first);
    expect(await give({ instead: old }), 'late').toBe(first);
    expect(await give()).toBe(first);
    expect(asked).toHaveLength(2);
  });

  test('no more tokens than there is room for: the oldest goes', async () => {
    exchange = start({ capacity: 2 });
    for (const name of ['a', 'b', 'c']) await give({ scope: [name] });
    await give({ scope: ['c'] });
    await give({ scope: ['b'] });
    expect(asked).toHaveLength(3);
    await give({ scope: ['a'] });
    expect(asked).toHaveLength(4);
  });
});

describe('what an API is told', () => {
  test.each([
    [400, { error: 'invalid_request', error_description: 'The subject_token is not good.' }, 'invalid_request'],
    [400, { error: 'invalid_scope' }, 'invalid_scope'],
    [400, { error: 'unauthorized_client' }, 'unauthorized_client'],
    [401, { error: 'invalid_client' }, 'invalid_client'],
    [400, {}, 'temporarily_unavailable'],
    [500, { error: 'server_error' }, 'temporarily_unavailable'],
    [503, '', 'temporarily_unavailable'],
    [201, good().body, 'temporarily_unavailable'],
  ])('of an answer %i %j', async (status, body, code) => {
    answers = [{ status, body }];
    expect((await refused(exchange(subject, { resource: STORAGE }))).code).toBe(code);
  });

  test.each(['failing', 'silent'] as const)('of a server that is %s', async (mood) => {
    issuer.mood = mood;
    expect((await refused(exchange(subject, { resource: STORAGE }))).code).toBe('temporarily_unavailable');
    issuer.mood = 'well';
    await exchange(subject, { resource: STORAGE });
  });

  test('nothing in a message that would break a line of its log', async () => {
    answers = [{ status: 400, body: { error: 'invalid_target', error_description: 'one\ntwo' } }];
    expect((await refused(exchange(subject, { resource: STORAGE }))).message).not.toContain('\n');
  });

  test('the scope of the new token: what the server says, else what was asked for', async () => {
    answers = [good({ scope: 'a b' }), good()];
    expect((await exchange(subject, { resource: STORAGE, scope: ['a', 'b', 'c'] })).scope).toEqual(new Set(['a', 'b']));
    expect((await exchange(subject, { resource: STORAGE, scope: ['a'] })).scope).toEqual(new Set(['a']));
    expect((await exchange(subject, { resource: STORAGE })).scope).toEqual(new Set());
  });
});

describe('options that cannot be right stop the start', () => {
  test.each<[string, object, RegExp]>([
    ['plain http', { issuer: 'http://elsewhere.example' }, /^issuer must be an https URL/],
    ['no client', { client: undefined }, /^client must be an object/],
    [
      'two credentials',
      { client: { clientId: 'x', clientSecret: 'y', privateKey: {} } },
      /^client must be given one of/,
    ],
    [
      'a public key',
      { dpopKey: { kty: 'EC', crv: 'P-256', x: 'a', y: 'b', alg: 'ES256' } },
      /^dpopKey must be a private/,
    ],
    ['no room', { capacity: 0 }, /^capacity must be/],
    ['no patience', { timeoutSeconds: 0 }, /^timeoutSeconds must be/],
    ['a misspelt member', { dpopkey: {} }, /^the options has no member dpopkey/],
  ])('%s', (_what, changes, message) => {
    expect(() => start(changes)).toThrow(message);
  });

  test.each([{ resource: '' }, { resource: STORAGE, scope: [] }, { resource: STORAGE, scopes: ['a'] }])(
    'and so does the target %j',
    async (target) => {
      await expect(exchange(subject, target as { resource: string })).rejects.toThrow(TypeError);
    },
  );
});
