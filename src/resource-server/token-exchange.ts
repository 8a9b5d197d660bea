/**
 * Token exchange as an API asks for it, RFC 8693 §2: it was called with a token and needs another API for its answer. It may not
 * forward the token it got, which is not for that API; it exchanges it for one that says for whom it acts, and who acts.
 *
 * Invariants: only a token that was let in here is exchanged (checked-token.ts), never one that a caller merely sent; what is
 * kept is given again only for the very same token, API and scope, and only until shortly before its end; with a key of
 * the API's own, nothing but a token that is bound to it is taken.
 *
 *   kept? ─▶ asked for by somebody else? wait along ─▶ ask, with the nonce last given ─▶ asked for a nonce? once more ─▶ keep
 */
import { createHash } from 'node:crypto';
import { type AccessToken, isText } from './access-token.ts';
import { metadataOf } from './authorization-server.ts';
import { textOf } from './checked-token.ts';
import { clientAuthentication } from './client-authentication.ts';
import { type DpopSigner, dpopSigner } from './dpop-signer.ts';
import { type Answer, exchange, objectIn, requireSecureUrl } from './json-exchange.ts';
import {
  demand,
  type IntrospectionClient,
  type PrivateKey,
  requireCredentials,
  requireIssuer,
  requireMembers,
  requirePrivateKey,
  requireTimeout,
} from './options.ts';
import { NoVerdict } from './refusal.ts';

export interface TokenExchangeOptions {
  /** The issuer identifier of the authorization server, exactly as it writes it. */
  readonly issuer: string;
  /** Who this API is there: the client that a policy lets exchange. */
  readonly client: IntrospectionClient;
  /** A private key to which tokens shall be bound (DPoP). Where the caller's token is bound, there must be one. */
  readonly dpopKey?: PrivateKey;
  /** The longest wait for one answer of the authorization server, in seconds; 5 when left out. */
  readonly timeoutSeconds?: number;
  /** How many tokens are kept at most; 10 000 when left out. */
  readonly capacity?: number;
}

/** Where the new token shall be good, and for what. */
export interface ExchangeTarget {
  /** The other API, by its identifier (RFC 8707). */
  readonly resource: string;
  /** Scope values there; without, all that this token gives. */
  readonly scope?: readonly string[];
  /** A token that the other API has refused: it is forgotten, and another one asked for. */
  readonly instead?: ExchangedToken;
}

export interface ExchangedToken {
  readonly accessToken: string;
  readonly tokenType: 'Bearer' | 'DPoP';
  readonly scope: ReadonlySet<string>;
  /** Seconds since 1970, or undefined when the server did not say. */
  readonly expiresAt: number | undefined;
  /**
   * The headers of one request with this token.
   * @param nonce what that API gave out last as `DPoP-Nonce`, if it does
   */
  headers(method: string, url: string | URL, nonce?: string): Promise<Record<string, string>>;
}

/** There is no token, and `code` says why. The message is for the API's own log. */
export class ExchangeFault extends Error {
  override readonly name = 'ExchangeFault';
  /**
   * What the server said (RFC 8693 §2.2.2): `invalid_request` when the caller's token is not good (any more),
   * `invalid_target`, `invalid_scope` or `unauthorized_client` when no policy allows it; or `temporarily_unavailable`
   * when it gave no usable answer.
   */
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}

/**
 * @param subject `request.accessToken`, or that of a verdict
 * @throws ExchangeFault
 */
export type TokenExchange = (subject: AccessToken, target: ExchangeTarget) => Promise<ExchangedToken>;

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

/** Seconds before its end from which a kept token is not given any more: it has a way to go. */
const MARGIN = 10;

/** Characters of an error that are put into a message (RFC 6749 §5.2). */
const ERROR_WORD = /^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,100}$/;

/**
 * Prepares exchanges for one API. Nothing is fetched until the first one.
 *
 * @throws TypeError when an option cannot be right, naming it
 */
export function createTokenExchange(options: TokenExchangeOptions): TokenExchange {
  checkOptions(options);
  const { issuer, client, dpopKey, timeoutSeconds = 5, capacity = 10_000 } = options;
  const metadata = metadataOf(issuer, timeoutSeconds);
  const authenticate = clientAuthentication(issuer, client);
  const sign = dpopKey && dpopSigner(dpopKey);
  const kept = new Map<string, { readonly token: Promise<ExchangedToken>; until: number }>();
  /** Of the authorization server (RFC 9449 §8.2). */
  let nonce: string | undefined;

  async function ask(subject: string, { resource, scope }: ExchangeTarget): Promise<ExchangedToken> {
    const url = requireSecureUrl("The issuer's token_endpoint", (await metadata()).token_endpoint);
    const first = await send(url, subject, resource, scope);
    // Only the server knows its nonces: a first proof without one is no fault.
    const isNonceAsked = sign !== undefined && first.status === 400 && objectIn(first, url).error === 'use_dpop_nonce';
    const answer = isNonceAsked ? await send(url, subject, resource, scope) : first;
    const members = objectIn(answer, url);
    if (answer.status === 200) return tokenOf(members, scope, sign);
    const { error, error_description: why } = members;
    if (!isText(error)) throw new NoVerdict(`${url.origin}${url.pathname} refused without a reason`);
    const words = [error, why].filter((text) => isText(text) && ERROR_WORD.test(text)).join(': ');
    throw new ExchangeFault(error, `The token for ${resource} was refused: ${words}`);
  }

  async function send(url: URL, subject: string, resource: string, scope: ExchangeTarget['scope']): Promise<Answer> {
    const { headers, parameters } = await authenticate();
    const body = new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subject,
      subject_token_type: ACCESS_TOKEN,
      requested_token_type: ACCESS_TOKEN,
      resource,
      ...(scope === undefined ? {} : { scope: scope.join(' ') }),
      ...parameters,
    });
    const proof = sign && { dpop: await sign('POST', url, { nonce }) };
    const init = { method: 'POST', headers: { ...headers, ...proof }, body };
    const answer = await exchange(url, timeoutSeconds, init, 'application/json', [200, 400, 401]);
    nonce = answer.headers.get('dpop-nonce') ?? nonce;
    return answer;
  }

  async function askFor(subject: string, target: ExchangeTarget): Promise<ExchangedToken> {
    try {
      return await ask(subject, target);
    } catch (cause) {
      if (cause instanceof ExchangeFault) throw cause;
      const message = cause instanceof Error ? cause.message : 'no token';
      throw new ExchangeFault('temporarily_unavailable', message, { cause });
    }
  }

  return async (subject, target) => {
    checkTarget(target);
    const text = textOf(subject);
    const { resource, scope, instead } = target;
    const key = createHash('sha256')
      .update(JSON.stringify([text, resource, scope]))
      .digest('base64url');
    const before = kept.get(key);
    if (before !== undefined && before.until > Date.now()) {
      if (instead === undefined || (await before.token) !== instead) return before.token;
    }
    // Of those who come for another one at the same time, the first has replaced it.
    const meanwhile = kept.get(key);
    if (meanwhile !== undefined && meanwhile !== before) return meanwhile.token;

    const entry = { token: askFor(text, target), until: Number.POSITIVE_INFINITY };
    kept.delete(key);
    kept.set(key, entry);
    for (const oldest of kept.keys()) {
      if (kept.size <= capacity) break;
      kept.delete(oldest);
    }
    try {
      const token = await entry.token;
      entry.until = token.expiresAt === undefined ? 0 : (token.expiresAt - MARGIN) * 1000;
      return token;
    } catch (error) {
      // A refusal is not kept: what it was about may be mended.
      if (kept.get(key) === entry) kept.delete(key);
      throw error;
    }
  };
}

/** RFC 8693 §2.2.1. */
function tokenOf(
  members: Record<string, unknown>,
  asked: readonly string[] | undefined,
  sign: DpopSigner | undefined,
): ExchangedToken {
  const { access_token: accessToken, issued_token_type, token_type, expires_in, scope } = members;
  const tokenType = sign ? 'DPoP' : 'Bearer';
  if (!isText(accessToken) || issued_token_type !== ACCESS_TOKEN) throw new NoVerdict('The answer is no access token');
  // What was asked for bound and comes unbound is worth something to whoever finds it.
  if (String(token_type).toLowerCase() !== tokenType.toLowerCase()) {
    throw new NoVerdict(`The access token is not of the type ${tokenType}`);
  }
  const lifetime = typeof expires_in === 'number' && Number.isFinite(expires_in) ? expires_in : undefined;
  return {
    accessToken,
    tokenType,
    scope: new Set(typeof scope === 'string' ? scope.split(' ').filter(Boolean) : asked),
    expiresAt: lifetime === undefined ? undefined : Math.floor(Date.now() / 1000 + lifetime),
    async headers(method, url, nonce) {
      const authorization = `${tokenType} ${accessToken}`;
      if (!sign) return { authorization };
      return { authorization, dpop: await sign(method, url, { token: accessToken, nonce }) };
    },
  };
}

function checkOptions(options: TokenExchangeOptions): void {
  requireMembers('the options', options, ['issuer', 'client', 'dpopKey', 'timeoutSeconds', 'capacity']);
  const { issuer, client, dpopKey, timeoutSeconds = 5, capacity = 1 } = options;
  requireIssuer(issuer);
  requireMembers('client', client, ['clientId', 'clientSecret', 'privateKey']);
  requireCredentials('client', client);
  if (dpopKey !== undefined) requirePrivateKey('dpopKey', dpopKey);
  requireTimeout(timeoutSeconds);
  demand(Number.isSafeInteger(capacity) && capacity > 0, 'capacity', 'a whole number above 0');
}

function checkTarget(target: ExchangeTarget): void {
  requireMembers('the target', target, ['resource', 'scope', 'instead']);
  demand(isText(target.resource), 'resource', "the other API's identifier");
  const { scope } = target;
  const isScope = scope === undefined || (Array.isArray(scope) && scope.length > 0 && scope.every(isText));
  demand(isScope, 'scope', 'a list of scope values');
}
