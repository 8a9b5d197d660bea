/**
 * ID tokens: OpenID Connect Core §2, §3.1.3.6, §12.2; as a hint, §3.1.2.1 and RP-Initiated Logout 1.0 §2.
 *
 * Signed always, and then encrypted for a client that registered that (§10.2, nested by RFC 7519 §11.2): what only it can
 * read still proves to it who said so.
 */
import { createHash } from 'node:crypto';
import { type Authentication, type Authorization, authenticationOf, claimsOfAuthentication } from './authorization.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { claimsRequested } from './claims-request.ts';
import type { Client } from './client.ts';
import { TOKEN_EXCHANGE } from './exchanges.ts';
import { isSigningAlg, type SigningAlg, seconds, signJwt, verifyOwnJwt } from './jose.ts';
import { encryptionAlgs, encryptionEncs } from './jose-client.ts';
import { profileOf } from './profile.ts';
import { asRegistered } from './response-encryption.ts';
import { isUuid, mintId } from './secrets.ts';
import { sidOf } from './session.ts';
import { subjectOf, subjectTypes } from './subject.ts';

const TYP = 'JWT';

/** The algorithm a client's ID tokens, and everything like them, are signed with (Registration §2). */
export function idTokenAlg(client: Client, server: AuthorizationServer): SigningAlg {
  const registered = client.metadata.id_token_signed_response_alg;
  return isSigningAlg(registered) ? registered : profileOf(client, server.profile).idTokenAlg;
}

/** What discovery says of ID tokens and subjects (OpenID Connect Discovery §3). */
export function idTokenMetadata({ profile }: AuthorizationServer): Record<string, unknown> {
  const { idTokenAlg: preferred, signingAlgs } = profile;
  return {
    scopes_supported: ['openid'],
    subject_types_supported: subjectTypes,
    id_token_signing_alg_values_supported: [preferred, ...signingAlgs.filter((alg) => alg !== preferred)],
    id_token_encryption_alg_values_supported: encryptionAlgs,
    id_token_encryption_enc_values_supported: encryptionEncs,
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'auth_time', 'acr', 'amr', 'nonce', 'at_hash', 'sid'],
  };
}

/**
 * Makes the ID token that goes with an access token. Claims about the person are left to /userinfo, but for those that the
 * `claims` parameter asked for here (Core §5.4, §5.5). `aud` is one, so there is no `azp`; no code goes with it, so there is
 * no `c_hash` (Core §2, §3.1.3.6).
 */
export async function mintIdToken(
  authorization: Authorization & { user: NonNullable<Authorization['user']> },
  accessToken: string,
  now: Date,
  server: AuthorizationServer,
): Promise<string> {
  const { authentication, nonce, client, user, signInId } = authorization;
  const alg = idTokenAlg(client, server);
  const exp = seconds(now) + server.profile.lifetimes.idToken;
  const signed = await signJwt(await server.keyring.signing(alg), TYP, {
    ...claimsRequested(user, authorization.claims.idToken, client.scope),
    iss: server.issuer,
    sub: subjectOf(user, client, server),
    aud: client.id,
    iat: seconds(now),
    exp,
    at_hash: leftHalf(accessToken, alg),
    ...claimsOfAuthentication(authentication),
    ...(signInId !== undefined && { sid: sidOf(signInId, client.id, server) }),
    ...(nonce !== undefined && { nonce }),
    ...whereItStands(authorization, exp, now, server),
  });
  return asRegistered(signed, client, 'id_token', server);
}

/**
 * For clients that may exchange it (RFC 8693): what names it, and the grant it came from, so that it can be asked whether that
 * stands. Such a token does not outlive its grant.
 */
function whereItStands(
  { client, grantId, expiresAt }: Authorization,
  exp: number,
  now: Date,
  { context }: AuthorizationServer,
): Record<string, unknown> {
  if (grantId === undefined || !client.grantTypes.includes(TOKEN_EXCHANGE)) return {};
  return {
    jti: mintId(now, context.random),
    grant_id: grantId,
    exp: expiresAt ? Math.min(exp, seconds(expiresAt)) : exp,
  };
}

/** Core §3.1.3.6: base64url of the left half of the hash that goes with `alg` (for EdDSA over Ed25519: SHA-512). */
function leftHalf(value: string, alg: SigningAlg): string {
  const digest = createHash(alg === 'EdDSA' ? 'sha512' : 'sha256')
    .update(value, 'ascii')
    .digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}

/** What one of our ID tokens, sent back to us, still says. */
export interface IdTokenHint {
  readonly clientId: string;
  readonly subject: string;
  readonly sid: string | undefined;
}

/** Seconds after its end that an ID token may still serve as a hint: as long as the keys that signed it are kept. */
export const HINT_LIFETIME = 365 * 86_400;

/**
 * Reads an `id_token_hint`. Being over is no fault of a hint (Core §3.1.2.1, RP-Initiated Logout §4); being anything else
 * than an ID token of ours is: other tokens of ours have another type, no `at_hash`, or an audience of their own. A client that
 * gets its ID tokens encrypted sends the signed one it found inside. The other way of §3.1.2.1, encrypting it anew for us, is
 * closed: our encryption keys are for request objects of clients that may send such, and whose a hint is, is not known before it
 * is read.
 * @returns `undefined` when it is none
 */
export async function readIdTokenHint(
  token: string,
  now: Date,
  server: AuthorizationServer,
): Promise<IdTokenHint | undefined> {
  const findKey = await server.keyring.remembered();
  const claims = verifyOwnJwt(token, {
    typ: TYP,
    issuer: server.issuer,
    now,
    findKey,
    overFor: HINT_LIFETIME,
  });
  const { aud, sub, sid, at_hash } = claims ?? {};
  if (typeof aud !== 'string' || typeof sub !== 'string' || typeof at_hash !== 'string') return undefined;
  return { clientId: aud, subject: sub, sid: typeof sid === 'string' ? sid : undefined };
}

/** What one of our ID tokens says that was made to be exchanged. */
export interface ExchangeableIdToken {
  readonly jti: string;
  readonly grantId: string;
  readonly clientId: string;
  readonly subject: string;
  readonly authentication: Authentication | undefined;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/**
 * Reads an ID token of ours that its client wants to exchange (RFC 8693 §3). Its signature, type, issuer and end are checked; whether its
 * grant stands is not asked.
 * @returns `undefined` for anything else, among it ID tokens of clients that are not registered for it
 */
export async function readIdToken(
  token: string,
  now: Date,
  server: AuthorizationServer,
): Promise<ExchangeableIdToken | undefined> {
  const findKey = await server.keyring.verifying();
  const { issuer, profile } = server;
  const claims = verifyOwnJwt(token, { typ: TYP, issuer, now, findKey, algs: profile.signingAlgs });
  // We signed it, so its claims have the types we gave them; `at_hash` is what other things of this type lack.
  const { jti, grant_id, aud, sub, at_hash, auth_time, acr, amr, iat, exp } = (claims ?? {}) as {
    jti?: string;
    grant_id?: string;
    aud?: unknown;
    sub?: string;
    at_hash?: string;
    auth_time?: number;
    acr?: string;
    amr?: string[];
    iat?: number;
    exp?: number;
  };
  if (!isUuid(jti) || !isUuid(grant_id) || typeof aud !== 'string' || sub === undefined || at_hash === undefined)
    return undefined;
  return {
    jti,
    grantId: grant_id,
    clientId: aud,
    subject: sub,
    authentication: authenticationOf({ auth_time, acr, amr }),
    issuedAt: new Date((iat ?? 0) * 1000),
    expiresAt: new Date((exp ?? 0) * 1000),
  };
}
