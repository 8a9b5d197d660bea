/**
 * The story of a call, for operators: from a `txn`, the id of a token, or a token itself, to every step that was recorded, allowed and
 * refused. What a token says is taken only if we signed it, or said to be unproven: it leads to what the database says, and to
 * nothing else.
 */
import { postgresKeys } from '../features/key-rotation/keys.pg.ts';
import {
  type FirstToken,
  findFirstToken,
  findTxns,
  listRevoked,
  listSteps,
  type RecordedStep,
  usernameOfGrant,
} from '../postgres/calls.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { looksLikeJwt, unverifiedPart, verifyingKey, verifyOwnJwt } from '../protocol/jose.ts';
import { isDecryptionAlg } from '../protocol/jose-decryption.ts';
import { isUuid, parseCredential } from '../protocol/secrets.ts';
import { OperatorError } from './input.ts';

/** What a call is found by. */
export interface Clue {
  /** Ids of tokens and calls, the best first. */
  readonly ids: readonly string[];
  /** What a signed token says of itself. */
  readonly token: FirstToken | undefined;
  /** Whether it is only the token's word: somebody else signed it, or we did with a key that is forgotten. */
  readonly unproven: boolean;
}

export interface RecordedCall {
  readonly txn: string;
  readonly steps: readonly RecordedStep[];
}

export interface FoundCalls {
  readonly calls: readonly RecordedCall[];
  /** First tokens that are remembered still, by their ids. */
  readonly firstTokens: ReadonlyMap<string, FirstToken>;
  /** Those of them that were revoked by themselves. */
  readonly revoked: ReadonlySet<string>;
  /** Whether these are all the steps. */
  readonly complete: boolean;
}

/** Seconds: as long as stories are kept. */
const REMEMBERED = 400 * 86_400;
const MOST_CALLS = 10;
const MOST_STEPS = 500;

/**
 * Reads what somebody brings.
 * @throws OperatorError for what could be no id of a call or token, and a token that says we signed it and did not
 */
export async function readClue(text: string, database: Sql, now: Date): Promise<Clue> {
  // Its secret is not asked for: who may look here may look by the id as well.
  const credential = parseCredential('access_token', text) ?? parseCredential('exchanged_token', text);
  if (credential) return { ids: [credential.id], token: undefined, unproven: false };
  if (looksLikeJwt(text)) return readJwt(text, database, now);
  if (!/^[\x21-\x7E]{1,255}$/.test(text) || text.startsWith('gate_'))
    throw new OperatorError('This is neither a txn, nor the jti of a token, nor an access token.');
  return { ids: [text], token: undefined, unproven: false };
}

async function readJwt(jwt: string, database: Sql, now: Date): Promise<Clue> {
  const [header, claims] = [unverifiedPart(jwt, 'header'), unverifiedPart(jwt, 'claims')];
  if (!header || !claims) throw new OperatorError('This is not a JWT, though it looks like one.');
  const keys = new Map(
    (await postgresKeys(database).list())
      .filter(({ alg }) => !isDecryptionAlg(alg))
      .map((key) => [key.kid, verifyingKey(key.publicJwk)]),
  );
  const verified = verifyOwnJwt(jwt, {
    typ: String(header.typ),
    issuer: String(claims.iss),
    now,
    overFor: REMEMBERED,
    findKey: (kid) => keys.get(kid),
  });
  if (!verified && keys.has(String(header.kid)))
    throw new OperatorError('The token names a key of ours, and its signature does not hold: it is not one of ours.');
  const { jti, txn, grant_id: grantId } = claims;
  const ids = [jti, txn].filter((id): id is string => typeof id === 'string' && id !== '' && !id.includes('\0'));
  if (ids.length === 0) throw new OperatorError('The token says neither jti nor txn: its call cannot be found by it.');
  const username = verified && isUuid(String(grantId)) ? await usernameOfGrant(database, String(grantId)) : undefined;
  return { ids, token: verified && toFirstToken(verified, username), unproven: verified === undefined };
}

/** What we signed has the types we gave it. An ID token names its client as its audience. */
function toFirstToken(claims: Readonly<Record<string, unknown>>, username: string | undefined): FirstToken {
  const { jti, client_id, aud, scope, iat, exp, grant_id } = claims;
  const audience = [aud].flat().map(String);
  return {
    id: String(jti),
    clientId: String(client_id ?? aud),
    username,
    hasGrant: grant_id !== undefined,
    scope: typeof scope === 'string' ? scope.split(' ') : [],
    audience,
    at: new Date(Number(iat) * 1000),
    expiresAt: new Date(Number(exp) * 1000),
  };
}

/**
 * Finds the calls a clue leads to: one as a rule; several for the token of a person who acted in several.
 * @throws OperatorError when nothing is known
 */
export async function findCalls(clue: Clue, database: Sql, now: Date): Promise<FoundCalls> {
  const txns = await firstOf(clue.ids, (id) => findTxns(database, id, MOST_CALLS));
  const calls: RecordedCall[] = [];
  let room = MOST_STEPS;
  let complete = txns.length < MOST_CALLS;
  for (const txn of txns) {
    const steps = await listSteps(database, txn, now, room + 1);
    complete &&= steps.length <= room;
    calls.push({ txn, steps: steps.slice(0, room) });
    room -= Math.min(room, steps.length);
  }
  const [own] = clue.ids;
  const begun = calls.flatMap(({ steps }) => steps.map(({ origin }) => origin.jti));
  const ids = [...new Set(calls.length > 0 ? begun : clue.ids)].filter(isUuid);
  const firstTokens = new Map<string, FirstToken>();
  for (const id of ids.slice(0, MOST_CALLS)) {
    const token = (await findFirstToken(database, id)) ?? (id === own ? clue.token : undefined);
    if (token) firstTokens.set(id, token);
  }
  if (calls.length === 0) {
    const [alone] = firstTokens.values();
    if (!alone)
      throw new OperatorError(
        'No call is known by this. Steps are kept for 400 days; a token that was never exchanged is known for two hours, or while you have it.',
      );
    calls.push({ txn: alone.id, steps: [] });
  }
  return { calls, firstTokens, revoked: await listRevoked(database, ids), complete };
}

async function firstOf(ids: readonly string[], find: (id: string) => Promise<string[]>): Promise<string[]> {
  for (const id of ids) {
    const found = await find(id);
    if (found.length > 0) return found;
  }
  return [];
}
