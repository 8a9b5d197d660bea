/**
 * JWTs of trust domains: what another authorization server says of somebody, to us. RFC 7523 §3 as its revision narrows it, RFC 8693 §2.1,
 * RFC 8725 §3; draft-ietf-oauth-identity-chaining, draft-ietf-oauth-identity-assertion-authz-grant (ID-JAG). docs/identity-chaining.md
 * says what is taken over and why.
 *
 * Whoever signed it is trusted to speak of its own people and clients and of nobody else. So its names never become ours: a
 * person is `<issuer>|<sub>`, and whoever acts carries the issuer's name. What says that we, or one of ours, had a part in it is
 * refused: of that we know, and nobody else. Every text is bounded and printable before it comes
 * near a token, a page or the database.
 *
 *   size ─▶ iss ─▶ form ─▶ alg ─▶ header ─▶ typ ─▶ key ─▶ signature ─▶ claims ─▶ aud ─▶ times        the first that is wrong refuses
 */

import { z } from 'zod';
import type { Authentication } from './authorization.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { type Actor, type Call, DEEPEST, type MayAct, type Origin } from './call.ts';
import { findVerifyingKey } from './client-keys.ts';
import type { Confirmation } from './confirmation.ts';
import { seconds, unverifiedPart } from './jose.ts';
import { checkTimes, type JwtClaims, JwtRefused, verifyClientJwt } from './jose-client.ts';
import type { Profile } from './profile.ts';
import { isScopeToken } from './scope.ts';
import type { TrustDomain } from './trust-domain.ts';

/** `typ` of a JWT authorization grant (RFC 7523bis; identity chaining names none of its own): what we make, and take. */
export const AUTHORIZATION_GRANT_TYP = 'authorization-grant+jwt';
/** ID-JAG §3: its `client_id` is a client's name here, not there. */
const ID_JAG_TYP = 'oauth-id-jag+jwt';
/** What a domain's JWTs may be where nothing is registered: anything else is another kind of token (RFC 8725 §3.11). */
const TYPES = ['jwt', AUTHORIZATION_GRANT_TYP, ID_JAG_TYP];

/** Characters. */
const LONGEST = 8192;
/** Seconds it may be good for, and old. */
const LONGEST_LIFE = 600;
/** OpenID Connect Core §2, for `sub`; taken for all names. */
const LONGEST_NAME = 255;

/** What a trust domain says, checked. */
export interface ForeignJwt {
  readonly domain: TrustDomain;
  /** The `sub` of tokens here: never that of a user or client of ours. */
  readonly subject: string;
  /** The domain's own name for whom it speaks of. */
  readonly sub: string;
  /** Who asked for it there. Under ID-JAG (`namesOurClient`), who may present it here. */
  readonly clientId: string | undefined;
  readonly namesOurClient: boolean;
  /** A grant by its name: to be spent, and not to be exchanged as a token. */
  readonly isGrant: boolean;
  readonly jti: string;
  /** What it says, else the moment it was presented. */
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly scope: readonly string[];
  /** APIs of ours that it is limited to (ID-JAG §3). */
  readonly resources: readonly string[];
  /** How the person signed in there. */
  readonly authentication: Authentication | undefined;
  /** Whoever presents it must hold this key (RFC 7800). */
  readonly cnf: Confirmation | undefined;
  readonly txn: string | undefined;
  readonly origin: Origin | undefined;
  readonly act: Actor | undefined;
  readonly mayAct: MayAct | undefined;
}

// Control and direction characters, halves of surrogate pairs (which JSON can hold and the database cannot), and line ends.
const printable = (longest: number) =>
  z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u);
const name = printable(LONGEST_NAME);
const uri = z.string().regex(/^[\x21-\x7E]{1,1000}$/);
const thumbprint = z.string().regex(/^[\w-]{43}$/);
const oneOrMany = <T extends z.ZodType>(type: T, most: number) => z.union([type, z.array(type).min(1).max(most)]);

const claimsShape = z.object({
  sub: name,
  // RFC 7523bis §4: a list of one names nobody else either.
  aud: oneOrMany(uri, 1),
  exp: z.number(),
  iat: z.number().optional(),
  jti: name,
  client_id: name.optional(),
  scope: z.string().max(5000).optional(),
  resource: oneOrMany(uri, 20).optional(),
  auth_time: z.number().int().positive().optional(),
  acr: name.optional(),
  amr: z.array(printable(100)).max(20).optional(),
  // A key we cannot ask for would be one that nobody asks for.
  cnf: z.strictObject({ jkt: thumbprint.optional(), 'x5t#S256': thumbprint.optional() }).optional(),
  txn: z.unknown().optional(),
  origin: z.unknown().optional(),
  act: z.unknown().optional(),
  may_act: z.object({ sub: name, iss: uri.optional() }).optional(),
});

const txnShape = z.string().regex(/^[\x21-\x7E]{1,255}$/);
const originShape = z.object({
  client_id: name,
  sub: name.optional(),
  iss: uri.optional(),
  jti: name,
  iat: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  grant_type: name,
});
const actorShape = z.object({
  sub: name,
  iss: uri.optional(),
  client_id: name.optional(),
  act: z.unknown().optional(),
});

/**
 * Reads a JWT that a trust domain signed and addressed to us.
 * @param profile of the client that presents it, where it is stricter than the server's
 * @throws JwtRefused when it is not good, in words for the log
 * @throws Unavailable when the domain's keys cannot be fetched
 */
export async function readForeignJwt(
  jwt: string,
  now: Date,
  server: AuthorizationServer,
  profile: Profile = server.profile,
): Promise<ForeignJwt> {
  const domain = await findDomain(jwt, server);
  const { claims, typ } = await verify(jwt, domain, profile, server);
  const read = claimsShape.safeParse(claims);
  if (!read.success) throw new JwtRefused(`its ${String(read.error.issues[0]?.path[0])} is missing or malformed`);
  const { data } = read;
  checkAudience(data.aud, profile, server);
  checkTimes(claims, now, { longest: LONGEST_LIFE });
  if (data.exp - now.getTime() / 1000 > LONGEST_LIFE) throw new JwtRefused('it would be good for too long');
  return {
    domain,
    subject: foreignSubject(domain, data.sub),
    sub: data.sub,
    clientId: data.client_id,
    namesOurClient: typ === ID_JAG_TYP,
    isGrant: typ === ID_JAG_TYP || typ === AUTHORIZATION_GRANT_TYP,
    jti: data.jti,
    issuedAt: data.iat === undefined ? now : new Date(data.iat * 1000),
    expiresAt: new Date(data.exp * 1000),
    scope: scopeOf(data.scope),
    resources: data.resource === undefined ? [] : [data.resource].flat(),
    authentication: authenticationOf(data, now),
    cnf: confirmationOf(data.cnf),
    txn: txnShape.safeParse(data.txn).data,
    origin: originOf(data.origin, domain, server),
    act: data.act === undefined ? undefined : spokenFor(actorOf(data.act, domain, server, 1), domain),
    mayAct: data.may_act && { sub: data.may_act.sub, iss: data.may_act.iss ?? domain.issuer },
  };
}

/**
 * What a call that comes from another domain begins with here: RFC 8693 §4.1, RFC 8417 §2.2.
 * @param grantType how it came to us, for a domain that does not say what its own call began with
 */
export function beginningOf(
  jwt: ForeignJwt,
  grantType: string,
): Pick<Call, 'txn' | 'origin' | 'subject'> & { readonly act: Actor | undefined } {
  const { domain, sub, subject, clientId, jti, issuedAt, act } = jwt;
  const iat = seconds(issuedAt);
  return {
    txn: jwt.txn ?? jti,
    // Without `client_id` all that is known of the first one is that the domain speaks for it.
    origin: jwt.origin ?? {
      iss: domain.issuer,
      client_id: clientId ?? domain.issuer,
      sub,
      jti,
      iat,
      grant_type: grantType,
    },
    subject,
    act,
  };
}

/** Who claims to have signed it. Nobody has verified that: it tells whose keys to look for, and nothing else. */
async function findDomain(jwt: string, { issuer, catalogue }: AuthorizationServer): Promise<TrustDomain> {
  if (jwt.length > LONGEST) throw new JwtRefused('it is too long');
  const claims = unverifiedPart(jwt, 'claims');
  if (!claims) throw new JwtRefused('it is not a signed JWT');
  const { iss } = claims;
  // What we signed ourselves has doors of its own, with a look at the ledger behind them (ID-JAG §7.3).
  const domain = typeof iss === 'string' && iss !== issuer ? (await catalogue.trustDomains()).get(iss) : undefined;
  if (!domain) throw new JwtRefused('its iss is no trust domain');
  return domain;
}

async function verify(
  jwt: string,
  domain: TrustDomain,
  { clientSigningAlgs }: Profile,
  server: AuthorizationServer,
): Promise<{ claims: JwtClaims; typ: string | undefined }> {
  const { jwks, jwksUri, signingAlgs, jwtTypes } = domain;
  const algs = signingAlgs.filter((alg) => clientSigningAlgs.includes(alg));
  const typs = jwtTypes.length > 0 ? jwtTypes : TYPES;
  let typ: string | undefined;
  const claims = await verifyClientJwt(jwt, { algs, typs, longest: LONGEST }, (header) => {
    typ = header.typ;
    if (typ === undefined && jwtTypes.length > 0) throw new JwtRefused('it has no typ');
    return findVerifyingKey({ jwks, jwks_uri: jwksUri }, header, server);
  });
  // Read twice, it must say the same: the payload is parsed leniently above, strictly here.
  if (claims.iss !== domain.issuer) throw new JwtRefused('its iss is not who signed it');
  return { claims, typ };
}

/** As for client assertions: one name, ours; endpoints are nobody's name (RFC 7523bis §4, audience injection). */
function checkAudience(aud: string | string[], { assertionAudience }: Profile, { issuer }: AuthorizationServer): void {
  const inList = Array.isArray(aud);
  if (inList && assertionAudience === 'the issuer as a string') throw new JwtRefused('its aud is not a string');
  if ((inList ? aud[0] : aud) !== issuer) throw new JwtRefused('its aud is not the issuer');
}

/**
 * No id of ours has a `|`, or looks like a URL (client.ts); issuers have no `|` (trust-domain.ts), so the first one parts the two, whatever
 * the `sub` holds.
 */
function foreignSubject({ issuer }: TrustDomain, sub: string): string {
  const subject = `${issuer}|${sub}`;
  if (subject.length > LONGEST_NAME) throw new JwtRefused('its sub is too long');
  return subject;
}

function scopeOf(text = ''): string[] {
  const tokens = [...new Set(text.split(' ').filter((token) => token !== ''))];
  if (tokens.length > 100 || !tokens.every(isScopeToken)) throw new JwtRefused('its scope is missing or malformed');
  return tokens;
}

/** An `acr` without its time would say less than none: it counts from the sign-in (RFC 9470 §5). */
function authenticationOf(
  { auth_time, acr = '', amr = [] }: z.infer<typeof claimsShape>,
  now: Date,
): Authentication | undefined {
  if (auth_time === undefined) return undefined;
  const time = new Date(auth_time * 1000);
  // A sign-in that is still to come would satisfy every max_age.
  if (!(time.getTime() <= now.getTime() + 30_000)) throw new JwtRefused('its auth_time is in the future');
  return { time: time > now ? now : time, acr, amr };
}

function confirmationOf(cnf: z.infer<typeof claimsShape>['cnf']): Confirmation | undefined {
  const { jkt, 'x5t#S256': x5t } = cnf ?? {};
  if (cnf && jkt === undefined && x5t === undefined) throw new JwtRefused('its cnf is missing or malformed');
  return cnf && { ...(jkt !== undefined && { jkt }), ...(x5t !== undefined && { 'x5t#S256': x5t }) };
}

/** The claim is ours; what others call so, and is nothing like it, is theirs. */
function originOf(value: unknown, domain: TrustDomain, { issuer }: AuthorizationServer): Origin | undefined {
  const { data } = originShape.safeParse(value);
  if (!data) return undefined;
  const { client_id, sub, iss = domain.issuer, jti, iat, grant_type } = data;
  // Nothing here could tell a call of ours that comes home from one that somebody made up in our name.
  if (iss === issuer) throw new JwtRefused('its origin is here');
  return { client_id, ...(sub !== undefined && { sub }), iss, jti, iat, grant_type };
}

/**
 * Whoever acted there keeps the issuer's name here. Each hand it went through is a level, so a call that goes round between
 * domains ends as one within a domain does.
 */
function actorOf(value: unknown, domain: TrustDomain, server: AuthorizationServer, depth: number): Actor {
  const { data } = actorShape.safeParse(value);
  if (!data || depth > DEEPEST) throw new JwtRefused(data ? 'its act is too deep' : 'its act is missing or malformed');
  const { sub, iss = domain.issuer, client_id, act } = data;
  // An API would take it for our word on a client of ours.
  if (iss === server.issuer) throw new JwtRefused('its act names one of ours');
  return {
    sub,
    iss,
    ...(client_id !== undefined && { client_id }),
    ...(act !== undefined && { act: actorOf(act, domain, server, depth + 1) }),
  };
}

/**
 * Of others a domain only reports: whom it names outermost in another one's name stands within its own. Under impersonation that is who acts
 * now, and one domain would act as another.
 */
function spokenFor(act: Actor, { issuer }: TrustDomain): Actor {
  return act.iss === issuer ? act : { sub: issuer, iss: issuer, act };
}
