/** Calls as operators find them: by any token in them, with what has become of each, whatever ended it. */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCalls, readClue } from '../../src/operator/calls.ts';
import { findTxns, listSteps } from '../../src/postgres/calls.pg.ts';
import { setClientDisabled } from '../../src/postgres/clients.pg.ts';
import {
  createExchangePolicy,
  deleteExchangePolicy,
  findExchangePolicy,
  updateExchangePolicy,
} from '../../src/postgres/exchange-policies.pg.ts';
import { postgresExchanges } from '../../src/postgres/exchanges.pg.ts';
import { postgresLedger, revokeGrant } from '../../src/postgres/ledger.pg.ts';
import { createResource } from '../../src/postgres/resources.pg.ts';
import type { Call } from '../../src/protocol/call.ts';
import { exchangePolicyMetadata, toExchangePolicy } from '../../src/protocol/exchange-policy.ts';
import type { Step } from '../../src/protocol/exchanges.ts';
import { allowedHop } from '../../src/protocol/open-call.ts';
import { resourceMetadata } from '../../src/protocol/resource.ts';
import { mintCredential, mintId } from '../../src/protocol/secrets.ts';
import { aClient, aUser, openStore, type Store, someTokens, type Tokens } from './store.ts';

let store: Store;
beforeAll(async () => {
  store = await openStore();
  for (const [resource, scope] of [
    ['https://photos.example', 'photos.read'],
    [TARGET, 'storage.read'],
  ] as const) {
    const metadata = { resource, name: scope, scopes: { [scope]: 'Read', [scope.replace('read', 'write')]: 'Write' } };
    await createResource(store.sql, resourceMetadata.parse(metadata), store.now);
  }
});
afterAll(() => store.close());

const TARGET = 'https://storage.example';

interface Chain {
  readonly first: Tokens;
  readonly policies: readonly string[];
  readonly clients: readonly string[];
  /** Of the steps, the first one first. */
  readonly tokens: readonly ReturnType<typeof mintCredential>[];
}

let made = 0;

/** A person's call through two clients, each by a policy of its own. */
async function aChain(actorGrants: readonly string[] = [], actorTokens: readonly string[] = []): Promise<Chain> {
  const userId = await aUser(store);
  const first = await someTokens(store, { userId });
  const origin = { client_id: first.clientId, jti: first.accessToken.id, iat: 0, grant_type: 'authorization_code' };
  const tokens: ReturnType<typeof mintCredential>[] = [];
  const policies: string[] = [];
  const clients: string[] = [];
  let hops: Call['hops'] = [];
  let lineage: readonly string[] = actorTokens;
  for (const _hop of [1, 2]) {
    const clientId = await aClient(store);
    made += 1;
    const policy = exchangePolicyMetadata.parse({
      name: `made-${made}`,
      client: clientId,
      source: 'https://photos.example',
      target: TARGET,
      scopes: { [tokens.length === 0 ? 'photos.read' : 'storage.read']: ['storage.read'] },
    });
    await createExchangePolicy(store.sql, policy, store.now);
    const parent = tokens.at(-1)?.id ?? first.accessToken.id;
    const scope = ['storage.read'];
    // The second step goes on from the first one's API.
    const from = hops.length === 0 ? { client: first.clientId, scope: ['photos.read'] } : undefined;
    hops = [...hops, allowedHop(toExchangePolicy(policy, store.now), scope, from)];
    lineage = [...lineage, parent];
    clients.push(clientId);
    policies.push(policy.name);
    const token = mintCredential('exchanged_token', store.now, randomBytes);
    tokens.push(token);
    const call: Call = {
      txn: first.accessToken.id,
      origin,
      subject: userId,
      act: { sub: clientId },
      hops,
      lineage,
      clients: [first.clientId, ...clients],
      actorGrants,
    };
    const step: Step = {
      txn: call.txn,
      origin,
      subject: userId,
      parent,
      clientId,
      userId,
      grantId: first.grantId,
      hops,
      source: policy.source,
      target: TARGET,
      requestId: 'request',
    };
    const record = { id: token.id, hash: token.hash, grantId: first.grantId, clientId, scope, cnf: undefined };
    const expiresAt = store.at(300_000);
    await postgresExchanges(store.sql).record(
      {
        ...step,
        call,
        scope,
        audience: [TARGET],
        cnf: undefined,
        authentication: undefined,
        issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
      },
      {
        marks: [],
        jti: token.id,
        expiresAt,
        accessToken: { ...record, authorizationDetails: [], audience: [TARGET], issuedAt: store.now, expiresAt },
        refreshToken: undefined,
      },
      store.now,
    );
  }
  return { first, policies, clients, tokens };
}

const find = async (text: string, now = store.now) => findCalls(await readClue(text, store.sql, now), store.sql, now);

/** What has become of the two steps. */
async function states({ first }: Chain, now = store.now) {
  const steps = await listSteps(store.sql, first.accessToken.id, now, 10);
  return steps.map(({ state, because }) => because ?? state);
}

describe('a call', () => {
  it('is found by each of its tokens, their ids, and its txn', async () => {
    const chain = await aChain();
    const [one, two] = chain.tokens;
    const txn = chain.first.accessToken.id;
    const opaque = `gate_at_${Buffer.concat([Buffer.from(txn.replaceAll('-', ''), 'hex'), chain.first.accessToken.secret]).toString('base64url')}`;
    for (const text of [txn, opaque, one?.id, one?.value, two?.id, two?.value]) {
      const { calls, complete } = await find(String(text));
      expect(complete).toBe(true);
      expect(calls.map((call) => [call.txn, call.steps.map(({ id }) => id)])).toEqual([[txn, [one?.id, two?.id]]]);
    }
    const { firstTokens, calls } = await find(txn);
    const username = expect.stringMatching(/^user/);
    expect(firstTokens.get(txn)).toMatchObject({ clientId: chain.first.clientId, username, scope: ['photos.read'] });
    expect(calls[0]?.steps[0]).toMatchObject({
      username,
      parent: txn,
      policy: chain.policies[0],
      requestId: 'request',
    });
  });

  it('is found by the token of a person who acted in it, whose name is told', async () => {
    const acting = await someTokens(store, { userId: await aUser(store, 'bob') });
    const chain = await aChain([acting.grantId], [acting.accessToken.id]);
    const { calls } = await find(acting.accessToken.id);
    expect(calls.map(({ txn }) => txn)).toEqual([chain.first.accessToken.id]);
    expect(calls[0]?.steps.map(({ actors }) => actors)).toEqual([['bob'], ['bob']]);
  });

  it('is not hidden by what another domain calls the same', async () => {
    const acting = await someTokens(store, { userId: await aUser(store) });
    const actor = acting.accessToken.id;
    const chain = await aChain([acting.grantId], [actor]);
    const own = chain.first.accessToken.id;
    const forged = { iss: 'https://partner.example', client_id: 'p', grant_type: 'x' };
    // Before ours, and more of them than are asked for.
    for (const txn of [own, actor])
      for (const number of [1, 2, 3, 4])
        await postgresExchanges(store.sql).refuse(
          {
            txn,
            origin: { ...forged, jti: `jwt-${number % 2}`, iat: 0 },
            subject: 's',
            parent: `${txn}-${number}`,
            clientId: 'asking',
            userId: undefined,
            grantId: undefined,
            hops: [],
            source: forged.iss,
            target: TARGET,
            scope: [],
            rule: 'policy',
            requestId: 'r',
          },
          store.at(-60_000),
        );
    expect(await findTxns(store.sql, actor, 10)).toEqual([own, actor]);
    expect(await findTxns(store.sql, actor, 1)).toEqual([own]);
    const origins = (await listSteps(store.sql, own, store.now, 4)).map(({ origin }) => origin.jti);
    expect(origins).toEqual([own, own, expect.stringMatching(/^jwt-/), expect.stringMatching(/^jwt-/)]);
    expect(new Set(origins).size).toBe(3);
  });

  it('that never went on is its first token', async () => {
    const { accessToken, clientId } = await someTokens(store);
    const { calls, firstTokens } = await find(accessToken.id);
    expect(calls).toEqual([{ txn: accessToken.id, steps: [] }]);
    expect(firstTokens.get(accessToken.id)).toMatchObject({ clientId, hasGrant: true });
  });

  it('has its refused steps, counted', async () => {
    const { first } = await aChain();
    const txn = first.accessToken.id;
    const origin = { client_id: first.clientId, jti: txn, iat: 0, grant_type: 'authorization_code' };
    const refusal = {
      txn,
      origin,
      subject: 's',
      parent: txn,
      clientId: 'asking',
      userId: first.userId,
      grantId: first.grantId,
    };
    for (const requestId of ['first', 'second'])
      await postgresExchanges(store.sql).refuse(
        {
          ...refusal,
          hops: [],
          source: undefined,
          target: 'https://mail.example',
          scope: ['x'],
          rule: 'policy',
          requestId,
        },
        store.now,
      );
    const steps = await listSteps(store.sql, txn, store.now, 10);
    expect(steps.filter(({ refused }) => refused !== undefined)).toMatchObject([
      {
        refused: 'policy',
        times: 2,
        clientId: 'asking',
        target: 'https://mail.example',
        state: undefined,
        requestId: 'first',
      },
    ]);
    expect(await listSteps(store.sql, txn, store.now, 2)).toHaveLength(2);
  });

  it.each(['nothing', mintId(new Date(), randomBytes), `gate_at_${'A'.repeat(64)}`])(
    'is not there for %s',
    async (text) => {
      await expect(find(text)).rejects.toThrow(/No call is known/);
    },
  );

  it.each(['two words', '', 'gate_at_short', 'a\u0000b', 'x'.repeat(300)])(
    'cannot be asked for by %j',
    async (text) => {
      await expect(find(text)).rejects.toThrow(/neither a txn/);
    },
  );
});

describe('a step', () => {
  const GONE = 'its policy is gone';
  const NARROWED = 'its policy gives none of it any more';
  const narrowed = (name: string, client: string, from: string) =>
    updateExchangePolicy(
      store.sql,
      exchangePolicyMetadata.parse({
        name,
        client,
        source: 'https://photos.example',
        target: TARGET,
        scopes: { [from]: ['storage.write'] },
      }),
      store.now,
    );
  it.each<[string, (chain: Chain) => Promise<unknown>, (chain: Chain) => unknown[]]>([
    ['nothing', async () => undefined, () => ['stands', 'stands']],
    [
      'the first token',
      ({ first }) => postgresLedger(store.sql).revokeAccessToken(first.accessToken, first.clientId, store.now),
      () => Array(2).fill('a token it came from was revoked'),
    ],
    [
      'the first step',
      ({ tokens: [one], clients: [client] }) =>
        one && client ? postgresLedger(store.sql).revokeExchanged(one, client, store.now) : Promise.reject(),
      () => ['revoked', 'a token it came from was revoked'],
    ],
    [
      'the grant',
      ({ first }) => revokeGrant(store.sql, first.grantId, 'a test', store.now),
      () => Array(2).fill('its grant has ended'),
    ],
    [
      'the client of the second step',
      ({ clients }) => setClientDisabled(store.sql, String(clients[1]), true, store.now),
      ({ clients }) => ['stands', `the client ${clients[1]} is disabled or deleted`],
    ],
    [
      'the policy of the first step',
      ({ policies }) => deleteExchangePolicy(store.sql, String(policies[0])),
      ({ policies: [first] }) => [GONE, `the policy ${first} before it is gone`],
    ],
    [
      'the policy of the first step, though it is made again',
      async ({ policies: [name = ''] }) => {
        const before = await findExchangePolicy(store.sql, name);
        await deleteExchangePolicy(store.sql, name);
        if (before) await createExchangePolicy(store.sql, before, store.at(1));
      },
      ({ policies: [first] }) => [GONE, `the policy ${first} before it is gone`],
    ],
    [
      'what the policy of the first step gives',
      ({ policies: [name = ''], clients: [client = ''] }) => narrowed(name, client, 'photos.read'),
      ({ policies: [first] }) => [NARROWED, `the policy ${first} before it gives none of it any more`],
    ],
    [
      'what the first client may ask for',
      ({ first }) =>
        sql`UPDATE clients SET metadata = metadata || '{"scope":"openid"}'::jsonb WHERE id = ${first.clientId}`.execute(
          store.sql,
        ),
      () => Array(2).fill('nothing of what its call began with is open any more'),
    ],
    [
      'what the policy of the second step gives',
      ({ policies: [, name = ''], clients: [, client = ''] }) => narrowed(name, client, 'storage.read'),
      () => ['stands', NARROWED],
    ],
  ])('that ends with %s says so', async (_what, end, told) => {
    const chain = await aChain();
    await end(chain);
    expect(await states(chain)).toEqual(told(chain));
  });

  it('that ends with the grant of who acts says so', async () => {
    const acting = await someTokens(store);
    const chain = await aChain([acting.grantId], [acting.accessToken.id]);
    await revokeGrant(store.sql, acting.grantId, 'a test', store.now);
    expect(await states(chain)).toEqual(Array(2).fill('the grant of who acts has ended'));
  });

  it('that is over is expired, unless it was revoked before', async () => {
    const chain = await aChain();
    const [one] = chain.tokens;
    if (one) await postgresLedger(store.sql).revokeExchanged(one, String(chain.clients[0]), store.now);
    expect(await states(chain, store.at(300_000))).toEqual(['revoked', 'expired']);
  });

  it('stands exactly when the ledger says so', async () => {
    const chain = await aChain();
    const ledger = postgresLedger(store.sql);
    const standing = async () =>
      (await Promise.all(chain.tokens.map(({ id, hash }) => ledger.findExchanged(id, hash, store.now)))).map(Boolean);
    expect(await standing()).toEqual([true, true]);
    await setClientDisabled(store.sql, chain.first.clientId, true, store.now);
    expect(await standing()).toEqual([false, false]);
    expect(await states(chain)).not.toContain('stands');
  });
});
