/**
 * Three server processes that share nothing but PostgreSQL behave as one, whichever of them is asked: what one is told all
 * know, what one has given all take, and what may happen once happens once.
 */
import { randomUUID } from 'node:crypto';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { query } from '../support/attack-aftermath.ts';
import { type ProcessNodes, startProcesses } from '../support/attack-nodes.ts';
import { authorizePath, decide, formTo, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { type ClientKey, clientKey } from '../support/client-key.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { LogoutReceiver } from '../support/logout-receiver.ts';
import { type ProofKey, proofFor, proofKey } from '../support/proof-key.ts';
import { heardOf } from '../support/server.ts';

// Commands are processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const API = 'https://storage.example';
const CALLBACK = 'https://web.example/callback';
const CLOCK = { now: () => new Date(), advance: () => undefined };

interface Client {
  readonly id: string;
  readonly secret: string;
}

let processes: ProcessNodes;
let urls: string[];
let api: Client;
let web: Client;
let batch: Client;
let receiver: LogoutReceiver;

/** A command of the operator, beside the servers. */
async function operate(parameters: string[], input?: unknown): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await gatehouse(parameters, {
    env: { ...processes.env },
    ...(input !== undefined && { input: JSON.stringify(input) }),
  });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function client(metadata: Record<string, unknown>): Promise<Client> {
  const created = await operate(['clients', 'create', '--file', '-'], metadata);
  return { id: String(created.client_id), secret: String(created.client_secret ?? '') };
}

beforeAll(async () => {
  processes = await startProcesses({ GATEHOUSE_DPOP_NONCE: 'on', GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
  const third = await processes.start();
  urls = [...processes.nodes, third].map(({ url }) => url);
  receiver = await LogoutReceiver.start();
  api = await client({ client_id: 'storage-api', grant_types: [] });
  await operate(['resources', 'create', '--file', '-'], {
    resource: API,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  });
  web = await client({
    client_id: 'web',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid storage.read',
    backchannel_logout_uri: receiver.uri,
  });
  batch = await client({ client_id: 'batch', grant_types: ['client_credentials'], scope: 'storage.read' });
  await operate(['users', 'create', '--file', '-'], { username: 'alice', password: 'wonderland' });
  await operate(['users', 'create', '--file', '-'], { username: 'bob', password: 'the-builder' });
});
afterAll(async () => {
  await receiver.close();
  await processes.close();
});

/** The same at each of the three, at once. */
const everywhere = <T>(work: (url: string) => Promise<T>): Promise<T[]> => Promise.all(urls.map(work));

const tokenOf = (url: string, { id, secret }: Client) =>
  post(`${url}/token`, { grant_type: 'client_credentials', resource: API }, { basic: { id, secret } });

const activeAt = async (token: unknown) =>
  (await everywhere((url) => post(`${url}/token_info`, { token: String(token) }, { basic: api }))).map(
    ({ json }) => json.active,
  );

/** Waits until all three answer so. */
async function agreed<T>(ask: (url: string) => Promise<T>, expected: T): Promise<void> {
  await heardOf(async () => (await everywhere(ask)).every((answer) => answer === expected));
  // And nobody falls back behind it.
  expect(await everywhere(ask)).toEqual(urls.map(() => expected));
}

/** A browser behind a balancer that sends each request to another node. */
function roaming(first = 0): TestBrowser {
  let turn = first;
  return new TestBrowser({ issuer: processes.issuer }, (address, init) => {
    const { pathname, search } = new URL(String(address));
    turn += 1;
    return fetch(`${urls[turn % urls.length]}${pathname}${search}`, init);
  });
}

async function code(browser: TestBrowser) {
  const { verifier, challenge } = pkce();
  let page = await browser.visit(
    authorizePath({
      client_id: web.id,
      redirect_uri: CALLBACK,
      scope: 'openid storage.read',
      code_challenge: challenge,
    }),
  );
  if (new URL(page.url).pathname === '/login') page = await signIn(browser, page);
  if (new URL(page.url).pathname === '/consent') page = await decide(browser, page);
  return { code: responseOf(page).get('code') ?? '', verifier };
}

const redeem = (url: string, flow: { code: string; verifier: string }) =>
  post(
    `${url}/token`,
    { grant_type: 'authorization_code', code: flow.code, code_verifier: flow.verifier, redirect_uri: CALLBACK },
    { basic: web },
  );

describe('what the operator changes is known to all:', () => {
  it('a client that is made, given another secret, disabled, enabled and deleted', async () => {
    const made = await client({ client_id: 'made', grant_types: ['client_credentials'], scope: 'storage.read' });
    const statusFor = (secret: string) => async (url: string) => (await tokenOf(url, { ...made, secret })).status;
    await agreed(statusFor(made.secret), 200);
    const rotated = await operate(['clients', 'rotate-secret', made.id, '--overlap', '0']);
    const secret = String(rotated.client_secret);
    await agreed(statusFor(secret), 200);
    await agreed(statusFor(made.secret), 401);
    await operate(['clients', 'update', made.id, '--disable']);
    await agreed(statusFor(secret), 401);
    await operate(['clients', 'update', made.id, '--enable']);
    await agreed(statusFor(secret), 200);
    await operate(['clients', 'update', made.id, '--file', '-'], { grant_types: [] });
    await agreed(async (url) => (await tokenOf(url, { ...made, secret })).json.error, 'unauthorized_client');
    await operate(['clients', 'delete', made.id]);
    await agreed(statusFor(secret), 401);
  });

  it('an API whose tokens become JWTs, and opaque again', async () => {
    const formOf = async (url: string) => String((await tokenOf(url, batch)).json.access_token).slice(0, 8);
    await agreed(formOf, 'gate_at_');
    await operate(['resources', 'update', API, '--file', '-'], { access_token_format: 'jwt' });
    await heardOf(async () => (await everywhere(formOf)).every((begin) => begin.startsWith('ey')));
    await operate(['resources', 'update', API, '--file', '-'], { access_token_format: 'opaque' });
    await agreed(formOf, 'gate_at_');
  });

  it('keys that are rotated: one JWKS, one key that signs, and what the old one signed still counts', async () => {
    const jwks = async (url: string) => JSON.stringify(await (await fetch(`${url}/jwks`)).json());
    const idToken = async (url: string) => String((await redeem(url, await code(roaming()))).json.id_token);
    const before = await jwks(urls[0] ?? '');
    const old = await idToken(urls[0] ?? '');
    await agreed(jwks, before);
    await operate(['keys', 'rotate']);
    await heardOf(async () => {
      const sets = await everywhere(jwks);
      return new Set(sets).size === 1 && sets[0] !== before;
    });
    const published = JSON.parse(await jwks(urls[2] ?? '')) as JSONWebKeySet;
    const fresh = await everywhere(idToken);
    const kids = new Set(fresh.map((token) => decodeProtectedHeader(token).kid));
    expect(kids.size).toBe(1);
    expect(kids).not.toContain(decodeProtectedHeader(old).kid);
    for (const token of [old, ...fresh])
      await jwtVerify(token, createLocalJWKSet(published), { issuer: processes.issuer, audience: web.id });
    // Each takes what another one signed with the key of before.
    const hinted = await everywhere((url) => fetch(`${url}/logout?id_token_hint=${old}`, { redirect: 'manual' }));
    const odd = await everywhere((url) => fetch(`${url}/logout?id_token_hint=${old}x`, { redirect: 'manual' }));
    expect(hinted.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(odd.map(({ status }) => status)).toEqual([400, 400, 400]);
  });
});

describe('what one gave', () => {
  it('all end at once, whoever is told: opaque tokens and signed ones', async () => {
    for (const format of ['opaque', 'jwt']) {
      await operate(['resources', 'update', API, '--file', '-'], { access_token_format: format });
      const isSo = async (url: string) =>
        String((await tokenOf(url, batch)).json.access_token).startsWith('gate_at_') === (format === 'opaque');
      await agreed(isSo, true);
      for (const [index, url] of urls.entries()) {
        const token = String((await tokenOf(url, batch)).json.access_token);
        expect(await activeAt(token)).toEqual([true, true, true]);
        expect((await post(`${urls[(index + 1) % 3]}/revoke`, { token }, { basic: batch })).status).toBe(200);
        expect(await activeAt(token)).toEqual([false, false, false]);
      }
    }
    await operate(['resources', 'update', API, '--file', '-'], { access_token_format: 'opaque' });
  });

  it('a code is redeemed anywhere, and of three that try at once one succeeds', async () => {
    for (let round = 0; round < 6; round += 1) {
      const browser = roaming(round);
      expect((await redeem(urls[round % 3] ?? '', await code(browser))).status).toBe(200);
      const flow = await code(browser);
      const answers = await everywhere((url) => redeem(url, flow));
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400, 400]);
      const refused = answers.filter(({ status }) => status === 400);
      expect(refused.map(({ json }) => json.error)).toEqual(['invalid_grant', 'invalid_grant']);
    }
  });

  it('nonces of DPoP count at the others, and a proof that one has seen is no use at them', async () => {
    const key: ProofKey = await proofKey();
    const proof = (nonce?: string) =>
      proofFor({ issuer: processes.issuer, clock: CLOCK }, key, ['POST', '/token'], {
        ...(nonce !== undefined && { claims: { nonce } }),
      });
    const ask = (url: string, dpop: string) =>
      post(`${url}/token`, { grant_type: 'client_credentials', resource: API }, { basic: batch, headers: { dpop } });
    for (const url of urls) {
      const first = await ask(url, await proof());
      expect(first.json.error).toBe('use_dpop_nonce');
      const nonce = first.headers.get('dpop-nonce') ?? '';
      // Each of the three, with a proof of its own.
      const given = await everywhere(async (other) => ask(other, await proof(nonce)));
      expect(given.map(({ status }) => status)).toEqual([200, 200, 200]);
      // One proof, at all of them at once, and again.
      const one = await proof(nonce);
      const raced = await everywhere((other) => ask(other, one));
      expect(raced.map(({ status }) => status).toSorted()).toEqual([200, 400, 400]);
      for (const late of await everywhere((other) => ask(other, one)))
        expect([late.status, late.json.error]).toEqual([400, 'invalid_dpop_proof']);
    }
  });

  it('an assertion is taken once, by one of them', async () => {
    const key: ClientKey = await clientKey();
    const keyed = await client({
      client_id: 'keyed',
      grant_types: ['client_credentials'],
      scope: 'storage.read',
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [key.jwk] },
    });
    const assertion = () => {
      const now = Math.floor(Date.now() / 1000);
      const claims = { iss: keyed.id, sub: keyed.id, aud: processes.issuer, jti: randomUUID(), exp: now + 60 };
      return key.sign({ ...claims, iat: now });
    };
    const ask = (url: string, client_assertion: string) =>
      post(`${url}/token`, {
        grant_type: 'client_credentials',
        resource: API,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion,
      });
    await heardOf(async () =>
      (await everywhere(async (url) => ask(url, await assertion()))).every(({ status }) => status === 200),
    );
    for (let round = 0; round < 5; round += 1) {
      const one = await assertion();
      const raced = await everywhere((url) => ask(url, one));
      expect(raced.map(({ status }) => status).toSorted()).toEqual([200, 401, 401]);
      for (const late of await everywhere((url) => ask(url, one)))
        expect([late.status, late.json.error]).toEqual([401, 'invalid_client']);
    }
  });
});

describe('a person', () => {
  it('goes on at another node with each request: the page, its form, the session', async () => {
    for (let first = 0; first < urls.length; first += 1) {
      const browser = roaming(first);
      const { json } = await redeem(urls[first] ?? '', await code(browser));
      expect(await activeAt(json.access_token)).toEqual([true, true, true]);
      // Signed in at all of them by now: no page is shown again.
      for (const url of urls) {
        const there = new TestBrowser({ issuer: url });
        for (const [name, value] of browser.cookies) there.cookies.set(name, value);
        expect((await there.visit('/account')).url).toBe(`${url}/account`);
        expect((await code(browser)).code).toMatch(/^gate_ac_/);
      }
    }
  });

  it('who guesses passwords is counted by all of them together', async () => {
    const guess = async (turn: number, password: string) => {
      const browser = roaming(turn);
      const form = formTo(await browser.visit('/login'), '/login');
      return (await browser.send('POST', form.action, { ...form.fields, username: 'bob', password })).status;
    };
    const answers: number[] = [];
    for (let turn = 0; turn < 10; turn += 1) answers.push(await guess(turn, 'wrong'));
    expect(answers).toEqual(Array(10).fill(400));
    // Now the right one, at each of them: none lets it in.
    expect(await Promise.all([0, 1, 2].map((turn) => guess(turn, 'the-builder')))).toEqual([429, 429, 429]);
  });

  it('who signs out is told of once, by one of them', async () => {
    receiver.received.splice(0);
    await query(processes, 'UPDATE sign_ins SET ended_at = now() WHERE ended_at IS NULL');
    const settled = async () => {
      // In this order: what was announced meanwhile is open then.
      const unannounced = await query(processes, 'SELECT 1 FROM sign_ins WHERE announced_at IS NULL');
      const open = await query(processes, 'SELECT 1 FROM logout_deliveries WHERE next_attempt_at IS NOT NULL');
      return open.length + unannounced.length === 0;
    };
    await heardOf(settled);
    const earlier = receiver.received.length;
    const [{ count: deliveries = -1 } = {}] = await query<{ count: number }>(
      processes,
      'SELECT count(*)::int AS count FROM logout_deliveries',
    );
    expect(deliveries).toBeGreaterThan(0);
    const people = await Promise.all(
      Array.from({ length: 9 }, async (_, index) => {
        const browser = roaming(index);
        const { json } = await redeem(urls[index % 3] ?? '', await code(browser));
        return { browser, hint: String(json.id_token) };
      }),
    );
    await Promise.all(people.map(({ browser, hint }) => browser.visit(`/logout?id_token_hint=${hint}`)));
    await heardOf(async () => (await settled()) && receiver.received.length >= earlier + people.length);
    const told = await query<{ attempts: number; delivered: boolean }>(
      processes,
      'SELECT attempts, delivered_at IS NOT NULL AS delivered FROM logout_deliveries',
    );
    expect(told).toEqual(Array(deliveries + people.length).fill({ attempts: 1, delivered: true }));
    expect(receiver.received).toHaveLength(earlier + people.length);
    expect(new Set(receiver.received.map(({ token }) => token)).size).toBe(receiver.received.length);
  });
});
