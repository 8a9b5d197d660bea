/** Certificate-bound tokens, RFC 8705 §3: over TLS of the API's own, and behind a proxy that says whose connection it was. */
import { execFile } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';
import { makeProofKey, prove } from './proof-key.ts';

interface Identity {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly x509: X509Certificate;
  readonly thumbprint: string;
}

const bindings = ['none', 'dpop', 'mtls'] as const;

let folder: string;
let issuer: ForeignIssuer;
let alice: Identity;
let renewed: Identity;
let mallory: Identity;
let tls: { cert: Buffer; key: Buffer; requestCert: boolean; rejectUnauthorized: boolean };
let api: Api;
let opaqueApi: Api;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mutual-tls-'));
  issuer = await ForeignIssuer.start();
  [alice, mallory] = [await identity('alice'), await identity('mallory')];
  renewed = await renewal('alice');
  tls = { cert: alice.cert, key: alice.key, requestCert: true, rejectUnauthorized: false };
  api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, bindings }, tls);
  const token = { kind: 'introspection', ...issuer.client } as const;
  opaqueApi = await startApi({ issuer: issuer.issuer, token, bindings }, tls);
});
afterAll(async () => {
  await api.close();
  await opaqueApi.close();
  await issuer.close();
  await rm(folder, { recursive: true });
});

async function identity(name: string): Promise<Identity> {
  const files = await makeCertificate(join(folder, name));
  return read(files);
}

async function read(files: { cert: string; key: string }): Promise<Identity> {
  const [cert, key] = [await readFile(files.cert), await readFile(files.key)];
  const x509 = new X509Certificate(cert);
  return { cert, key, x509, thumbprint: createHash('sha256').update(x509.raw).digest('base64url') };
}

/** Another certificate with the same key and subject. */
async function renewal(name: string): Promise<Identity> {
  const files = { cert: join(folder, `${name}-2.crt`), key: join(folder, `${name}.key`) };
  const same = ['-key', files.key, '-subj', '/CN=localhost', '-days', '2', '-out', files.cert];
  await promisify(execFile)('openssl', ['req', '-x509', ...same]);
  return read(files);
}

const claimsFor = (to: Identity) => ({ ...issuer.claims(RESOURCE), cnf: { 'x5t#S256': to.thumbprint } });

/** Asks an API over TLS, with a client certificate or without. */
function ask(of: Api, headers: Record<string, string>, client?: Identity): Promise<{ status: number; error: string }> {
  return new Promise((resolve, reject) => {
    const own = client ? { cert: client.cert, key: client.key } : {};
    const options = { headers, agent: false as const, rejectUnauthorized: false, ...own };
    httpsRequest(`${of.origin}/photos`, options, async (response) => {
      const text = (await response.toArray()).join('');
      resolve({ status: response.statusCode ?? 0, error: JSON.parse(text).error });
    })
      .on('error', reject)
      .end();
  });
}

describe('over the TLS of the API', () => {
  test('RFC8705-3: accepts a JWT with its certificate, in the Bearer scheme', async () => {
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    expect((await ask(api, { authorization }, alice)).status).toBe(200);
    // fapi2-security-profile-final-access-token-type-header-case-sensitivity
    expect((await ask(api, { authorization: authorization.replace('Bearer', 'bEARER') }, alice)).status).toBe(200);
  });

  test('RFC8705-3.2: accepts an opaque token whose certificate introspection names', async () => {
    issuer.introspected.set('opaque', { active: true, ...claimsFor(alice) });
    expect((await ask(opaqueApi, { authorization: 'Bearer opaque' }, alice)).status).toBe(200);
    expect((await ask(opaqueApi, { authorization: 'Bearer opaque' }, mallory)).status).toBe(401);
    expect((await ask(opaqueApi, { authorization: 'Bearer opaque' })).status).toBe(401);
  });

  test('RFC8705-3: refuses another certificate, also of the same key and subject, and none', async () => {
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    for (const client of [mallory, renewed, undefined]) {
      expect(await ask(api, { authorization }, client)).toEqual({ status: 401, error: 'invalid_token' });
    }
  });

  test('believes no header about the certificate', async () => {
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    const said = { 'client-cert': `:${alice.x509.raw.toString('base64')}:`, 'x-ssl-client-cert': 'x' };
    expect((await ask(api, { authorization, ...said }, mallory)).status).toBe(401);
  });

  test('an unbound token passes with any certificate', async () => {
    const authorization = `Bearer ${await issuer.sign(issuer.claims(RESOURCE))}`;
    expect((await ask(api, { authorization }, mallory)).status).toBe(200);
  });

  test('refuses it as DPoP, and refuses any binding but the one it knows', async () => {
    const key = await makeProofKey();
    const token = await issuer.sign(claimsFor(alice));
    const dpop = await prove(key, 'GET', `${RESOURCE}/photos`, token);
    expect((await ask(api, { authorization: `DPoP ${token}`, dpop }, alice)).error).toBe('invalid_token');
    const { thumbprint } = alice;
    for (const cnf of [{ 'x5t#S256': '' }, { 'x5t#S256': null }, { x5t: thumbprint }, { 'X5T#S256': thumbprint }]) {
      const authorization = `Bearer ${await issuer.sign({ ...issuer.claims(RESOURCE), cnf })}`;
      expect((await ask(api, { authorization }, alice)).error).toBe('invalid_token');
    }
  });

  test('a token bound to a key and a certificate needs both', async () => {
    const key = await makeProofKey();
    const cnf = { jkt: key.jkt, 'x5t#S256': alice.thumbprint };
    const token = await issuer.sign({ ...issuer.claims(RESOURCE), cnf });
    const headers = async () => ({
      authorization: `DPoP ${token}`,
      dpop: await prove(key, 'GET', `${RESOURCE}/photos`, token),
    });
    expect((await ask(api, await headers(), alice)).status).toBe(200);
    expect((await ask(api, await headers(), mallory)).error).toBe('invalid_token');
    expect((await ask(api, { authorization: `Bearer ${token}` }, alice)).error).toBe('invalid_token');
  });

  test('refuses a certificate that has expired', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 3 * 24 * 3600_000);
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    const late = await ask(api, { authorization }, alice);
    vi.useRealTimers();
    expect(late).toEqual({ status: 401, error: 'invalid_token' });
  });

  test('an API that does not list mtls refuses certificate-bound tokens', async () => {
    const plain = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } }, tls);
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    expect((await ask(plain, { authorization }, alice)).error).toBe('invalid_token');
    await plain.close();
  });

  test('plain http shows no certificate', async () => {
    const plain = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, bindings });
    const authorization = `Bearer ${await issuer.sign(claimsFor(alice))}`;
    expect((await plain.ask('GET', '/photos', { authorization })).status).toBe(401);
    await plain.close();
  });
});

describe('behind a proxy (RFC 9440), by a function of the API', () => {
  test('takes the certificate that the function reads, and not that of the connection from the proxy', async () => {
    const behind = await startApi(
      {
        issuer: issuer.issuer,
        token: { kind: 'jwt' },
        bindings: ['mtls'],
        clientCertificate: ({ headers }) => {
          const [, base64] = /^:([A-Za-z0-9+/=]+):$/.exec(String(headers['client-cert'])) ?? [];
          return base64 === undefined ? undefined : new X509Certificate(Buffer.from(base64, 'base64'));
        },
      },
      tls,
    );
    const token = await issuer.sign(claimsFor(alice));
    const from = (client: Identity) => ({ 'client-cert': `:${client.x509.raw.toString('base64')}:` });
    const authorization = `Bearer ${token}`;
    expect((await ask(behind, { authorization, ...from(alice) }, mallory)).status).toBe(200);
    expect((await ask(behind, { authorization, ...from(mallory) }, alice)).status).toBe(401);
    expect((await ask(behind, { authorization }, alice)).status, 'nothing said').toBe(401);
    await behind.close();
  });
});
