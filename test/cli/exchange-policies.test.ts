/**
 * `gatehouse exchange-policies`, `trust-domains` and `calls`, as processes beside a running server: what they make is in force at
 * once, what they explain is what the server does, and what they draw is what was done.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { readHops, readParty } from '../../src/cli/exchange-policies.ts';
import { type AskedExchange, explainExchange } from '../../src/cli/exchange-test.ts';

import { findCalls, readClue } from '../../src/operator/calls.ts';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { systemContext } from '../../src/system-context.ts';
import { rulesOfEverything } from '../protocol/samples.ts';
import {
  ARCHIVE,
  appTokens,
  type ExchangeWorld,
  exchange,
  startExchangeWorld,
  step,
  webTokens,
} from '../support/exchange-world.ts';
import { gatehouse, Workbench } from '../support/gatehouse.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const PARTNER = 'https://partner.example';
const bench = new Workbench();
let world: ExchangeWorld;
beforeAll(async () => {
  world = await startExchangeWorld({ resources: { archive: { may_act: { sub: 'storage-api' } } } });
});
afterAll(async () => {
  await bench.clear();
  await world.close();
});

async function gate(words: readonly string[], input?: string) {
  return gatehouse(words, {
    env: {
      DATABASE_URL: world.databaseUrl,
      GATEHOUSE_ISSUER: world.issuer,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    },
    ...(input !== undefined && { input }),
  });
}

/** Runs a command, which has to end with `code` and complain of nothing, and reads the JSON it prints. */
async function run(words: string, input?: unknown, code = 0) {
  const ended = await gate(words.split(' '), typeof input === 'string' ? input : JSON.stringify(input));
  expect(ended).toMatchObject({ stderr: '', code });
  return JSON.parse(ended.stdout);
}

const refusal = async (words: string, input?: unknown) => (await gate(words.split(' '), JSON.stringify(input))).stderr;

/** The same without a process: half a second each. */
async function explained(asked: Omit<AskedExchange, 'subjectToken'>, subjectToken?: string) {
  const file = join(await bench.folder(), 'token');
  if (subjectToken !== undefined) await writeFile(file, `${subjectToken}\n`);
  const { passwords, database } = world.running;
  return explainExchange(
    { ...asked, ...(subjectToken !== undefined && { subjectToken: file }) },
    {
      database: database.sql,
      context: { ...systemContext, now: () => world.clock.now() },
      issuer: world.issuer,
      profile: oauth21,
      rules: rulesOfEverything(),
      passwords,
      passwordMin: 8,
      allowLoopbackFetch: false,
      clientCertificates: 'none',
      encryption: async () => new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], systemContext.random),
    },
  );
}

describe('exchange policies and trust domains', () => {
  it('are made, listed and deleted, and the server knows at once', async () => {
    const domain = { issuer: PARTNER, name: 'Partner', jwks_uri: `${PARTNER}/jwks` };
    expect(await run('trust-domains create --file -', domain)).toMatchObject(domain);
    const policy = {
      name: 'storage-to-partner',
      client: 'storage-api',
      source: STORAGE,
      target: PARTNER,
      scopes: { 'storage.read': ['theirs'] },
    };
    const whole = { ...policy, mode: 'delegation', max_depth: 5, lifetime: 300 };
    expect(await run('exchange-policies create --file -', policy)).toEqual(whole);
    expect(await run('exchange-policies list --client storage-api')).toContainEqual(whole);

    const ask = async () => {
      const { access_token } = await webTokens(world);
      const token = await step(world, world.apis.photos, access_token, STORAGE);
      return (await exchange(world, world.apis.storage, token, { resource: PARTNER })).json;
    };
    await expect.poll(ask, { timeout: 10_000 }).toMatchObject({ token_type: 'N_A' });
    expect(await refusal(`trust-domains delete ${PARTNER}`)).toMatch(
      /named by exchange policies \(storage-to-partner\)/,
    );
    expect(await run('exchange-policies delete storage-to-partner')).toEqual({ name: policy.name, deleted: true });
    expect(await refusal('exchange-policies show storage-to-partner')).toBe(
      'gatehouse: There is no such exchange policy: `gatehouse exchange-policies list` shows those there are.\n',
    );
    await expect.poll(ask, { timeout: 10_000 }).toMatchObject({ error: 'invalid_target' });

    const { rows } = await sql<{ event: string; subject: string | null }>`
      SELECT event, detail ->> 'subject' AS subject FROM audit WHERE event LIKE 'operator %' ORDER BY at`.execute(
      world.running.database.sql,
    );
    expect(rows).toEqual([
      { event: 'operator trust-domains create', subject: null },
      { event: 'operator exchange-policies create', subject: null },
      { event: 'operator exchange-policies delete', subject: policy.name },
    ]);
  });
});

describe('exchange-policies test', () => {
  const ASK = `exchange-policies test --client storage-api --target ${ARCHIVE}`;
  const asked = { client: 'storage-api', target: ARCHIVE };
  const BEFORE = ['client', 'subject_token', 'subject_token', 'subject_token', 'authentication'];
  const RULES = [...BEFORE, 'policy', 'depth', 'loop', 'may_act', 'scope', 'target'];

  it('explains what is supposed: allowed ends with 0, refused with 1', async () => {
    const supposed = `${ASK} --source ${STORAGE} --hops photos-api>${STORAGE}`.split(' ');
    const allowed = await gate([...supposed, '--subject-scope', 'storage.read storage.write']);
    expect(allowed).toMatchObject({ stderr: '', code: 0 });
    const { findings, ...rest } = JSON.parse(allowed.stdout);
    expect(rest).toEqual({
      outcome: 'allowed',
      policy: 'storage-api-to-archive',
      mode: 'delegation',
      scope: ['archive.read', 'archive.write'],
      lifetime: 300,
    });
    expect(findings.map(({ rule }: { rule: string }) => rule)).toEqual(RULES);
    const notAsked = findings.filter(({ holds }: { holds: unknown }) => holds === 'not asked');
    expect(notAsked.map(({ why }: { why: string }) => why)).toEqual([
      'whether such a token stands',
      'whether the token is bound to a key, which storage-api could not exchange',
    ]);

    const loop = await gate(`${ASK} --source ${STORAGE} --format table --hops storage-api>${ARCHIVE}`.split(' '));
    expect(loop.code).toBe(1);
    expect(loop.stdout).toMatch(
      /^RULE +HOLDS +WHY\nclient +true .*\nsubject_token +not asked .*\n(?:.*\n)*policy +true .*\ndepth +true +step 2 of at most 5\nloop +false /,
    );
    expect(loop.stdout).toMatch(/\n\nrefused: invalid_request, by the rule loop\n$/);
  });

  const from = { ...asked, source: [STORAGE], subjectScope: 'storage.read' };
  it.each<[string, AskedExchange, object]>([
    ['what goes beyond', { ...from, scope: 'archive.write' }, { rule: 'scope', error: 'invalid_scope' }],
    ['who may not act', { ...from, mayAct: { sub: 'bob' } }, { rule: 'may_act', error: 'invalid_request' }],
    ['a way without a policy', { ...from, source: [ARCHIVE] }, { rule: 'policy', error: 'invalid_target' }],
    ['a source that is nothing', { ...from, source: ['https://nothing.example'] }, { rule: 'subject_token' }],
    [
      'whom the API does not let act',
      { ...from, client: 'archive-keyed', source: [ARCHIVE], subjectScope: 'archive.read', target: PHOTOS },
      { rule: 'may_act', error: 'invalid_request' },
    ],
    ['a client without the grant', { ...from, client: 'batch' }, { rule: 'client', error: 'unauthorized_client' }],
  ])('refuses %s as the server would', async (_what, question, told) => {
    expect(await explained(question)).toMatchObject({ outcome: 'refused', ...told });
  });

  it('knows the clients that only redeem the grants of other domains', async () => {
    const issuer = 'https://redeemed.example';
    const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
    await world.client({ client_id: 'redeeming', grant_types: [jwtBearer] });
    await world.trustDomain({ issuer });
    for (const source of [issuer, STORAGE]) {
      const name = source === issuer ? 'redeeming' : 'not-redeeming';
      await world.policy({ name, client: 'redeeming', source, target: ARCHIVE });
    }
    const redeeming = { ...from, client: 'redeeming' };
    expect(await explained({ ...redeeming, source: [issuer] })).toMatchObject({ policy: 'redeeming' });
    expect(await explained(redeeming)).toMatchObject({ rule: 'client', error: 'unauthorized_client' });
  });

  it('refuses a client that is neither the API of the source nor issued tokens for it', async () => {
    const grants = [TOKEN_EXCHANGE, 'client_credentials'];
    await world.client({ client_id: 'outsider', grant_types: grants, scope: 'photos.read' });
    await world.policy({ name: 'outsider', client: 'outsider', source: STORAGE, target: ARCHIVE });
    const told = await explained({ ...from, client: 'outsider' });
    expect(told).toMatchObject({ outcome: 'refused', rule: 'subject_token', error: 'invalid_request' });
    expect(told.findings.at(-1)?.why).toMatch(/^outsider is not among the introspection_clients of/);
  });

  it('tells a client that is no API of the source that it must hold the token', async () => {
    const told = await explained({ client: 'web', target: STORAGE, source: [PHOTOS], subjectScope: 'photos.read' });
    expect(told).toMatchObject({ outcome: 'allowed', policy: 'web-from-photos' });
    expect(told.findings).toContainEqual({
      rule: 'subject_token',
      holds: true,
      why: expect.stringMatching(/not among .*: only with a token that was issued to it$/),
    });
  });

  it('lets act whom the token names', async () => {
    const party = { sub: 'bob', iss: PARTNER };
    const told = await explained({ ...from, mayAct: party, actor: party });
    expect(told).toMatchObject({ outcome: 'allowed' });
    expect(told.findings).toContainEqual(expect.objectContaining({ rule: 'actor_token', holds: 'not asked' }));
  });

  it('reads a real token, and never prints it', async () => {
    const { access_token: first, id_token: idToken } = await webTokens(world);
    const opaque = await step(world, world.apis.photos, first, STORAGE);
    const told = await run(`${ASK} --subject-token -`, `${opaque}\n`);
    expect(told).toMatchObject({ outcome: 'allowed', scope: ['archive.read', 'archive.write'] });
    expect(told.findings).toContainEqual({ rule: 'depth', holds: true, why: 'step 2 of at most 5' });
    expect(JSON.stringify(told)).not.toContain(opaque);

    const notGood = { outcome: 'refused', rule: 'subject_token', error: 'invalid_request' };
    // Of another API: neither its own nor for it.
    expect(await explained(asked, first)).toMatchObject(notGood);
    const web = { client: 'web', target: STORAGE };
    expect(await explained(web, idToken)).toMatchObject({ policy: 'web-from-id-token', scope: ['storage.read'] });
    expect(await explained(web, `${idToken.slice(0, -6)}AAAAAA`)).toMatchObject(notGood);
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const elsewhere = `${part({ typ: 'at+jwt', alg: 'ES256', kid: 'k' })}.${part({ iss: 'https://o.example' })}.c2ln`;
    const why = `the token is not a token of ${world.issuer}; set GATEHOUSE_ISSUER or PORT`;
    expect((await explained(web, elsewhere)).findings.at(-1)).toMatchObject({ rule: 'subject_token', why });
    // Bound tokens are not for clients that have nothing but a secret.
    const bound = (await appTokens(world)).access_token;
    expect(await explained({ client: 'photos-api', target: STORAGE }, bound)).toMatchObject({ rule: 'authentication' });
    expect(await explained({ client: 'photos-keyed', target: STORAGE }, bound)).toMatchObject({ outcome: 'allowed' });
  });

  it('has a question to ask', async () => {
    await expect(explained(asked)).rejects.toThrow(/^--source: is needed, or --subject-token/);
    await expect(explained({ ...asked, client: 'nobody' })).rejects.toThrow(/no such client/);
    expect(await refusal(`${ASK} --source ${STORAGE} --subject-token -`)).toMatch(/cannot be used with/);
    const past = (client: string, hop: string) =>
      explained({ ...asked, source: [STORAGE], hops: [{ client, target: hop }] });
    await expect(past('nobody', STORAGE)).rejects.toThrow(/^--hops: nobody is no client/);
    await expect(past('photos-api', 'https://nothing.example')).rejects.toThrow(/^--hops: https:.* is no resource/);
    expect(readHops('a>https://x.example/1,2,b>https://y.example')).toEqual([
      { client: 'a', target: 'https://x.example/1,2' },
      { client: 'b', target: 'https://y.example' },
    ]);
    expect(() => readHops('nonsense')).toThrow(/client>target/);
    expect(readParty('bob')).toEqual({ sub: 'bob' });
    expect(readParty('a,b,https://o.example')).toEqual({ sub: 'a,b', iss: 'https://o.example' });
  });
});

describe('calls show', () => {
  const found = async (text: string) => {
    const { sql: database } = world.running.database;
    return findCalls(await readClue(text, database, world.clock.now()), database, world.clock.now());
  };

  it('draws a call from any token in it, with what was refused', async () => {
    const { access_token: first } = await webTokens(world);
    const second = await step(world, world.apis.photos, first, STORAGE);
    const third = await step(world, world.apis.storage, second, ARCHIVE);
    expect((await exchange(world, world.apis.archive, third, { resource: PHOTOS })).status).toBe(400);
    const { jti: txn, exp } = decodeJwt(first);

    const { complete, calls } = await run('calls show -', third);
    expect(complete).toBe(true);
    expect(calls).toMatchObject([
      {
        txn,
        user: 'alice',
        client_id: 'web',
        grant_type: 'authorization_code',
        steps: [
          {
            client_id: 'photos-api',
            source: PHOTOS,
            target: STORAGE,
            mode: 'delegation',
            state: 'stands',
            steps: [
              {
                client_id: 'storage-api',
                token: decodeJwt(third).jti,
                steps: [{ client_id: 'archive-api', target: PHOTOS, refused: 'may_act', times: 1, steps: [] }],
              },
            ],
          },
        ],
      },
    ]);
    const drawn = await gate(['calls', 'show', String(txn), '--format', 'table']);
    expect(drawn.stdout).toMatch(/^call \S+\nalice → web {2}authorization_code, /);
    expect(drawn.stdout).toContain(`└─ storage-api  ${STORAGE} → ${ARCHIVE}`);
    expect(drawn.stdout).toContain(`└─ ✗ archive-api  ${ARCHIVE} → ${PHOTOS}`);
    for (const token of [first, second, third]) expect(drawn.stdout).not.toContain(token);

    for (const token of [first, second]) expect((await found(token)).calls.map((call) => call.txn)).toEqual([txn]);
    // A signed token is remembered by nobody but itself.
    expect((await found(first)).firstTokens.get(String(txn))).toMatchObject({
      username: 'alice',
      clientId: 'web',
      audience: expect.arrayContaining([PHOTOS]),
      expiresAt: new Date(Number(exp) * 1000),
    });
  });

  it('takes no word of a token that we did not sign, and says so where it cannot know', async () => {
    const { access_token: token } = await webTokens(world);
    await expect(found(`${token.slice(0, -6)}AAAAAA`)).rejects.toThrow(/its signature does not hold/);
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const foreign = `${part({ alg: 'ES256', kid: 'theirs' })}.${part({ iss: PARTNER, jti: 'unknown' })}.c2ln`;
    const { stderr, code } = await gate(['calls', 'show', '-'], foreign);
    expect(stderr).toMatch(/not signed with a key of ours[^\n]+\ngatehouse: No call is known by this/);
    expect(code).toBe(1);
  });
});
