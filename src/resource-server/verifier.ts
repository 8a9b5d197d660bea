/**
 * The judgement of one request to an API, RFC 6750 §2 and §3 as OAuth 2.1 §5 narrows them: the token comes in the
 * Authorization header, once, and nowhere else.
 *
 * The order is: how the token was presented (nothing is asked of anyone for a malformed request), whether it is good,
 * whether it is enough.
 */
import type { AccessToken } from './access-token.ts';
import { wellKnownUrl } from './authorization-server.ts';
import { type IntrospectionClient, introspectedAccessTokens } from './introspection.ts';
import { requireSecureUrl } from './json-exchange.ts';
import { jwtAccessTokens } from './jwt-access-token.ts';
import { AuthorizationServerUnavailable, InvalidToken, type Refusal, refusalsOf } from './refusal.ts';

export interface ResourceServerOptions {
  /** The issuer identifier of the authorization server, exactly as it writes it. */
  readonly issuer: string;
  /** This API's own identifier: an http(s) URL without query and fragment, which tokens must name in `aud`. */
  readonly resource: string;
  /** The form of the tokens: checked by signature, or by asking the authorization server. */
  readonly token: { readonly kind: 'jwt' } | ({ readonly kind: 'introspection' } & IntrospectionClient);
  /** The longest wait for one answer of the authorization server, in seconds; 5 when left out. */
  readonly timeoutSeconds?: number;
}

/** What else of the request matters. */
export interface PresentedRequest {
  /** The request target (`/photos?size=2`), so that a token in the query is refused. */
  readonly url?: string | undefined;
  /** Scope values that must all be granted; none when left out. */
  readonly scope?: readonly string[];
}

/** Either what the token says, or the answer to send instead of what was asked for. */
export type Verdict =
  | { readonly accepted: true; readonly accessToken: AccessToken }
  | { readonly accepted: false; readonly refusal: Refusal };

export interface TokenVerifier {
  /**
   * @param authorization every value of the Authorization header as it arrived: `request.headersDistinct.authorization`.
   *   Not `request.headers.authorization`, where Node.js keeps the first of several and hides that there were more.
   */
  verify(authorization: readonly string[] | undefined, request?: PresentedRequest): Promise<Verdict>;
}

/** RFC 6750 §2.1: the scheme, in any case (RFC 9110 §11.1), and one token of these characters. */
const BEARER = /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;

/** Far beyond any sane token; what is longer is not worth the hashing. */
const MAX_TOKEN_LENGTH = 8 * 1024;

/**
 * Prepares the check of access tokens for one API. Nothing is fetched until the first token comes.
 *
 * @throws TypeError when an option cannot be right
 */
export function createTokenVerifier(options: ResourceServerOptions): TokenVerifier {
  const { issuer, resource, token, timeoutSeconds = 5 } = options;
  requireSecureUrl('issuer', issuer);
  const refuse = refusalsOf(resource, protectedResourceMetadataUrl(resource).href);
  const check =
    token.kind === 'jwt'
      ? jwtAccessTokens(issuer, resource, timeoutSeconds)
      : introspectedAccessTokens(issuer, resource, token, timeoutSeconds);

  async function verify(authorization: readonly string[] = [], request: PresentedRequest = {}): Promise<Verdict> {
    const { url = '', scope = [] } = request;
    // Queries end up in logs, histories and Referer headers (RFC 9700 §4.3.2): such a token counts as leaked.
    if (queryOf(url).has('access_token'))
      return refused(refuse.invalidRequest('Access tokens in the query are refused'));
    // Proxy and API could each choose another one of them.
    if (authorization.length > 1) return refused(refuse.invalidRequest('There is more than one Authorization header'));
    const [credentials] = authorization;
    if (credentials === undefined || !/^bearer( |$)/i.test(credentials)) return refused(refuse.missingToken());
    const presented = BEARER.exec(credentials)?.[1];
    if (presented === undefined) return refused(refuse.invalidRequest('The Authorization header is malformed'));

    try {
      if (presented.length > MAX_TOKEN_LENGTH) throw new InvalidToken('The access token is too long');
      const accessToken = await check(presented);
      if (!scope.every((value) => accessToken.scope.has(value))) return refused(refuse.insufficientScope(scope));
      return { accepted: true, accessToken };
    } catch (error) {
      if (error instanceof InvalidToken) return refused(refuse.invalidToken(error));
      if (error instanceof AuthorizationServerUnavailable) return refused(refuse.unavailable(error));
      throw error;
    }
  }

  return { verify };
}

/**
 * Where the RFC 9728 document of a resource is.
 *
 * @throws TypeError when the identifier is no URL that could have one
 */
export function protectedResourceMetadataUrl(resource: string): URL {
  // The characters are those that need no escaping inside a challenge's quotes.
  if (!/^https?:\/\/[\x21\x24-\x3e\x40-\x5b\x5d-\x7e]+$/.test(resource) || !URL.canParse(resource)) {
    throw new TypeError('resource must be an http(s) URL without query and fragment');
  }
  return wellKnownUrl(resource, 'oauth-protected-resource');
}

function queryOf(url: string): URLSearchParams {
  const start = url.indexOf('?');
  return new URLSearchParams(start === -1 ? '' : url.slice(start));
}

function refused(refusal: Refusal): Verdict {
  return { accepted: false, refusal };
}
