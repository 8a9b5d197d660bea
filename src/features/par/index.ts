/**
 * Pushed authorization requests, RFC 9126: the client hands its request over directly, authenticated, and sends the browser
 * along with a reference to it. Nobody on the way reads or changes it.
 *
 *   pushed ──90 s──▶ expired
 *      └──a code is issued──▶ used up, by the statement that issues the code
 *
 * It is checked as the authorization endpoint checks it (§2.1), so that a client learns of mistakes before a person is
 * involved. Until it is used up the browser may come again, which is what reloading a page does (§7.3).
 */
import { z } from 'zod';
import { AUTHORIZATION_PARAMETERS, parseAuthorizationRequest } from '../../protocol/authorization-request.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Client, registrationOf } from '../../protocol/client.ts';
import type { Possession } from '../../protocol/confirmation.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { ClientRequest, Feature, RequestSource } from '../../protocol/feature.ts';
import { type EndpointResponse, Parameters } from '../../protocol/message.ts';
import { profileOf } from '../../protocol/profile.ts';
import { resolveReturnAddress } from '../../protocol/redirect-uri.ts';
import { marksOf, type ReplayMark } from '../../protocol/replay.ts';
import { unwrap } from '../../protocol/request-source.ts';
import { resolveResponseMode } from '../../protocol/response.ts';
import { type Credential, equals, mintCredential, parseCredential } from '../../protocol/secrets.ts';

export interface PushedRequest {
  readonly parameters: Parameters;
  /** Digest of the client's registration that it was checked against. */
  readonly registration: Buffer;
}

export interface PushedRequests {
  /**
   * Keeps a request, unless one of the marks was used before. One statement.
   * @returns the mark that was used before, when it failed for that
   */
  push(
    credential: Credential,
    clientId: string,
    request: PushedRequest & { readonly expiresAt: Date },
    marks: readonly ReplayMark[],
  ): Promise<ReplayMark | undefined>;
  /** One of this client's that has neither expired nor been used up. One statement. */
  find(credential: Credential, clientId: string, now: Date): Promise<PushedRequest | undefined>;
}

export function par({ pushedRequests }: { pushedRequests: PushedRequests }): Feature {
  return {
    name: 'par',
    endpoints: [
      {
        caller: 'client',
        path: '/par',
        metadata: 'pushed_authorization_request_endpoint',
        cors: true,
        publicClients: true,
        bodyLimit: BODY_LIMIT,
        claimsMarks: true,
        handle: (request, server) => push(request, pushedRequests, server),
      },
    ],
    requestSources: [pushedRequest(pushedRequests)],
    clientMetadata: {
      require_pushed_authorization_requests: z.boolean().optional(), // §6
      require_dpop_at_par: z.boolean().optional(),
    },
    serverMetadata: ({ profile }) => ({ require_pushed_authorization_requests: profile.requiresPushedRequests }), // §5
  };
}

/** Bytes: room for a request object. */
const BODY_LIMIT = 64 * 1024;
/** Seconds until a browser must have come: FAPI 2.0 SP §5.3.2.2-12 wants less than 600. What it begins has a time of its own. */
const LIFETIME = 90;
const URN = 'urn:ietf:params:oauth:request_uri:';

/** §2.1, §2.2. */
async function push(
  request: ClientRequest,
  pushedRequests: PushedRequests,
  server: AuthorizationServer,
): Promise<EndpointResponse> {
  const { client, now } = request;
  const parameters = await pushedParameters(request, server);
  resolveReturnAddress(client, parameters);
  resolveResponseMode(parameters, client, server);
  const { dpopJkt } = await parseAuthorizationRequest(parameters, client, now, server);
  const possession = await proofAtPush(request, dpopJkt, server);

  const { value, ...credential } = mintCredential('pushed_request', now, server.context.random);
  const marks = marksOf({ ...request, possession });
  const snapshot = {
    parameters: bound(parameters.only(AUTHORIZATION_PARAMETERS), possession?.cnf.jkt ?? dpopJkt),
    registration: registrationOf(client, server.profile),
    expiresAt: new Date(now.getTime() + LIFETIME * 1000),
  };
  const used = await pushedRequests.push(credential, client.id, snapshot, marks);
  if (used) throw used.refusal;
  request.trace.event = 'authorization_request_pushed';
  return {
    status: 201,
    ...(possession && { headers: possession.headers }),
    body: { request_uri: URN + value, expires_in: LIFETIME },
  };
}

/** What is asked for, out of the form or of the request object in it; whose it is was proven by authentication (§2). */
async function pushedParameters(
  { client, parameters: form, now }: ClientRequest,
  server: AuthorizationServer,
): Promise<Parameters> {
  const parameters = await unwrapped(form, client, now, server);
  if (profileOf(client, server.profile).requiresPushedRequests && parameters.get('redirect_uri') === undefined)
    throw new OAuthError('invalid_request', 'redirect_uri is required.'); // FAPI 2.0 SP §5.3.2.2-6
  // A client that used the header need not have said who it is.
  return parameters.get('client_id') === undefined
    ? new Parameters([...parameters.pairs(), ['client_id', client.id]])
    : parameters;
}

async function unwrapped(form: Parameters, client: Client, now: Date, server: AuthorizationServer) {
  try {
    return (await unwrap(form, client, 'pushed', now, server)).parameters;
  } catch (error) {
    // OpenID Connect's word for an unsigned request object; here it is the object that is wrong (§3, RFC 9101 §6.2).
    const unsigned = error instanceof OAuthError && error.code === 'request_not_supported';
    if (!unsigned || !server.registries.requestSources.has('request')) throw error;
    throw new OAuthError('invalid_request_object', error.message, { cause: error });
  }
}

/**
 * RFC 9449 §10.1: a proof that comes along binds the code, as `dpop_jkt` does. Demanded at once (`require_dpop_at_par`) it also
 * stops whoever made a client authenticate to them from pushing requests in its name (FAPI 2.0 attacker A4).
 */
async function proofAtPush(
  request: ClientRequest,
  dpopJkt: string | undefined,
  server: AuthorizationServer,
): Promise<Possession | undefined> {
  const { client } = request;
  for (const method of server.registries.confirmationMethods.values()) {
    const possession = await method.prove(request, { client }, server);
    const { jkt } = possession?.cnf ?? {};
    if (jkt === undefined) continue;
    if (dpopJkt !== undefined && dpopJkt !== jkt)
      throw new OAuthError('invalid_dpop_proof', 'The DPoP proof is not by the key that dpop_jkt names.');
    return possession;
  }
  if (client.metadata.require_dpop_at_par === true)
    throw new OAuthError('invalid_request', 'A DPoP proof is required here.');
  return undefined;
}

function bound(parameters: Parameters, jkt: string | undefined): Parameters {
  if (jkt === undefined) return parameters;
  return new Parameters([...parameters.pairs().filter(([name]) => name !== 'dpop_jkt'), ['dpop_jkt', jkt]]);
}

/** §4: the authorization request that a reference of ours stands for. */
function pushedRequest(pushedRequests: PushedRequests): RequestSource {
  return {
    name: 'request_uri',
    async read(outer, client, now, server) {
      const uri = outer.get('request_uri') ?? '';
      // Nothing is ever fetched from an address that came with a request (RFC 9101 §10.4.1).
      if (!uri.startsWith(URN))
        throw new OAuthError('request_uri_not_supported', 'Only a request_uri that was given here is supported.');
      const credential = parseCredential('pushed_request', uri.slice(URN.length));
      const pushed = credential && (await pushedRequests.find(credential, client.id, now));
      // What was checked was checked for another registration: a stricter one must not let it pass.
      if (!credential || !pushed || !equals(pushed.registration, registrationOf(client, server.profile)))
        throw new OAuthError(
          'invalid_request_uri',
          'The request_uri has expired, was used before or is not of this client. Start again at the application.',
        );
      return { parameters: pushed.parameters, pushedRequestId: credential.id };
    },
  };
}
