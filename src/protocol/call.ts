/**
 * Calls: what is known of a token that was made from another one (RFC 8693 §4.1, §4.4; RFC 8417 §2.2 for `txn`).
 *
 *   alice ─▶ photos-web ─▶ photos-api ─▶ storage-api
 *            first token     hop 1         hop 2        sub: alice   act: { sub: photos-api }   origin: photos-web
 *
 * A first token begins a call; its `jti` is the call's `txn`. Every token made from it says the same `txn`, `origin` and `sub`, whatever
 * the depth, and none of them is ever taken from a request. What ends one of its ancestors ends it too: it carries their ids.
 */
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client } from './client.ts';
import type { StandingToken } from './ledger.ts';
import { subjectOf } from './subject.ts';

/** RFC 8693 §4.1: who acts. Outermost is the one who acts now, innermost the first one. */
export interface Actor {
  /** A client's id, or a person's `sub`. */
  readonly sub: string;
  /** Whose name that is, where it is not ours. */
  readonly iss?: string;
  /** The client through which a person acts. */
  readonly client_id?: string;
  readonly act?: Actor;
}

/** RFC 8693 §4.4: the one party that may act with a token. */
export interface MayAct {
  readonly sub: string;
  readonly iss?: string;
}

/** The first token of a call. Wire words: it is a claim. */
export interface Origin {
  readonly client_id: string;
  /** Absent where a client acted for itself. */
  readonly sub?: string;
  /** The issuer, where it was another domain. */
  readonly iss?: string;
  readonly jti: string;
  /** NumericDate. */
  readonly iat: number;
  readonly grant_type: string;
}

/** One step: who asked, towards what. */
export interface Hop {
  readonly client: string;
  readonly target: string;
}

/** One that was allowed, and by which policy. Gone, all that came of the step is over (open-call.ts). */
export interface AllowedHop extends Hop {
  readonly policy: string;
  /** Milliseconds since the epoch: a policy that was deleted and made again is another one. */
  readonly policyCreatedAt: number;
  /** What it gave. */
  readonly scope: readonly string[];
  /** On the first step: what the first token carried, and whose it was if it is one of ours. */
  readonly from?: { readonly client?: string; readonly scope: readonly string[] };
}

export interface Call {
  readonly txn: string;
  readonly origin: Origin;
  /** The `sub` of the first token, and of all of them. */
  readonly subject: string;
  /** Absent where nobody acts for the subject (impersonation). */
  readonly act: Actor | undefined;
  /** Steps so far, the first one first; their number is the depth. */
  readonly hops: readonly AllowedHop[];
  /** Ids of the tokens it came from (subject and actor tokens of ours), the first one first. */
  readonly lineage: readonly string[];
  /** Every client it went through, the first one first. */
  readonly clients: readonly string[];
  /** Grants of people who act; the grant of the subject is the token's own. */
  readonly actorGrants: readonly string[];
}

/** However the policies read (standards: a deeper chain is a loop that nobody has seen yet). */
export const DEEPEST = 5;

/**
 * The `sub` by which an API knows who a token stands for: through every exchange that of the first token.
 * @param client whose token it is
 */
export function subjectOfToken(
  { user, call }: Pick<StandingToken, 'user' | 'call'>,
  client: Client,
  server: AuthorizationServer,
): string {
  // Where no user is involved the client is the subject (RFC 9068 §2.2); client ids never look like users' (client.ts).
  return call?.subject ?? (user ? subjectOf(user, client, server) : client.id);
}

/** Claims that tell the story, for tokens and introspection alike (RFC 8693 §4.1, §4.4). */
export function claimsOfCall(jti: string, call: Call | undefined, mayAct: MayAct | undefined): Record<string, unknown> {
  return {
    txn: call?.txn ?? jti,
    ...(call?.act && { act: call.act }),
    ...(call && { origin: call.origin }),
    ...(mayAct && { may_act: mayAct }),
  };
}
