/**
 * Front-channel logout: OpenID Connect Front-Channel Logout 1.0. Who signs out here loads, in frames, the address each of
 * their clients has registered for it. `iss` and `sid` always go along (§3), so `frontchannel_logout_session_required` is
 * kept as registered and has no effect.
 *
 * Best effort by nature: browsers that keep third-party cookies from frames leave the client without its session.
 */
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type ClientMetadataCheck, findClient } from '../../protocol/client.ts';
import type { Feature } from '../../protocol/feature.ts';
import { redirectUriProblem, withQuery } from '../../protocol/redirect-uri.ts';
import { type EndedSignIn, sidOf } from '../../protocol/session.ts';

export function frontchannelLogout(): Feature {
  return {
    name: 'frontchannel-logout',
    clientMetadata: {
      frontchannel_logout_uri: z.string().max(2000).optional(),
      frontchannel_logout_session_required: z.boolean().optional(),
    },
    checkClientMetadata,
    serverMetadata: () => ({ frontchannel_logout_supported: true, frontchannel_logout_session_supported: true }),
    logoutChannels: [{ name: 'front-channel', notify: addresses }],
  };
}

/** §2: an https URL (http on loopback) with scheme, host and port of a redirect URI: no client names somebody else's. */
const checkClientMetadata: ClientMetadataCheck = ({ frontchannel_logout_uri: uri, redirect_uris = [] }) => {
  if (typeof uri !== 'string') return undefined;
  const field = 'frontchannel_logout_uri';
  // Of the web, whatever the client is: only a web page can be in a frame.
  const why = redirectUriProblem(uri, 'web');
  if (why !== undefined) return { field, why };
  const origins = (redirect_uris as readonly string[]).map((redirectUri) => new URL(redirectUri).origin);
  return origins.includes(new URL(uri).origin)
    ? undefined
    : { field, why: 'must have the scheme, host and port of one of the redirect_uris' };
};

async function addresses(ended: readonly EndedSignIn[], server: AuthorizationServer): Promise<string[]> {
  const found: string[] = [];
  for (const signIn of ended) {
    for (const clientId of signIn.clientIds) {
      const uri = (await findClient(server.catalogue, clientId))?.metadata.frontchannel_logout_uri;
      if (typeof uri !== 'string') continue;
      const added = new URLSearchParams({ iss: server.issuer, sid: sidOf(signIn.id, clientId, server) });
      found.push(withQuery(uri, added));
    }
  }
  return found;
}
