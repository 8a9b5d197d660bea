/**
 * The story of a call, as each API in it was told by its token (RFC 8693 §4.1): for whom it is, who acts, and where it began. However
 * long the chain, the last one knows as much as the first.
 */
import type { AccessToken } from 'gatehouse/resource-server';

/** What one API was told. */
export interface Told {
  /** The API. */
  readonly name: string;
  /** For whom: the user, or the client itself where there is none. */
  readonly sub: string;
  /** Clients that act for them: the one that acts now, then the one for which it does, and so on. */
  readonly actors: readonly string[];
  /** The client that the first token was given to, when (seconds since 1970), and for what. */
  readonly origin: { readonly client: string; readonly at: number; readonly grantType: string };
  /** The number of the call: `gatehouse calls show <txn>` draws it. */
  readonly txn: string;
}

/** Of an access token that Gatehouse gave out; of any other, what it says. */
export function toldBy(name: string, { sub, clientId, claims }: AccessToken): Told {
  const origin = (claims.origin ?? {}) as { client_id?: string; iat?: number; grant_type?: string };
  return {
    name,
    sub,
    actors: actorsIn(claims.act),
    origin: {
      // A first token says no more of where it began: it is the beginning.
      client: origin.client_id ?? clientId,
      at: origin.iat ?? Number(claims.iat),
      grantType: origin.grant_type ?? '',
    },
    txn: String(claims.txn ?? ''),
  };
}

/** Outermost first: the actor of a token holds the actor of the token it was made from. */
function actorsIn(act: unknown): string[] {
  if (typeof act !== 'object' || act === null) return [];
  const { sub, act: before } = act as { sub?: unknown; act?: unknown };
  return [String(sub), ...actorsIn(before)];
}
