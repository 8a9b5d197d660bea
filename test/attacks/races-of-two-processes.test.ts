/**
 * The attacker is fast: the same code, the same refresh token, a revocation and a use of what it revokes, all at once,
 * at two server processes that share nothing but PostgreSQL. Stopped by: every change of state is one guarded statement;
 * what only one may have, one gets, and what is over on one node is over on all, also after they have been started anew.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { registerClient } from '../../src/operator/clients.ts';
import { registerResource } from '../../src/operator/resources.ts';
import { registerUser } from '../../src/operator/users.ts';
import { type Database, openDatabase } from '../../src/postgres/database.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { Passwords } from '../../src/protocol/secrets.ts';
import { systemContext } from '../../src/system-context.ts';
import { query } from '../support/attack-aftermath.ts';
import { type ProcessNodes, startProcesses } from '../support/attack-nodes.ts';
import { authorizePath, decide, formTo, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';

const API = 'https://storage.example';
const SPA = { id: 'spa', redirectUri: 'https://spa.example/callback' };
const WEB = { id: 'web', redirectUri: 'https://web.example/callback' };

describe('races of two server processes on one PostgreSQL', () => {
  let processes: ProcessNodes;
  let database: Database;
  let webSecret: string;
  let apiSecret: string;

  beforeAll(async () => {
    processes = await startProcesses();
    database = openDatabase({ url: processes.databaseUrl, poolMax: 2, prepared: false });
    const passwords = new Passwords();
    const rules = rulesFor(database.sql, oauth21, passwords, systemContext);
    const client = async (metadata: Record<string, unknown>) =>
      (await registerClient(database.sql, metadata, rules, systemContext)).clientSecret ?? '';
    apiSecret = await client({ client_id: 'storage-api', grant_types: [] });
    await registerResource(
      database.sql,
      {
        resource: API,
        name: 'Storage',
        scopes: { 'storage.read': 'Read your files' },
        access_token_format: 'opaque',
        introspection_clients: ['storage-api'],
      },
      { profile: oauth21, issuer: 'https://gate.example' },
      systemContext.now(),
    );
    const shared = { grant_types: ['authorization_code', 'refresh_token'], scope: 'openid storage.read' };
    webSecret = await client({
      ...shared,
      client_id: WEB.id,
      redirect_uris: [WEB.redirectUri],
      token_endpoint_auth_method: 'client_secret_post',
    });
    await client({
      ...shared,
      client_id: SPA.id,
      redirect_uris: [SPA.redirectUri],
      token_endpoint_auth_method: 'none',
    });
    const alice = { username: 'alice', password: 'wonderland', claims: {} };
    await registerUser(database.sql, alice, { passwordMin: 1, passwords }, systemContext);
  });
  afterAll(async () => {
    await database.close();
    await processes.close();
  });

  const at = (index: number) => (index % 2 === 0 ? processes.nodes[0] : processes.nodes[1]).url;
  const clientFields = (client: typeof WEB) =>
    client === SPA ? { client_id: SPA.id } : { client_id: WEB.id, client_secret: webSecret };

  async function code(client: typeof WEB, browser = new TestBrowser({ issuer: processes.issuer })) {
    const { verifier, challenge } = pkce();
    let page = await browser.visit(
      authorizePath({
        client_id: client.id,
        redirect_uri: client.redirectUri,
        scope: 'openid storage.read',
        code_challenge: challenge,
      }),
    );
    if (page.url.includes('/login')) page = await signIn(browser, page);
    if (page.url.includes('/consent')) page = await decide(browser, page);
    return { code: responseOf(page).get('code') ?? '', verifier, browser };
  }

  const redeem = (client: typeof WEB, flow: { code: string; verifier: string }, node = 0) =>
    post(`${at(node)}/token`, {
      grant_type: 'authorization_code',
      code: flow.code,
      code_verifier: flow.verifier,
      ...clientFields(client),
    });

  const refresh = (client: typeof WEB, refresh_token: string, node = 0) =>
    post(`${at(node)}/token`, { grant_type: 'refresh_token', refresh_token, ...clientFields(client) });

  const revoke = (client: typeof WEB, token: string, node = 0) =>
    post(`${at(node)}/revoke`, { token, ...clientFields(client) });

  /** Whether anybody is still told that the token is good, by either node. */
  async function active(token: unknown): Promise<boolean> {
    if (typeof token !== 'string') return false;
    const answers = await Promise.all(
      [0, 1].map((node) =>
        post(`${at(node)}/token_info`, { token }, { basic: { id: 'storage-api', secret: apiSecret } }),
      ),
    );
    return answers.some(({ json }) => json.active === true);
  }

  const many = <T>(count: number, work: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, index) => work(index)));

  it.each([
    ['public', SPA],
    ['confidential', WEB],
  ])(
    'fifty redemptions of one code by a %s client: one success, and its tokens dead afterwards',
    async (_name, client) => {
      for (let round = 0; round < 3; round += 1) {
        const flow = await code(client);
        const answers = await many(50, (index) => redeem(client, flow, index));
        const won = answers.filter(({ status }) => status === 200);
        expect(won).toHaveLength(1);
        expect(new Set(answers.filter(({ status }) => status !== 200).map(({ json }) => json.error))).toEqual(
          new Set(['invalid_grant']),
        );
        expect(await active(won[0]?.json.access_token)).toBe(false);
        expect((await refresh(client, won[0]?.json.refresh_token as string, 1)).json.error).toBe('invalid_grant');
      }
    },
  );

  it('a hundred uses of one refresh token: the same successor for all, and it works', async () => {
    for (let round = 0; round < 3; round += 1) {
      const issued = (await redeem(SPA, await code(SPA))).json;
      const answers = await many(100, (index) => refresh(SPA, issued.refresh_token as string, index));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      const successors = new Set(answers.map(({ json }) => json.refresh_token));
      expect(successors.size).toBe(1);
      // Every one of the hundred access tokens is real.
      expect(await active(answers[0]?.json.access_token)).toBe(true);
      expect(await active(answers[99]?.json.access_token)).toBe(true);
      expect((await refresh(SPA, [...successors][0] as string, round)).status).toBe(200);
    }
  });

  it.each([
    ['public', SPA],
    ['confidential', WEB],
  ])('revocation against refresh by a %s client: afterwards nothing is active', async (_name, client) => {
    for (let round = 0; round < 3; round += 1) {
      const issued = (await redeem(client, await code(client))).json;
      const token = issued.refresh_token as string;
      const answers = await many(30, (index) =>
        index === 10 + round ? revoke(client, token, index) : refresh(client, token, index),
      );
      for (const { json } of answers) {
        expect(await active(json.access_token)).toBe(false);
        if (typeof json.refresh_token === 'string')
          expect((await refresh(client, json.refresh_token)).json.error).toBe('invalid_grant');
      }
      expect(await active(issued.access_token)).toBe(false);
      expect((await refresh(client, token, 1)).json.error).toBe('invalid_grant');
    }
  });

  it('revocation against redemption of the code: a grant that was ended gives nothing that lives', async () => {
    for (let round = 0; round < 5; round += 1) {
      const flow = await code(SPA);
      const [{ id = '' } = {}] = await query<{ id: string }>(
        processes,
        'SELECT id FROM grants ORDER BY id DESC LIMIT 1',
      );
      const [answer] = await Promise.all([
        redeem(SPA, flow, round),
        query(processes, 'UPDATE grants SET revoked_at = now() WHERE id = $1', [id]),
      ]);
      expect(await active(answer.json.access_token)).toBe(false);
      if (typeof answer.json.refresh_token === 'string')
        expect((await refresh(SPA, answer.json.refresh_token, 1)).json.error).toBe('invalid_grant');
    }
  });

  it('two tabs signing in at once keep apart: each ends with its own answer, under one session', async () => {
    const browser = new TestBrowser({ issuer: processes.issuer });
    const request = (state: string) =>
      browser.visit(
        authorizePath({
          client_id: WEB.id,
          redirect_uri: WEB.redirectUri,
          scope: 'openid',
          code_challenge: pkce().challenge,
          state,
        }),
      );
    const pages = [await request('first'), await request('second')] as const;
    const credentials = { username: 'alice', password: 'wonderland' };
    const answers = await Promise.all(
      pages.map((page) => {
        const form = formTo(page, '/login');
        return browser.send('POST', form.action, { ...form.fields, ...credentials });
      }),
    );
    const pending = pages.map((page) => new URL(page.url).searchParams.get('pending'));
    expect(answers.map(({ status, location }) => [status, location])).toEqual(
      pending.map((id) => [303, `/authorize?pending=${id}`]),
    );
    for (const [index, state] of ['first', 'second'].entries()) {
      let page = await browser.visit(answers[index]?.location ?? '');
      if (page.url.includes('/consent')) page = await decide(browser, page);
      expect(responseOf(page).get('state')).toBe(state);
      expect(responseOf(page).get('code')).toMatch(/^gate_ac_/);
    }
  });

  it('one pending request answered by two tabs at once gives one code', async () => {
    const browser = new TestBrowser({ issuer: processes.issuer });
    await code(WEB, browser);
    for (let round = 0; round < 5; round += 1) {
      const page = await browser.visit(
        authorizePath({
          client_id: WEB.id,
          redirect_uri: WEB.redirectUri,
          scope: 'openid',
          code_challenge: pkce().challenge,
          prompt: 'consent',
        }),
      );
      const form = formTo(page, '/consent');
      const back = await browser.send('POST', form.action, { ...form.fields, decision: 'allow' });
      const tabs = [browser.clone(), browser.clone(), browser.clone(), browser.clone()];
      const answers = await Promise.all(tabs.map((tab) => tab.send('GET', back.location ?? '')));
      const codes = answers.filter(({ location }) => location?.includes('code=gate_ac_'));
      expect(codes).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 400)).toHaveLength(3);
    }
  });

  it('what was ended stays ended when all processes are started anew', async () => {
    const flow = await code(SPA);
    const issued = (await redeem(SPA, flow)).json;
    await redeem(SPA, flow, 1);
    const kept = (await redeem(SPA, await code(SPA))).json;
    for (const node of processes.nodes) await node.stop();
    await processes.start(Number(new URL(processes.nodes[0].url).port));
    await processes.start(Number(new URL(processes.nodes[1].url).port));
    expect(await active(issued.access_token)).toBe(false);
    expect((await refresh(SPA, issued.refresh_token as string)).json.error).toBe('invalid_grant');
    // And what stood, stands: the refusals are about these tokens, not about the restart.
    expect(await active(kept.access_token)).toBe(true);
    expect((await refresh(SPA, kept.refresh_token as string, 1)).status).toBe(200);
  }, 60_000);
});
