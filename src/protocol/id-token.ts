/** ID tokens: OpenID Connect Core §2, §3.1.3.6, §12.2. */
import { createHash } from 'node:crypto';
import { seconds } from './access-token.ts';
import type { Authorization } from './authorization.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { type SigningAlg, signJwt } from './jose.ts';

/**
 * Makes the ID token that goes with an access token. Claims about the person are left to /userinfo (Core §5.4: in the
 * code flow they stay out unless the `claims` parameter asks for them).
 */
export async function mintIdToken(
  authorization: Authorization & { user: NonNullable<Authorization['user']> },
  accessToken: string,
  alg: SigningAlg,
  now: Date,
  server: AuthorizationServer,
): Promise<string> {
  const { authentication, nonce } = authorization;
  return signJwt(await server.keyring.signing(alg), 'JWT', {
    iss: server.issuer,
    sub: authorization.user.id,
    aud: authorization.client.id,
    iat: seconds(now),
    exp: seconds(now) + server.profile.lifetimes.idToken,
    at_hash: leftHalf(accessToken, alg),
    ...(authentication && {
      auth_time: seconds(authentication.time),
      acr: authentication.acr,
      amr: authentication.amr,
    }),
    ...(nonce !== undefined && { nonce }),
  });
}

/** Core §3.1.3.6: base64url of the left half of the hash that goes with `alg` (for EdDSA over Ed25519: SHA-512). */
function leftHalf(value: string, alg: SigningAlg): string {
  const digest = createHash(alg === 'EdDSA' ? 'sha512' : 'sha256')
    .update(value, 'ascii')
    .digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}
