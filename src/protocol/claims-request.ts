/**
 * The `claims` parameter: OpenID Connect Core §5.5. What a client asks to know about a person, claim by claim, and in which
 * of the two answers. Names that are not known here are dropped when it is read, so nothing foreign is ever stored or
 * looked up.
 */
import { z } from 'zod';
import { CLAIMS_BY_SCOPE, claimsOf, isUserClaim, type User, type UserClaimName } from './claims.ts';
import { OAuthError } from './errors.ts';

export interface RequestedClaim {
  readonly essential: boolean;
  /** Values that would do; `undefined`: any. */
  readonly values: readonly unknown[] | undefined;
}

export type RequestedClaims = Readonly<Record<string, RequestedClaim>>;

/** As it is kept with the grant. */
export interface ClaimsRequest {
  readonly idToken: RequestedClaims;
  readonly userinfo: RequestedClaims;
}

export const NO_CLAIMS: ClaimsRequest = { idToken: {}, userinfo: {} };

/** Claims about the sign-in that may be asked for by name; the rest are about the person. */
const OTHERS: ReadonlySet<string> = new Set(['sub', 'acr', 'auth_time']);

const member = z
  .union([
    z.null(),
    z.object({
      essential: z.boolean().optional(),
      value: z.unknown().optional(),
      values: z.array(z.unknown()).max(20).optional(),
    }),
  ])
  .transform(
    (asked): RequestedClaim => ({
      essential: asked?.essential ?? false,
      values: asked?.value === undefined ? asked?.values : [asked.value],
    }),
  );
const members = z.record(z.string(), member).optional();
const wire = z.object({ id_token: members.nullable(), userinfo: members.nullable() });

const LONGEST = 8192;

/**
 * Reads a `claims` parameter.
 * @param registered scopes of the client: claims of no scope among them are not for it, by whatever name it asks
 * @throws OAuthError `invalid_request` when it is not JSON of the form of §5.5
 */
export function parseClaimsRequest(text: string | undefined, registered: readonly string[]): ClaimsRequest {
  if (text === undefined) return NO_CLAIMS;
  const parsed = text.length > LONGEST ? undefined : wire.safeParse(json(text));
  if (!parsed?.success) throw malformed();
  const open = new Set([...OTHERS, ...claimsOpenTo(registered)]);
  return { idToken: known(parsed.data.id_token, open), userinfo: known(parsed.data.userinfo, open) };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function known(asked: Record<string, RequestedClaim> | null | undefined, open: ReadonlySet<string>): RequestedClaims {
  const kept = Object.entries(asked ?? {}).filter(([name]) => open.has(name));
  for (const [, { values }] of kept) {
    // No form could have carried these, and no database keeps them.
    if (NOT_TEXT.test(JSON.stringify(values ?? []))) throw malformed();
  }
  return Object.fromEntries(kept);
}

/** NUL and halves of characters, as JSON.stringify writes both; a backslash that is text itself it writes twice. */
const NOT_TEXT = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/;

function malformed(): OAuthError {
  return new OAuthError('invalid_request', 'claims is not a claims request.');
}

function claimsOpenTo(registered: readonly string[]): readonly UserClaimName[] {
  return registered.flatMap((token) => CLAIMS_BY_SCOPE[token] ?? []);
}

/** Claims about the person that are asked for by name and not covered by a scope: what needs a consent of its own. */
export function claimsBeyondScope({ idToken, userinfo }: ClaimsRequest, scope: readonly string[]): UserClaimName[] {
  const covered = new Set<string>(scope.flatMap((token) => CLAIMS_BY_SCOPE[token] ?? []));
  const asked = new Set([...Object.keys(idToken), ...Object.keys(userinfo)]);
  return [...asked].filter((name): name is UserClaimName => isUserClaim(name) && !covered.has(name)).sort();
}

/**
 * What of the person's claims answers a request by name, as far as the client may have them still. Where the client names
 * values and the person's is another one, the claim is left out (§5.5.1).
 */
export function claimsRequested(
  user: User,
  requested: RequestedClaims,
  registered: readonly string[],
): Record<string, unknown> {
  const open = new Set<string>(claimsOpenTo(registered));
  const released = claimsOf(
    user,
    Object.keys(requested).filter((name): name is UserClaimName => isUserClaim(name) && open.has(name)),
  );
  const answers = (name: string, value: unknown) => {
    const values = requested[name]?.values;
    return values === undefined || values.some((wanted) => JSON.stringify(wanted) === JSON.stringify(value));
  };
  return Object.fromEntries(Object.entries(released).filter(([name, value]) => answers(name, value)));
}
