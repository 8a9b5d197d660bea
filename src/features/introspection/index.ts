/**
 * Introspection, RFC 7662: what a token is worth, told to the API it is for and to the client that holds it. Everybody
 * else, and everything that does not stand, gets exactly `{"active":false}`: no oracle. One round trip.
 */
import { readAccessToken, seconds, withOpenScope } from '../../protocol/access-token.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import type { StandingToken } from '../../protocol/ledger.ts';
import { parseCredential } from '../../protocol/secrets.ts';
import { subjectOf } from '../../protocol/subject.ts';

export function introspection(): Feature {
  return {
    name: 'introspection',
    endpoints: [
      {
        caller: 'client',
        path: '/token_info',
        aliases: ['/introspect'],
        metadata: 'introspection_endpoint',
        cors: false,
        publicClients: false,
        async handle({ parameters, client, now, trace }, server) {
          const text = parameters.get('token');
          if (text === undefined) throw new OAuthError('invalid_request', 'token is required.');
          // The prefix tells what it is; token_type_hint is a hint we do not need (§2.1).
          const refreshToken = parseCredential('refresh_token', text);
          const token = refreshToken
            ? await withOpenScope(await server.ledger.findRefreshToken(refreshToken, now), server)
            : await readAccessToken(text, now, server);
          trace.event = 'introspected';
          if (!token || !(await mayKnow(client, token, server))) return { status: 200, body: { active: false } };
          return { status: 200, body: await describe(token, server) };
        },
      },
    ],
  };
}

async function mayKnow(client: Client, token: StandingToken, server: AuthorizationServer): Promise<boolean> {
  if (token.clientId === client.id) return true;
  if (token.kind === 'refresh_token') return false;
  const resources = await server.catalogue.resources();
  return token.audience.some((indicator) => resources.get(indicator)?.introspectionClients.includes(client.id));
}

/** §2.2. `username` is left out: an API gets it only with the claims a person consented to. */
async function describe(token: StandingToken, server: AuthorizationServer): Promise<Record<string, unknown>> {
  const { authentication, audience, user } = token;
  const holder = user && (await findClient(server.catalogue, token.clientId));
  return {
    active: true,
    iss: server.issuer,
    sub: holder ? subjectOf(user, holder, server) : token.clientId,
    ...(audience.length > 0 && { aud: audience.length === 1 ? audience[0] : audience }),
    client_id: token.clientId,
    scope: token.scope.join(' '),
    ...(token.kind === 'access_token' && { token_type: token.cnf?.jkt === undefined ? 'Bearer' : 'DPoP' }),
    ...(token.cnf && { cnf: token.cnf }),
    iat: seconds(token.issuedAt),
    exp: seconds(token.expiresAt),
    jti: token.jti,
    ...(authentication && {
      auth_time: seconds(authentication.time),
      acr: authentication.acr,
      amr: authentication.amr,
    }),
  };
}
