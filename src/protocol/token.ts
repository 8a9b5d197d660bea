/**
 * The token endpoint (RFC 6749 §3.2, §5), in its order:
 *
 *  1. The client has authenticated (client-authentication.ts, before we are called).
 *  2. The grant type is offered here and allowed to this client.
 *  3. A proof of possession, where there is one or must be: what is minted is bound to its key.
 *  4. The grant is verified; nothing is written, but that one which is replayed ends.
 *  5. Scope, resource and authorization details are narrowed, never widened.
 *  6. The tokens are minted and signed; nothing is stored.
 *  7. The grant is spent: one atomic statement that also stores what was minted.
 *  8. The answer.
 *
 * All that can refuse comes before 7, and so does signing: neither a signer that fails nor a thief without the verifier
 * can burn a code.
 */
import { mintAccessToken } from './access-token.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { isPublic } from './client.ts';
import { provePossession } from './confirmation.ts';
import { OAuthError } from './errors.ts';
import type { ClientRequest, GrantType, Minted, TokenRequest, VerifiedGrant } from './feature.ts';
import { mintIdToken } from './id-token.ts';
import { type EndpointResponse, extended } from './message.ts';
import { marksOf } from './replay.ts';
import { mintCredential } from './secrets.ts';
import { narrow, type Target } from './target.ts';

export async function token(asked: ClientRequest, server: AuthorizationServer): Promise<EndpointResponse> {
  const { now, client, parameters } = asked;
  // 2
  const grantType = resolveGrantType(asked, server);
  asked.trace.grantType = grantType.name;
  // 3
  const possession = await provePossession(asked, client, server);
  const request: TokenRequest = extended(asked, { possession });
  const marks = marksOf(request);
  // 4
  const grant = await grantType.verify(request, server);
  const { authorization } = grant;
  request.trace.grantId = authorization.grantId ?? '';
  request.trace.userId = authorization.user?.id ?? '';
  // 5
  const target = grant.target ?? narrow(authorization, parameters, await server.catalogue.resources(), server.issuer);
  // 6
  const accessToken = grant.mint
    ? await grant.mint()
    : await mintAccessToken(authorization, target, possession?.cnf, now, server);
  const idToken = await idTokenFor(grant, target, accessToken.value, request, server);
  const refreshToken = grant.newRefreshToken ? mintRefreshToken(grant, request, server) : undefined;
  // 7
  const { jti, expiresAt, record } = accessToken;
  const spent = await grant.spend({ marks, jti, expiresAt, accessToken: record, refreshToken });
  request.trace.event = 'token_issued';
  // 8
  const kept = spent.refreshToken ?? refreshToken?.value;
  return {
    status: 200,
    ...(possession && { headers: possession.headers }),
    body: {
      access_token: accessToken.value,
      token_type: possession?.tokenType ?? 'Bearer',
      expires_in: Math.max(1, Math.round((expiresAt.getTime() - now.getTime()) / 1000)),
      ...(target.scope.length > 0 && { scope: target.scope.join(' ') }),
      // RFC 9396 §7.
      ...(target.authorizationDetails.length > 0 && { authorization_details: target.authorizationDetails }),
      ...(kept !== undefined && client.grantTypes.includes('refresh_token') && { refresh_token: kept }),
      ...(idToken !== undefined && { id_token: idToken }),
      ...grant.answer,
    },
  };
}

function resolveGrantType({ parameters, client }: ClientRequest, server: AuthorizationServer): GrantType {
  const name = parameters.get('grant_type');
  if (name === undefined) throw new OAuthError('invalid_request', 'grant_type is required.');
  const grantType = server.registries.grantTypes.get(name);
  if (!grantType) throw new OAuthError('unsupported_grant_type', 'This grant_type is not offered here.');
  if (!client.grantTypes.includes(name)) {
    throw new OAuthError('unauthorized_client', 'This client is not registered for this grant_type.');
  }
  return grantType;
}

function mintRefreshToken(
  { authorization }: VerifiedGrant,
  { now, client, possession }: TokenRequest,
  server: AuthorizationServer,
): Minted['refreshToken'] {
  const { value, id, hash } = mintCredential('refresh_token', now, server.context.random);
  const idle = now.getTime() + server.profile.lifetimes.refreshTokenIdle * 1000;
  const expiresAt = new Date(Math.min(idle, authorization.expiresAt?.getTime() ?? idle));
  // RFC 9449 §5: a client that authenticates is bound by that and may change its key; another one by the key itself.
  const cnf = isPublic(client) ? possession?.cnf : undefined;
  return { value, id, hash, scope: authorization.scope, cnf, issuedAt: now, expiresAt };
}

/** An ID token goes with every token that carries `openid` and stands for a person (Core §3.1.3.3, §12.2). */
async function idTokenFor(
  { authorization }: VerifiedGrant,
  target: Target,
  accessToken: string,
  { now }: TokenRequest,
  server: AuthorizationServer,
): Promise<string | undefined> {
  const { user, call } = authorization;
  // What was made from another token is no sign-in at the client that has it now.
  if (!user || call || !target.scope.includes('openid')) return undefined;
  return mintIdToken({ ...authorization, user }, accessToken, now, server);
}
