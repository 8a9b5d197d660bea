/**
 * The authorization request, checked: RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1, RFC 8707 §2, RFC 9396 §2, RFC 9470 §5.
 * Everything here can already be told to the client, so every refusal is sent.
 *
 * Known and not read, because there is one language and one look to offer: `ui_locales`, `claims_locales`, `display`.
 */
import { parseAuthorizationDetails } from './authorization-details.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import type { User } from './claims.ts';
import { type ClaimsRequest, parseClaimsRequest } from './claims-request.ts';
import type { Client } from './client.ts';
import type { AuthorizationDetail } from './details-type.ts';
import { OAuthError } from './errors.ts';
import type { ResponseType } from './feature.ts';
import { readIdTokenHint } from './id-token.ts';
import type { Parameters } from './message.ts';
import { codeChallenge } from './pkce.ts';
import { parseScope } from './scope.ts';
import { PASSWORD_AUTHENTICATION } from './session.ts';
import { subjectOf } from './subject.ts';

/** Core §3.1.2.1. No `create`: there is no sign-up yet (Initiating User Registration 1.0 §4.1.1). */
export const PROMPTS = ['none', 'login', 'consent', 'select_account'] as const;
export type Prompt = (typeof PROMPTS)[number];

export interface AuthorizationRequest {
  readonly client: Client;
  readonly responseType: ResponseType;
  /** What is asked for and may be granted. */
  readonly scope: readonly string[];
  readonly resources: readonly string[];
  /** RFC 9396: each needs the person's yes to this very request. */
  readonly authorizationDetails: readonly AuthorizationDetail[];
  readonly codeChallenge: string | undefined;
  /** The DPoP key the code shall be bound to (RFC 9449 §10). */
  readonly dpopJkt: string | undefined;
  /** Claims asked for by name; those beyond the scopes need a consent of their own. */
  readonly claims: ClaimsRequest;
  readonly nonce: string | undefined;
  readonly prompt: ReadonlySet<Prompt>;
  /** Seconds since the last sign-in that are still good. */
  readonly maxAge: number | undefined;
  /** Prefills the form, and chooses among those signed in; proves nothing. */
  readonly loginHint: string | undefined;
  /** Whether it names a person, by `id_token_hint` or the claim `sub`: then the answer is about nobody else. */
  readonly namesPerson: boolean;
  /** Whether the answer may be about this person. */
  concerns(user: User): boolean;
  /** False when the request insists on an `acr` that nothing here can reach. */
  readonly acrCanBeMet: boolean;
}

/** What is read of a request, here and on the way; the rest is ignored (RFC 6749 §3.1) and not kept. */
export const AUTHORIZATION_PARAMETERS: ReadonlySet<string> = new Set([
  'response_type',
  'response_mode',
  'client_id',
  'redirect_uri',
  'scope',
  'state',
  'resource',
  'authorization_details',
  'code_challenge',
  'code_challenge_method',
  'nonce',
  'prompt',
  'max_age',
  'acr_values',
  'login_hint',
  'id_token_hint',
  'claims',
  'dpop_jkt',
]);

const LONGEST_NONCE = 512;

/**
 * Checks the parameters of an authorization request, in the order of the errors they may give.
 * @throws OAuthError to be sent to the client
 */
export async function parseAuthorizationRequest(
  parameters: Parameters,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<AuthorizationRequest> {
  parameters.refuseRepeats();
  if (parameters.get('registration') !== undefined)
    throw new OAuthError('registration_not_supported', 'registration is not supported.');
  const responseType = parseResponseType(parameters, client, server);
  const claims = parseClaimsRequest(parameters.get('claims'), client.scope);
  return {
    client,
    responseType,
    codeChallenge: codeChallenge(parameters, client.requiresPkce),
    dpopJkt: parseThumbprint(parameters),
    ...(await parseAccess(parameters, client, server)),
    nonce: parseNonce(parameters),
    prompt: parsePrompt(parameters),
    maxAge: parseMaxAge(parameters) ?? client.defaultMaxAge,
    loginHint: parameters.get('login_hint'),
    claims,
    ...(await parseSubject(parameters, claims, client, now, server)),
    acrCanBeMet: essentialAcrCanBeMet(claims) && acrValuesCanBeMet(parameters),
  };
}

function parseResponseType(parameters: Parameters, client: Client, server: AuthorizationServer): ResponseType {
  const name = parameters.get('response_type');
  if (name === undefined) throw new OAuthError('invalid_request', 'response_type is required.');
  const responseType = server.registries.responseTypes.get(name);
  if (!responseType) throw new OAuthError('unsupported_response_type', 'This response_type is not offered here.');
  if (!client.responseTypes.includes(name)) {
    throw new OAuthError('unauthorized_client', 'This client is not registered for this response_type.');
  }
  return responseType;
}

async function parseAccess(parameters: Parameters, client: Client, server: AuthorizationServer) {
  const known = await server.catalogue.resources();
  const text = parameters.get('scope');
  const details = parameters.get('authorization_details');
  // Who names no scope means all it may have, unless it says otherwise what it wants.
  const asked = text !== undefined ? parseScope(text) : details === undefined ? client.scope : [];
  // OpenID Connect Core §3.1.2.1 has unknown scopes ignored; one that exists but is not this client's is a mistake to tell.
  const permitted = asked.filter((token) => known.isKnownScope(token) && mayBeGranted(token, asked, client));
  if (!permitted.every((token) => client.scope.includes(token))) {
    throw new OAuthError('invalid_scope', 'The client is not registered for one of the scopes.');
  }
  const resources = known.require(parameters.all('resource'), permitted, client.authorizationDetailsTypes);
  // RFC 9396 §3.2: `resource` says nothing about these, their types do.
  const authorizationDetails = parseAuthorizationDetails(details, client, known) ?? [];
  // Of APIs that were not asked for nothing is granted: no token could carry it (RFC 8707 §2).
  const scope = permitted.filter((token) => {
    const owner = known.ofScope(token);
    return owner === undefined || resources.length === 0 || resources.includes(owner);
  });
  if (scope.length + authorizationDetails.length === 0)
    throw new OAuthError('invalid_scope', 'No scope is left to grant.');
  return { scope, resources: resources.map(({ resource }) => resource), authorizationDetails };
}

/**
 * OpenID Connect Core §11: offline access is OpenID's and a refresh token's; where neither can be it is ignored, so nobody is
 * asked to allow what will not come. Beyond that it takes a person who has read it on the consent page, now or before, or an
 * operator who has answered for everybody (`skip_consent`): "other conditions" that Core §11 leaves to us.
 */
function mayBeGranted(token: string, asked: readonly string[], client: Client): boolean {
  return token !== 'offline_access' || (asked.includes('openid') && client.grantTypes.includes('refresh_token'));
}

/** Core §3.1.2.2, §5.5.1: a request that names a person is answered for that person only. */
async function parseSubject(
  parameters: Parameters,
  { idToken }: ClaimsRequest,
  client: Client,
  now: Date,
  server: AuthorizationServer,
): Promise<Pick<AuthorizationRequest, 'namesPerson' | 'concerns'>> {
  const text = parameters.get('id_token_hint');
  const hint = text === undefined ? undefined : await readIdTokenHint(text, now, server);
  if (text !== undefined && hint?.clientId !== client.id)
    throw new OAuthError('invalid_request', 'id_token_hint is not an ID token of this client.');
  const wanted = idToken.sub?.values;
  return {
    namesPerson: hint !== undefined || wanted !== undefined,
    concerns(user) {
      const subject = subjectOf(user, client, server);
      return (hint === undefined || hint.subject === subject) && (wanted === undefined || wanted.includes(subject));
    },
  };
}

/** Core §5.5.1.1: an essential `acr` that cannot be had fails the request; asked for as a claim, any other is a wish. */
function essentialAcrCanBeMet({ idToken }: ClaimsRequest): boolean {
  const { acr } = idToken;
  return !acr?.essential || acr.values === undefined || acr.values.includes(PASSWORD_AUTHENTICATION.acr);
}

/**
 * RFC 9470 §5: one of `acr_values` has to be reached. An API that was not satisfied would not be by the next token either, and
 * its client would send the person round and round. A bare number is left out: it is a level of a scale that nobody
 * named (Core §2 wants URIs and registered names), and as long as nothing else is asked for, a wish as in Core §3.1.2.1.
 */
function acrValuesCanBeMet(parameters: Parameters): boolean {
  const names = (parameters.get('acr_values') ?? '').split(' ').filter((value) => /[^0-9]/.test(value));
  return names.length === 0 || names.includes(PASSWORD_AUTHENTICATION.acr);
}

function parseNonce(parameters: Parameters): string | undefined {
  const nonce = parameters.get('nonce');
  // Never cut: a shortened nonce would not match, or match too much.
  if ((nonce?.length ?? 0) > LONGEST_NONCE) throw new OAuthError('invalid_request', 'nonce is too long.');
  return nonce;
}

function parseThumbprint(parameters: Parameters): string | undefined {
  const thumbprint = parameters.get('dpop_jkt');
  if (thumbprint !== undefined && !/^[A-Za-z0-9_-]{43}$/.test(thumbprint))
    throw new OAuthError('invalid_request', 'dpop_jkt is not the thumbprint of a key.');
  return thumbprint;
}

function parsePrompt(parameters: Parameters): ReadonlySet<Prompt> {
  const prompt = new Set((parameters.get('prompt') ?? '').split(' ').filter((value) => value !== ''));
  for (const value of prompt) {
    if (!PROMPTS.some((known) => known === value))
      throw new OAuthError('invalid_request', 'This prompt is not known here.');
  }
  if (prompt.has('none') && prompt.size > 1)
    throw new OAuthError('invalid_request', 'prompt=none goes with no other prompt.');
  return prompt as ReadonlySet<Prompt>;
}

function parseMaxAge(parameters: Parameters): number | undefined {
  const text = parameters.get('max_age');
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw new OAuthError('invalid_request', 'max_age must be a whole number of seconds.');
  return Number(text);
}
