/** The tree of a call, grown and drawn: what goes below what, in which words, and what does not get to a terminal. */
import { describe, expect, it } from 'vitest';
import { drawTrees } from '../../src/cli/call-drawing.ts';
import { type CallTree, growTrees } from '../../src/operator/call-tree.ts';
import type { FoundCalls } from '../../src/operator/calls.ts';
import type { FirstToken, RecordedStep } from '../../src/postgres/calls.pg.ts';

const NOW = new Date('2026-03-01T12:02:00Z');
const at = (seconds: number) => new Date(Date.parse('2026-03-01T12:00:00Z') + seconds * 1000);
const TXN = '019ca9b5-0000-7000-8000-000000000000';
const id = (number: number) => `019ca9b5-0000-7000-8000-00000000000${number}`;
const ORIGIN = {
  client_id: 'web',
  sub: 'alice-at-web',
  jti: TXN,
  iat: at(0).getTime() / 1000,
  grant_type: 'authorization_code',
};

function allowed(number: number, from: string, to: string, changes: Partial<RecordedStep> = {}): RecordedStep {
  return {
    id: id(number),
    parent: TXN,
    depth: 1,
    origin: ORIGIN,
    clientId: `${from}-api`,
    username: 'alice',
    actors: [],
    source: `https://${from}.example`,
    target: `https://${to}.example`,
    scope: [`${to}.read`],
    act: { sub: `${from}-api` },
    policy: `${from}-to-${to}`,
    cnf: undefined,
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    at: at(number),
    expiresAt: at(300 + number),
    requestId: `req-${number}`,
    refused: undefined,
    times: 1,
    state: 'stands',
    because: undefined,
    ...changes,
  };
}

const refused = (number: number, from: string, to: string, changes: Partial<RecordedStep> = {}) =>
  allowed(number, from, to, {
    act: undefined,
    policy: undefined,
    issuedTokenType: undefined,
    expiresAt: undefined,
    refused: 'policy',
    state: undefined,
    ...changes,
  });

const FIRST: FirstToken = {
  id: TXN,
  clientId: 'web',
  username: 'alice',
  hasGrant: true,
  scope: ['photos.read'],
  audience: ['https://photos.example'],
  at: at(0),
  expiresAt: at(60),
};

function found(steps: readonly RecordedStep[], changes: Partial<FoundCalls> = {}): FoundCalls {
  return { calls: [{ txn: TXN, steps }], firstTokens: new Map(), revoked: new Set(), complete: true, ...changes };
}

/** Who asked, and what came of it. */
function shape(tree: Pick<CallTree, 'client_id' | 'steps'>): unknown {
  return [tree.client_id, ...tree.steps.map(shape)];
}

describe('a tree', () => {
  it('has each step below the token it was made from, refused ones too', () => {
    const steps = [
      allowed(1, 'photos', 'storage'),
      allowed(2, 'storage', 'archive', {
        parent: id(1),
        depth: 2,
        act: { sub: 'storage-api', act: { sub: 'photos-api' } },
      }),
      refused(3, 'storage', 'mail', { parent: id(1), depth: 2 }),
      refused(4, 'photos', 'mail'),
    ];
    const [tree, ...more] = growTrees(found(steps), NOW);
    expect(more).toEqual([]);
    expect(tree && shape(tree)).toEqual(['web', ['photos-api', ['storage-api'], ['storage-api']], ['photos-api']]);
    expect(tree).toMatchObject({ txn: TXN, token: TXN, user: 'alice', sub: 'alice-at-web', at: at(0) });
    expect(tree?.steps[0]).toMatchObject({ token: id(1), mode: 'delegation', state: 'stands', bound: [] });
    expect(tree?.steps[1]).not.toHaveProperty('token');
  });

  it('tells impersonation by what acts: nobody more than before', () => {
    const steps = [
      allowed(1, 'photos', 'storage'),
      allowed(2, 'storage', 'archive', { parent: id(1), depth: 2 }),
      allowed(3, 'photos', 'archive', { act: undefined }),
      allowed(4, 'photos', 'mail', { act: { sub: 'x', iss: 'https://other.example' } }),
    ];
    const [tree] = growTrees(found(steps), NOW);
    const modes = tree?.steps.map(({ mode, steps: below }) => [mode, ...below.map((step) => step.mode)]);
    expect(modes).toEqual([['delegation', 'impersonation'], ['impersonation'], ['impersonation']]);
  });

  it('is one for each first token that says the same txn: another domain may say any', () => {
    const foreign = { ...ORIGIN, iss: 'https://other.example', client_id: 'theirs' };
    const steps = [allowed(1, 'photos', 'storage'), allowed(2, 'partner', 'storage', { origin: foreign, parent: TXN })];
    const trees = growTrees(found(steps, { firstTokens: new Map([[TXN, FIRST]]), revoked: new Set([TXN]) }), NOW);
    expect(trees.map(shape)).toEqual([
      ['web', ['photos-api']],
      ['theirs', ['partner-api']],
    ]);
    // What is known of our token is not said of theirs.
    expect(trees[0]).toMatchObject({ state: 'revoked', scope: ['photos.read'] });
    expect(trees[1]).not.toHaveProperty('state');
    expect(trees[1]).not.toHaveProperty('scope');
  });

  it('is a first token alone where nothing was made from it', () => {
    const [tree] = growTrees(found([], { firstTokens: new Map([[TXN, FIRST]]) }), NOW);
    expect(tree).toMatchObject({ user: 'alice', client_id: 'web', grant_type: 'authorization_code', state: 'expired' });
    expect(tree?.steps).toEqual([]);
  });

  it('does not go round, whatever the rows say, and needs no order: clocks of nodes differ', () => {
    const steps = [
      allowed(2, 'storage', 'photos', { parent: id(1), depth: 2 }),
      allowed(1, 'photos', 'storage', { parent: id(2) }),
    ];
    const [tree] = growTrees(found(steps), NOW);
    expect(tree && shape(tree)).toEqual(['web', ['photos-api', ['storage-api']]]);
  });
});

describe('a drawing', () => {
  it('says who asked for what, when, and what came of it', () => {
    const steps = [
      allowed(1, 'photos', 'storage', { cnf: { jkt: 'thumbprint' } }),
      allowed(2, 'storage', 'archive', {
        parent: id(1),
        depth: 2,
        act: { sub: 'bob', client_id: 'storage-api', act: { sub: 'photos-api' } },
        actors: ['bob'],
        state: 'ended',
        because: 'its policy is gone',
      }),
      refused(3, 'photos', 'mail', { times: 3 }),
    ];
    expect(drawTrees(growTrees(found(steps, { firstTokens: new Map([[TXN, FIRST]]) }), NOW))).toBe(
      `call ${TXN}
alice → web  authorization_code, 2026-03-01T12:00:00Z
│  photos.read for https://photos.example, until 2026-03-01T12:01:00Z; expired
│  token ${TXN}
├─ photos-api  https://photos.example → https://storage.example  storage.read
│  │  delegation by photos-to-storage, 2026-03-01T12:00:01Z until 2026-03-01T12:05:01Z, bound to a DPoP key; stands
│  │  token ${id(1)}, request req-1
│  └─ bob → storage-api  https://storage.example → https://archive.example  archive.read
│        delegation by storage-to-archive, 2026-03-01T12:00:02Z until 2026-03-01T12:05:02Z, not bound to a key; ended: its policy is gone
│        token ${id(2)}, request req-2
└─ ✗ photos-api  https://photos.example → https://mail.example  mail.read
      refused by the rule policy, 2026-03-01T12:00:03Z, 3 times in that minute, request req-3`,
    );
  });

  it('lets nothing that somebody sent rule the terminal, or fill it', () => {
    const target = `https://x.example/\u001b[2J\u202e\n└─ ${'y'.repeat(5000)}`;
    const origin = { ...ORIGIN, iss: 'https://other.example', sub: 'a\u009b31m', iat: Number.MAX_SAFE_INTEGER };
    const drawn = drawTrees(
      growTrees(found([refused(1, 'photos', 'mail', { target, origin, username: undefined })]), NOW),
    );
    expect(drawn.split('\n')).toHaveLength(5);
    expect(drawn.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(drawn).toContain('\\u{1b}[2J\\u{202e}\\u{a}');
    expect(drawn.length).toBeLessThan(1500);
  });
});
