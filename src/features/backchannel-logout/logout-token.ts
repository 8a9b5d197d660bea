/** The logout token: Back-Channel Logout 1.0 §2.4. */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client } from '../../protocol/client.ts';
import { idTokenAlg } from '../../protocol/id-token.ts';
import { seconds, signJwt } from '../../protocol/jose.ts';
import { asRegistered } from '../../protocol/response-encryption.ts';
import { mintId } from '../../protocol/secrets.ts';
import { sidOf } from '../../protocol/session.ts';
import { subjectOf } from '../../protocol/subject.ts';

/** Seconds it is good for (§2.4: two minutes at most). */
const LIFETIME = 120;
/** What keeps it from passing as an ID token (§2.4, §4; RFC 8725 §3.11), besides having no `nonce`. */
const TYP = 'logout+jwt';
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} };

/**
 * Makes a logout token with the names the client's ID tokens had, `sub` and `sid`; signed, and encrypted, as they are.
 * @throws OAuthError when no key of the client fits the encryption it registered
 * @throws Unavailable when its keys cannot be fetched
 */
export async function mintLogoutToken(
  client: Client,
  session: { readonly userId: string; readonly signInId: string },
  now: Date,
  server: AuthorizationServer,
): Promise<string> {
  const signed = await signJwt(await server.keyring.signing(idTokenAlg(client, server)), TYP, {
    iss: server.issuer,
    aud: client.id,
    iat: seconds(now),
    exp: seconds(now) + LIFETIME,
    jti: mintId(now, server.context.random),
    sub: subjectOf({ id: session.userId }, client, server),
    sid: sidOf(session.signInId, client.id, server),
    events: EVENTS,
  });
  return asRegistered(signed, client, 'id_token', server);
}
