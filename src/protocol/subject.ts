/**
 * Subject identifiers: OpenID Connect Core §8. A `public` one is the same everywhere; a `pairwise` one differs from sector to
 * sector, so that clients cannot find out together that they know the same person.
 *
 *   pairwise = base64url(HMAC-SHA256(key, sector ‖ user id))
 *
 * The key is made once and never changes, and neither does a client's sector (operator/clients.ts): each name stays a person's.
 * Neither kind can be a client's id (client.ts refuses ids that look like them).
 */
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client } from './client.ts';
import { hmac } from './secrets.ts';

export const subjectTypes = ['public', 'pairwise'] as const;

/** The `sub` by which a client, and any API it calls, knows a person. */
export function subjectOf(user: { readonly id: string }, client: Client, server: AuthorizationServer): string {
  if (client.sector === undefined) return user.id;
  return hmac(server.sharedKeys.pairwise, client.sector, user.id).toString('base64url');
}
