/** Negative test 11: a certificate that is not the caller's, not the registered one, not valid, or not there. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, decide, pkce, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { type CertificateFiles, makeAuthority } from '../support/certificate.ts';
import {
  base64Of,
  CALLBACK,
  type MtlsWorld,
  PROXY,
  type ProxiedWorld,
  STRANGER,
  startMtlsWorld,
  startProxiedWorld,
} from '../support/mtls-world.ts';

const MACHINE = { grant_types: ['client_credentials'], scope: 'things.read' };
const ASK = { grant_type: 'client_credentials', client_id: 'app' };
const SUBJECT = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE' };
const BOUND = { tls_client_certificate_bound_access_tokens: true };

describe('behind a proxy', () => {
  let world: ProxiedWorld;
  let header: string;
  beforeAll(async () => {
    world = await startProxiedWorld('rfc9440');
    header = `:${base64Of(await world.issued())}:`;
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
  });
  afterAll(() => world.close());

  const refusal = async (...asked: Parameters<ProxiedWorld['relay']>) => {
    const { status, json } = await world.relay(...asked);
    expect(json).not.toHaveProperty('access_token');
    return [status, json.error];
  };

  it('the header counts from the proxy, which makes the refusals below mean something', async () => {
    expect((await world.relay(ASK, { 'client-cert': header })).status).toBe(200);
  });

  it('a header from somebody else is not read, whoever he says he is, and is logged', async () => {
    const before = world.log.length;
    for (const claim of [{}, { 'x-forwarded-for': PROXY }, { forwarded: `for=${PROXY}` }, { 'x-real-ip': PROXY }])
      expect(await refusal(ASK, { 'client-cert': header, ...claim }, { from: STRANGER })).toEqual([
        401,
        'invalid_client',
      ]);
    const warned = world.log.slice(before).filter((line) => line.includes('does not count here'));
    expect(warned).toHaveLength(4);
    for (const line of warned) {
      expect(JSON.parse(line)).toMatchObject({ peer: STRANGER });
      expect(line).not.toContain(header.slice(1, 40));
    }
  });

  it('a header of another form, or another name, is nothing', async () => {
    const names = ['x-forwarded-client-cert', 'ssl-client-cert', 'x-ssl-cert', 'client_cert', 'client-cert-chain'];
    for (const name of names) expect(await refusal(ASK, { [name]: header })).toEqual([401, 'invalid_client']);
  });

  it('a header that comes twice is refused, equal or not', async () => {
    const other = `:${base64Of(await world.selfSigned())}:`;
    for (const twice of [
      [header, header],
      [header, other],
      [other, header],
      ['', header],
    ])
      expect(await refusal(ASK, { 'client-cert': twice })).toEqual([400, 'invalid_request']);
  });

  it('a certificate with the same subject by another authority of the same name is refused', async () => {
    const path = world.authority.cert.replace(/\.crt$/, '-impostor');
    const impostor = await makeAuthority(path);
    const forged = await impostor.issue(`${path}-client`);
    expect(await refusal(ASK, { 'client-cert': `:${base64Of(forged)}:` })).toEqual([401, 'invalid_client']);
  });
});

describe('with our own TLS', () => {
  let world: MtlsWorld;
  let own: CertificateFiles;
  let door: string;
  beforeAll(async () => {
    world = await startMtlsWorld('own');
    own = await world.issued();
    door = new URL((world.metadata.mtls_endpoint_aliases as Record<string, string>).token_endpoint ?? '').origin;
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
    await world.client({
      client_id: 'web',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code'],
      scope: 'openid',
      ...SUBJECT,
      ...BOUND,
    });
  });
  afterAll(() => world.close());

  const ask = async (certificate?: CertificateFiles, where = `${door}/token`) => {
    const { status, json } = await world.post(where, ASK, certificate);
    return [status, json.error];
  };

  async function boundToken(): Promise<unknown> {
    const browser = new TestBrowser(world, world.fetchAs());
    const { verifier, challenge } = pkce();
    const asked = { client_id: 'web', redirect_uri: CALLBACK, scope: 'openid', code_challenge: challenge };
    let page = await signIn(browser, await browser.visit(authorizePath(asked)));
    if (page.url.includes('/consent')) page = await decide(browser, page);
    const fields = {
      grant_type: 'authorization_code',
      client_id: 'web',
      code: responseOf(page).get('code') ?? '',
      code_verifier: verifier,
      redirect_uri: CALLBACK,
    };
    return (await world.post(`${door}/token`, fields, own)).json.access_token;
  }

  it('a header says nothing here, at either port', async () => {
    const stranger = await world.selfSigned();
    for (const where of [door, world.issuer]) {
      const response = await world.fetchAs(stranger)(`${where}/token`, {
        method: 'POST',
        headers: { 'client-cert': `:${base64Of(own)}:` },
        body: new URLSearchParams(ASK),
      });
      expect(response.status).toBe(401);
    }
  });

  it.each<[string, string]>([
    ['has the same subject and signed itself', '/C=DE/O=Example/CN=app'],
    ['has the same subject in another order', '/CN=app/O=Example/C=DE'],
    ['has the subject in one attribute', '/CN=app,O=Example,C=DE'],
    ['has the subject and more', '/C=DE/O=Example/CN=app/CN=admin'],
    ['has another case', '/C=DE/O=Example/CN=App'],
  ])('a certificate that %s is refused', async (what, subject) => {
    expect(await ask(own)).toEqual([200, undefined]);
    const certificate = what.includes('itself') ? await world.selfSigned({ subject }) : await world.issued({ subject });
    expect(await ask(certificate)).toEqual([401, 'invalid_client']);
  });

  it('a name that was smuggled into another field of the certificate is not the registered one', async () => {
    await world.client({
      client_id: 'by-uri',
      ...MACHINE,
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'app.example',
    });
    const fields = { ...ASK, client_id: 'by-uri' };
    const right = await world.issued({ names: 'DNS:app.example' });
    expect((await world.post(`${door}/token`, fields, right)).status).toBe(200);
    for (const names of [
      'URI:https://x.example/?DNS:app.example',
      'email:app.example@x.example',
      'DNS:app.example.x.example',
      'DNS:*.example',
      '@section\n[section]\nURI=https://x.example/?a, DNS:app.example',
      '@section\n[section]\notherName=1.2.3.4;UTF8:x, DNS:app.example',
    ]) {
      const smuggled = await world.issued({ names, subject: '/CN=app.example' });
      expect([names, (await world.post(`${door}/token`, fields, smuggled)).status]).toEqual([names, 401]);
    }
  });

  it('an expired certificate is refused, and so is one that is not valid yet', async () => {
    expect(await ask(await world.issued({ days: -1 }))).toEqual([401, 'invalid_client']);
    expect(await ask(own)).toEqual([200, undefined]);
    // The handshake was good; by the time of the request the certificate is not.
    world.clock.advance(3 * 86_400);
    expect(await ask(own)).toEqual([401, 'invalid_client']);
    world.clock.advance(-4 * 86_400);
    expect(await ask(own)).toEqual([401, 'invalid_client']);
    world.clock.advance(86_400);
  });

  it('a stolen bound token is nothing over plain TLS, with another certificate, or in another form', async () => {
    const token = await boundToken();
    const used = async (certificate: CertificateFiles | undefined, origin: string) => {
      const { status, json } = await world.userinfo(token, certificate, origin);
      return [status, json.error];
    };
    expect(await used(own, door)).toEqual([200, undefined]);
    const refused = [401, 'invalid_token'];
    expect(await used(undefined, world.issuer)).toEqual(refused);
    expect(await used(undefined, door)).toEqual(refused);
    expect(await used(own, world.issuer)).toEqual(refused);
    expect(await used(await world.issued(), door)).toEqual(refused);
    const inForm = await world.fetchAs()(`${door}/userinfo`, {
      method: 'POST',
      body: new URLSearchParams({ access_token: String(token) }),
    });
    expect(inForm.status).toBe(401);
    const asDpop = await world.fetchAs(own)(`${door}/userinfo`, { headers: { authorization: `DPoP ${token}` } });
    expect(asDpop.status).toBe(401);
  });

  it('a bound token and an expired certificate of its own: refused', async () => {
    const short = await world.selfSigned({ days: 1 });
    const { id, secret } = await world.client({
      client_id: 'short',
      ...MACHINE,
      token_endpoint_auth_method: 'client_secret_post',
      ...BOUND,
    });
    const fields = { ...ASK, client_id: id, client_secret: secret };
    expect((await world.post(`${door}/token`, fields, short)).status).toBe(200);
    world.clock.advance(2 * 86_400);
    const { status, json } = await world.post(`${door}/token`, fields, short);
    expect([status, json.error]).toEqual([400, 'invalid_request']);
    world.clock.advance(-2 * 86_400);
  });

  it('nothing of a certificate or key gets into the log', () => {
    const body = base64Of(own);
    const log = world.log.join('\n');
    expect(log).not.toContain(body.slice(100, 140));
    expect(log).not.toContain(readFileSync(own.key, 'utf8').slice(40, 80));
  });
});
