/**
 * What a profile demands of a client, clause by clause: asked when a client is registered or changed, and told in full by
 * `gatehouse profile check`. What a profile demands of the server is not here: it is what is assembled (registries.ts) and done, and operator/profile-check.ts looks at it.
 */
import type { ClientMetadata } from './client.ts';
import { checkClientKeys, type JsonWebKeySet } from './client-keys.ts';
import { algsOf, clientSigningAlgs, isKeyFor } from './jose-client.ts';
import { oauth21, type Profile } from './profile.ts';
import { parseUrl } from './redirect-uri.ts';
import { printable } from './wrong-values.ts';

export interface ProfileRule {
  /** Where it is written: for every profile that demands it ({@link clausesOf}). */
  readonly clause: string;
  readonly demand: string;
  /** The field of the client that has to change, and why; `undefined` when the rule holds. */
  problem(metadata: ClientMetadata, profile: Profile): { readonly field: string; readonly why: string } | undefined;
}

const SIGNED_BY_US = [
  'id_token_signed_response_alg',
  'userinfo_signed_response_alg',
  'authorization_signed_response_alg',
  'introspection_signed_response_alg',
];
const SIGNED_BY_CLIENTS = ['token_endpoint_auth_signing_alg', 'request_object_signing_alg'];

/**
 * Where it is written for one profile: of a rule's clauses those in the documents that the profile holds to.
 * @returns `undefined` where the profile does not demand it
 */
export function clausesOf(clause: string, { documents }: Profile): string | undefined {
  // A number alone goes on in the document before it.
  const own = clause.split(/, (?=[A-Z])/).filter((part) => documents.some((name) => part.startsWith(`${name} `)));
  return own.length === 0 ? undefined : own.join(', ');
}

/** In the order of the clauses. They hold for every profile: a lax one demands little. */
export const profileRules: readonly ProfileRule[] = [
  {
    clause: 'OAuth 2.1 4, FAPI 2.0 SP 5.3.2.1-2',
    demand: 'only grants of the profile',
    problem: ({ grant_types: types }, { grantTypes }) => beyond('grant_types', types, grantTypes),
  },
  {
    clause: 'OAuth 2.1 2.4, FAPI 2.0 SP 5.3.2.1-3, 5.3.2.1-6',
    demand: 'client authentication by a method of the profile',
    problem: ({ token_endpoint_auth_method: method }, { clientAuthenticationMethods: methods }) =>
      methods.some((name) => name === method)
        ? undefined
        : { field: 'token_endpoint_auth_method', why: `is none of the profile (it has ${methods.join(', ')})` },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-4',
    demand: 'tokens that are bound to a key',
    problem: (metadata, { requiresSenderConstraint }) =>
      // One that says nothing, or no to one of them only, is bound by what it shows.
      requiresSenderConstraint &&
      metadata.dpop_bound_access_tokens === false &&
      metadata.tls_client_certificate_bound_access_tokens === false
        ? {
            field: 'dpop_bound_access_tokens',
            why: 'and tls_client_certificate_bound_access_tokens cannot both be false in this profile',
          }
        : undefined,
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.1-8',
    demand: 'assertions addressed to the issuer alone',
    problem: ({ assertion_audience: audience }, { assertionAudience }) =>
      audience === 'issuer_or_endpoint' && assertionAudience === 'the issuer as a string'
        ? { field: 'assertion_audience', why: 'is the issuer in this profile' }
        : undefined,
  },
  {
    clause: 'OAuth 2.1 7.5.1, FAPI 2.0 SP 5.3.2.2-5',
    demand: 'PKCE, unless the profile lets a confidential client do without',
    problem({ require_pkce: required, token_endpoint_auth_method: method }, { pkceMayBeWaived }) {
      if (required !== false) return undefined;
      if (method === 'none') return { field: 'require_pkce', why: 'cannot be false for a public client' };
      return pkceMayBeWaived ? undefined : { field: 'require_pkce', why: 'cannot be false in this profile' };
    },
  },
  {
    clause: 'FAPI 2.0 SP 5.3.2.2-8',
    demand: 'https redirect URIs, but for loopback ones of native clients',
    problem: ({ redirect_uris: uris, application_type: type }, { loopbackRedirectsOf }) => {
      const plain = listed(uris).some((uri) => parseUrl(uri)?.protocol === 'http:');
      return plain && loopbackRedirectsOf === 'native clients' && type !== 'native'
        ? { field: 'redirect_uris', why: 'may be http for native clients only, on loopback' }
        : undefined;
    },
  },
  {
    clause: 'RFC 8725 3.2, FAPI 2.0 SP 5.4.1-1',
    demand: 'algorithms of the profile for everything signed',
    problem: (metadata, profile) =>
      wrongAlg(metadata, SIGNED_BY_US, profile.signingAlgs) ??
      wrongAlg(metadata, SIGNED_BY_CLIENTS, clientSigningAlgs(profile)),
  },
  {
    clause: 'RFC 7517 4.4, FAPI 2.0 SP 5.3.2.1-6, 5.4.1-1',
    demand: 'keys for what the client signs, where its keys are registered here',
    problem: (metadata, profile) =>
      SIGNED_BY_CLIENTS.map((field) => keyless(metadata, field, profile)).find((found) => found !== undefined),
  },
  {
    clause: 'JARM 4, FAPI 2.0 MS 5.3.3',
    demand: 'response modes of the profile',
    problem: ({ response_modes: modes }, { responseModes }) => beyond('response_modes', modes, responseModes),
  },
  {
    clause: 'FAPI 2.0 MS 5.3.1, 5.4.1, 5.5.1',
    demand: 'signed requests, signed responses or signed introspection: at least one of them',
    problem: (metadata, { requiresMessageSigning }) =>
      !requiresMessageSigning || signsMessages(metadata)
        ? undefined
        : {
            field: 'require_signed_request_object',
            why: 'one of require_signed_request_object, response_modes (jwt only) and introspection_signed_response_alg must be set in this profile',
          },
  },
];

/**
 * What of a client contradicts the profile it is held to.
 * @param only the one field to look at; without it, the first that is wrong
 * @returns the field that has to change, and why: with the clause where it is the profile that leaves something out, without it
 *   where no profile has it
 */
export function contradiction(
  metadata: ClientMetadata,
  profile: Profile,
  only?: string,
): { readonly field: string; readonly why: string } | undefined {
  for (const { found, clause, atLaxest } of broken(metadata, profile)) {
    if (only !== undefined && found.field !== only) continue;
    return atLaxest?.field === found.field ? found : withClause(found, clause);
  }
  return undefined;
}

/**
 * What of a client its profile forbids and a laxer one allows: it was registered under that one, and is not to be served under this.
 * @returns `undefined` also for what no profile has: that harms nobody but the client
 */
export function forbidden(metadata: ClientMetadata, profile: Profile): { field: string; why: string } | undefined {
  for (const { found, clause, atLaxest } of broken(metadata, profile)) if (!atLaxest) return withClause(found, clause);
  return undefined;
}

type Problem = NonNullable<ReturnType<ProfileRule['problem']>>;

/**
 * The rules that do not hold, in the order of the clauses, each with what the laxest profile (which knows all that any
 * of them knows) says of it.
 */
function* broken(metadata: ClientMetadata, profile: Profile) {
  for (const { clause, problem } of profileRules) {
    const found = problem(metadata, profile);
    if (found) yield { found, clause, atLaxest: problem(metadata, oauth21) };
  }
}

function withClause({ field, why }: Problem, clause: string): Problem {
  return { field, why: `${why} (${clause})` };
}

function signsMessages(metadata: ClientMetadata): boolean {
  const modes = listed(metadata.response_modes);
  return (
    metadata.require_signed_request_object === true ||
    (modes.length > 0 && modes.every((mode) => mode.endsWith('jwt'))) ||
    metadata.introspection_signed_response_alg !== undefined
  );
}

function wrongAlg(metadata: ClientMetadata, fields: readonly string[], algs: readonly string[]) {
  const field = fields.find((name) => metadata[name] !== undefined && !algs.some((alg) => alg === metadata[name]));
  return field === undefined ? undefined : { field, why: `is no algorithm of the profile (it has ${algs.join(', ')})` };
}

function beyond(field: string, value: unknown, offered: readonly string[]) {
  const other = listed(value).find((name) => !offered.includes(name));
  return other === undefined
    ? undefined
    : { field, why: `holds ${printable(other)}, which the profile does not have (it has ${offered.join(', ')})` };
}

/** Of keys that are not to be used at all (client-keys.ts) nothing is said here. */
function keyless(metadata: ClientMetadata, field: string, profile: Profile) {
  if (metadata.jwks === undefined || !signs(metadata, field) || checkClientKeys(metadata)) return undefined;
  const algs = algsOf(metadata[field], profile);
  const { keys } = metadata.jwks as JsonWebKeySet;
  return keys.some((key) => algs.some((alg) => isKeyFor(key, 'sig', alg)))
    ? undefined
    : { field: 'jwks', why: `holds no key to check signatures with: ${field} is ${algs.join(' or ')}` };
}

function signs(metadata: ClientMetadata, field: string): boolean {
  return field === 'token_endpoint_auth_signing_alg'
    ? metadata.token_endpoint_auth_method === 'private_key_jwt'
    : metadata.request_object_signing_alg !== undefined || metadata.require_signed_request_object === true;
}

function listed(value: unknown): readonly string[] {
  return Array.isArray(value) ? value : [];
}
