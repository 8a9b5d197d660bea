/**
 * Token exchange: RFC 8693. An API that was called, or whoever holds a token, gets another one for the next API: on behalf of the same
 * subject, with the whole story of the call, and never more than before.
 *
 *   request ─▶ subject and actor token (one statement each, at once) ─▶ rules (memory) ─▶ sign ─▶ step and token (one statement)
 *
 * Delegation, unless the policy says impersonation: `sub` stays, `act` grows by whoever acts now. Every step is recorded, the refused
 * ones too. No refresh token, no ID token: who wants more comes again, with a token that still stands.
 */
import { ungrantedAuthorization } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { AllowedHop, Call } from '../../protocol/call.ts';
import type { ClientMetadataCheck } from '../../protocol/client.ts';
import { knownOf, type Step, TOKEN_EXCHANGE, TOKEN_TYPES } from '../../protocol/exchanges.ts';
import type { Feature, TokenRequest, VerifiedGrant } from '../../protocol/feature.ts';
import { JwtRefused } from '../../protocol/jose-client.ts';
import { allowedHop } from '../../protocol/open-call.ts';
import { type ActorToken, readActorToken } from './actor-token.ts';
import { mintAuthorizationGrant } from './authorization-grant.ts';
import { type ExchangeRequest, readRequest } from './request.ts';
import { type Allowed, type Destination, judge, Refused } from './rules.ts';
import { readSubjectToken, type SubjectToken } from './subject-token.ts';

export function tokenExchange(): Feature {
  return {
    name: 'token-exchange',
    grantTypes: [{ name: TOKEN_EXCHANGE, verify }],
    checkClientMetadata,
  };
}

/** Whoever exchanges is named in every token that comes of it: nobody may be it by saying so. */
const checkClientMetadata: ClientMetadataCheck = ({ grant_types, token_endpoint_auth_method: method }) =>
  (grant_types as string[]).includes(TOKEN_EXCHANGE) && method === 'none'
    ? { field: 'grant_types', why: 'token exchange needs a client that authenticates (RFC 8693 section 5)' }
    : undefined;

async function verify(request: TokenRequest, server: AuthorizationServer): Promise<VerifiedGrant> {
  const asked = readRequest(request.parameters);
  const { subjectToken, actorToken } = await readTokens(asked, request, server);
  request.trace.userId = subjectToken.user?.id ?? '';
  request.trace.grantId = subjectToken.grantId ?? '';
  const destination = await findDestination(asked.target, server);
  try {
    const policies = await server.catalogue.exchangePolicies();
    const judged = judge({ ...asked, subjectToken, actorToken }, destination, request, policies, server.issuer);
    if (!judged.allowed) throw new Refused(judged.rule, judged.error, judged.policy?.source);
    const acting = actorToken === 'not good' ? undefined : actorToken;
    return exchanged({ ...judged, subjectToken, actorToken: acting, destination }, request, server);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { rule, source } = error;
    request.trace.reason = rule;
    const { target, scope = [] } = asked;
    const known = await knownOf({ target, scope, clientId: request.client.id }, server.catalogue);
    const step = stepOf(subjectToken, known.target, source, request);
    await server.exchanges.refuse({ ...step, scope: known.scope, rule }, request.now);
    throw error;
  }
}

/** Both at once: neither is of use without the other. */
async function readTokens(
  { subject, actor }: ExchangeRequest,
  { client, now, trace }: TokenRequest,
  server: AuthorizationServer,
): Promise<{ subjectToken: SubjectToken; actorToken: ActorToken | 'not good' | undefined }> {
  try {
    const [subjectToken, actorToken] = await Promise.all([
      readSubjectToken(subject, client, now, server),
      actor && readActorToken(actor, client, now, server),
    ]);
    if (!subjectToken) throw new Refused('subject_token');
    return { subjectToken, actorToken: actor && (actorToken ?? 'not good') };
  } catch (error) {
    // There is no call to record: nothing is known of this token, but that it is not good.
    if (error instanceof JwtRefused) {
      trace.reason = `subject_token: ${error.message}`;
      throw new Refused('subject_token');
    }
    if (error instanceof Refused) trace.reason = error.rule;
    throw error;
  }
}

async function findDestination(target: string, { catalogue }: AuthorizationServer): Promise<Destination> {
  const resource = (await catalogue.resources()).get(target);
  const domain = resource ? undefined : (await catalogue.trustDomains()).get(target);
  return { resource, domain };
}

interface Exchange extends Allowed {
  readonly subjectToken: SubjectToken;
  readonly actorToken: ActorToken | undefined;
  readonly destination: Destination;
}

function exchanged(exchange: Exchange, request: TokenRequest, server: AuthorizationServer): VerifiedGrant {
  const { policy, scope, subjectToken, destination } = exchange;
  const { client, now, possession } = request;
  const { domain, resource } = destination;
  const call = nextCall(exchange, client.id);
  const expiresAt = endOf(exchange, now);
  const cnf = possession?.cnf;
  const { grantId, user, authentication } = subjectToken;
  const known = { grantId, user, authentication, scope, call, expiresAt };
  const audience = [policy.target];
  const issuedTokenType =
    domain || request.parameters.get('requested_token_type') === TOKEN_TYPES.jwt
      ? TOKEN_TYPES.jwt
      : TOKEN_TYPES.access_token;
  return {
    authorization: ungrantedAuthorization(client, known),
    target: { resource, audience, scope, authorizationDetails: [] },
    ...(domain && {
      mint: () =>
        mintAuthorizationGrant(
          { clientId: client.id, subject: subjectToken, call, scope, cnf, expiresAt },
          domain,
          now,
          server,
        ),
    }),
    // RFC 8693 §2.2.1: a grant for another domain is no token to be used.
    answer: { issued_token_type: issuedTokenType, ...(domain && { token_type: 'N_A' }) },
    newRefreshToken: false,
    async spend(minted) {
      const step = stepOf(subjectToken, policy.target, policy.source, request);
      // What our grants say of the sign-in need not be said again.
      const signedIn = grantId === undefined ? authentication : undefined;
      const used = await server.exchanges.record(
        { ...step, call, scope, audience, cnf, authentication: signedIn, issuedTokenType },
        minted,
        now,
      );
      if (used) throw used.refusal;
      return {};
    },
  };
}

/** The call after this step. Nothing in it comes from the request but who makes it. */
function nextCall({ policy, scope, actor, subjectToken, actorToken }: Exchange, clientId: string): Call {
  const { story, jti, ours } = subjectToken;
  // RFC 8693 §1.1: whoever shows an actor token wants to be seen.
  const seen = policy.mode === 'delegation' || actorToken !== undefined;
  const grants = actorToken?.grantId === undefined ? [] : [actorToken.grantId];
  return {
    ...story,
    act: seen ? { ...actor, ...(story.act && { act: story.act }) } : story.act,
    hops: [...story.hops, allowedHop(policy, scope, story.hops.length === 0 ? fromOf(subjectToken) : undefined)],
    lineage: [...story.lineage, ...(ours ? [jti] : []), ...(actorToken ? [actorToken.jti] : [])],
    clients: [...new Set([...story.clients, clientId])],
    actorGrants: [...new Set([...story.actorGrants, ...grants])],
  };
}

/** A call that began here began at a client of ours. */
function fromOf({ ours, scope, story: { origin } }: SubjectToken): AllowedHop['from'] {
  return { scope, ...(ours && { client: origin.client_id }) };
}

/** Whatever ends first; each token ends with its grant already. */
function endOf({ policy, subjectToken, actorToken }: Exchange, now: Date): Date {
  const ends = [subjectToken.expiresAt, ...(actorToken ? [actorToken.expiresAt] : [])].map((end) => end.getTime());
  return new Date(Math.min(now.getTime() + policy.lifetime * 1000, ...ends));
}

function stepOf(
  { jti, story, user, grantId }: SubjectToken,
  target: string,
  source: string | undefined,
  { client, id }: TokenRequest,
): Step {
  const { txn, origin, subject, hops } = story;
  return {
    txn,
    origin,
    subject,
    parent: jti,
    clientId: client.id,
    userId: user?.id,
    grantId,
    hops,
    source,
    target,
    requestId: id,
  };
}
