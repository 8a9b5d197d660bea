/**
 * The authorization response: RFC 6749 §4.1.2, RFC 9207. Whatever the outcome and the mode, `state` comes back as it
 * was sent and `iss` says who answers, so that a client with several servers cannot be led to send a code to the wrong
 * one (mix-up, RFC 9700 §4.4).
 */

import type { AuthorizationServer } from './authorization-server.ts';
import { OAuthError } from './errors.ts';
import type { ResponseMode } from './feature.ts';
import type { BrowserResponse, Parameters } from './message.ts';
import type { ReturnAddress } from './redirect-uri.ts';

/**
 * How the response shall travel: OAuth 2.0 Multiple Response Types §2.1.
 * @throws OAuthError to be shown (OpenID Connect Core §3.1.2.6): how to send it is just what is not known
 */
export function resolveResponseMode(parameters: Parameters, server: AuthorizationServer): ResponseMode {
  const mode = server.registries.responseModes.get(parameters.get('response_mode') ?? 'query');
  if (!mode) throw new OAuthError('invalid_request', 'This response_mode is not offered here.');
  return mode;
}

/** Sends the parameters of a response, or of an error, to the client. */
export function sendResponse(
  address: ReturnAddress,
  mode: ResponseMode,
  parameters: Readonly<Record<string, string>>,
  now: Date,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const { state } = address;
  return mode.send(address, { ...parameters, ...(state !== undefined && { state }), iss: server.issuer }, now, server);
}
