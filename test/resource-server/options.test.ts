/** Options and requirements that cannot be right stop the start, with a message that names them. */
import { generateKeyPairSync } from 'node:crypto';
import Fastify from 'fastify';
import { createTokenVerifier, memoryReplayMarks, type Requirements, resourceServer } from 'gatehouse/resource-server';
import { exportJWK, generateKeyPair } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { RESOURCE } from './api.ts';

const good = { issuer: 'https://issuer.example', resource: RESOURCE, token: { kind: 'jwt' } };
const asks = { kind: 'introspection', clientId: 'api', clientSecret: 's' };
const key = 'k'.repeat(32);

/** As JavaScript would hand it in. */
const start = (options: unknown) => Fastify().register(resourceServer, options as Parameters<typeof resourceServer>[1]);
const verifier = (options: unknown) => createTokenVerifier(options as Parameters<typeof createTokenVerifier>[0]);

describe('wrong options', () => {
  const wrong: readonly (readonly [string, string, unknown])[] = [
    ['nothing', 'issuer', {}],
    ['no token', 'token', { ...good, token: undefined }],
    ['an http issuer elsewhere', 'issuer', { ...good, issuer: 'http://issuer.example' }],
    ['no URL as issuer', 'issuer', { ...good, issuer: 'issuer' }],
    ['an issuer with a query', 'issuer', { ...good, issuer: 'https://issuer.example?a' }],
    ['an issuer with a fragment', 'issuer', { ...good, issuer: 'https://issuer.example#a' }],
    ['no resource', 'resource', { ...good, resource: undefined }],
    ['a resource with a fragment', 'resource', { ...good, resource: `${RESOURCE}#a` }],
    ['a resource with a query', 'resource', { ...good, resource: `${RESOURCE}?a=b` }],
    ['a resource that would leave the quotes', 'resource', { ...good, resource: `${RESOURCE}/"x` }],
    ['a resource that is no URL', 'resource', { ...good, resource: 'photos' }],
    ['an unknown kind of token', 'token.kind', { ...good, token: { kind: 'opaque' } }],
    ['a secret for JWTs, which need none', 'clientId', { ...good, token: { ...asks, kind: 'jwt' } }],
    ['introspection without a client', 'token.clientId', { ...good, token: { kind: 'introspection' } }],
    ['introspection without credentials', 'clientSecret', { ...good, token: { kind: 'introspection', clientId: 'a' } }],
    ['an empty secret', 'token.clientSecret', { ...good, token: { ...asks, clientSecret: '' } }],
    ['a secret that is undefined', 'token.clientSecret', { ...good, token: { ...asks, clientSecret: undefined } }],
    ['a secret and a key', 'clientSecret', { ...good, token: { ...asks, privateKey: {} } }],
    ['signed as a text', 'token.signed', { ...good, token: { ...asks, signed: 'no' } }],
    ['a misspelt member of token', 'sign', { ...good, token: { ...asks, sign: true } }],
    ['HS256', 'algorithms', { ...good, algorithms: ['HS256'] }],
    ['none', 'algorithms', { ...good, algorithms: ['none'] }],
    ['no algorithm', 'algorithms', { ...good, algorithms: [] }],
    ['an unknown binding', 'bindings', { ...good, bindings: ['tls'] }],
    ['no binding', 'bindings', { ...good, bindings: [] }],
    ['bindings as a text', 'bindings', { ...good, bindings: 'dpop' }],
    ['a misspelt option', 'binding', { ...good, binding: ['dpop'] }],
    ['DPoP options without DPoP', 'bindings', { ...good, bindings: ['none'], dpop: {} }],
    ['HS256 for proofs', 'dpop.algorithms', { ...good, dpop: { algorithms: ['HS256'] } }],
    ['a short nonce key', 'dpop.nonceKey', { ...good, dpop: { nonceKey: key.slice(1) } }],
    ['a number as nonce key', 'dpop.nonceKey', { ...good, dpop: { nonceKey: 32 } }],
    ['a misspelt member of dpop', 'nonce', { ...good, dpop: { nonce: key } }],
    ['replay marks that cannot be claimed', 'dpop.replayMarks', { ...good, dpop: { replayMarks: new Set() } }],
    ['metadata of the plugin itself', 'resource', { ...good, metadata: { resource: 'https://other.example' } }],
    ['a name that is no text', 'metadata.resource_name', { ...good, metadata: { resource_name: 7 } }],
    ['no time to wait', 'timeoutSeconds', { ...good, timeoutSeconds: 0 }],
    ['endless time to wait', 'timeoutSeconds', { ...good, timeoutSeconds: Number.POSITIVE_INFINITY }],
    ['time as a text', 'timeoutSeconds', { ...good, timeoutSeconds: '5' }],
  ];
  test.each(wrong)('%s: the message names %s', async (_, name, options) => {
    expect(() => verifier(options)).toThrow(TypeError);
    expect(() => verifier(options)).toThrow(name);
    await expect(start(options)).rejects.toThrow(name);
  });

  describe('a private key', () => {
    let jwk: Record<string, unknown>;
    beforeAll(async () => {
      const { privateKey } = await generateKeyPair('ES256', { extractable: true });
      jwk = { ...(await exportJWK(privateKey)), alg: 'ES256' };
    });
    const withKey = (privateKey: unknown) => ({ ...good, token: { kind: 'introspection', clientId: 'a', privateKey } });

    test('is taken as a JWK with alg', () => expect(() => verifier(withKey(jwk))).not.toThrow());
    test.each([
      ['no JWK', 'token.privateKey', () => '-----BEGIN PRIVATE KEY-----'],
      ['one without alg', 'token.privateKey.alg', () => ({ ...jwk, alg: undefined })],
      ['the public one', 'token.privateKey', () => ({ ...jwk, d: undefined })],
      ['an empty one', 'token.privateKey', () => ({ ...jwk, d: '' })],
      ['a broken one', 'token.privateKey', () => ({ ...jwk, x: 'AAAA' })],
      ['one of another type than alg', 'token.privateKey.kty', () => ({ ...jwk, alg: 'PS256' })],
      [
        'an RSA key of 1024 bits',
        'token.privateKey must be of 2048 bits',
        () => {
          const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
          return { ...privateKey.export({ format: 'jwk' }), alg: 'PS256' };
        },
      ],
    ])('%s: the message names %s and shows nothing of it', (_, name, spoiled) => {
      const attempt = () => verifier(withKey(spoiled()));
      expect(attempt).toThrow(name);
      expect(attempt).not.toThrow(String(jwk.x));
    });
  });

  test('a function for certificates where none are accepted', async () => {
    const clientCertificate = () => undefined;
    await expect(start({ ...good, clientCertificate })).rejects.toThrow('bindings');
    await expect(start({ ...good, bindings: ['mtls'], clientCertificate: {} })).rejects.toThrow('clientCertificate');
    await start({ ...good, bindings: ['mtls'], clientCertificate });
  });

  test('a prefix, under which the metadata would be lost', async () => {
    const app = Fastify();
    app.register(async (v1) => void (await v1.register(resourceServer, good as never)), { prefix: '/v1' });
    await expect(app.ready()).rejects.toThrow('/v1');
  });

  test('no room for replay marks', () => {
    for (const capacity of [0, -1, 1.5]) expect(() => memoryReplayMarks({ capacity })).toThrow('capacity');
  });
});

describe('what cannot be required', () => {
  const wrong: readonly (readonly [string, string, unknown])[] = [
    ['a scope value with a space', 'scope', { scope: ['a b'] }],
    ['an empty scope value', 'scope', { scope: [''] }],
    ['a scope value that would leave the quotes', 'scope', { scope: ['a"b'] }],
    ['scope as a text', 'scope', { scope: 'a' }],
    ['a scope value that is undefined', 'scope', { scope: [undefined] }],
    ['no acr value', 'acrValues', { acrValues: [] }],
    ['an acr value with a space', 'acrValues', { acrValues: ['a b'] }],
    ['a negative age', 'maxAge', { maxAge: -1 }],
    ['a broken age', 'maxAge', { maxAge: Number.NaN }],
    ['an empty type', 'authorizationDetails', { authorizationDetails: [''] }],
    ['a misspelt requirement, which would require nothing', 'scopes', { scopes: ['a'] }],
  ];
  test.each(wrong)('%s: the message names %s', async (_, name, requirements) => {
    const app = Fastify();
    await app.register(resourceServer, good as never);
    expect(() => app.requireToken(requirements as Requirements)).toThrow(name);
    const request = { method: 'GET', url: '/', authorization: [], dpop: [] };
    await expect(verifier(good).verify(request, requirements as Requirements)).rejects.toThrow(name);
  });

  test('requireScope throws at once as well', async () => {
    const app = Fastify();
    await app.register(resourceServer, good as never);
    for (const scope of ['a b', '', 'a"b']) expect(() => app.requireScope(scope)).toThrow(TypeError);
  });
});
