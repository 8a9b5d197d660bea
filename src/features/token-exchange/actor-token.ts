/**
 * Actor tokens: who acts, where that is said by a token (RFC 8693 §2.1, §4.1). The caller's own: an access token that was issued to it, in its
 * own name or a person's, or an ID token. A token that was itself exchanged names no actor: whose act it is would be two stories.
 */
import { readAccessToken } from '../../protocol/access-token.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Actor, subjectOfToken } from '../../protocol/call.ts';
import type { Client } from '../../protocol/client.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import { readIdToken } from '../../protocol/id-token.ts';
import type { PresentedToken } from './request.ts';

export interface ActorToken {
  readonly actor: Pick<Actor, 'sub' | 'client_id'>;
  readonly jti: string;
  /** Of a person who acts. */
  readonly grantId: string | undefined;
  readonly cnf: Confirmation | undefined;
  readonly expiresAt: Date;
}

/**
 * Reads an actor token of this client and asks whether it stands. One statement.
 * @returns `undefined` when it is not good, or another client's
 */
export async function readActorToken(
  { value, type }: PresentedToken,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<ActorToken | undefined> {
  switch (type) {
    case 'access_token': {
      const token = await readAccessToken(value, now, server);
      if (!token || token.clientId !== client.id || token.call) return undefined;
      const { jti, grantId, user, cnf, expiresAt } = token;
      return { actor: acting(subjectOfToken(token, client, server), client, user), jti, grantId, cnf, expiresAt };
    }
    case 'id_token': {
      const token = await readIdToken(value, now, server);
      if (token?.clientId !== client.id) return undefined;
      const standing = await server.ledger.confirm(token, now);
      if (!standing?.user) return undefined;
      const { jti, grantId, subject, expiresAt } = token;
      return { actor: acting(subject, client, standing.user), jti, grantId, cnf: undefined, expiresAt };
    }
    case 'jwt':
      // Another domain speaks for its own parties, none of which is a client of ours.
      return undefined;
  }
}

function acting(sub: string, client: Client, user: unknown): ActorToken['actor'] {
  return { sub, ...(user !== undefined && { client_id: client.id }) };
}
