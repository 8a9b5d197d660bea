/**
 * Opaque access tokens, RFC 7662: the authorization server is asked about every single one. With `signed`, its answer is a
 * JWT (RFC 9701), which the API can keep as a proof of what it was told.
 *
 * Invariant: no answer is reused. A token revoked now is refused at the next request; that is what this form is for.
 */
import { jwtVerify } from 'jose';
import { type AccessToken, CLOCK_TOLERANCE, isObject, judgeClaims } from './access-token.ts';
import { metadataOf } from './authorization-server.ts';
import { clientAuthentication } from './client-authentication.ts';
import { issuerKeys } from './issuer-keys.ts';
import { exchange, exchangeJson, requireSecureUrl } from './json-exchange.ts';
import type { IntrospectedTokens, Settings } from './options.ts';
import { InvalidToken, NoVerdict } from './refusal.ts';

/** What an API needs to know of a token; RFC 7662 §2.2 makes them optional, an API that is told less can decide nothing. */
const REQUIRED = ['aud', 'sub', 'client_id'];

/** RFC 9701 §4 and §5: the media type, and the `typ` that keeps an answer from passing as an access token or the reverse. */
const SIGNED_ANSWER = 'token-introspection+jwt';

/** Seconds a signed answer may have been under way. It names no token, so an old one could speak for another token. */
const MAX_ANSWER_AGE = 60;

/**
 * @returns a function from the text of a token to what it stands for; it throws InvalidToken or NoVerdict
 */
export function introspectedAccessTokens(
  { issuer, resource, algorithms, timeoutSeconds }: Settings,
  client: IntrospectedTokens,
): (token: string) => Promise<AccessToken> {
  const metadata = metadataOf(issuer, timeoutSeconds);
  const keys = issuerKeys(issuer, metadata, timeoutSeconds);
  const authenticate = clientAuthentication(issuer, client);

  return async (token) => {
    const url = endpoint(await metadata());
    const { headers, parameters } = await authenticate();
    const body = new URLSearchParams({ token, token_type_hint: 'access_token', ...parameters });
    const request = { method: 'POST', headers, body };
    const answer = client.signed ? await signedAnswer(url, request) : await exchangeJson(url, timeoutSeconds, request);
    if (typeof answer.active !== 'boolean') {
      throw new NoVerdict('The introspection endpoint did not say whether the token is active');
    }
    if (!answer.active) throw new InvalidToken('The access token is unknown, expired or revoked');
    // RFC 9449 §6.2: bound, the server says, and keeps to itself to what.
    if (String(answer.token_type).toLowerCase() === 'dpop' && answer.cnf === undefined) {
      throw new InvalidToken('The access token is bound to a key that is not known here');
    }
    // RFC 7662 §4: `active` is the server's verdict; audience and times are judged again, against this API and clock.
    return judgeClaims(answer, { issuer, resource, required: REQUIRED, now: Math.floor(Date.now() / 1000) });
  };

  /** RFC 9701 §5. An answer without a signature is none: whoever can take it away could say anything. */
  async function signedAnswer(url: URL, request: RequestInit): Promise<Record<string, unknown>> {
    const { text, contentType } = await exchange(url, timeoutSeconds, request, `application/${SIGNED_ANSWER}`);
    if (contentType !== `application/${SIGNED_ANSWER}`) throw new NoVerdict(`${url.href} did not sign its answer`);
    try {
      const { payload } = await jwtVerify(text, keys, {
        typ: SIGNED_ANSWER,
        algorithms: [...algorithms],
        issuer,
        audience: client.clientId, // an answer to another API may say more, or be about a token that is good only there
        requiredClaims: ['iat'],
        maxTokenAge: MAX_ANSWER_AGE,
        clockTolerance: CLOCK_TOLERANCE,
      });
      if (isObject(payload.token_introspection)) return payload.token_introspection;
    } catch (cause) {
      throw new NoVerdict(`${url.href} did not sign its answer as it should`, { cause });
    }
    throw new NoVerdict(`${url.href} signed an answer without token_introspection`);
  }

  function endpoint({ introspection_endpoint }: { readonly introspection_endpoint?: unknown }): URL {
    try {
      return requireSecureUrl("The issuer's introspection_endpoint", introspection_endpoint);
    } catch (cause) {
      throw new NoVerdict(`${issuer} offers no introspection`, { cause });
    }
  }
}
