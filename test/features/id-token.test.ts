/** ID tokens for each kind of client, judged by openid-client: OpenID Connect Core §2, §10.2, §12.2. */
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { changeClient } from '../../src/operator/clients.ts';
import { findClientRecord } from '../../src/postgres/clients.pg.ts';
import { signingAlgs } from '../../src/protocol/jose.ts';
import { encryptionAlgs, encryptionEncs } from '../../src/protocol/jose-client.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { type DocumentServer, startDocumentServer } from '../support/document-server.ts';
import { type EncryptionKey, encryptionKey } from '../support/encryption-key.ts';
import { startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { authorizationOf, relyingParty, tokensOf } from './relying-party.ts';

const SCOPE = 'openid photos.read';

describe('ID tokens', () => {
  let world: World;
  let documents: DocumentServer;
  let keys: Readonly<Record<(typeof encryptionAlgs)[number], EncryptionKey>>;
  beforeAll(async () => {
    world = await startWorld({ env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
    documents = await startDocumentServer();
    keys = {
      'RSA-OAEP-256': await encryptionKey('RSA-OAEP-256'),
      'ECDH-ES': await encryptionKey('ECDH-ES'),
      'ECDH-ES+A256KW': await encryptionKey('ECDH-ES+A256KW'),
    };
  });
  afterAll(async () => {
    await world.close();
    await documents.close();
  });

  const register = (metadata: Record<string, unknown> = {}) =>
    world.client({
      redirect_uris: [WEB_REDIRECT],
      grant_types: ['authorization_code', 'refresh_token'],
      scope: SCOPE,
      ...metadata,
    });

  /** A relying party that registered this, and can open what it gets. */
  async function party(metadata: Record<string, unknown> = {}, key?: EncryptionKey) {
    const client = await register({ ...metadata, ...(key && { jwks: key.jwks }) });
    const { id_token_encrypted_response_enc: enc = 'A128CBC-HS256' } = metadata;
    const configuration = await relyingParty(world, client, { metadata: metadata as Partial<oidc.ClientMetadata> });
    if (key) oidc.enableDecryptingResponses(configuration, [String(enc)], key.decryption);
    return { client, configuration };
  }

  const isSigned = async (jwt: string, clientId: string): Promise<JWTPayload> => {
    const published = createRemoteJWKSet(new URL(`${world.issuer}/jwks`));
    const { payload } = await jwtVerify(jwt, published, {
      issuer: world.issuer,
      audience: clientId,
      currentDate: world.clock.now(),
    });
    return payload;
  };

  describe('encrypted, for a client that registered it', () => {
    const encryptions = encryptionAlgs.flatMap((alg) => encryptionEncs.map((enc) => [alg, enc] as const));
    it.each(encryptions)('with %s and %s, are opened and believed by openid-client', async (alg, enc) => {
      const { client, configuration } = await party(
        { id_token_encrypted_response_alg: alg, id_token_encrypted_response_enc: enc },
        keys[alg],
      );
      const { tokens, checks } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      expect(tokens.claims()).toMatchObject({ sub: world.alice, aud: client.id, nonce: checks.expectedNonce });
      const { text, header } = await keys[alg].open(tokens.id_token ?? '', enc);
      // RFC 7519 §5.2: what is inside is announced.
      expect(header).toMatchObject({ alg, enc, cty: 'JWT', kid: `${alg}-key` });
      expect(header).not.toHaveProperty('zip');
      expect(await isSigned(text, client.id)).toEqual(tokens.claims());
    });

    it.each(signingAlgs)('are signed first, with the registered %s', async (signed) => {
      const { configuration } = await party(
        { id_token_signed_response_alg: signed, id_token_encrypted_response_alg: 'ECDH-ES' },
        keys['ECDH-ES'],
      );
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      expect(tokens.claims()?.sub).toBe(world.alice);
      const { text } = await keys['ECDH-ES'].open(tokens.id_token ?? '', 'A128CBC-HS256');
      expect(decodeProtectedHeader(text)).toMatchObject({ alg: signed, typ: 'JWT' });
    });

    it('are encrypted with A128CBC-HS256 where only alg is registered', async () => {
      const { configuration } = await party({ id_token_encrypted_response_alg: 'RSA-OAEP-256' }, keys['RSA-OAEP-256']);
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      expect(decodeProtectedHeader(tokens.id_token ?? '')).toMatchObject({ alg: 'RSA-OAEP-256', enc: 'A128CBC-HS256' });
    });

    it('are so after a refresh too', async () => {
      const { configuration } = await party(
        { id_token_encrypted_response_alg: 'ECDH-ES+A256KW' },
        keys['ECDH-ES+A256KW'],
      );
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
      expect(decodeProtectedHeader(refreshed.id_token ?? '').alg).toBe('ECDH-ES+A256KW');
      expect(refreshed.claims()?.sub).toBe(world.alice);
    });

    it('serve as a hint by the signed token inside, not as they came (§3.1.2.1)', async () => {
      const key = keys['ECDH-ES'];
      const { client, configuration } = await party({ id_token_encrypted_response_alg: 'ECDH-ES' }, key);
      const { tokens, browser } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      const hinted = async (hint: string) =>
        responseOf(
          await browser.visit(
            authorizePath({
              client_id: client.id,
              redirect_uri: WEB_REDIRECT,
              scope: SCOPE,
              prompt: 'none',
              code_challenge: pkce().challenge,
              id_token_hint: hint,
            }),
          ),
        );
      const { text } = await key.open(tokens.id_token ?? '', 'A128CBC-HS256');
      expect((await hinted(text)).has('code')).toBe(true);
      expect((await hinted(tokens.id_token ?? '')).get('error')).toBe('invalid_request');
    });

    it('use the key at jwks_uri that says it is for encryption', async () => {
      const [first] = keys['RSA-OAEP-256'].jwks.keys;
      const [second] = (await encryptionKey('RSA-OAEP-256')).jwks.keys;
      documents.serve({
        keys: [
          { ...second, kid: 'signs', use: 'sig' },
          { ...first, kid: 'opens' },
        ],
      });
      const { configuration } = await party({
        id_token_encrypted_response_alg: 'RSA-OAEP-256',
        jwks_uri: `${documents.origin}/jwks`,
      });
      const { decryption } = keys['RSA-OAEP-256'];
      oidc.enableDecryptingResponses(configuration, ['A128CBC-HS256'], { ...decryption, kid: 'opens' });
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      expect(tokens.claims()?.sub).toBe(world.alice);
      expect(decodeProtectedHeader(tokens.id_token ?? '').kid).toBe('opens');
    });

    it.each<[string, unknown, number, string]>([
      ['holds no key for it', { keys: [] }, 400, 'invalid_request'],
      ['is away', (response: { destroy(): void }) => response.destroy(), 503, 'temporarily_unavailable'],
    ])(
      'are not sent in the clear when jwks_uri %s, and the code is not lost',
      async (_why, document, status, error) => {
        documents.serve(document);
        const encrypted = { id_token_encrypted_response_alg: 'RSA-OAEP-256', jwks_uri: `${documents.origin}/${error}` };
        const client = await register(encrypted);
        const configuration = await relyingParty(world, client);
        const { callback, checks } = await authorizationOf(configuration, WEB_REDIRECT, SCOPE);
        const redeem = () =>
          post(
            `${world.issuer}/token`,
            {
              grant_type: 'authorization_code',
              code: (callback as URL).searchParams.get('code') ?? '',
              code_verifier: checks.pkceCodeVerifier ?? '',
            },
            { basic: client },
          );
        const failed = await redeem();
        expect([failed.status, failed.json.error]).toEqual([status, error]);
        expect(failed.text).not.toContain('id_token');
        const { sql } = world.running.database;
        const record = await findClientRecord(sql, client.id);
        if (!record) throw new Error('no client');
        const rules = rulesFor(sql, oauth21, world.running.passwords, world.context);
        await changeClient(sql, record, { id_token_encrypted_response_alg: null }, rules, world.clock.now());
        await expect.poll(async () => (await redeem()).status, { timeout: 5000 }).toBe(200);
      },
    );
  });

  it.each<[field: string, why: string, metadata: Record<string, unknown>]>([
    ['id_token_signed_response_alg', 'is no algorithm of the profile', { id_token_signed_response_alg: 'none' }],
    ['id_token_signed_response_alg', 'is no algorithm of the profile', { id_token_signed_response_alg: 'HS256' }],
    ['id_token_encrypted_response_alg', 'must be one of', { id_token_encrypted_response_alg: 'RSA1_5' }],
    ['id_token_encrypted_response_alg', 'must be one of', { id_token_encrypted_response_alg: 'dir' }],
    ['id_token_encrypted_response_alg', 'must be one of', { id_token_encrypted_response_alg: 'PBES2-HS256+A128KW' }],
    ['id_token_encrypted_response_alg', 'needs a key', { id_token_encrypted_response_alg: 'ECDH-ES' }],
    [
      'id_token_encrypted_response_alg',
      'has no key in jwks',
      {
        id_token_encrypted_response_alg: 'RSA-OAEP-256',
        jwks: {
          keys: [
            {
              kty: 'EC',
              crv: 'P-256',
              x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
              y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
            },
          ],
        },
      },
    ],
    ['id_token_encrypted_response_enc', 'needs', { id_token_encrypted_response_enc: 'A256GCM' }],
    [
      'id_token_encrypted_response_enc',
      'must be one of',
      { id_token_encrypted_response_alg: 'ECDH-ES', id_token_encrypted_response_enc: 'A256CTR' },
    ],
  ])('%s is refused: %s', async (field, why, metadata) => {
    await expect(register(metadata)).rejects.toMatchObject({
      code: 'invalid_client_metadata',
      message: expect.stringContaining(`${field}: ${why}`),
    });
  });

  describe('refreshed (§12.2)', () => {
    it('are believed by openid-client: the same iss, sub, aud, auth_time, acr, amr and sid, a new iat, no nonce', async () => {
      const { configuration } = await party();
      const { tokens, checks } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      world.clock.advance(30);
      const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
      const [before, after] = [tokens.claims(), refreshed.claims()];
      if (!before || !after) throw new Error('no ID token');
      const kept = ({ iss, sub, aud, auth_time, acr, amr, sid }: oidc.IDToken) => ({
        ...{ iss, sub, aud, auth_time, acr, amr, sid },
      });
      expect(Object.values(kept(before))).not.toContain(undefined);
      expect(kept(after)).toEqual(kept(before));
      expect(after.iat).toBeGreaterThanOrEqual(before.iat + 30);
      expect(after.exp - after.iat).toBe(before.exp - before.iat);
      expect(before.nonce).toBe(checks.expectedNonce);
      expect(after).not.toHaveProperty('nonce');
      expect(after.at_hash).not.toBe(before.at_hash);
    });

    it('are gone from a refresh that narrows openid away', async () => {
      const { configuration } = await party();
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      const narrowed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '', {
        scope: 'photos.read',
      });
      expect(narrowed.id_token).toBeUndefined();
      const whole = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
      expect(whole.claims()?.sub).toBe(world.alice);
    });

    it('go on with claims that were asked for by name, as they are now', async () => {
      const { configuration } = await party({ scope: `${SCOPE} profile` });
      const claims = JSON.stringify({ id_token: { birthdate: null } });
      const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE, { parameters: { claims } });
      const refreshed = await oidc.refreshTokenGrant(configuration, tokens.refresh_token ?? '');
      expect([tokens.claims()?.birthdate, refreshed.claims()?.birthdate]).toEqual(['1992-05-04', '1992-05-04']);
    });
  });

  describe('about the sign-in (§2)', () => {
    it('has auth_time of when the person signed in, which openid-client holds against max_age', async () => {
      const { configuration } = await party();
      const { browser, tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE);
      world.clock.advance(100);
      const silently = await authorizationOf(configuration, WEB_REDIRECT, SCOPE, {
        browser,
        parameters: { max_age: '1000' },
      });
      const second = await oidc.authorizationCodeGrant(configuration, silently.callback as URL, {
        ...silently.checks,
        maxAge: 1000,
      });
      expect(second.claims()?.auth_time).toBe(tokens.claims()?.auth_time);
      const anew = await authorizationOf(configuration, WEB_REDIRECT, SCOPE, {
        browser,
        parameters: { max_age: '10' },
      });
      const third = await oidc.authorizationCodeGrant(configuration, anew.callback as URL, {
        ...anew.checks,
        maxAge: 10,
      });
      expect(third.claims()?.auth_time).toBeGreaterThanOrEqual(Number(tokens.claims()?.auth_time) + 100);
    });

    it('has a sid of this browser and this client, and neither azp nor c_hash', async () => {
      const [one, other] = [await party(), await party()];
      const browser = new TestBrowser(world);
      const sidsOf = async ({ configuration }: typeof one, by: TestBrowser) => {
        const { tokens } = await tokensOf(configuration, WEB_REDIRECT, SCOPE, { browser: by });
        const claims = decodeJwt(tokens.id_token ?? '');
        expect(claims).not.toHaveProperty('azp');
        expect(claims).not.toHaveProperty('c_hash');
        return claims.sid;
      };
      const here = await sidsOf(one, browser);
      expect(here).toMatch(/^[\w-]{43}$/);
      expect(await sidsOf(one, browser)).toBe(here);
      expect(await sidsOf(other, browser)).not.toBe(here);
      expect(await sidsOf(one, new TestBrowser(world))).not.toBe(here);
    });
  });
});
