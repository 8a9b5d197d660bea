/**
 * Revocation, RFC 7009: a refresh token ends its grant with all its tokens, an access token itself. What is unknown,
 * over or garbage is answered like success (§2.2). Another client's token is refused without effect and without a word
 * about it (§2.1).
 */
import { verifySignedToken } from '../../protocol/access-token.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import type { Revocation } from '../../protocol/ledger.ts';
import { parseCredential } from '../../protocol/secrets.ts';

export function revocation(): Feature {
  return {
    name: 'revocation',
    endpoints: [
      {
        caller: 'client',
        path: '/revoke',
        metadata: 'revocation_endpoint',
        cors: true,
        publicClients: true,
        async handle({ parameters, client, now, trace }, server) {
          const text = parameters.get('token');
          if (text === undefined) throw new OAuthError('invalid_request', 'token is required.');
          const outcome = await revoke(text, client.id, now, server);
          if (outcome === 'foreign')
            throw new OAuthError('unauthorized_client', 'This client may not revoke this token.');
          trace.event = outcome === 'revoked' ? 'token_revoked' : 'nothing_revoked';
          return { status: 200 };
        },
      },
    ],
  };
}

async function revoke(text: string, clientId: string, now: Date, server: AuthorizationServer): Promise<Revocation> {
  const refreshToken = parseCredential('refresh_token', text);
  if (refreshToken) return server.ledger.revokeRefreshToken(refreshToken, clientId, now);
  const accessToken = parseCredential('access_token', text);
  if (accessToken) return server.ledger.revokeAccessToken(accessToken, clientId, now);
  const exchanged = parseCredential('exchanged_token', text);
  if (exchanged) return server.ledger.revokeExchanged(exchanged, clientId, now);
  const signed = await verifySignedToken(text, now, server);
  return signed ? server.ledger.revokeSigned(signed, clientId, now) : 'unknown';
}
