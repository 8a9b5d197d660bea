/**
 * What a refused caller is told: RFC 6750 §3 (the Bearer challenge) and RFC 9728 §5.1 (`resource_metadata`, from which a
 * client that knows only this API learns which authorization server to ask).
 *
 * Invariant: every text is fixed here or in the configuration. Nothing of the request is echoed, so a response cannot be
 * made to carry a caller's markup, header or token.
 */

/** A finished answer to a caller who is not let in: send status, headers and body as they are. */
export interface Refusal {
  /** 400 malformed, 401 no or bad token, 403 not enough scope, 503 the authorization server cannot be asked. */
  readonly status: 400 | 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  /** To be sent as JSON; `headers` say so. Absent where RFC 6750 §3.1 wants no error information: the caller just did not know a token was needed. */
  readonly body: { readonly error: string; readonly error_description: string } | undefined;
  /** Why, for the API's own log. Never part of the response. */
  readonly cause: unknown;
}

/** The token is not one this API accepts. `message` is public: it names the rule that was broken, never the value. */
export class InvalidToken extends Error {
  override readonly name = 'InvalidToken';
}

/** The authorization server did not give a usable answer, so nothing is known about the token. */
export class AuthorizationServerUnavailable extends Error {
  override readonly name = 'AuthorizationServerUnavailable';
}

/** The refusals of one resource, which its challenges name as their realm. */
export interface Refusals {
  missingToken(): Refusal;
  invalidRequest(description: string): Refusal;
  invalidToken(fault: InvalidToken): Refusal;
  insufficientScope(required: readonly string[]): Refusal;
  unavailable(fault: AuthorizationServerUnavailable): Refusal;
}

/** Seconds after which a caller may try again while the authorization server is away. */
const RETRY_AFTER = '5';

const JSON_BODY = { 'content-type': 'application/json; charset=utf-8' };

/**
 * @param resource the identifier of the API, as tokens name it in `aud`
 * @param metadataUrl where its RFC 9728 document is
 */
export function refusalsOf(resource: string, metadataUrl: string): Refusals {
  const challenge = (attributes: Record<string, string>) => {
    const all = { realm: resource, ...attributes, resource_metadata: metadataUrl };
    const list = Object.entries(all).map(([name, value]) => `${name}="${value}"`);
    return { 'www-authenticate': `Bearer ${list.join(', ')}` };
  };

  const refuse = (
    status: 400 | 401 | 403,
    error: string,
    description: string,
    more = {},
    cause?: unknown,
  ): Refusal => ({
    status,
    headers: { ...JSON_BODY, ...challenge({ error, error_description: description, ...more }) },
    body: { error, error_description: description },
    cause,
  });

  return {
    missingToken: () => ({ status: 401, headers: challenge({}), body: undefined, cause: undefined }),
    invalidRequest: (description) => refuse(400, 'invalid_request', description),
    invalidToken: (fault) => refuse(401, 'invalid_token', fault.message, {}, fault.cause),
    insufficientScope: (required) =>
      refuse(403, 'insufficient_scope', 'The access token does not cover this request', { scope: required.join(' ') }),
    // Not 401: the token may be perfect, and a client told otherwise would throw it away and send its user to sign in.
    unavailable: (fault) => ({
      status: 503,
      headers: { ...JSON_BODY, 'retry-after': RETRY_AFTER },
      body: {
        error: 'temporarily_unavailable',
        error_description: 'The authorization server cannot be reached to check the access token',
      },
      cause: fault,
    }),
  };
}
