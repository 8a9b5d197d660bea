/**
 * Subject tokens: on whose behalf something is asked for (RFC 8693 §2.1, §3; RFC 9700 §2.3). Our access tokens, opaque and signed, first and
 * exchanged; our ID tokens; JWTs of trust domains. Each is read as the type it is said to be, and as no other.
 *
 * Whose it is to exchange: an API's, the tokens that are addressed to it; a client's, those it holds. Anybody else has got it where
 * he should not have, and shall not make it good for himself.
 */

import { readAccessToken } from '../../protocol/access-token.ts';
import type { Authentication } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Call, type MayAct, subjectOfToken } from '../../protocol/call.ts';
import type { User } from '../../protocol/claims.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import { TOKEN_EXCHANGE } from '../../protocol/exchanges.ts';
import { beginningOf, type ForeignJwt, readForeignJwt } from '../../protocol/foreign-jwt.ts';
import { readIdToken } from '../../protocol/id-token.ts';
import { seconds } from '../../protocol/jose.ts';
import { JwtRefused } from '../../protocol/jose-client.ts';
import type { StandingToken } from '../../protocol/ledger.ts';
import { profileOf } from '../../protocol/profile.ts';
import type { PresentedToken } from './request.ts';

export interface SubjectToken {
  readonly jti: string;
  /** The call so far. */
  readonly story: Call;
  /** What it is addressed to, as far as this client may take it from there: what policies call their source. */
  readonly sources: readonly string[];
  /** Whether it is this client that holds it by right, and so any key that it is bound to. */
  readonly held: boolean;
  /** Whether it is one of ours, so that what is made from it can ask for it. */
  readonly ours: boolean;
  readonly user: User | undefined;
  readonly grantId: string | undefined;
  readonly authentication: Authentication | undefined;
  readonly scope: readonly string[];
  readonly mayAct: MayAct | undefined;
  readonly cnf: Confirmation | undefined;
  /** The targets it may be exchanged for, where it says that itself. */
  readonly limitedTo: readonly string[] | undefined;
  readonly expiresAt: Date;
}

/**
 * Reads a subject token and asks whether it stands. One statement, none for a JWT of a trust domain.
 * @returns `undefined` when it is not good, in whichever way
 * @throws JwtRefused when a JWT of a trust domain is not good
 * @throws Unavailable when the keys of a trust domain cannot be fetched
 */
export async function readSubjectToken(
  { value, type }: PresentedToken,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<SubjectToken | undefined> {
  switch (type) {
    case 'access_token':
      return ofAccessToken(await readAccessToken(value, now, server), client, server);
    case 'id_token':
      return ofIdToken(value, client, now, server);
    case 'jwt':
      return ofForeignJwt(await readForeignJwt(value, now, server, profileOf(client, server.profile)));
  }
}

async function ofAccessToken(
  token: StandingToken | undefined,
  client: Client,
  server: AuthorizationServer,
): Promise<SubjectToken | undefined> {
  const holder = token && (await findClient(server.catalogue, token.clientId));
  if (!holder) return undefined;
  const { jti, clientId, grantId, user, authentication, scope, mayAct, cnf, expiresAt } = token;
  const held = clientId === client.id;
  const resources = await server.catalogue.resources();
  return {
    jti,
    story: token.call ?? firstStory(token, subjectOfToken(token, holder, server)),
    // Our own name is left out: as a source it means ID tokens, and with `openid` each access token has it.
    sources: token.audience.filter((indicator) => {
      const api = resources.get(indicator);
      return api !== undefined && (held || api.introspectionClients.includes(client.id));
    }),
    held,
    ours: true,
    user,
    grantId,
    authentication,
    scope,
    mayAct,
    cnf,
    limitedTo: undefined,
    expiresAt,
  };
}

/** An ID token is its client's alone: it is addressed to nobody else (OpenID Connect Core §2). */
async function ofIdToken(
  value: string,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<SubjectToken | undefined> {
  const token = await readIdToken(value, now, server);
  const standing = token && (await server.ledger.confirm(token, now));
  if (!token || !standing?.user) return undefined;
  const { jti, grantId, subject, authentication, expiresAt } = token;
  const held = token.clientId === client.id;
  return {
    jti,
    story: firstStory({ ...token, user: standing.user }, subject),
    sources: held ? [server.issuer] : [],
    held,
    ours: true,
    user: standing.user,
    grantId,
    authentication,
    // What there was consent for, for this token to be.
    scope: ['openid'],
    mayAct: undefined,
    cnf: undefined,
    limitedTo: undefined,
    expiresAt,
  };
}

/** Addressed to us by another domain, for whoever presents it: a policy says who that may be. */
function ofForeignJwt(jwt: ForeignJwt): SubjectToken {
  // What is good once at one door would be good as often as one likes at this one.
  if (jwt.isGrant) throw new JwtRefused('it is an authorization grant');
  const { domain, jti, scope, resources, authentication, mayAct, cnf, expiresAt } = jwt;
  return {
    jti,
    story: { ...beginningOf(jwt, TOKEN_EXCHANGE), hops: [], lineage: [], clients: [], actorGrants: [] },
    sources: [domain.issuer],
    held: true,
    ours: false,
    user: undefined,
    grantId: undefined,
    authentication,
    scope,
    mayAct,
    cnf,
    limitedTo: resources.length > 0 ? resources : undefined,
    expiresAt,
  };
}

/** A first token begins a call. */
function firstStory(
  { jti, clientId, grantId, user, issuedAt }: Pick<StandingToken, 'jti' | 'clientId' | 'grantId' | 'user' | 'issuedAt'>,
  subject: string,
): Call {
  return {
    txn: jti,
    origin: {
      client_id: clientId,
      ...(user && { sub: subject }),
      jti,
      iat: seconds(issuedAt),
      // A person's grant began with a code, however often it was refreshed since.
      grant_type: grantId === undefined ? 'client_credentials' : 'authorization_code',
    },
    subject,
    act: undefined,
    hops: [],
    lineage: [],
    clients: [clientId],
    actorGrants: [],
  };
}
