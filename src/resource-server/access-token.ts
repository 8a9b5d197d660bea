/**
 * The rules for the claims of an access token: RFC 9068 §4 and, for what introspection says of a token, RFC 7662 §2.2.
 * One law for both forms, so that a token refused as a JWT is not welcome as an opaque one.
 */
import { InvalidToken } from './refusal.ts';

/** One thing the user allowed in detail, RFC 9396 §2: `type` says what the other members mean. */
export interface AuthorizationDetail {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** An access token that was checked, as the API's own code sees it. */
export interface AccessToken {
  /** Whose resources these are: the user, or the client itself when no user is involved (RFC 9068 §2.2). */
  readonly sub: string;
  /** The client that was given the token. */
  readonly clientId: string;
  /** The scope values granted. */
  readonly scope: ReadonlySet<string>;
  /** What was granted in detail (RFC 9396 §9); what is located at other APIs only is left out. */
  readonly authorizationDetails: readonly AuthorizationDetail[];
  /** How the user signed in, RFC 9068 §2.2.1. */
  readonly acr: string | undefined;
  /** When the user signed in, in seconds since 1970. */
  readonly authTime: number | undefined;
  /** Every resource the token is for; this API is among them. */
  readonly audience: readonly string[];
  /** Seconds since 1970, or undefined when introspection did not say. */
  readonly expiresAt: number | undefined;
  /** Everything the issuer said, in the words of the wire. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What the claims are judged by. */
export interface Expectation {
  readonly issuer: string;
  readonly resource: string;
  /** Claims that must be there at all. */
  readonly required: readonly string[];
  /** Seconds since 1970. */
  readonly now: number;
}

/** Seconds by which the issuer's clock may be ahead of ours. It never lengthens a life: `exp` has no leeway. */
export const CLOCK_TOLERANCE = 10;

/**
 * Whether the token may be used by whoever shows it is not judged here: see confirmation.ts.
 *
 * @param claims the payload of a JWT whose signature was verified, or the answer of the introspection endpoint
 * @throws InvalidToken naming the rule that was broken
 */
export function judgeClaims(claims: Record<string, unknown>, expected: Expectation): AccessToken {
  for (const name of expected.required) {
    if (claims[name] === undefined) throw new InvalidToken(`The access token has no ${name}`);
  }
  // RFC 7662 leaves `iss` out at will; an issuer that names another one is never right.
  if (claims.iss !== undefined && claims.iss !== expected.issuer) {
    throw new InvalidToken('The access token is of another issuer');
  }
  const audience = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  // A token for another API, replayed here by that API or by whoever robbed it (RFC 9700 §2.3).
  if (!audience.every(isText) || !audience.includes(expected.resource)) {
    throw new InvalidToken('The access token is not for this API');
  }

  const { now } = expected;
  const expiresAt = time(claims, 'exp');
  if (expiresAt !== undefined && expiresAt <= now) throw new InvalidToken('The access token has expired');
  if ((time(claims, 'nbf') ?? now) > now + CLOCK_TOLERANCE) throw new InvalidToken('The access token is not valid yet');
  if ((time(claims, 'iat') ?? now) > now + CLOCK_TOLERANCE) {
    throw new InvalidToken('The access token was issued in the future');
  }

  return {
    sub: text(claims, 'sub'),
    clientId: text(claims, 'client_id'),
    scope: new Set(claims.scope === undefined ? [] : text(claims, 'scope', true).split(' ').filter(Boolean)),
    authorizationDetails: details(claims.authorization_details).filter((detail) => isHere(detail, expected.resource)),
    acr: claims.acr === undefined ? undefined : text(claims, 'acr'),
    authTime: time(claims, 'auth_time'),
    audience,
    expiresAt,
    claims,
  };
}

export function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(claims: Record<string, unknown>, name: string, mayBeEmpty = false): string {
  const value = claims[name];
  if (isText(value) || (mayBeEmpty && value === '')) return value;
  throw new InvalidToken(`The access token's ${name} is not a text`);
}

function time(claims: Record<string, unknown>, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined || (typeof value === 'number' && Number.isFinite(value))) return value;
  throw new InvalidToken(`The access token's ${name} is not a time`);
}

function details(value: unknown = []): AuthorizationDetail[] {
  const isDetail = (detail: unknown): detail is AuthorizationDetail => isObject(detail) && isText(detail.type);
  if (Array.isArray(value) && value.every(isDetail)) return value;
  throw new InvalidToken("The access token's authorization_details are not a list of typed objects");
}

/** RFC 9396 §2.2: `locations` names the places a detail is for. What is granted at another API is not granted here. */
function isHere({ locations }: AuthorizationDetail, resource: string): boolean {
  if (locations === undefined) return true;
  const beneath = resource.endsWith('/') ? resource : `${resource}/`;
  const isThis = (place: unknown) => place === resource || (typeof place === 'string' && place.startsWith(beneath));
  return Array.isArray(locations) && locations.some(isThis);
}
