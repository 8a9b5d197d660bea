/**
 * What a route asks of a good token: scope (RFC 6750 §3.1), how and when the user signed in (RFC 9470), what was granted in
 * detail (RFC 9396).
 */
import { type AccessToken, CLOCK_TOLERANCE, isText } from './access-token.ts';
import { demand, requireMembers } from './options.ts';
import { Fault } from './refusal.ts';

export interface Requirements {
  /** Scope values that must all be granted. */
  readonly scope?: readonly string[];
  /** Authentication contexts, one of which the user must have signed in with. In the order of preference. */
  readonly acrValues?: readonly string[];
  /** Seconds since the user signed in, at the most. */
  readonly maxAge?: number;
  /** Types of authorization details; of each there must be one at least. What they say is for the API to read. */
  readonly authorizationDetails?: readonly string[];
}

/** Scope values (RFC 6749 §3.3); also what stands unescaped in a challenge's quotes, between spaces. */
const WORD = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** @throws TypeError naming what cannot be required */
export function checkRequirements(requirements: Requirements): void {
  requireMembers('the requirements', requirements, ['scope', 'acrValues', 'maxAge', 'authorizationDetails']);
  const { scope = [], acrValues, maxAge, authorizationDetails = [] } = requirements;
  const areWords = (values: readonly string[]) =>
    Array.isArray(values) && values.every((value) => typeof value === 'string' && WORD.test(value));
  demand(areWords(scope), 'scope', 'a list of scope values, without space, quote and backslash');
  const areTexts = Array.isArray(authorizationDetails) && authorizationDetails.every(isText);
  demand(areTexts, 'authorizationDetails', 'a list of types');
  // An empty list would be met by nobody.
  if (acrValues !== undefined) demand(areWords(acrValues) && acrValues.length > 0, 'acrValues', 'a list of acr values');
  if (maxAge !== undefined) demand(Number.isSafeInteger(maxAge) && maxAge >= 0, 'maxAge', 'whole seconds');
}

/**
 * The sign-in is judged first, and its challenge names the scope as well: the client can get both at one go.
 *
 * @throws Fault `insufficient_user_authentication` or `insufficient_scope`
 */
export function judgeSufficiency(token: AccessToken, requirements: Requirements): void {
  const { scope = [], acrValues, maxAge, authorizationDetails = [] } = requirements;
  const scopeWanted = scope.length > 0 ? { scope: scope.join(' ') } : {};

  const isAcrGood = acrValues === undefined || (token.acr !== undefined && acrValues.includes(token.acr));
  // Nobody knows how long ago a sign-in without auth_time was, and one that is still to come never grows old.
  const age = Math.floor(Date.now() / 1000) - (token.authTime ?? Number.NEGATIVE_INFINITY);
  const isFresh = maxAge === undefined || (age <= maxAge && age >= -CLOCK_TOLERANCE);
  if (!isAcrGood || !isFresh) {
    const message = isAcrGood ? 'The user signed in too long ago' : 'The user must sign in in another way';
    const acr = acrValues === undefined ? {} : { acr_values: acrValues.join(' ') };
    const freshness = maxAge === undefined ? {} : { max_age: String(maxAge) };
    const parameters = { ...acr, ...freshness, ...scopeWanted };
    throw new Fault('insufficient_user_authentication', message, { parameters });
  }

  const granted = new Set(token.authorizationDetails.map(({ type }) => type));
  const isCovered = scope.every((value) => token.scope.has(value));
  if (!isCovered || !authorizationDetails.every((type) => granted.has(type))) {
    const message = isCovered
      ? 'The access token holds no authorization details of a type that this request needs'
      : 'The access token does not cover this request';
    throw new Fault('insufficient_scope', message, { parameters: scopeWanted });
  }
}
