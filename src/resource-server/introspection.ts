/**
 * Opaque access tokens, RFC 7662: the authorization server is asked about every single one.
 *
 * Invariant: no answer is kept. A token revoked now is refused at the next request; that is what this form is for.
 */
import { type AccessToken, judgeClaims } from './access-token.ts';
import { metadataOf } from './authorization-server.ts';
import { exchangeJson, requireSecureUrl } from './json-exchange.ts';
import { AuthorizationServerUnavailable, InvalidToken } from './refusal.ts';

/** What an API needs to know of a token; RFC 7662 §2.2 makes them optional, an API that is told less can decide nothing. */
const REQUIRED = ['aud', 'sub', 'client_id'];

/** The API's own credentials at the authorization server. */
export interface IntrospectionClient {
  readonly clientId: string;
  readonly clientSecret: string;
}

/**
 * @returns a function from the text of a token to what it stands for; it throws InvalidToken or
 *   AuthorizationServerUnavailable
 */
export function introspectedAccessTokens(
  issuer: string,
  resource: string,
  client: IntrospectionClient,
  timeoutSeconds: number,
): (token: string) => Promise<AccessToken> {
  const metadata = metadataOf(issuer, timeoutSeconds);
  const authorization = clientSecretBasic(client);

  return async (token) => {
    const answer = await exchangeJson(endpoint(await metadata()), timeoutSeconds, {
      method: 'POST',
      headers: { authorization },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
    });
    if (typeof answer.active !== 'boolean') {
      throw new AuthorizationServerUnavailable('The introspection endpoint did not say whether the token is active');
    }
    if (!answer.active) throw new InvalidToken('The access token is unknown, expired or revoked');
    // RFC 7662 §4: `active` is the server's verdict; audience and times are judged again, against this API and clock.
    return judgeClaims(answer, { issuer, resource, required: REQUIRED, now: Math.floor(Date.now() / 1000) });
  };

  function endpoint({ introspection_endpoint }: { readonly introspection_endpoint?: unknown }): URL {
    try {
      return requireSecureUrl("The issuer's introspection_endpoint", introspection_endpoint);
    } catch (cause) {
      throw new AuthorizationServerUnavailable(`${issuer} offers no introspection`, { cause });
    }
  }
}

/** RFC 6749 §2.3.1: id and secret are form-encoded before they are joined, so neither can hold the colon. */
function clientSecretBasic({ clientId, clientSecret }: IntrospectionClient): string {
  const encode = (value: string) => new URLSearchParams({ '': value }).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString('base64')}`;
}
